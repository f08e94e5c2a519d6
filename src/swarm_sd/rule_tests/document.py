"""The file of tests: YAML to tests, strictly; every complaint with its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from swarm_sd import config
from swarm_sd.config import Complaint, ConfigError
from swarm_sd.config.complaints import Report, did_you_mean
from swarm_sd.config.decode import Decoder, locate
from swarm_sd.config.document import Document, read
from swarm_sd.config.nodes import Node
from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.lists import CONTAINERS, NETWORKS, NODES, SERVICES, TASKS
from swarm_sd.job import Job
from swarm_sd.recording import document as recorded
from swarm_sd.recording.document import Cluster, Group, Recording


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target that shall be scraped. ``labels`` are some of its labels, "" for one that it must not have.

    ``exact``: it has no others, but for those that begin with ``__`` and the ``job`` and ``instance`` that
    Prometheus gives it.
    """

    address: str = ""
    labels: dict[str, str] = {}
    exact: bool = False

    def problems(self) -> list[tuple[str, str]]:
        """That it names no target."""
        return _names_nothing(self.address, self.labels)


class Dropped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Discovered targets that shall be dropped, by what is discovered of them; ``rule`` counts from 1."""

    address: str = ""
    labels: dict[str, str] = {}
    rule: int | None = None

    def problems(self) -> list[tuple[str, str]]:
        """That it names no target, or a rule that cannot be."""
        found = _names_nothing(self.address, self.labels)
        if self.rule is not None and self.rule < 1:
            found.append(("rule", "rules are counted from 1"))
        return found


def _names_nothing(address: str, labels: dict[str, str]) -> list[tuple[str, str]]:
    return [] if address or labels else [("", "which target? give its address, some of its labels, or both")]


class PassedOver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Objects without a target, one of them at least; fields as in ``provider.PassedOver``."""

    reason: str
    kind: str = ""
    name: str = ""
    service: str = ""
    node: str = ""


class Expect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall come out. ``targets`` are all that are scraped, ``contains`` some of them."""

    targets: tuple[Target, ...] | None = None
    contains: tuple[Target, ...] = ()
    count: int | None = None
    dropped: tuple[Dropped, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()

    def problems(self) -> list[tuple[str, str]]:
        """That nothing is expected."""
        nothing = self == Expect()
        return [("", "nothing is expected; write targets: [] for no target at all")] if nothing else []


class Objects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Docker's objects as its API lists them; what is left out is an empty list."""

    nodes: tuple[wire.Node, ...] = ()
    services: tuple[wire.Service, ...] = ()
    tasks: tuple[wire.Task, ...] = ()
    networks: tuple[wire.Network, ...] = ()
    containers: tuple[wire.Container, ...] = ()

    def recording(self) -> Recording:
        """A cluster that has them, wherever it is asked."""
        lists = {
            NODES: self.nodes,
            SERVICES: self.services,
            TASKS: self.tasks,
            NETWORKS: self.networks,
            CONTAINERS: self.containers,
        }
        answers = {path: msgspec.Raw(msgspec.json.encode(objects)) for path, objects in lists.items()}
        return Recording(1, clusters=[Cluster(answers=answers)])


_GIVEN: Final = ("snapshot", "groups", "docker")


class _Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    job: str
    expect: Expect
    snapshot: str = ""
    groups: tuple[Group, ...] | None = None
    docker: Objects | None = None

    def problems(self) -> list[tuple[str, str]]:
        given = [name for name in _GIVEN if getattr(self, name)]
        return [(name, f"{given[0]} is given already; keep one of them") for name in given[1:]]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    config: str
    tests: tuple[_Test, ...]
    snapshot: str = ""

    def problems(self) -> list[tuple[str, str]]:
        found = [] if self.tests else [("tests", "there is no test")]
        for index, test in enumerate(self.tests):
            if not (self.snapshot or test.snapshot or test.docker is not None or test.groups is not None):
                why = (
                    f"nothing to discover from; give one of {', '.join(_GIVEN)}, or a snapshot for all tests"
                )
                found.append((f"tests[{index}]", why))
        return found


@dataclass(frozen=True, eq=False)
class RuleTest:
    """One test. ``given``: what its job discovers from, or the groups that it discovered."""

    name: str
    place: str  # file:line:column
    job: Job
    given: Recording | tuple[Group, ...]
    expect: Expect


def load(path: Path) -> tuple[RuleTest, ...]:
    """The tests of a file. ``ConfigError`` with all that is wrong in it or in what it names."""
    report = Report()
    document = read(path, str(path), report)
    report.raise_if_any()
    if document is None or document.root is None:
        raise ConfigError([Complaint(str(path), 1, 1, "", "the file is empty; it needs config and tests")])
    return _Reader(document, document.root, report).tests()


class _Reader:
    def __init__(self, document: Document, root: Node, report: Report) -> None:
        self._document = document
        self._root = root
        self._report = report
        self._decoder = Decoder(document, report)
        self._recordings: dict[str, Recording | None] = {}

    def tests(self) -> tuple[RuleTest, ...]:
        file = self._decoder.decode(self._root, _File, "")
        self._report.raise_if_any()
        jobs = {job.name: job for job in config.load(self._beside(file.config)).jobs}
        made = [self._test(file, index, jobs) for index in range(len(file.tests))]
        self._report.raise_if_any()
        return tuple(one for one in made if one is not None)

    def _beside(self, name: str) -> Path:
        return self._document.path.parent / name

    def _test(self, file: _File, index: int, jobs: dict[str, Job]) -> RuleTest | None:
        test, path = file.tests[index], f"tests[{index}]"
        if test.job not in jobs:
            near = did_you_mean(test.job, jobs) or f"; there are: {', '.join(jobs) or 'none'}"
            self._complain(f"{path}.job", f"no job {test.job!r} with an entry of ours in {file.config}{near}")
            return None
        job = jobs[test.job]
        for number, dropped in enumerate(test.expect.dropped):
            if (dropped.rule or 0) > len(job.rules):
                what = f"the job has {len(job.rules)} rules"
                self._complain(f"{path}.expect.dropped[{number}].rule", what)
        given = self._given(file, test, path)
        place = self._document.where(locate(self._root, path).start)
        return RuleTest(test.name, place, job, given, test.expect) if given is not None else None

    def _given(self, file: _File, test: _Test, path: str) -> Recording | tuple[Group, ...] | None:
        if test.docker is not None:
            return test.docker.recording()
        if test.groups is not None:
            return test.groups
        where = f"{path}.snapshot" if test.snapshot else "snapshot"
        return self._recording(test.snapshot or file.snapshot, where)

    def _recording(self, name: str, where: str) -> Recording | None:
        if name not in self._recordings:
            self._recordings[name] = None
            try:
                self._recordings[name] = recorded.parse(self._beside(name).read_bytes())
            except OSError as err:
                self._complain(where, f"cannot read {name}: {err.strerror}")
            except ValueError as err:
                self._complain(where, f"{name}: {err}")
        return self._recordings[name]

    def _complain(self, where: str, what: str) -> None:
        self._decoder.tell(self._root, "", [(where, what)])
