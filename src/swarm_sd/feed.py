"""One provider and the groups it sent: what is known, since when, and whether it is to be believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import structlog

from swarm_sd.brake import MassLoss, lost_share
from swarm_sd.history import Pair, Why
from swarm_sd.model import TargetGroup
from swarm_sd.provider import (
    Announced,
    Choosy,
    ClusterState,
    Partial,
    PartlyFixed,
    PassedOver,
    Prompted,
    ProviderStatus,
    Recalling,
    Reporting,
    SDConfig,
    Stateful,
    TargetProvider,
)

log = structlog.stdlib.get_logger("manager")

State = Literal["unknown", "restored", "known"]

_FIRST_RESTART, _LONGEST_RESTART = 1.0, 60.0


class Feed:
    """The groups of one provider; entries with equal configurations share it.

    ``changed`` is called whenever the groups or the state did change, ``note`` with what became of which
    groups, (before, after), and why.
    """

    def __init__(
        self,
        config: SDConfig,
        brake: MassLoss,
        changed: Callable[[], None],
        note: Callable[[Feed, Why, Sequence[Pair]], None] = lambda feed, why, pairs: None,
    ) -> None:
        self.config = config
        self.groups: dict[str, TargetGroup] = {}
        self.changed_at: float | None = None  # seconds since the epoch
        self.restored_from: float | None = None  # when restored groups were last confirmed
        self.held_since: float | None = None  # monotonic
        self.holds = 0
        self.crashes = 0
        self.version = 0  # counts changes of the groups
        self._standing: tuple[int, list[tuple[object, TargetGroup]]] | None = None  # of a version
        self._provider: TargetProvider | None = None
        self._brake = brake
        self._changed = changed
        self._note = note
        self._heard: set[str] = set()
        self._heard_anything = False
        self._told: State = "unknown"  # the state when ``changed`` was last called
        # the update that is held back; empty while none is
        self._held: dict[str, TargetGroup] = {}

    def restore(self, groups: Iterable[TargetGroup], confirmed: float) -> None:
        """Takes groups of an earlier life for good until the provider says otherwise."""
        self.groups = {group.source: group for group in groups if group.targets}
        self.restored_from = confirmed
        self._told = "restored"
        self.version += 1
        self._changed()

    def state(self) -> State:
        """``unknown`` while the list is not complete; ``restored`` while part of it is of an earlier life."""
        if self._complete():
            return "known"
        if self.restored_from is not None:
            return "restored"
        return "known" if isinstance(self._provider, Partial) and self._provider.usable() else "unknown"

    async def run(self) -> None:
        """Runs the provider until cancelled; one that crashes (our bug, or a plug-in's) starts again."""
        wait = _FIRST_RESTART
        try:
            while True:
                started = time.monotonic()
                try:
                    self._provider = self.config.provider()
                    if isinstance(self._provider, Recalling):
                        self._provider.recall(list(self.groups.values()))
                    await self._provider.run(self.up)
                    raise RuntimeError("the provider's run() returned; it must run until it is cancelled")
                except Exception:
                    self.crashes += 1
                    log.exception(
                        "a provider crashed and is started again", kind=self.config.kind, in_seconds=wait
                    )
                wait = _FIRST_RESTART if time.monotonic() - started > _LONGEST_RESTART else wait
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_RESTART)
        finally:
            self._stop_holding()

    def up(self, groups: Sequence[TargetGroup], /) -> None:
        """Takes an update: one change, however many groups. Never waits."""
        self._heard_anything = True
        self._heard.update(group.source for group in groups)
        update = {**self._held, **{group.source: group for group in groups}, **self._gone()}
        changed = False
        if any(self._differs(group) for group in update.values()):
            lost = lost_share(self.groups, self._judged(update.values()))
            if lost > self._brake.share and self._brake.hold > 0 and not (groups and self._lasted()):
                self._hold(update, lost)
            else:
                lasted = lost > self._brake.share and self.held_since is not None
                self._stop_holding("it lasted" if lost > self._brake.share else "the targets are back")
                changed = self._accept(update.values(), "mass loss" if lasted else self._why())
        elif self.held_since is not None:
            self._stop_holding("the targets are back")
        if (now := self.state()) != self._told:  # the provider may have turned usable between two updates
            self._told = now
            log.info("targets are known", kind=self.config.kind, targets=self.targets())
            changed = True
        if changed:
            self._changed()

    def _differs(self, group: TargetGroup) -> bool:
        old = self.groups.get(group.source)
        return old is not group and old != group

    def _judged(self, groups: Iterable[TargetGroup]) -> list[TargetGroup]:
        """Those whose loss may be a slip of a list."""
        # what cannot be lost would hide how much of the rest is: 3 masters and none of 3 nodes is no half
        fixed: frozenset[str] = frozenset()
        if isinstance(self._provider, PartlyFixed):
            fixed = self._provider.fixed()
        judged = [group for group in groups if group.source not in fixed]
        if isinstance(self._provider, Announced):
            announced = self._provider.announced
            # as they stand: their loss is none, and that of the others a share of all
            judged = [
                self.groups.get(group.source, group) if announced(group.source) else group for group in judged
            ]
        return judged

    def _gone(self) -> dict[str, TargetGroup]:
        """Restored groups that the provider, now that its list is complete, does not have any more."""
        if self.restored_from is None or not self._complete():
            return {}
        self.restored_from = None
        return {source: TargetGroup(source) for source in self.groups if source not in self._heard}

    def _complete(self) -> bool:
        return self._heard_anything and self._provider is not None and self._provider.sources() <= self._heard

    def _why(self) -> Why:
        return self._provider.prompt() if isinstance(self._provider, Prompted) else ""

    def _accept(self, groups: Iterable[TargetGroup], why: Why) -> bool:
        changed: list[Pair] = []
        for group in groups:
            old = self.groups.get(group.source)
            if not group.targets:
                if self.groups.pop(group.source, None) is not None and old is not None:
                    changed.append((old, group))
            elif old is not group and old != group:
                self.groups[group.source] = group
                changed.append((old or TargetGroup(group.source), group))
        if changed:
            self.version += 1
            self.changed_at = time.time()
            self._note(self, why, changed)
        return bool(changed)

    def _hold(self, update: dict[str, TargetGroup], lost: float) -> None:
        self._held = update
        if self.held_since is not None:
            return
        self.held_since = time.monotonic()
        self.holds += 1
        log.warning(
            "mass loss held back: the old targets stay for now",
            kind=self.config.kind,
            lost=f"{lost:.0%}",
            allowed=f"{self._brake.share:.0%}",
            hold_seconds=self._brake.hold,
        )

    def _lasted(self) -> bool:
        """Whether a loss was held so long that an answer which still says so is believed."""
        return self.held_since is not None and time.monotonic() - self.held_since >= self._brake.hold

    def _stop_holding(self, why: str = "") -> None:
        if why and self.held_since is not None:
            log.info("mass loss is over", kind=self.config.kind, why=why)
        self.held_since = None
        self._held = {}

    def confirmed(self) -> bool:
        """Whether the last answer still said what stands, as far as the provider tells."""
        return not self.provider_status().last_error

    def provider_status(self) -> ProviderStatus:
        """What the provider tells of itself; nothing where it cannot."""
        return self._provider.status() if isinstance(self._provider, Reporting) else ProviderStatus()

    def passed_over(self) -> Sequence[PassedOver]:
        """What the provider made no target of, where it can name it. Belongs in a thread."""
        return self._provider.passed_over() if isinstance(self._provider, Choosy) else ()

    def cluster_state(self) -> ClusterState | None:
        """What the provider tells of its cluster; None where it cannot, or not yet."""
        return self._provider.cluster_state() if isinstance(self._provider, Stateful) else None

    def stale_since(self) -> float | None:
        """Since when the groups are not confirmed, seconds since the epoch; None while they are."""
        if self.state() == "restored":
            return self.restored_from
        status = self.provider_status()
        return status.last_success if status.last_error else None

    def targets(self) -> int:
        """How many targets stand."""
        return sum(len(group.targets) for group in self.groups.values())

    def standing(self) -> list[tuple[object, TargetGroup]]:
        """The groups in order of source, each with a name of its own among all feeds."""
        if self._standing is None or self._standing[0] != self.version:
            named: list[tuple[object, TargetGroup]]
            named = [((id(self), source), self.groups[source]) for source in sorted(self.groups)]
            self._standing = self.version, named
        return self._standing[1]
