"""For how long hosts have been silent that owe an answer."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Silence:
    """Of one round of questions: since when nothing has come of what each host was asked.

    A host that sends, or whose answer is being read, is not silent; nor is one of whose questions any is on
    its way. One question may be several requests. ``longest``: the longest silence that an answer ended.
    """

    def __init__(self) -> None:
        self._questions: dict[str, list[Owed]] = defaultdict(list)
        self.longest = 0.0  # seconds

    def __call__(self, host: str) -> float:
        """Seconds for which nothing has come of any of the questions that it was asked."""
        return min((one.seconds() for one in self._questions[host]), default=0.0)

    @contextmanager
    def question(self, host: str) -> Iterator[Owed]:
        """Around one question."""
        owed = Owed(self)
        self._questions[host].append(owed)
        try:
            yield owed
        finally:
            self._questions[host].remove(owed)


class Owed:
    """The requests of one question that are not answered yet."""

    def __init__(self, silence: Silence) -> None:
        self._silence = silence
        self._requests = 0
        self._heard = time.monotonic()  # when something came last, or was first asked for

    def seconds(self) -> float:
        """For how long nothing has come; 0 where nothing is owed."""
        return time.monotonic() - self._heard if self._requests else 0.0

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Around one request; gives what is to be called when something of its answer has come."""
        if not self._requests:
            self._heard = time.monotonic()
        self._requests += 1
        try:
            yield self._hear
        finally:
            self._requests -= 1

    def _hear(self) -> None:
        now = time.monotonic()
        self._silence.longest = max(self._silence.longest, now - self._heard)
        self._heard = now


class Pace:
    """For how long hosts are usually silent before they answer: a large list takes them seconds."""

    def __init__(self) -> None:
        self.usual = 0.0  # seconds
