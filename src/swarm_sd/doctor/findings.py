"""What the doctor says: findings, in sections. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["ok", "warning", "problem"]
Kind: TypeAlias = Literal["configuration", "host", "store", "entry"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check. ``check`` is its name in docs/doctor.md; ``cause`` and ``way_out`` may be several lines."""

    check: str
    state: State
    message: str
    cause: str = ""
    way_out: str = ""


class Section(msgspec.Struct, frozen=True):
    """What was found of one thing. ``name``: a host, a discovery URL or ``job/0``; ``what``: what it is."""

    kind: Kind
    name: str
    what: str
    findings: tuple[Finding, ...]


class Report(msgspec.Struct, frozen=True):
    """Everything; ``problems`` and ``warnings`` count, without ``FOLLOWS``."""

    file: str
    problems: int
    warnings: int
    sections: tuple[Section, ...]


FOLLOWS: Final = "not-discovered"
"""The check of an entry that suffers from a problem which stands elsewhere, and is counted there."""


def ok(check: str, message: str) -> Finding:
    """Something that works."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, cause: str = "", way_out: str = "") -> Finding:
    """Something that works, and probably not as it is meant."""
    return Finding(check, "warning", message, cause, way_out)


def problem(check: str, message: str, cause: str = "", way_out: str = "") -> Finding:
    """Something that does not work."""
    return Finding(check, "problem", message, cause, way_out)


def is_ill(findings: Iterable[Finding]) -> bool:
    """Whether any of them is a problem."""
    return any(one.state == "problem" for one in findings)


def reported(file: str, sections: Sequence[Section]) -> Report:
    """The sections, counted."""
    states = [one.state for section in sections for one in section.findings if one.check != FOLLOWS]
    return Report(file, states.count("problem"), states.count("warning"), tuple(sections))


def listed(names: Iterable[str], *, at_most: int = 5) -> str:
    """``a, b and 3 more``."""
    every = list(names)
    shown = ", ".join(every[:at_most])
    return f"{shown} and {len(every) - at_most} more" if len(every) > at_most else shown


def counted(number: int, one: str, many: str = "") -> str:
    """``1 target``, ``2 targets``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
