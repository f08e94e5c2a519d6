"""What a URL of the page holds: all of a view's state, so that it can be sent to somebody. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

PAGE_SIZE: Final = 50
"""Rows of a page; a row of targets is up to 10 KB of labels."""

_LONGEST = 1000  # characters of a parameter: nobody types more
_LAST_OFFSET = 10_000_000


def link(path: str, fragment: str = "", /, **state: str | int | None) -> str:
    """``path`` with those of ``state`` that say something: not "", None, or 0."""
    told = {name: str(value) for name, value in state.items() if value}
    query = urlencode(told, errors="surrogatepass")
    return path + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


class Asked(NamedTuple):
    """What a view is asked to show. Parameters that it does not know are not looked at."""

    job: str = ""
    search: str = ""
    state: str = ""
    reason: str = ""
    why: str = ""
    service: str = ""
    source: str = ""
    address: str = ""
    nth: int = 0
    number: int = 0
    offset: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """The parameters of a URL, whatever is in them."""

        def text(name: str) -> str:
            return query.get(name, "")

        return cls(
            job=text("job"),
            search=text("search").strip()[:_LONGEST],
            state=text("state"),
            reason=text("reason"),
            why=text("why"),
            service=text("service").strip()[:_LONGEST],
            source=text("source"),
            address=text("address"),
            nth=_number(text("nth")),
            number=_number(text("number")),
            offset=_number(text("offset")),
        )


def _number(text: str) -> int:
    return min(int(text), _LAST_OFFSET) if text.isascii() and text.isdigit() and len(text) < 20 else 0


class Paging(NamedTuple):
    """Where in a list a page is. ``first`` and ``last`` count from 1; both are 0 where the page is empty."""

    total: int
    offset: int
    shown: int
    size: int = PAGE_SIZE

    @property
    def first(self) -> int:
        """The number of the first row."""
        return self.offset + 1 if self.shown else 0

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self.offset + self.shown if self.shown else 0

    @property
    def previous(self) -> int | None:
        """Where the page before begins."""
        return max(0, min(self.offset, self.total) - self.size) if self.offset else None

    @property
    def next(self) -> int | None:
        """Where the page after begins."""
        return self.offset + self.size if self.offset + self.size < self.total else None

    @property
    def end(self) -> int:
        """Where the last page begins."""
        return max(0, self.total - 1) // self.size * self.size
