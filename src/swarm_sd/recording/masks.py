"""Labels that look like secrets: their values do not get into a file that people commit. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from swarm_sd.discovery.swarm.info import split_labels

MASK: Final = "<secret>"

_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|(api|access|private|signing)[._-]?key"
    r"|basicauth|digestauth|htpasswd|authorization"
)
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|://[^/@\s:]*:[^/@\s]+@"  # a URL with a password
    r"|\$(apr1|2[abxy]|5|6)\$"  # a hash of htpasswd or crypt
    r"|\beyJ[\w-]{10,}\.[\w-]+\."  # a JSON web token
    r"|\b(AKIA[0-9A-Z]{16}|gh[pousr]_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,})\b"
)
_NEVER = frozenset({"", "true", "false", MASK})


def is_secret(key: str, value: str) -> bool:
    """Whether a label looks like one: by its name, or by what is in it."""
    return value not in _NEVER and bool(_KEY.search(key.lower()) or _VALUE.search(value))


class Masks:
    """Masks labels; ``masked`` counts them by key."""

    def __init__(self) -> None:
        self.masked: Counter[str] = Counter()

    def labels(self, labels: dict[str, str]) -> dict[str, str]:
        """The labels, with those values masked that look like secrets."""
        return {key: self._value(key, value) for key, value in labels.items()}

    def _value(self, key: str, value: str) -> str:
        if not is_secret(key, value):
            return value
        self.masked[key] += 1
        return MASK

    def answer(self, data: Any) -> Any:
        """An answer of Docker's API, whose objects have their labels under ``Labels``."""
        if isinstance(data, dict):
            return {
                name: self.labels(value)
                if name == "Labels" and isinstance(value, dict)
                else self.answer(value)
                for name, value in data.items()
            }
        if isinstance(data, list | tuple):
            if len(data) == 2 and isinstance(data[0], str) and data[0].endswith(" Labels"):
                return [data[0], self._row(data[1])]
            return [self.answer(one) for one in data]
        return data

    def _row(self, text: str) -> str:
        """The labels of a classic Swarm's node, ``k=v, k=v``."""
        pairs = [pair.partition("=") for pair in split_labels(text)]
        hidden = [(key, value, self._value(key, value)) for key, _, value in pairs]
        # as it came where there is nothing to hide: what stands between the pairs is not all the same
        if all(value == shown for _, value, shown in hidden):
            return text
        return ", ".join(f"{key}={shown}" for key, _, shown in hidden)
