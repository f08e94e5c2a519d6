"""Times, numbers, states and troubles in plain words. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from swarm_sd.history import Why
from swarm_sd.manager import EntryStatus, Status
from swarm_sd.web.about import LastReload
from swarm_sd.web.page.links import link

WHY: Final[Mapping[Why, str]] = {
    "start": "first answer",
    "poll": "poll",
    "event": "event",
    "follow-up": "look after an event",
    "restored": "restored",
    "reload": "reload",
    "mass loss": "mass loss that lasted",
    "": "not told",
}

WHY_IN_FULL: Final[Mapping[Why, str]] = {
    "start": "The first answer after the start.",
    "poll": "A regular look at the end of the refresh interval; no event told of it before.",
    "event": "Docker, or the store of nodes, told of a change.",
    "follow-up": "What an event told of was still under way, so it was looked at again.",
    "restored": "Targets of an earlier run or configuration, until the cluster answers.",
    "reload": "The configuration was read again.",
    "mass loss": "Most targets were missing; that was held back, and believed when it lasted.",
    "": "The kind of discovery does not tell.",
}

STATES: Final = {
    "scraped": "Prometheus scrapes it.",
    "dropped": "A relabelling rule dropped it.",
    "refused": "The rules kept it, and Prometheus refuses what they made of it.",
}


def number(value: float) -> str:
    """With thousands apart."""
    return f"{value:,.0f}"


def counted(value: int, one: str, several: str = "") -> str:
    """``1 target``, ``1,200 targets``."""
    return f"{number(value)} {one if value == 1 else several or one + 's'}"


def span(seconds: float) -> str:
    """A span of time in its largest unit: ``40 ms``, ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    for unit, of in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= of * (2 if unit == "d" else 1):
            return f"{seconds // of:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(at: float, now: float | None = None) -> str:
    """How long ago that was; ``at`` in seconds since the epoch."""
    passed = (time.time() if now is None else now) - at
    return "just now" if passed < 1 else f"{span(passed)} ago"


def iso(at: float) -> str:
    """As a ``datetime`` attribute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(at: float) -> str:
    """For people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class Trouble(NamedTuple):
    """Something that is not as it should be. ``bad``: targets are at stake; else it mends itself."""

    level: Literal["bad", "odd"]
    title: str
    text: str
    link: str


def troubles(status: Status) -> list[Trouble]:
    """What is stale, held back, not known or failing, the worse first; each provider once."""
    found = [one for entry in status.entries if entry.shared_with == entry.entry for one in _of(entry)]
    return sorted(found, key=lambda one: one.level != "bad")


def refused(reload: LastReload) -> list[Trouble]:
    """A configuration that was refused, if the last one was."""
    if reload.successful:
        return []
    title = f"The new configuration was refused {ago(reload.at)}: the old one stands"
    return [Trouble("bad", title, reload.error, "/configuration")]


def _of(status: EntryStatus) -> Iterator[Trouble]:
    name, where = entry_name(status), link("/cluster", f"entry-{status.entry.index}", job=status.entry.job)
    error = f" {_sentence(status.provider.last_error)}" if status.provider.last_error else ""
    kept = (
        f"The {counted(status.targets, 'target')} known then {'is' if status.targets == 1 else 'are'} served."
    )
    if status.state == "unknown":
        text = f"Its list answers 503, so that Prometheus keeps what it has.{error}"
        yield Trouble("bad", f"{name}: nothing was heard yet", text, where)
    elif status.state == "restored":
        since = ago(status.restored_from or 0)
        yield Trouble("odd", f"{name}: restored, last confirmed {since}", f"{kept}{error}", where)
    elif status.stale_since is not None or status.provider.last_error:
        since = f" for {ago(status.stale_since).removesuffix(' ago')}" if status.stale_since else ""
        yield Trouble("bad", f"{name}: not confirmed{since}", f"{kept}{error}", where)
    if status.held:
        text = "An answer that drops most of the targets is held back: they stay until it lasts."
        yield Trouble("bad", f"{name}: a mass loss is held back", text, where)
    down = [host for host in status.provider.hosts if host.state == "down"]
    if down and not error:
        title = f"{name}: {counted(len(down), 'manager')} of {len(status.provider.hosts)} not answering"
        yield Trouble(
            "odd", title, _sentence("; ".join(host.last_error or host.name for host in down)), where
        )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def entry_name(status: EntryStatus) -> str:
    """``Job nodes, entry 0``."""
    return f"Job {status.entry.job}, entry {status.entry.index}"


def standing(entries: Iterable[EntryStatus]) -> tuple[str, str]:
    """(level, a word) for entries as a whole: the worst of them."""
    worst = ("ok", "confirmed")
    for entry in entries:
        found = _standing(entry)
        if _RANK.index(found[0]) > _RANK.index(worst[0]):
            worst = found
    return worst


_RANK = ("ok", "odd", "bad")


def _standing(status: EntryStatus) -> tuple[str, str]:
    if status.state == "unknown":
        return "bad", "not heard from"
    if status.held:
        return "bad", "loss held back"
    if status.state == "restored":
        return "odd", "restored"
    return ("bad", "stale") if status.stale_since or status.provider.last_error else ("ok", "confirmed")
