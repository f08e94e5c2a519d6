"""A very large swarm's lists in files: whole, cut out by service and ID, and changed where they lie."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from swarm_sd.sim.moby import large
from swarm_sd.sim.moby.answers import ApiError
from swarm_sd.sim.moby.filters import Filters

LISTS = ("nodes", "services", "tasks", "networks")
CHANGING = ("services", "tasks")

_STATES = (b'"running"', b'"failed" ')  # both of one length: JSON does not mind the blank
_BEFORE_ID = len('{"ID":"')
_INDEX = re.compile(rb'"Index":(?=\d{8}\D)')
_DIGITS = 8
# those of the list itself: an object within another follows its name and a colon
_OBJECT = re.compile(rb'(?<=[\[,])\{"ID":"[0-9a-z]{25}","Version"')

Span = tuple[int, int]


class StoredLists:
    """``large_swarm(nodes, tasks, seed)`` in ``files``, by list, while it is entered.

    What is changed is written to the files of CHANGING. Source of what filters do: ``filters.py``; here
    only whole IDs are known.
    """

    def __init__(self, files: dict[str, Path], nodes: int, tasks: int, seed: int) -> None:
        self.files = files
        self._layout = large.layout(nodes, tasks, seed)
        self._tasks = tasks
        self._index = large.FIRST_INDEX + tasks
        self._next = 0  # the task that is changed next
        self._maps: dict[str, mmap.mmap] = {}
        self._spans: dict[str, Sequence[Span]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for kind in LISTS:
            file = self._stack.enter_context(self.files[kind].open("r+b" if kind in CHANGING else "rb"))
            access = mmap.ACCESS_WRITE if kind in CHANGING else mmap.ACCESS_READ
            self._maps[kind] = self._stack.enter_context(mmap.mmap(file.fileno(), 0, access=access))
        for kind in ("nodes", "services"):
            self._spans[kind] = tuple(_spans(self._maps[kind]))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- parts --------------------------------------------------------------------------------------

    def part(self, kind: str, filters: Filters) -> bytes | None:
        """The body of a list filtered by IDs or, of tasks, by services; None for any other filters.

        ApiError 404 for tasks of a service that is not there.
        """
        known = {"nodes": {"id"}, "services": {"id"}, "tasks": {"id", "service"}}.get(kind, set())
        filters = {name: values for name, values in filters.items() if values}
        if not filters or not filters.keys() <= known:
            return None
        chosen = [self._named(kind, filters["id"])] if "id" in filters else []
        if "service" in filters:
            chosen.append(self._of_services(filters["service"]))
        objects = [self._object(kind, number) for number in sorted(set.intersection(*chosen))]
        return b"[" + b",".join(objects) + b"]\n"

    def _of_services(self, names: Sequence[str]) -> set[int]:
        found = self._named("services", names)
        if len(found) < len(set(names)):
            there = {self._name("services", number) for number in found}
            raise ApiError(404, f"service {next(one for one in names if one not in there)} not found")
        return {task for service in found for task in self.tasks_of(service)}

    def tasks_of(self, service: int) -> range:
        """The numbers of a service's tasks."""
        return range(service, self._tasks, len(self._spans["services"]))

    def _named(self, kind: str, names: Sequence[str]) -> set[int]:
        """The numbers of the objects with these IDs: an ID begins with seven digits of its number."""
        numbers = {int(name[:7]) for name in names if re.match("[0-9]{7}", name)}
        return {one for one in numbers if one < self._count(kind) and self._name(kind, one) in names}

    def _count(self, kind: str) -> int:
        return self._tasks if kind == "tasks" else len(self._spans[kind])

    def _span(self, kind: str, number: int) -> Span:
        if kind != "tasks":
            return self._spans[kind][number]
        begin = 1 + number * self._layout.stride
        return begin, begin + self._layout.stride - 1

    def _object(self, kind: str, number: int) -> bytes:
        begin, end = self._span(kind, number)
        return self._maps[kind][begin:end]

    def _name(self, kind: str, number: int) -> str:
        begin = self._span(kind, number)[0] + _BEFORE_ID
        return self._maps[kind][begin : begin + 25].decode()

    # -- changes ------------------------------------------------------------------------------------

    def change(self, share: float) -> int:
        """So many tasks differ from now on, the next ones in turn; how many."""
        count = min(round(self._tasks * share), self._tasks)
        for _ in range(count):
            self._change_task(self._next)
            self._next = (self._next + 1) % self._tasks
        return count

    def change_service(self, number: int) -> dict[str, str]:
        """The first task of a service fails, or runs if it had failed; the service's version goes up.

        Gives the IDs of both and the task's state.
        """
        begin, end = self._span("services", number)
        found = _INDEX.search(self._maps["services"], begin, end)
        assert found is not None  # noqa: S101 - every object has a version
        self._write("services", found.end(), self._next_index())
        state = self._change_task(number)
        return {
            "service": self._name("services", number),
            "task": self._name("tasks", number),
            "state": state,
        }

    def services(self) -> int:
        """How many there are."""
        return len(self._spans["services"])

    def _change_task(self, number: int) -> str:
        """Another state and version; the state."""
        begin = self._span("tasks", number)[0]
        self._write("tasks", begin + self._layout.index, self._next_index())
        at = begin + self._layout.state
        state = _STATES[1 - _STATES.index(self._maps["tasks"][at : at + len(_STATES[0])])]
        self._write("tasks", at, state)
        return state.decode().strip(' "')

    def _next_index(self) -> bytes:
        self._index += 1
        return b"%0*d" % (_DIGITS, self._index)

    def _write(self, kind: str, at: int, what: bytes) -> None:
        self._maps[kind][at : at + len(what)] = what


def _spans(body: mmap.mmap) -> Iterator[Span]:
    """Where each object of a list begins and ends."""
    begins = [found.start() for found in _OBJECT.finditer(body)]
    ends = [begin - 1 for begin in begins[1:]] + [body.rfind(b"]")]
    yield from zip(begins, ends, strict=True)
