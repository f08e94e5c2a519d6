"""Fail-over: asks one of several hosts, and stays on the one that answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from swarm_sd.provider import DiscoveryError, HostStatus

log = structlog.stdlib.get_logger("discovery")

H = TypeVar("H", bound=str)
T = TypeVar("T")


@dataclass(slots=True)
class _Seen:
    """What became of asking one host."""

    state: str = "unknown"
    last_error: str = ""
    last_success: float | None = None
    latency: float | None = None
    heard: float = float("-inf")  # monotonic: when it answered or failed
    failures: Counter[str] = field(default_factory=Counter)


class Rotation(Generic[H]):
    """The hosts of one cluster, and which of them answers.

    A host that is silent for ``patience`` seconds is not given up, but the next is asked as well and the
    first good answer wins; so a round takes at most ``patience`` for each further host, and together
    not more than ``spread`` seconds, plus one time limit of a request, however many hosts hang. One that is
    sending is not silent, and one that usually takes long is given twice that time.

    Some hosts never answer a question that they took at a bad moment, and would answer the same one now: a
    host that owes the beginning of an answer for ``again[0]`` seconds is asked a second time beside the
    first, and so on.
    """

    def __init__(
        self,
        hosts: Sequence[H],
        *,
        patience: float = 2,
        spread: float = 10,
        again: Sequence[float] = (3, 6),
    ) -> None:
        self._patience, self._spread = patience, spread
        self._again = again
        self._configured = tuple(dict.fromkeys(hosts))
        self.hosts = self._configured
        self._active = 0
        self._seen = {host: _Seen() for host in self.hosts}

    def learn(self, hosts: Sequence[H]) -> None:
        """Hosts to be asked after the configured ones; those learned before that are not named now go.

        The one that answers now stays in any case.
        """
        active = self.active
        self.hosts = tuple(dict.fromkeys((*self._configured, *hosts, active)))
        self._active = self.hosts.index(active)
        self._seen = {host: self._seen.get(host, _Seen()) for host in self.hosts}

    @property
    def active(self) -> H:
        """The host that answered last, or that is asked first."""
        return self.hosts[self._active]

    async def ask(
        self,
        question: Callable[[H], Awaitable[T]],
        *,
        silence: Callable[[H], float] | None = None,
        usual: float = 0.0,
    ) -> tuple[H, T]:
        """(host, its answer) of the first host that gives one, the active host first.

        ``question`` raises DiscoveryError where its host cannot tell. When none can, the DiscoveryError
        raised has the first host's reason and every host's message. ``silence``: the seconds for which a
        host owes the beginning of an answer, 0 while one is coming; nobody is asked again without it.
        ``usual``: the seconds until such an answer began last time.
        """
        asked: dict[asyncio.Task[T], H] = {}
        errors: dict[H, DiscoveryError] = {}
        order = [*self.hosts[self._active :], *self.hosts[: self._active]]
        patience = max(min(self._patience, self._spread / len(order)), 2 * usual)
        again = [max(seconds, 2 * usual * number) for number, seconds in enumerate(self._again, 1)]
        everybody: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            for number, host in enumerate(order, 1):
                asked[asyncio.ensure_future(self._insist(host, question, silence, again, everybody))] = host
                if last := number == len(order):
                    everybody.set_result(None)
                if (
                    answer := await self._first(asked, errors, None if last else patience, silence)
                ) is not None:
                    return answer
        finally:
            await _ended(asked)
        raise _none_answered([errors[host] for host in order])

    async def _insist(
        self,
        host: H,
        question: Callable[[H], Awaitable[T]],
        silence: Callable[[H], float] | None,
        again: Sequence[float],
        everybody: asyncio.Future[None],
    ) -> T:
        """The host's answer; asks it again once ``everybody`` was asked and as long as it is silent.

        What is asked later can only help: the host cannot tell when the first question has failed.
        """
        first = asyncio.ensure_future(self._timed(host, question))
        asked, asked_at = {first}, time.monotonic()
        times = list(again)
        try:
            await asyncio.wait((first, everybody), return_when=asyncio.FIRST_COMPLETED)
            while not first.done():
                left = None
                if silence is not None and times:
                    left = times[0] - min(silence(host), time.monotonic() - asked_at)
                if left is not None and left <= 0:
                    asked.add(asyncio.ensure_future(self._timed(host, question)))
                    asked_at = time.monotonic()
                    del times[0]
                    continue
                done, _ = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not isinstance(task.exception(), DiscoveryError):
                        return task.result()
                asked -= done - {first}
            return first.result()
        finally:
            await _ended(asked)

    async def _timed(self, host: H, question: Callable[[H], Awaitable[T]]) -> T:
        """The host's answer; notes how long it took."""
        started = time.monotonic()
        answer = await question(host)
        if (seen := self._seen.get(host)) is not None:
            seen.latency = time.monotonic() - started
        return answer

    def idle(self, seconds: float) -> H | None:
        """The host, not the active one, of which nothing was heard for the longest: ``seconds`` at least."""
        others = [host for index, host in enumerate(self.hosts) if index != self._active]
        longest = min(others, key=lambda host: self._seen[host].heard, default=None)
        if longest is None or time.monotonic() - self._seen[longest].heard < seconds:
            return None
        return longest

    def never_heard(self, host: H) -> bool:
        """Whether nothing was ever heard of it."""
        return self._seen[host].state == "unknown"

    async def probe(self, host: H, question: Callable[[H], Awaitable[T]]) -> T | None:
        """Asks a host only to know how it fares; None where it cannot tell. The active host stays."""
        try:
            answer = await self._timed(host, question)
        except DiscoveryError as err:
            self._failed(host, err.reason, str(err))
            return None
        self._fine(host)
        return answer

    async def _first(
        self,
        asked: dict[asyncio.Task[T], H],
        errors: dict[H, DiscoveryError],
        patience: float | None,
        silence: Callable[[H], float] | None,
    ) -> tuple[H, T] | None:
        """The first good answer of those asked; None after ``patience``, or when all of them failed."""
        until = None if patience is None else time.monotonic() + patience
        while asked:
            left = None if until is None else max(0.0, until - time.monotonic())
            done, _ = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                quiet = min(map(silence, asked.values())) if silence is not None else float("inf")
                if patience is None or quiet >= patience:
                    return None
                until = time.monotonic() + patience - quiet  # one of them is sending
                continue
            for task in done:
                host = asked.pop(task)
                try:
                    answer = task.result()
                except DiscoveryError as err:
                    errors[host] = err
                    self._failed(host, err.reason, str(err))
                except Exception as err:
                    # ours, but one host's odd answer must not keep us from asking the next
                    log.exception("a host's answer could not be dealt with", host=str(host))
                    errors[host] = DiscoveryError("bug", f"{host}: {type(err).__name__}: {err}")
                    self._failed(host, "bug", str(errors[host]))
                else:
                    self._succeeded(host, overtaken=asked.values())
                    return host, answer
        return None

    def _failed(self, host: H, reason: str, message: str) -> None:
        seen = self._seen.get(host)
        if seen is None:  # it was learned, and is not told of any more
            return
        seen.state, seen.last_error, seen.heard = "down", message, time.monotonic()
        seen.failures[reason] += 1

    def _succeeded(self, host: H, overtaken: Iterable[H]) -> None:
        for slow in overtaken:
            self._failed(slow, "slow", f"{slow}: no answer yet when {host} answered")
        self._fine(host)
        if host in self.hosts:
            self._active = self.hosts.index(host)

    def _fine(self, host: H) -> None:
        seen = self._seen.setdefault(host, _Seen())
        seen.state, seen.last_error, seen.last_success = "up", "", time.time()
        seen.heard = time.monotonic()

    def status(self) -> tuple[HostStatus, ...]:
        """What is known of each host, in the order they are configured."""
        return tuple(
            HostStatus(
                name=str(host),
                state=seen.state,
                active=index == self._active and seen.state == "up",
                last_error=seen.last_error,
                last_success=seen.last_success,
                latency=seen.latency,
                failures=dict(seen.failures),
            )
            for index, (host, seen) in enumerate(self._seen.items())
        )


async def _ended(tasks: Collection[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _none_answered(errors: Sequence[DiscoveryError]) -> DiscoveryError:
    return DiscoveryError(errors[0].reason, "; ".join(str(err) for err in errors))
