"""What the API answers in: Prometheus' envelope, and the ways in which every answer writes times and reasons.

The OpenAPI document is made of these types, so neither can fall behind the other. Source: web/api/v1/api.go
of Prometheus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from swarm_sd.reasons import in_words

Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
ErrorType: TypeAlias = Literal["bad_data", "not_found", "unavailable", "internal"]


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An object of an answer: all its fields are always there, and no others."""


class Success(Answer, frozen=True, kw_only=True):
    """The envelope of what was asked for."""

    status: Literal["success"]
    data: Any


class Failure(Answer, frozen=True, kw_only=True):
    """The envelope of why there is no answer."""

    status: Literal["error"]
    error_type: ErrorType
    error: str


class APIError(Exception):
    """Why a request has no answer: becomes a ``Failure`` with this HTTP status."""

    def __init__(self, status: int, error_type: ErrorType, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.failure = Failure(status="error", error_type=error_type, error=error)


class Reason(Answer, frozen=True, kw_only=True):
    """How many there are for a reason; `meaning` is what it means and what to do, "" if it is not ours."""

    reason: str
    count: int
    meaning: str


def reasons(counts: Mapping[str, int]) -> tuple[Reason, ...]:
    """The reasons, those with the most first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return tuple(Reason(reason=name, count=count, meaning=in_words(name)) for name, count in ordered)


def at(seconds: float) -> datetime:
    """Seconds since the epoch as answers write a time."""
    return datetime.fromtimestamp(seconds, UTC)


def at_or_never(seconds: float | None) -> datetime | None:
    """As ``at``; None for what has not been."""
    return None if seconds is None else at(seconds)


def encoded(answer: object) -> bytes:
    """``answer`` as JSON. Halves of surrogate pairs, which a third party's label may hold, become ``?``."""
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(answer), ensure_ascii=False).encode("utf-8", "replace")
