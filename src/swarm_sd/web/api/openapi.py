"""The OpenAPI document, made of the endpoints themselves: their types, annotations and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, get_type_hints

import msgspec

from swarm_sd import __version__
from swarm_sd.web.api import live, parameters
from swarm_sd.web.api.answers import Failure
from swarm_sd.web.api.endpoint import Endpoint

JSON: TypeAlias = dict[str, Any]

PATH: Final = "/api/v1/openapi.json"

_REFS: Final = "#/components/schemas/{name}"
_TEXT: Final = {"content": {"text/plain": {"schema": {"type": "string"}}}}

_ABOUT = """Everything that swarm-sd can tell, in Prometheus' envelope. Nothing here changes anything: each
path takes GET and HEAD. Times are RFC 3339 in UTC, durations seconds."""


def document(endpoints: Sequence[Endpoint]) -> JSON:
    """The whole document."""
    types = [*(endpoint.data for endpoint in endpoints), Failure, live.News]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
    paths = {
        endpoint.path: {"get": _operation(endpoint, schema)}
        for endpoint, schema in zip(endpoints, schemas, strict=False)
    }
    paths[live.PATH] = {"get": _live(schemas[-1])}
    paths[PATH] = {"get": _own()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "swarm-sd", "version": __version__, "description": _in_a_line(_ABOUT)},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": components, "responses": _responses(schemas[-2])},
    }


def _operation(endpoint: Endpoint, schema: JSON) -> JSON:
    summary, _, more = inspect.cleandoc(endpoint.answer.__doc__ or "").partition("\n\n")
    given = _parameters(endpoint.asked)
    envelope = {
        "type": "object",
        "properties": {"status": {"const": "success"}, "data": schema},
        "required": ["status", "data"],
        "additionalProperties": False,
    }
    found = {"description": "What was asked for.", "content": {"application/json": {"schema": envelope}}}
    failures = ["400", *(["404", "503"] if any(one["name"] == "job" for one in given) else []), "500"]
    return {
        "operationId": endpoint.answer.__name__,
        "summary": _in_a_line(summary),
        **({"description": _in_a_line(more)} if more else {}),
        **({"parameters": given} if given else {}),
        "responses": {"200": found, **_failures(*failures)},
    }


def _parameters(kind: type[parameters.Asked]) -> list[JSON]:
    types = get_type_hints(kind, include_extras=True)
    found = []
    for field in msgspec.structs.fields(kind):
        schema = parameters.schema(types[field.name])
        described = {"name": field.name, "in": "query", "description": schema.pop("description")}
        if not field.required:
            schema["default"] = field.default
        found.append({**described, "required": field.required, "schema": schema})
    return found


def _live(schema: JSON) -> JSON:
    stream = {"type": "string", "contentMediaType": "text/event-stream"}
    return {
        "operationId": "live",
        "summary": "Server-sent events that tell when there is something new to look at.",
        "description": (
            f"An event `change`, whose data is the JSON object {schema['$ref']}, comes at once and then "
            f"whenever that is another, at most every {live.TICK:g} s; a comment after {live.HEARTBEAT:g} s "
            f"of silence. At most {live.MOST} can listen at a time."
        ),
        "responses": {
            "200": {"description": "Events.", "content": {"text/event-stream": {"schema": stream}}},
            **_failures("400", "503"),
        },
    }


def _own() -> JSON:
    found = {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}}
    summary = "This document; the only answer without an envelope."
    return {
        "operationId": "openapi",
        "summary": summary,
        "responses": {"200": found, **_failures("400", "500")},
    }


_FAILURES: Final[Mapping[str, tuple[str, str]]] = {
    "400": ("BadData", "A parameter is unknown, missing, given twice or wrong; `errorType` is `bad_data`."),
    "404": ("NotFound", "There is no such job or target; `errorType` is `not_found`."),
    "405": ("NotAllowed", "Neither GET nor HEAD; `errorType` is `bad_data`."),
    "500": ("Internal", "A bug; `errorType` is `internal`."),
    "503": ("Unavailable", "Not now; `errorType` is `unavailable`."),
}


def _failures(*codes: str) -> JSON:
    """References to the answers of those codes, and of those that every path can have."""
    own = {code: {"$ref": f"#/components/responses/{_FAILURES[code][0]}"} for code in (*codes, "405")}
    of_the_server = {"401": "Unauthorized", "429": "TooManyRequests"}
    return {
        **own,
        **{code: {"$ref": f"#/components/responses/{name}"} for code, name in of_the_server.items()},
    }


def _responses(failure: JSON) -> JSON:
    made: JSON = {
        name: {"description": text, "content": {"application/json": {"schema": failure}}}
        for name, text in _FAILURES.values()
    }
    made["BadData"]["description"] += " In text where it is no HTTP, or its head is larger than 8 KB."
    made["BadData"]["content"] |= _TEXT["content"]
    made["NotAllowed"]["headers"] = {"Allow": {"schema": {"type": "string"}}}
    made["Unauthorized"] = {
        "description": "The web configuration file asks for a user, and none of its users asked.",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        **_TEXT,
    }
    made["TooManyRequests"] = {"description": "Above the rate limit of the web configuration file.", **_TEXT}
    return made


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
