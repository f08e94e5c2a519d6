"""Targets as a table for a person."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm_sd.model import ADDRESS
from swarm_sd.target import Populated

REASONS = "docs/operate.md#metrics"
"""Where it stands which page explains the reasons of which kind."""

_QUIET = ("job", "instance")


def show(
    targets: Mapping[str, tuple[Populated, ...]],
    skipped: Mapping[str, Mapping[str, int]],
    console: Console | None = None,
) -> None:
    """One table per job, and below it, counted by reason, what was found and is no target."""
    console = console or Console()
    for job, found in targets.items():
        console.print(_table(job, found))
        if skipped.get(job):
            console.print(Text(_counted(skipped[job])), soft_wrap=True)


def _table(job: str, found: tuple[Populated, ...]) -> Table:
    """The counts first, then what is scraped, then what a rule dropped."""
    kept = [target for target in found if target.labels is not None]
    dropped = len(found) - len(kept)
    title = f"{job}: {len(kept)} to scrape" + (f", {dropped} dropped" if dropped else "")
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for column in ("URL", "instance", "labels"):
        table.add_column(column, overflow="fold")
    for target in sorted(
        found, key=lambda target: (target.labels is None, target.discovered.get(ADDRESS, ""))
    ):
        table.add_row(*_row(target), style="dim" if target.labels is None else None)
    return table


def _counted(skipped: Mapping[str, int]) -> str:
    most_first = sorted(skipped.items(), key=lambda one: (-one[1], one[0]))
    reasons = ", ".join(f"{count} {reason}" for reason, count in most_first)
    return f"skipped: {reasons} (why: {REASONS})"


def _row(target: Populated) -> tuple[Text, Text, Text]:
    if target.labels is None:
        why = target.error or "dropped by relabelling"
        return (
            Text(target.discovered.get(ADDRESS, "")),
            Text(target.discovered.get("instance", "")),
            Text(why),
        )
    labels = target.labels
    url = (
        f"{labels.get('__scheme__', 'http')}://{labels[ADDRESS]}{labels.get('__metrics_path__', '/metrics')}"
    )
    shown = [
        f"{name}={value}"
        for name, value in sorted(labels.items())
        if not name.startswith("__") and name not in _QUIET
    ]
    return Text(url), Text(labels.get("instance", "")), Text(" ".join(shown))
