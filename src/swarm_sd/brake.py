"""The brake on mass loss: an answer that drops most targets at once is not believed at once. Pure.

A manager that has just restarted lists no node until its engines have reconnected; a list that is
suddenly empty is far more often somebody's trouble than the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swarm_sd.model import ADDRESS, TargetGroup


@dataclass(frozen=True, slots=True)
class MassLoss:
    """``share``: an answer that drops more than this part of the targets is held back; 1 never holds.

    ``hold``: for so many seconds at the most; after that it is believed.
    """

    share: float = 0.5
    hold: float = 120.0


def lost_share(standing: Mapping[str, TargetGroup], update: Iterable[TargetGroup]) -> float:
    """The part, 0 to 1, by which ``update`` makes the addresses fewer in the groups that it touches.

    On balance: tasks or containers that are replaced, all at once even, are no loss.
    """
    stays, pairs = 0, []
    for group in update:
        old = standing.get(group.source)
        if old is group:  # nearly all, after a change of one service: spares looking at their addresses
            stays += len(group.targets)
        else:
            pairs.append((old, group))
    after = _addresses(group for _, group in pairs)
    known = [old for old, _ in pairs if old is not None]
    if len(after) >= sum(len(old.targets) for old in known):
        return 0.0
    before = _addresses(known)
    return max(0, len(before) - len(after)) / (len(before) + stays) if before else 0.0


def _addresses(groups: Iterable[TargetGroup]) -> set[str]:
    return {target.get(ADDRESS, "") for group in groups for target in group.targets}
