"""The targets of a job, why each is there or not, and what has no target at all."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import msgspec

from swarm_sd.explanation import RuleStep
from swarm_sd.inventory import Place, Query, Row
from swarm_sd.reasons import in_words
from swarm_sd.web.api.answers import Answer, APIError, Reason, Time, at, reasons
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked, JobName, Limit, Offset, ReasonName, Search

State = Literal["scraped", "dropped", "refused"]


class TargetsAsked(Asked, frozen=True, kw_only=True):
    """Which targets."""

    job: JobName
    search: Search = ""
    state: Annotated[
        Literal["", "scraped", "dropped", "refused"],
        msgspec.Meta(description="Only those in this state; empty: any."),
    ] = ""
    reason: ReasonName = ""
    offset: Offset = 0
    limit: Limit = 100


class PlaceAsked(Asked, frozen=True, kw_only=True):
    """Which target: as a list of targets tells it."""

    job: JobName
    source: Annotated[str, msgspec.Meta(description="The `source` of its group.")]
    address: Annotated[str, msgspec.Meta(description="Its `address`, as discovered.")] = ""
    nth: Annotated[
        int, msgspec.Meta(ge=0, le=100_000_000, description="Which it is of several there, from 0.")
    ] = 0


class PassedOverAsked(Asked, frozen=True, kw_only=True):
    """Which of the objects without a target."""

    job: JobName
    search: Search = ""
    reason: ReasonName = ""
    offset: Offset = 0
    limit: Limit = 100


class Target(Answer, frozen=True, kw_only=True):
    """One target, by Prometheus' names for what it has.

    `source`, `address` and `nth` find it again. `reason` is `relabel_rule_<n>`, n counting the rules from 1,
    or why Prometheus would refuse it (`lastError` says it in full); "" for one that is scraped. `labels` are
    those after relabelling, null where it is not scraped.
    """

    entry: int
    kind: str
    source: str
    address: str
    nth: int
    state: State
    reason: str
    meaning: str
    last_error: str
    discovered_labels: dict[str, str]
    labels: dict[str, str] | None
    first_seen: Time
    last_changed: Time


class Targets(Answer, frozen=True, kw_only=True):
    """A page of targets, and how many match in all."""

    total: int
    targets: tuple[Target, ...]


class Values(Answer, frozen=True, kw_only=True):
    """A label before and after a rule; "": it is not there."""

    before: str
    after: str


class Step(Answer, frozen=True, kw_only=True):
    """What one rule did.

    `where` is file:line:column, `rule` what is written there, `value` the source labels' values, joined.
    `matched` is null where there is nothing to match.
    """

    number: int
    where: str
    rule: dict[str, str | int | tuple[str, ...]]
    value: str
    matched: bool | None
    kept: bool
    changed: dict[str, Values]
    text: str


class TargetExplanation(Answer, frozen=True, kw_only=True):
    """Why a target is there or not, in one sentence and rule by rule."""

    target: Target
    verdict: str
    steps: tuple[Step, ...]


class PassedOver(Answer, frozen=True, kw_only=True):
    """An object of the cluster without a target, or without one that it might have. "": not told."""

    reason: str
    kind: str
    id: str
    name: str
    service: str
    node: str
    detail: str


class AllPassedOver(Answer, frozen=True, kw_only=True):
    """A page of them, and how many match in all.

    `reasons` count all that there are, `unnamed` those of which only the number is known.
    """

    total: int
    passed_over: tuple[PassedOver, ...]
    reasons: tuple[Reason, ...]
    unnamed: tuple[Reason, ...]


async def targets(running: Running, asked: TargetsAsked) -> Targets:
    """The targets of a job, a page at a time, as discovered and after relabelling."""
    query = Query.of(asked.search, asked.state, asked.reason)
    found = await running.insight.targets(asked.job, query, offset=asked.offset, limit=asked.limit)
    return Targets(total=found.total, targets=tuple(_target(row) for row in found.rows))


async def explanation(running: Running, asked: PlaceAsked) -> TargetExplanation:
    """Why a target is there or not: what each rule of its job did to it."""
    place = Place(asked.source, asked.address, asked.nth)
    found = await running.insight.explanation(asked.job, place)
    if found is None:
        raise APIError(404, "not_found", f"no such target (any more): {asked.address!r} of {asked.source!r}")
    row, explained = found
    return TargetExplanation(
        target=_target(row), verdict=explained.verdict, steps=tuple(_step(step) for step in explained.steps)
    )


async def passed_over(running: Running, asked: PassedOverAsked) -> AllPassedOver:
    """What of a job's clusters has no target, and why."""
    query = Query.of(asked.search, reason=asked.reason)
    found = await running.insight.passed_over(asked.job, query, offset=asked.offset, limit=asked.limit)
    rows = (
        PassedOver(
            reason=one.reason,
            kind=one.kind,
            id=one.id,
            name=one.name,
            service=one.service,
            node=one.node,
            detail=one.detail,
        )
        for one in found.rows
    )
    return AllPassedOver(
        total=found.total,
        passed_over=tuple(rows),
        reasons=reasons(found.reasons),
        unnamed=reasons(found.unnamed),
    )


def _target(row: Row) -> Target:
    return Target(
        entry=row.entry,
        kind=row.kind,
        source=row.place.source,
        address=row.place.address,
        nth=row.place.nth,
        state=cast(State, row.state),
        reason=row.reason,
        meaning=in_words(row.reason),
        last_error=row.error,
        discovered_labels=dict(row.discovered),
        labels=None if row.labels is None else dict(row.labels),
        first_seen=at(row.first_seen),
        last_changed=at(row.last_changed),
    )


def _step(step: RuleStep) -> Step:
    changed = {name: Values(before=before, after=after) for name, (before, after) in step.changed.items()}
    return Step(
        number=step.number,
        where=step.where,
        rule=cast(dict[str, str | int | tuple[str, ...]], dict(step.rule)),
        value=step.value,
        matched=step.matched,
        kept=step.kept,
        changed=changed,
        text=step.text,
    )
