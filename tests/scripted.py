"""A kind of cluster that says what a test lets it say, and a manager that runs on it."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from swarm_sd.brake import MassLoss
from swarm_sd.job import Job
from swarm_sd.manager import Manager
from swarm_sd.model import TargetGroup
from swarm_sd.provider import Poller, SDConfig
from swarm_sd.relabel import RelabelConfig, compile_rule

RUNNING = {}  # cluster name -> the provider that runs for it
WORLD = {}  # cluster name -> its groups, or a DiscoveryError
OTHERS = {}  # cluster name -> what of it has no target
UNNAMED = {}  # cluster name -> by reason, how much of it nobody can name

DEFAULTS = {"__scheme__": "http", "__metrics_path__": "/metrics"}
DEFAULTS |= {"__scrape_interval__": "1m", "__scrape_timeout__": "10s"}


class ScriptedProvider(Poller):
    def __init__(self, config):
        super().__init__(config.cluster, config.interval)
        self.cluster = config.cluster

    async def list(self):
        RUNNING[self.cluster] = self
        answer = WORLD[self.cluster]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def passed_over(self):
        return OTHERS.get(self.cluster, ())

    def untargeted(self):
        named = Counter(one.reason for one in self.passed_over())
        return named + Counter(UNNAMED.get(self.cluster, {}))


class ScriptedConfig(SDConfig, frozen=True, kw_only=True):
    kind = "scripted"
    cluster: str
    interval: float = 0.01  # seconds
    token: str = ""

    def provider(self):
        return ScriptedProvider(self)

    def identity(self):
        return self.cluster


@pytest.fixture
def world():
    for told in (RUNNING, WORLD, OTHERS, UNNAMED):
        told.clear()
    return WORLD


def group(source, *targets, **labels):
    """A group of targets, each an address or all of its labels."""
    made = tuple({"__address__": one} if isinstance(one, str) else one for one in targets)
    return TargetGroup(source, made, labels)


def rule(action="replace", **fields):
    where = fields.pop("where", "")
    return compile_rule(RelabelConfig(action=action, **fields), where=where)


def job(name, *clusters, rules=(), **options):
    configs = [
        one if isinstance(one, SDConfig) else ScriptedConfig(cluster=one, **options) for one in clusters
    ]
    return Job(name, tuple(configs), tuple(rules), {"job": name, **DEFAULTS})


async def until(true, seconds=5):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(*jobs, **options):
    """A manager that runs on jobs; what each of them has is known, or could not be asked."""
    manager = Manager(pause=0, **{"brake": MassLoss(1), **options})
    task = asyncio.create_task(manager.run(jobs))
    try:
        await until(lambda: manager.status().entries or not jobs)
        await until(
            lambda: all(one.state != "unknown" or one.provider.last_error for one in manager.status().entries)
        )
        yield manager
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
