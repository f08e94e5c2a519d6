"""An endpoint of the API: a function of the running daemon and the parameters, answered in the envelope."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import structlog
from aiohttp import web

from swarm_sd.deliver.clients import Clients
from swarm_sd.insight import Insight
from swarm_sd.manager import Status
from swarm_sd.web.about import About
from swarm_sd.web.api import parameters
from swarm_sd.web.api.answers import Answer, APIError, Success, encoded

log = structlog.stdlib.get_logger("web")

HEADERS: Final = {"Content-Type": "application/json", "Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Running:
    """What the endpoints read of the daemon."""

    insight: Insight
    status: Callable[[], Status]
    about: Callable[[], About]
    clients: Clients


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path and who answers there: its annotations are the parameters and the data."""

    path: str
    answer: Callable[[Running, Any], Awaitable[Any]]

    @property
    def asked(self) -> type[parameters.Asked]:
        """The type of its parameters."""
        kind: type[parameters.Asked] = self._types()["asked"]
        return kind

    @property
    def data(self) -> Any:
        """The type of what is in the envelope."""
        return self._types()["return"]

    def _types(self) -> dict[str, Any]:
        return get_type_hints(self.answer, include_extras=True)


def route(endpoint: Endpoint, running: Running) -> web.RouteDef:
    """The route of an endpoint."""
    kind = endpoint.asked

    async def answer(request: web.Request) -> web.Response:
        try:
            only_get(request)
            asked = parameters.read(request.query, kind)
            data = await _data(endpoint, running, asked)
            return await response(200, Success(status="success", data=data))
        except APIError as err:
            return await refusal(err)
        except Exception:
            log.exception("the API could not answer", path=request.path)
            return await refusal(APIError(500, "internal", "a bug; the log of swarm-sd has more"))

    return web.route("*", endpoint.path, answer)


async def _data(endpoint: Endpoint, running: Running, asked: parameters.Asked) -> object:
    try:
        return await endpoint.answer(running, asked)
    except KeyError:
        job, jobs = getattr(asked, "job", None), running.insight.jobs()
        if job is None or job in jobs:
            raise  # a bug
        if not running.status().deliveries:
            raise APIError(503, "unavailable", "starting: no job is known yet") from None
        names = ", ".join(map(repr, jobs)) or "none"
        raise APIError(404, "not_found", f"no job {job!r}; the jobs here are: {names}") from None


def only_get(request: web.Request) -> None:
    """``APIError`` for what neither is GET nor HEAD: nothing here changes anything."""
    if request.method not in ("GET", "HEAD"):
        raise APIError(405, "bad_data", f"method {request.method} is not allowed; only GET and HEAD are")


async def response(status: int, answer: Answer) -> web.Response:
    """An answer as JSON, encoded where nobody waits for it."""
    return web.Response(status=status, body=await asyncio.to_thread(encoded, answer), headers=HEADERS)


async def refusal(err: APIError) -> web.Response:
    """The answer that says why there is none."""
    made = await response(err.status, err.failure)
    if err.status == 405:
        made.headers["Allow"] = "GET, HEAD"
    return made
