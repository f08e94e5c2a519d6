"""For how long hosts owe an answer of which nothing has come yet."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Silence:
    """Of one round of questions: what each host was asked, and whether it has begun to answer.

    A host that sends, or whose answer is being read, is not silent; nor is one of whose questions any is on
    its way. One question may be several requests.
    """

    def __init__(self) -> None:
        self._questions: dict[str, list[Owed]] = defaultdict(list)

    def __call__(self, host: str) -> float:
        """Seconds for which each of the questions that it was asked has a request without any answer."""
        return min((one.seconds() for one in self._questions[host]), default=0.0)

    @contextmanager
    def question(self, host: str) -> Iterator[Owed]:
        """Around one question."""
        owed = Owed()
        self._questions[host].append(owed)
        try:
            yield owed
        finally:
            self._questions[host].remove(owed)


class Owed:
    """The requests of one question that have no answer yet."""

    def __init__(self) -> None:
        self._since: dict[object, float] = {}  # by request: when it was begun, monotonic

    def seconds(self) -> float:
        """How long the longest of them waits; 0 where none does."""
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Around one request; gives what is to be called when something of its answer has come."""
        mark = object()
        self._since[mark] = time.monotonic()

        def heard() -> None:
            self._since.pop(mark, None)

        try:
            yield heard
        finally:
            heard()
