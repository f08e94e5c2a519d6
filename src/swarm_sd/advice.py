"""What somebody probably meant who wrote a rule that does not see what is there. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from swarm_sd.go_regexp import Regexp, regex_problems
from swarm_sd.model import sanitize_label_name

_ALIKE = 0.7
"""How much of two names has to be the same, from 0 to 1: ``scrap`` is ``scrape``, ``app`` is not ``api``."""


def similar_label(missing: str, names: Iterable[str]) -> str:
    """That of ``names`` which was probably meant by one that is not among them; "" for none."""
    known = sorted(names)
    sanitized = sanitize_label_name(missing)
    if sanitized in known:
        return sanitized
    best = max(known, key=lambda name: _likeness(missing, name), default="")
    return best if best and _likeness(missing, best) >= _ALIKE else ""


def _likeness(one: str, other: str) -> float:
    """How much of the names is the same, without what they begin with: that is most of every meta label."""
    one, other = one.lower(), other.lower()
    if (key := one.partition("_label_")[2]) and key == other.partition("_label_")[2]:
        return 1.0  # as of a container instead of a service
    while (word := one.partition("_")[0]) == other.partition("_")[0] and "_" in one and "_" in other:
        one, other = one[len(word) + 1 :], other[len(word) + 1 :]
    if one and other.endswith(f"_{one}"):
        return 1.0  # without what a key begins with, as com.example.
    return difflib.SequenceMatcher(None, one, other).ratio()


def meant_regex(regex: str, value: str) -> str:
    """A sentence on why ``regex`` does not match ``value`` though it nearly does; "" where it does not."""
    if not value or not regex:
        return ""
    if _matches(f"(?i:{regex})", value):
        return f"letter case counts: write {value} or (?i){regex}"
    part = f"({regex})" if "|" in regex else regex
    for wider in (f"{part}.*", f".*{part}", f".*{part}.*"):
        if _matches(wider, value):
            return f"a regex has to match the whole value: write {wider}"
    return ""


def _matches(regex: str, value: str) -> bool:
    return not regex_problems(regex) and Regexp(regex).find(value) is not None
