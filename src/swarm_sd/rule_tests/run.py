"""Runs tests: discovery as it always is, but what is asked answers out of a recording. No network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from swarm_sd.discovery.answers import ANSWERS
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, TargetGroup
from swarm_sd.once import Discovered, discover
from swarm_sd.provider import DiscoveryError, Poller, SDConfig, TargetProvider
from swarm_sd.recording.document import Group, Recording
from swarm_sd.recording.player import Player
from swarm_sd.recording.recorder import ANSWERED
from swarm_sd.rule_tests.document import RuleTest
from swarm_sd.rule_tests.judge import Line, differences

PATIENCE = 30.0
"""Seconds at most; nobody is waited for, so it takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a test; ``differences``: nothing where it passed."""

    test: RuleTest
    differences: tuple[Line, ...]


async def run(tests: Sequence[RuleTest]) -> tuple[Result, ...]:
    """The results of the tests of one file; what several of them discover from is gone through once."""
    found: dict[tuple[int, str], Discovered] = {}
    results = []
    for test in tests:
        key = id(test.given), test.job.name
        if key not in found:
            found[key] = await _discovered(test.job, test.given)
        results.append(Result(test, _judged(test, found[key])))
    return tuple(results)


def _judged(test: RuleTest, found: Discovered) -> tuple[Line, ...]:
    if found.failures:
        name = test.job.name
        return tuple(
            Line(" ", f"{name}/{index}: nothing discovered: {why}") for _, index, why in found.failures
        )
    return differences(test.expect, test.job, found)


async def _discovered(job: Job, given: Recording | tuple[Group, ...]) -> Discovered:
    if not isinstance(given, Recording):
        return await discover([replace(job, sd_configs=(_Given(groups=given),))], timeout=PATIENCE)
    told = {one.entry: tuple(one.groups) for one in given.entries if one.job == job.name}
    configs = tuple(
        config if isinstance(config, ANSWERED) else _Given(groups=told.get(index))
        for index, config in enumerate(job.sd_configs)
    )
    token = ANSWERS.set(Player(given))
    try:
        return await discover([replace(job, sd_configs=configs)], timeout=PATIENCE)
    finally:
        ANSWERS.reset(token)


class _Given(SDConfig, frozen=True, kw_only=True):
    """An entry that discovers these groups; None: they were not recorded."""

    kind: ClassVar[str] = "given"

    groups: tuple[Group, ...] | None = None

    def provider(self) -> TargetProvider:
        return _GivenProvider(self.groups)


class _GivenProvider(Poller):
    def __init__(self, groups: tuple[Group, ...] | None) -> None:
        super().__init__("given", PATIENCE)
        self._groups = groups

    async def list(self) -> Sequence[TargetGroup]:
        """The groups."""
        if self._groups is None:
            raise DiscoveryError("not_recorded", "the snapshot has no targets of this entry; record it anew")
        return [
            TargetGroup(str(number), tuple({ADDRESS: address} for address in group.targets), group.labels)
            for number, group in enumerate(self._groups)
        ]
