"""The OpenAPI document against the server: what it says is what is answered, and all that is."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from tests.web.world import beside

from swarm_sd.web.api import API, ENDPOINTS, openapi
from swarm_sd.web.api.live import PATH as LIVE

PAGE = Path(__file__).parents[2] / "docs/http-api.md"
DOCUMENT = openapi.document(ENDPOINTS)


@pytest.fixture(scope="module")
def base():
    with beside() as served:
        yield served.base


# a stream has no end to wait for; tests/web/test_live.py has it
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=LIVE)
answered = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=[LIVE, openapi.PATH])
answered.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])

EASY = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
FOUND = {"job": "shop", "source": "s", "address": "10.0.0.1:80", "nth": 1}


@schema.parametrize()
@EASY
def test_whatever_is_asked_is_answered_as_the_document_says(case, base):
    case.call_and_validate(base_url=base)


@answered.parametrize()
@EASY
def test_what_is_there_is_answered_as_the_document_says(case, base):
    known = {one["name"] for one in case.operation.definition.raw.get("parameters", [])} & FOUND.keys()
    case.query = {**(case.query or {}), **{name: FOUND[name] for name in known}}
    assert case.call_and_validate(base_url=base).status_code == 200


def test_the_document_is_served_as_it_is_made(base):
    with urllib.request.urlopen(f"{base}{openapi.PATH}") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert json.load(answer) == DOCUMENT


def test_every_route_is_in_the_document():
    routes = {route.path for route in API(None).routes()} - {"/api{rest:(/.*)?}"}
    assert routes == DOCUMENT["paths"].keys()


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_path_is_on_the_page_with_an_example_and_its_parameters(path):
    page = PAGE.read_text()
    assert f"| `{path}` |" in page
    assert re.search(rf"^\$ (curl|swarm-sd) .*http://127.0.0.1:9963{re.escape(path)}\b", page, re.MULTILINE)
    row = next(line for line in page.splitlines() if line.startswith(f"| `{path}` |"))
    for parameter in DOCUMENT["paths"][path]["get"].get("parameters", []):
        assert f"`{parameter['name']}`" in row


def test_everything_is_described():
    operations = [path["get"] for path in DOCUMENT["paths"].values()]
    assert all(one["summary"].endswith(".") for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["description"] for path in operations for one in path.get("parameters", []))
    assert all(one["description"] for one in DOCUMENT["components"]["schemas"].values())


def test_an_answer_has_all_its_fields_and_no_others():
    for one in DOCUMENT["components"]["schemas"].values():
        assert one["additionalProperties"] is False
        assert set(one["required"]) == set(one["properties"])
