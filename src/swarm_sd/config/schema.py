"""The JSON schema of the configuration, for editors, made of the types that the configuration is read into.

It knows keys and what a value looks like. What entries forbid together, ``problems()`` alone knows:
``swarm-sd check config`` has the last word.

Draft 7, which every editor's YAML support understands.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import msgspec

from swarm_sd import __version__
from swarm_sd.config import prometheus
from swarm_sd.discovery import kinds
from swarm_sd.provider import SDConfig
from swarm_sd.relabel import ACTIONS, RelabelConfig, Validation
from swarm_sd.scalars import Duration, Interval, Port, Secret

Schema: TypeAlias = dict[str, Any]

# a plain 80 or yes is a text where a text is wanted, to Prometheus as to us
_TEXT: Final[Schema] = {"type": ["string", "number", "boolean"]}
_SPANS = r"(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?"
_SCALARS: Final[Mapping[type, Schema]] = {
    Interval: {"type": "string", "pattern": rf"^(?=.*[1-9]){_SPANS}$"},
    Duration: {"type": ["string", "integer"], "pattern": rf"^(?=.)(0|{_SPANS})$", "minimum": 0, "maximum": 0},
    Port: {"type": ["string", "integer"], "pattern": "^0*[1-9][0-9]{0,4}$", "minimum": 1, "maximum": 65535},
}
# YAML 1.1, which Prometheus reads, has more words for true and false than editors' YAML 1.2
_YES_OR_NO: Final = "^([yn]|[YN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$"
_SIMPLE: Final[Mapping[Any, Schema]] = {
    str: {"type": [*_TEXT["type"], "null"]},
    bool: {"type": ["boolean", "string"], "pattern": _YES_OR_NO},
    int: {"type": "integer"},
    float: {"type": "number"},
}

_TIMES: Final = {"scrape_interval": Duration, "scrape_timeout": Duration}
GLOBAL: Final[Mapping[str, Any]] = {**_TIMES, "metric_name_validation_scheme": Validation}
"""The type of each key of ``global`` that we read."""
SCRAPE_CONFIG: Final[Mapping[str, Any]] = {
    **GLOBAL,
    "job_name": str,
    "params": dict[str, tuple[str, ...]],
    "scheme": Literal["http", "https"],
    "metrics_path": str,
}
"""The type of each key of a scrape config that we read, but for lists of ours and relabelling rules."""


def schema(known: Mapping[str, type[SDConfig]] | None = None) -> Schema:
    """The schema of a ``prometheus.yml`` with entries of the kinds ``known``: all there are, if not given."""
    made = _Definitions()
    given = kinds() if known is None else known
    ours = {f"{kind}_sd_configs": _list(made.of(config)) for kind, config in given.items()}
    scrape_config = {
        **{name: {} for name in prometheus.SCRAPE_CONFIG},
        **{name: made.of(kind) for name, kind in SCRAPE_CONFIG.items()},
        "relabel_configs": _list(made.of(RelabelConfig)),
        **ours,
    }
    made.found["scrape_config"] = {**_mapping(scrape_config), "required": ["job_name"]}
    made.found["global"] = _mapping(
        {name: {} for name in prometheus.GLOBAL} | {name: made.of(kind) for name, kind in GLOBAL.items()}
    )
    top = {
        **{name: {} for name in prometheus.TOP_LEVEL},
        "global": _or_nothing(_ref("global")),
        "scrape_configs": _list(_ref("scrape_config")),
        "scrape_config_files": _list(_SIMPLE[str]),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Configuration of swarm-sd {__version__}",
        **_mapping(top),
        "definitions": dict(sorted(made.found.items())),
    }


class _Definitions:
    """Schemas of types; those of Structs by name, each once."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}
        self._names: dict[type[msgspec.Struct], str] = {}

    def of(self, kind: Any) -> Schema:
        """What may stand where the configuration is read into a ``kind``, as ``Decoder.decode`` reads it."""
        origin, inside = get_origin(kind), get_args(kind)
        if origin is Annotated:
            several, one_or_more = self.of(inside[0]), (inside[1].extra or {}).get("one_or_more")
            return {"anyOf": [self.of(get_args(inside[0])[0]), several]} if one_or_more else several
        if origin in (Union, types.UnionType):
            return _or_nothing(self.of(next(one for one in inside if one is not type(None))))
        if origin is Literal:
            return {"enum": list(inside)}
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(inside[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": _may_be_empty(inside[1], self.of(inside[1]))}
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind)
        return _SIMPLE.get(kind) or _scalar(kind)

    def _struct(self, kind: type[msgspec.Struct]) -> Schema:
        if kind not in self._names:
            taken = kind.__name__ in self._names.values()
            self._names[kind] = name = f"{kind.__module__}.{kind.__name__}" if taken else kind.__name__
            fields = msgspec.structs.fields(kind)
            made = _mapping({field.encode_name: self._field(field, kind) for field in fields})
            if required := [field.encode_name for field in fields if field.required]:
                made["required"] = required
            self.found[name] = {"description": _first_line(kind), **made}
        return _ref(self._names[kind])

    def _field(self, field: msgspec.structs.FieldInfo, kind: type) -> Schema:
        made = self.of(field.type)
        made = made if field.required else _or_nothing(made)
        if (kind, field.name) == (RelabelConfig, "action"):  # a text, of which few are taken
            made = {"type": "string", "pattern": _any_case(ACTIONS), "examples": sorted(ACTIONS)}
        return {**made, **_default(field.default)}


def _default(value: Any) -> Schema:
    """As it would be written; nothing where that says nothing."""
    if isinstance(value, str | Duration):
        return {"default": str(value)} if str(value) and not isinstance(value, Secret) else {}
    return {"default": value} if isinstance(value, bool | int | float) else {}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _mapping(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(sorted(properties.items())), "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return _or_nothing({"type": "array", "items": items})


def _or_nothing(made: Schema) -> Schema:
    """``made``, or nothing behind the colon, which leaves a field as if it were not written."""
    if "enum" in made:
        return {**made, "enum": [*made["enum"], None]} if None not in made["enum"] else made
    if "type" not in made:
        return {"anyOf": [*made.get("anyOf", [made]), {"type": "null"}]}
    known = made["type"] if isinstance(made["type"], list) else [made["type"]]
    return {**made, "type": known if "null" in known else [*known, "null"]}


def _may_be_empty(kind: Any, made: Schema) -> Schema:
    return _or_nothing(made) if get_origin(kind) in (tuple, list, dict) else made


def _scalar(kind: Any) -> Schema:
    """Of a type with ``from_yaml``; what other packages' types want is not known here."""
    return next((_SCALARS[one] for one in inspect.getmro(kind) if one in _SCALARS), _TEXT)


def _any_case(words: Iterable[str]) -> str:
    """A pattern of these words in any letter case; editors' patterns have no flag for it."""
    spelt = ("".join(f"[{letter}{letter.upper()}]" for letter in word) for word in sorted(words))
    return f"^({'|'.join(spelt)})$"


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0].replace("``", "")
