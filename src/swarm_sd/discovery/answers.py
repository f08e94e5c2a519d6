"""Who answers in place of those that are asked, or listens in: how a cluster is recorded and played back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Protocol

from swarm_sd.discovery.http_session import Body
from swarm_sd.discovery.kv.backend import Registered


class Answers(Protocol):
    """Stands before the network; ``ask`` is the way there, which need not be taken.

    DiscoveryError as those would raise it that are asked.
    """

    async def docker(self, hosts: Sequence[str], url: str, ask: Callable[[], Awaitable[Body]], /) -> Body:
        """What a Docker API answers to GET ``url``, path and query. Each of ``hosts`` would tell it."""
        ...

    async def registered(self, discovery: str, ask: Callable[[], Awaitable[Registered]], /) -> Registered:
        """Who is registered in the store of a discovery URL."""
        ...

    def own_container(self, look: Callable[[], str], /) -> str:
        """The container that swarm-sd itself is in, as ``own_networks.own_container``."""
        ...


ANSWERS: ContextVar[Answers | None] = ContextVar("ANSWERS", default=None)
"""None: the network itself. Whoever is made while it is set asks there; nobody follows events then."""
