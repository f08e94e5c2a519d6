"""Who asks for lists, how often, and with what success: the last clients, in memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

MOST: Final = 1000
"""How many clients are known; of more, those that were not seen for the longest are forgotten."""

POLLING: Final = 600.0
"""Seconds for which a client counts as one that polls, or three of its own intervals if that is longer."""

REFRESH_INTERVAL: Final = "X-Prometheus-Refresh-Interval-Seconds"
"""The header in which Prometheus tells how often it asks. Source: discovery/http of Prometheus."""

_LONGEST_TEXT = 300
_LONGEST_INTERVAL = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever asks for one list. Times are seconds since the epoch.

    ``address`` is the host that the connection came from, which may be a proxy's; ``path`` is as it came,
    without the query, ``relabel`` whether it had the rules run here. ``job`` is "" where the path names none.
    ``interval``: seconds, as the client announces them; None where it does not, or nonsense.
    """

    address: str
    user_agent: str
    path: str
    job: str
    interval: float | None
    first_time: float
    last_time: float
    requests: int
    last_status: int
    relabel: bool

    def polls(self, now: float) -> bool:
        """Whether it was seen so lately that it is likely to come again."""
        return now - self.last_time <= max(POLLING, 3 * (self.interval or 0))


class _Key(NamedTuple):
    address: str
    user_agent: str
    path: str
    relabel: bool


class Clients:
    """The last ``most`` clients; one is an address, a user agent and a list."""

    def __init__(self, *, most: int = MOST, clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._clock = clock
        self._known: dict[_Key, Client] = {}  # those seen last at the end

    def seen(
        self,
        *,
        address: str,
        path: str,
        job: str,
        relabel: bool,
        headers: Mapping[str, str],
        status: int,
    ) -> None:
        """Notes a request that was answered with ``status``."""
        user_agent = _short(headers.get("User-Agent", ""))
        key = _Key(address, user_agent, _short(path), relabel)
        now = self._clock()
        before = self._known.pop(key, None)
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = Client(
            address=address,
            user_agent=user_agent,
            path=key.path,
            job=job,
            interval=_interval(headers.get(REFRESH_INTERVAL, "")),
            first_time=before.first_time if before else now,
            last_time=now,
            requests=before.requests + 1 if before else 1,
            last_status=status,
            relabel=relabel,
        )

    def all(self) -> tuple[Client, ...]:
        """Every client that is known, the one seen last first."""
        return tuple(reversed(self._known.values()))

    def polling(self, jobs: Iterable[str]) -> Mapping[str, int]:
        """How many clients poll each of ``jobs`` now."""
        now = self._clock()
        found = Counter(client.job for client in self._known.values() if client.polls(now))
        return {job: found[job] for job in jobs}


def _interval(text: str) -> float | None:
    """The seconds that ``text`` tells; nan and other nonsense is None."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= _LONGEST_INTERVAL else None


def _short(text: str) -> str:
    """``text`` as UTF-8 can carry it, and not longer than anything sensible."""
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
