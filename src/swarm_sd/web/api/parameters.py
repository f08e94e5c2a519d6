"""What may be asked: parameters of URLs as typed values, strictly, for a misspelt filter filters nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
from multidict import MultiMapping

from swarm_sd.web.api.answers import APIError

P = TypeVar("P", bound=msgspec.Struct)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of an endpoint. This one has none."""


JobName = Annotated[str, msgspec.Meta(description="The name of a job.")]
Search = Annotated[
    str,
    msgspec.Meta(
        max_length=500,
        description="Words, each of which must be found, in any letter case. Of labels one is searched as "
        "`name=value`.",
    ),
]
ReasonName = Annotated[str, msgspec.Meta(description="Only those with this reason; empty: any.")]
Offset = Annotated[
    int, msgspec.Meta(ge=0, le=100_000_000, description="How many of those found are left out at the front.")
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="How many are told at most.")]

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


def read(query: MultiMapping[str], kind: type[P]) -> P:
    """The parameters of a URL. ``APIError`` names those that are unknown, missing, given twice or wrong."""
    types = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    if unknown := sorted(set(query) - fields.keys()):
        known = ", ".join(fields) or "none"
        raise _bad(f"unknown parameter {', '.join(map(repr, unknown))}; there are: {known}")
    values = {}
    for name, field in fields.items():
        given = query.getall(name, [])
        if len(given) > 1:
            raise _bad(f"parameter {name!r} is given {len(given)} times")
        if given:
            values[name] = _value(name, given[0], types[name])
        elif field.required:
            raise _bad(f"parameter {name!r} is missing")
    return kind(**values)


def _value(name: str, text: str, kind: Any) -> Any:
    given = int(text) if _WHOLE_NUMBER.fullmatch(text) and _is_number(kind) else text
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError:
        raise _bad(
            f"invalid parameter {name!r}: expected {_wanted(schema(kind))}, found {text[:100]!r}"
        ) from None


def _is_number(kind: Any) -> bool:
    return schema(kind).get("type") == "integer"


def schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a parameter's type."""
    return dict(msgspec.json.schema(kind))


def _wanted(of: Mapping[str, Any]) -> str:
    """What a schema asks for, in words."""
    if "enum" in of:
        return " or ".join(repr(one) for one in of["enum"])
    if of["type"] != "integer":
        return f"a text of at most {of['maxLength']} characters"
    most = f" to {of['maximum']}" if "maximum" in of else " or more"
    return f"a whole number, {of['minimum']}{most}"


def _bad(what: str) -> APIError:
    return APIError(400, "bad_data", what)
