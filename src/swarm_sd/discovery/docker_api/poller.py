"""The loop of a provider whose lists are those of a cluster that it shares with others."""

from __future__ import annotations

from collections.abc import Sequence

from swarm_sd.discovery.docker_api.cluster import Cluster
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import Lists, Wanted
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.provider import EventsStatus, HostStatus, Poller, Prompt, Up


class ClusterPoller(Poller):
    """Asks ``hosts`` for ``wanted``; ``list`` makes groups of ``lists()``, again whenever they changed.

    ``timeout``: seconds a request may take, None for what the entry gives it. The source of a group ends with
    ``/`` and the ID of what it is made of.
    """

    def __init__(
        self,
        name: str,
        config: DockerAPIConfig,
        hosts: Sequence[Host],
        wanted: Sequence[Wanted],
        *,
        timeout: float | None = None,
        learn_managers: bool = False,
    ) -> None:
        super().__init__(name, float(config.refresh_interval))
        self._api_config = config
        self._hosts = hosts
        self._wanted = wanted
        self._timeout = config.request_timeout() if timeout is None else timeout
        self._learns = learn_managers
        self._cluster: Cluster | None = None

    async def run(self, up: Up, /) -> None:
        """Sends the groups after every change of the cluster's lists."""
        config = self._api_config
        self._cluster = Cluster.of(config.kind, self._hosts, config, timeout=self._timeout)
        if self._learns:
            self._cluster.learn_managers()
        self._cluster.want(self, self._wanted, interval=self._interval, changed=self.hint)
        await super().run(up)

    async def lists(self) -> Lists:
        """What is listed now. DiscoveryError while nobody can tell."""
        if self._cluster is None:
            raise RuntimeError("lists() belongs to run()")
        return await self._cluster.lists(self._wanted, self._interval)

    async def close(self) -> None:
        """Leaves the cluster to the others."""
        if self._cluster is not None:
            await self._cluster.release(self)

    def prompt(self) -> Prompt:
        """What made the cluster be asked for what changed."""
        own = super().prompt()
        return self._cluster.prompt if own == "event" and self._cluster is not None else own

    def announced(self, source: str, /) -> bool:
        """Whether events have told just now that what the group is made of is gone or becomes less."""
        return self._cluster is not None and self._cluster.announced(source.rpartition("/")[2])

    def hosts(self) -> tuple[HostStatus, ...]:
        """The hosts."""
        return self._cluster.status() if self._cluster is not None else ()

    def events(self) -> tuple[EventsStatus, ...]:
        """The event stream of the active one."""
        return self._cluster.events() if self._cluster is not None else ()
