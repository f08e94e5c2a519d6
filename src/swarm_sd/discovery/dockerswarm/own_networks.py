"""``networks: [auto]``: the networks that swarm-sd's own container is on."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from swarm_sd.discovery.answers import ANSWERS
from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.filters import filters
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig, FilterConfig
from swarm_sd.discovery.docker_api.wire import Container, Task, decode_containers
from swarm_sd.discovery.dockerswarm.addresses import HOST, INGRESS
from swarm_sd.discovery.http_session import Body
from swarm_sd.provider import DiscoveryError

AUTO = "auto"

ASK_EVERY = 60.0
"""Seconds for which a container that is no task is believed to be on the networks that were told."""

_MOUNTINFO = Path("/proc/self/mountinfo")
_CONTAINER = re.compile(r"/containers/([0-9a-f]{64})/")  # where Docker keeps a container's hosts and hostname
_SHORT_ID = re.compile(r"[0-9a-f]{12}")


def own_container() -> str:
    """The ID of the container that this process is in, or how it begins; "" where it is in none.

    Reads a file.
    """
    answers = ANSWERS.get()
    return _own_container() if answers is None else answers.own_container(_own_container)


def _own_container() -> str:
    try:
        mounts = _MOUNTINFO.read_text(errors="replace")
    except OSError:
        mounts = ""
    return container_of(mounts, socket.gethostname())


def container_of(mountinfo: str, hostname: str) -> str:
    """The container's ID by its mounts, else by the host name that Docker gives if nobody else does."""
    if found := _CONTAINER.search(mountinfo):
        return found[1]
    return hostname if _SHORT_ID.fullmatch(hostname) else ""


def networks_of_task(container: str, tasks: Iterable[Task]) -> tuple[str, ...] | None:
    """The IDs of the networks of the task in ``container``, in order of name; None where no task is."""
    for task in tasks:
        status = task.status.container_status
        if status is not None and status.container_id.startswith(container):
            found = [one.network for one in task.networks_attachments or ()]
            usable = [one for one in found if not one.spec.ingress and one.spec.name not in (HOST, INGRESS)]
            return tuple(one.id for one in sorted(usable, key=lambda one: (one.spec.name, one.id)))
    return None


class OwnNetworks:
    """Finds them: among the tasks, else by asking each manager for the container.

    What was found stands until something else is found: that a proxy refuses ``/containers/json``, or that a
    manager restarts, changes no network.
    """

    def __init__(self, config: DockerAPIConfig, container: str, *, timeout: float) -> None:
        self._container = container
        self._api = DockerAPI(config.all_hosts(), config, timeout=timeout, negotiate=True)
        wanted = filters("containers", [FilterConfig(name="id", values=(container,))])
        self._path = f"/containers/json?limit=0&filters={quote(wanted.parameter)}"
        self._known: tuple[str, ...] | None = None
        self._asked_at = float("-inf")  # monotonic
        self._tasks: Sequence[Task] | None = None  # of the last time, and what they told
        self._as_task: tuple[str, ...] | None = None

    async def find(self, tasks: Sequence[Task]) -> tuple[str, ...]:
        """Their IDs, in order of name. DiscoveryError where they were never found."""
        if not self._container:
            raise DiscoveryError(
                "not_found", "networks: auto is for a swarm-sd in a container; name networks"
            )
        if tasks is not self._tasks:
            self._tasks, self._as_task = tasks, networks_of_task(self._container, tasks)
        self._known = await self._asked() if self._as_task is None else self._as_task
        return self._known

    async def _asked(self) -> tuple[str, ...]:
        if self._known is not None and time.monotonic() - self._asked_at < ASK_EVERY:
            return self._known
        self._asked_at = time.monotonic()
        try:
            _, found = await self._api.get(self._path, self._read)
        except DiscoveryError as err:
            if self._known is not None:
                return self._known
            raise DiscoveryError("not_found", f"networks: auto: own container not found: {err}") from err
        return found

    def _read(self, answer: Body) -> tuple[str, ...]:
        for container in decode_containers(answer):
            if container.id.startswith(self._container):
                return _networks(container)
        raise DiscoveryError("not_found", f"no container {self._container[:12]} there")

    async def close(self) -> None:
        """Closes every connection."""
        await self._api.close()


def _networks(container: Container) -> tuple[str, ...]:
    networks = container.network_settings.networks or {}
    return tuple(
        one.network_id for name, one in sorted(networks.items()) if one is not None and one.network_id
    )
