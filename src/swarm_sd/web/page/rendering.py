"""Templates to HTML. Everything that is not markup of ours is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from swarm_sd import __version__
from swarm_sd.reasons import in_words
from swarm_sd.web.page import words
from swarm_sd.web.page.links import link
from swarm_sd.web.page.static_files import static_url

LONGEST_VALUE: Final = 160
"""Characters of a label's value in a list; the target's own view has all of it."""

MOST_LABELS: Final = 60
"""Labels of a target in a list."""


def rendered(template: str, data: Mapping[str, object]) -> bytes:
    """The page. Reads templates the first time and takes some 10 ms: for a thread."""
    text = _environment().get_template(template).render(data)
    return text.encode("utf-8", "replace")  # Docker's names may hold halves of surrogate pairs


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("swarm_sd.web.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        number=words.number,
        counted=words.counted,
        span=words.span,
        ago=words.ago,
        iso=words.iso,
        exact=words.exact,
        short=short,
        series_labels=series_labels,
        in_words=in_words,
    )
    environment.globals.update(
        link=link,
        static=static_url,
        version=__version__,
        most_labels=MOST_LABELS,
        why_words=words.WHY,
        why_in_full=words.WHY_IN_FULL,
        state_words=words.STATES,
    )
    return environment


def short(text: str) -> str:
    """``text``, or its beginning."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def series_labels(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Those that series carry: the others say how to scrape."""
    return [(name, value) for name, value in labels.items() if not name.startswith("__")]
