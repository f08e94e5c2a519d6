"""A session with ZooKeeper: kazoo's client, asked from the event loop.

kazoo runs threads of its own, and nothing here waits for them on the loop: questions are put with kazoo's
``*_async`` methods in a thread, and the answers come back through ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from swarm_sd.discovery import credentials
from swarm_sd.discovery.http_client import TLSConfig
from swarm_sd.provider import DiscoveryError

SESSION = 10.0
"""Seconds after which ZooKeeper gives up a session that it does not hear of. We hold no key by it."""

MISSING = (
    "zk:// needs the package kazoo, which is not installed: pip install 'prometheus-swarm-sd[zookeeper]'"
)


def is_installed() -> bool:
    """Whether kazoo is."""
    return find_spec("kazoo") is not None


class Session:
    """kazoo's client, asked from the event loop."""

    def __init__(
        self,
        endpoints: tuple[str, ...],
        tls: TLSConfig | None,
        auth: list[tuple[str, str]],
        log: Log,
        interrupted: Callable[[], None],
    ) -> None:
        from kazoo.client import KazooClient
        from kazoo.retry import KazooRetry

        self._loop = asyncio.get_running_loop()
        self._log = log
        self._connected = asyncio.Event()
        self._life = threading.Lock()
        self._closed = False
        self._client = KazooClient(
            hosts=",".join(endpoints),
            timeout=SESSION,
            handler=_handler(tls),
            auth_data=auth,
            logger=log,
            connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=2.0),
        )
        connected = self.calling(self._connected.set)
        self.wake = wake = self.calling(interrupted)

        def listen(state: str) -> None:
            if state == "CONNECTED":
                connected()
            wake()

        self._client.add_listener(listen)

    async def start(self) -> None:
        """Connects; in a thread, for kazoo opens sockets and starts threads. Ends with the connection."""
        await asyncio.to_thread(self._start)
        await self._connected.wait()

    def _start(self) -> None:
        with self._life:
            if not self._closed:
                self._client.start_async()

    @property
    def is_over(self) -> bool:
        """Whether kazoo has given up: it does not try again after a refusal."""
        return str(self._client.client_state) in ("AUTH_FAILED", "CLOSED")

    def calling(self, what: Callable[[], None]) -> Callable[..., None]:
        """``what``, to be called from kazoo's threads."""

        def call(*_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
                self._loop.call_soon_threadsafe(what)

        return call

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        """Kazoo's answer; None where nothing is at ``path``. DiscoveryError for what else goes wrong."""
        from kazoo.exceptions import NoNodeError

        answered = asyncio.Event()

        def ask() -> Any:
            asked = getattr(self._client, f"{method}_async")(path, **more)
            asked.rawlink(self.calling(answered.set))
            return asked

        asked = await asyncio.to_thread(ask)  # it wakes kazoo's thread through a socket that may block
        await answered.wait()
        error = asked.exception
        if error is None:
            return asked.value
        if isinstance(error, NoNodeError):
            return None
        raise _named(error, self._log.last)

    async def close(self) -> None:
        """Ends it; what is still asked is answered with an error."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._life:  # whoever gives up at once must not be overtaken by the start
            self._closed = True
            self._client.stop()
            self._client.close()


def _handler(tls: TLSConfig | None) -> Any:
    from kazoo.handlers.threading import SequentialThreadingHandler

    class Handler(SequentialThreadingHandler):  # type: ignore[misc]
        """kazoo's own, but with TLS as the configuration describes it, files read anew."""

        def create_connection(self, address: Any, hostname: str = "", timeout: float = 10, **_: Any) -> Any:
            if tls is None:
                return socket.create_connection(address, timeout)
            try:
                context = credentials.context(tls)
            except DiscoveryError as err:
                raise OSError(str(err)) from err
            sock = socket.create_connection(address, timeout)
            try:
                return context.wrap_socket(sock, server_hostname=tls.server_name or hostname)
            except BaseException:
                sock.close()
                raise

        def select(self, reading: Any, *more: Any, **named: Any) -> Any:
            # what TLS has read already, no look at the socket finds
            ready = [one for one in reading if isinstance(one, ssl.SSLSocket) and one.pending()]
            return (ready, [], []) if ready else super().select(reading, *more, **named)

    return Handler()


class Log(logging.Logger):
    """Keeps the last warning and says nothing: kazoo logs whole requests, with passwords in them."""

    def __init__(self) -> None:
        super().__init__("kazoo", logging.WARNING)
        self.last = ""
        self.propagate = False

    def handle(self, record: logging.LogRecord) -> None:
        """Keeps it."""
        self.last = record.getMessage()[:200]


def _named(error: BaseException, said: str) -> DiscoveryError:
    from kazoo import exceptions

    if isinstance(error, exceptions.AuthFailedError | exceptions.NoAuthError):
        return DiscoveryError(
            "credentials", "ZooKeeper does not let us read; give basic_auth, or another ACL"
        )
    lost = exceptions.ConnectionLoss | exceptions.SessionExpiredError | exceptions.ConnectionClosedError
    if isinstance(error, lost):
        return DiscoveryError("reset", f"no connection{f': {said}' if said else ''}")
    return DiscoveryError("other", f"{type(error).__name__}: {error}")
