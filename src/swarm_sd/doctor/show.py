"""A report for people and for machines. Pure, but for the colours that click takes away where none belong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import click
import msgspec

from swarm_sd.doctor.findings import Finding, Report, State, counted

_COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
_WIDTH = 100


def as_json(report: Report) -> str:
    """The report as one object."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def as_text(report: Report) -> str:
    """The report to be read, in lines of about 100 characters; commands and YAML are never broken."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    for section in report.sections:
        yield f"{click.style(section.name, bold=True)}  {section.what}".rstrip()
        for finding in section.findings:
            yield from _finding(finding)
        yield ""
    if not report.problems and not report.warnings:
        yield click.style("nothing is wrong", fg="green")
    else:
        counts = f"{counted(report.problems, 'problem')}, {counted(report.warnings, 'warning')}"
        yield click.style(counts, fg="red" if report.problems else "yellow")


def _finding(finding: Finding) -> Iterator[str]:
    state = click.style(f"{finding.state:<8}", fg=_COLOURS[finding.state])
    first, *rest = _wrapped(finding.message)
    yield f"  {state} {first}"
    yield from (f"           {line}" for line in rest)
    for title, text in (("why", finding.cause), ("do", finding.way_out)):
        if text:
            lines = [line for part in text.split("\n") for line in _wrapped(part)]
            yield f"           {title + ':':<4} {lines[0]}"
            yield from (f"                {line}" for line in lines[1:])
    if finding.state != "ok":
        yield f"           {click.style(f'[{finding.check}]', dim=True)}"


def _wrapped(text: str) -> list[str]:
    if text.startswith(" "):
        return [text]  # a piece of YAML, or a command
    return textwrap.wrap(text, _WIDTH - 16, break_long_words=False, break_on_hyphens=False) or [""]
