"""The contract that the provider of every kind keeps, as tests to inherit.

``class TestMine(Contract): worlds = {"mine": MyWorld}`` runs all of it over a kind; a ``World`` is a cluster
of that kind that the tests can change, break and mend. docs/add-a-kind.md shows how.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from blockbuster import blockbuster_ctx

from swarm_sd.model import ADDRESS, TargetGroup
from swarm_sd.provider import Reporting, SDConfig, TargetProvider

_PATIENCE = 20.0  # seconds until a test gives up; what it waits for takes milliseconds
_PROMPT = 1.0  # seconds that a cancelled run may still take


class World(ABC):
    """A cluster of one kind, real as far as that can be: sockets and files, not mocks.

    Made anew for each test, in an empty folder; ``async with`` starts and stops it. ``faults`` are the names
    that ``break_`` knows; if anybody is asked, one of them must be to get no answer at all.
    """

    faults: ClassVar[Sequence[str]]
    modules: ClassVar[Sequence[str | ModuleType]] = ("swarm_sd",)
    """Modules and packages in whose calls nothing may block the loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def __aenter__(self) -> World:
        return self

    async def __aexit__(self, *_: object) -> None:  # noqa: B027 - a world of files has nothing to stop
        """Stops it."""

    @abstractmethod
    def config(self) -> SDConfig:
        """The entry that discovers this world, with an interval of milliseconds; equal at every call."""

    def provider(self) -> TargetProvider:
        """The provider under test; override it to give it time limits of milliseconds."""
        return self.config().provider()

    @abstractmethod
    def addresses(self) -> frozenset[str]:
        """Every ``__address__`` that there has to be now, whether the world is broken or not."""

    @abstractmethod
    def grow(self) -> None:
        """One target more; in a broken world this mends nothing."""

    @abstractmethod
    def shrink(self) -> None:
        """One target less, and if groups come and go, one group less."""

    @abstractmethod
    def drift(self) -> None:
        """What changes while the targets stay the same: counters, times, the order of things."""

    @abstractmethod
    def break_(self, fault: str) -> None:
        """From now on nobody can tell what there is."""

    @abstractmethod
    def mend(self) -> None:
        """All is well again."""

    def looks(self, provider: TargetProvider) -> int:
        """How often the provider has begun to look at the world, in vain or not.

        A provider that cannot say so itself needs another way to count: requests, connections, messages.
        """
        assert isinstance(provider, Reporting), "override World.looks: the provider has no status()"
        return provider.status().refreshes


class Running:
    """A provider that runs, and everything that it has sent."""

    def __init__(self, world: World, provider: TargetProvider) -> None:
        self.world = world
        self.provider = provider
        self.updates: list[Sequence[TargetGroup]] = []
        self.groups: dict[str, TargetGroup] = {}  # what stands, as the manager keeps it
        self.complaints: list[str] = []
        self.task = asyncio.create_task(self._run())
        self._heard: set[str] = set()
        self.first_complete: frozenset[str] | None = None  # addresses when the list was first complete

    async def _run(self) -> None:
        await self.provider.run(self.up)

    def up(self, groups: Sequence[TargetGroup], /) -> None:
        """Takes an update as the manager does, and looks closely at it."""
        self.complaints += [complaint for complaint in complaints(groups) if complaint not in self.complaints]
        self.updates.append(list(groups))
        for group in groups:
            self._heard.add(group.source)
            self.groups[group.source] = group
            if not group.targets:
                del self.groups[group.source]
        if self.first_complete is None and self.complete():
            self.first_complete = self.addresses()

    def complete(self) -> bool:
        """Whether every source was heard, so that the list is served."""
        return bool(self.updates) and self.provider.sources() <= self._heard

    def addresses(self) -> frozenset[str]:
        """The addresses that stand."""
        return frozenset(target[ADDRESS] for group in self.groups.values() for target in group.targets)

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Waits until ``true()``; fails when the provider has ended, or it takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while not true():
                    assert not self.task.done(), f"run() ended: {self.how_it_ended()}"
                    await asyncio.sleep(0.002)
        assert not self.complaints, "\n".join(self.complaints)
        assert true(), f"waited {_PATIENCE:g} s in vain until {what}; targets now: {sorted(self.addresses())}"

    def how_it_ended(self) -> str:
        """In words."""
        return "cancelled" if self.task.cancelled() else repr(self.task.exception() or "it returned")

    async def right(self) -> None:
        """Waits until the list is complete and the truth."""
        await self.until(
            lambda: self.complete() and self.addresses() == self.world.addresses(),
            f"the targets are {sorted(self.world.addresses())}",
        )

    async def looked(self, times: int = 1) -> None:
        """Waits until it has begun to look ``times`` times more: all but the last look are over then."""
        before = self.world.looks(self.provider)
        await self.until(
            lambda: self.world.looks(self.provider) >= before + times, f"it looks {times} times more"
        )

    async def stop(self) -> float:
        """Cancels it; gives the seconds that it took to end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.task.cancel()
        await asyncio.wait([self.task], timeout=_PATIENCE)
        assert self.task.done(), f"run() goes on {_PATIENCE:g} s after it was cancelled"
        assert self.task.cancelled(), f"run() swallowed its cancellation: {self.how_it_ended()}"
        return loop.time() - began


# -- what an update has to look like ---------------------------------------------------------------------

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HOST_PORT = re.compile(r"(?:\[[0-9a-fA-F:.]+(?:%[^\]]+)?\]|[^\s:/\[\]@?#]+):([0-9]{1,5})")


def complaints(groups: object) -> list[str]:
    """What is wrong with an update."""
    if not isinstance(groups, Sequence) or not all(isinstance(group, TargetGroup) for group in groups):
        return [f"up() takes a sequence of TargetGroups, not {groups!r}"]
    sources = [group.source for group in groups]
    found = [f"source {source!r} is there twice" for source in set(sources) if sources.count(source) > 1]
    for group in groups:
        found += _label_complaints(group.labels, f"labels of {group.source!r}")
        for target in group.targets:
            where = f"target {target.get(ADDRESS)!r} of {group.source!r}"
            found += _label_complaints(target, where)
            port = _HOST_PORT.fullmatch(str(target.get(ADDRESS, "")))
            if port is None or not 0 < int(port[1]) <= 65535:
                found.append(f"{where}: __address__ must be host:port, an IPv6 address in brackets")
    if threading.current_thread() is not threading.main_thread():
        found.append("up() belongs to the event loop's thread")
    return found


def _label_complaints(labels: Mapping[Any, Any], where: str) -> list[str]:
    return [
        f"{where}: label {name!r}: {value!r}: a name is [a-zA-Z_][a-zA-Z0-9_]*, a value a str"
        for name, value in labels.items()
        if not (isinstance(name, str) and _LABEL_NAME.fullmatch(name) and isinstance(value, str))
    ]


# -- what may not be left over ------------------------------------------------------------------------------


def _sockets() -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(descriptor.readlink()))
    return {name for name in found if name.startswith("socket:")}


def _threads() -> set[threading.Thread]:
    # the threads of asyncio.to_thread belong to the loop and stay for the next who needs one
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


@contextlib.asynccontextmanager
async def nothing_left_over() -> AsyncIterator[None]:
    """Fails where a task, a socket, a thread or an error that nobody took is left over from inside."""
    loop = asyncio.get_running_loop()
    unseen: list[str] = []
    loop.set_exception_handler(lambda _, context: unseen.append(str(context)))
    tasks, sockets, threads = asyncio.all_tasks(), _sockets(), _threads()
    yield
    gc.collect()  # what was forgotten complains when it is collected
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PROMPT):  # a closed transport's socket goes a turn of the loop later
            while (asyncio.all_tasks() | _threads() | _sockets()) - (tasks | threads | sockets):
                await asyncio.sleep(0.002)
    loop.set_exception_handler(None)
    assert not asyncio.all_tasks() - tasks, f"tasks left over: {asyncio.all_tasks() - tasks}"
    assert not _threads() - threads, f"threads left over: {_threads() - threads}"
    assert not _sockets() - sockets, f"sockets left over: {len(_sockets() - sockets)}"
    assert not unseen, f"errors that nobody took: {unseen}"


# -- the contract ------------------------------------------------------------------------------------------


class Contract:
    """Tests of every promise; ``worlds`` are the worlds to run them in, by a name for the test's ID."""

    worlds: ClassVar[Mapping[str, type[World]]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each test in each world; those about trouble once for each fault."""
        if "fault" in metafunc.fixturenames:
            pairs = [
                pytest.param(make, fault, id=f"{name}-{fault}")
                for name, make in self.worlds.items()
                for fault in make.faults
            ]
            metafunc.parametrize(("make_world", "fault"), pairs)
        elif "make_world" in metafunc.fixturenames:
            metafunc.parametrize("make_world", self.worlds.values(), ids=self.worlds.keys())

    # -- what there is ----------------------------------------------------------------------------

    async def test_sources_may_be_asked_before_run_and_asks_nobody(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            provider = world.provider()
            before = _sockets()
            sources = provider.sources()
            assert isinstance(sources, frozenset), f"sources() gives a frozenset, not {sources!r}"
            assert all(isinstance(source, str) for source in sources), f"sources are texts: {sources!r}"
            assert world.looks(provider) == 0, "sources() has looked at the world"
            assert _sockets() == before, "sources() has opened a socket"

    async def test_the_first_complete_list_is_the_truth(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world, running(world) as run:
            await run.until(run.complete, "every source of sources() was heard")
            assert run.first_complete == world.addresses(), (
                f"a list that is not the truth would be served first: {run.first_complete}"
            )

    async def test_a_new_target_comes_and_a_vanished_one_goes(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world, running(world) as run:
            await run.right()
            for change in (world.grow, world.shrink, world.shrink, world.grow):
                before = world.addresses()
                change()
                assert world.addresses() != before, f"World.{change.__name__} must change addresses()"
                await run.right()

    async def test_the_same_world_gives_the_same_groups(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            seen = []
            for _ in range(3):
                async with running(world) as run:
                    await run.right()
                    seen.append(run.groups)
            assert seen[0] == seen[1] == seen[2], "another provider of the same class gives other groups"

    async def test_targets_do_not_change_while_only_counters_and_times_do(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world, running(world) as run:
            await run.right()
            # what is learned later than the first answer may still come
            await run.looked(3)
            before = dict(run.groups)
            for _ in range(5):
                world.drift()
                await run.looked(2)
                assert run.groups == before, "a label changes while its target stays the same"

    async def test_equal_entries_are_equal_and_have_one_identity(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            one, other = world.config(), world.config()
            assert one == other, "entries that say the same must be equal: they share a provider"
            assert repr(one.identity()) == repr(other.identity()), "identity() needs a stable repr()"
            assert one.problems() == [], f"the world's own entry has problems: {one.problems()}"

    # -- trouble --------------------------------------------------------------------------------------

    async def test_trouble_sends_nothing_and_the_truth_comes_right_after_it(
        self, make_world, fault, tmp_path
    ):
        async with self.living(make_world, tmp_path) as world, running(world) as run:
            await run.right()
            world.break_(fault)
            # one look may have begun in good times, and one be answered by a list that is still young
            await run.looked(2)
            sent, stood = len(run.updates), dict(run.groups)
            await run.looked(2)
            assert run.updates[sent:] == [], "nobody can tell what there is, and yet something is sent"
            assert run.groups == stood, "the last good targets must stand"
            world.grow()
            world.mend()
            await run.right()

    async def test_trouble_at_the_start_is_no_other_trouble(self, make_world, fault, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            world.break_(fault)
            async with running(world) as run:
                await run.looked(2)
                assert not run.complete(), f"the list is complete though nobody could tell: {run.groups}"
                world.mend()
                await run.right()
                assert run.first_complete == world.addresses(), (
                    f"a list that is not the truth would be served first: {run.first_complete}"
                )

    # -- the end --------------------------------------------------------------------------------------

    async def test_cancellation_ends_it_at_once(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            run = Running(world, world.provider())
            await run.right()
            took = await run.stop()
            assert took < _PROMPT, f"a cancelled run() takes {took:.1f} s to end"

    async def test_cancellation_before_the_first_answer_ends_it_at_once(self, make_world, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            run = Running(world, world.provider())
            await asyncio.sleep(0)
            took = await run.stop()
            assert took < _PROMPT, f"a cancelled run() takes {took:.1f} s to end"

    async def test_cancellation_ends_it_at_once_in_trouble(self, make_world, fault, tmp_path):
        async with self.living(make_world, tmp_path) as world:
            run = Running(world, world.provider())
            await run.right()
            world.break_(fault)
            await run.looked(2)
            took = await run.stop()
            assert took < _PROMPT, f"a cancelled run() takes {took:.1f} s to end"

    # -- how the tests live -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def living(self, make_world: type[World], folder: Path) -> AsyncIterator[World]:
        """A world; nothing may block the loop while it lives, and nothing be left over after it."""
        async with nothing_left_over():
            async with make_world(folder) as world:
                with blockbuster_ctx(list(world.modules), excluded_modules=["swarm_sd.sim"]):
                    yield world


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[Running]:
    """A provider of the world that runs while inside; its updates must be in order."""
    run = Running(world, world.provider())
    try:
        yield run
        assert not run.task.done(), "run() must not end by itself"
    finally:
        run.task.cancel()
        await asyncio.wait([run.task], timeout=_PATIENCE)
    assert not run.complaints, "\n".join(run.complaints)
    assert run.task.cancelled(), f"run() ended: {run.how_it_ended()}"
