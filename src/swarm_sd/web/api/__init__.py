"""The JSON API: everything below ``/api``, in Prometheus' envelope and described at /api/v1/openapi.json.

A new endpoint is a function and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from swarm_sd.web.api import changes, clusters, daemon, jobs, matrix, openapi, parameters, pollers, targets
from swarm_sd.web.api.answers import APIError, encoded
from swarm_sd.web.api.endpoint import HEADERS, Endpoint, Running, only_get, refusal, route
from swarm_sd.web.api.live import Live

ENDPOINTS: Final[Sequence[Endpoint]] = (
    Endpoint("/api/v1/status/buildinfo", daemon.build_info),
    Endpoint("/api/v1/status/runtimeinfo", daemon.runtime_info),
    Endpoint("/api/v1/status/flags", daemon.flags),
    Endpoint("/api/v1/status/config", daemon.config),
    Endpoint("/api/v1/jobs", jobs.jobs),
    Endpoint("/api/v1/targets", targets.targets),
    Endpoint("/api/v1/targets/explanation", targets.explanation),
    Endpoint("/api/v1/passed_over", targets.passed_over),
    Endpoint("/api/v1/clusters", clusters.clusters),
    Endpoint("/api/v1/matrix", matrix.matrix),
    Endpoint("/api/v1/history", changes.history),
    Endpoint("/api/v1/clients", pollers.clients),
)


class API:
    """The API of a running daemon."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.live = Live(running)
        self._document: bytes | None = None

    def routes(self) -> list[web.RouteDef]:
        """All of ``/api``; what is not there is told in the envelope, too."""
        return [
            *(route(endpoint, self._running) for endpoint in ENDPOINTS),
            self.live.route(),
            web.route("*", openapi.PATH, self._openapi),
            web.route("*", "/api{rest:(/.*)?}", _nothing),
        ]

    async def _openapi(self, request: web.Request) -> web.Response:
        try:
            only_get(request)
            parameters.read(request.query, parameters.Asked)
        except APIError as err:
            return await refusal(err)
        if self._document is None:
            self._document = encoded(openapi.document(ENDPOINTS))
        return web.Response(body=self._document, headers=HEADERS)


async def _nothing(request: web.Request) -> web.Response:
    try:
        only_get(request)
    except APIError as err:
        return await refusal(err)
    return await refusal(APIError(404, "not_found", f"nothing is here; {openapi.PATH} tells what there is"))
