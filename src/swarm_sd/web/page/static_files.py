"""Style, script and icon, named by what is in them, so that browsers keep them for ever."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from aiohttp import web

_TYPES: Final = {
    "swarm-sd.css": "text/css; charset=utf-8",
    "swarm-sd.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}


class StaticFile(NamedTuple):
    """A file; ``version`` is the beginning of its hash."""

    body: bytes
    content_type: str
    version: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """All of them by name. Reads files the first time: for a thread."""
    folder = files("swarm_sd.web.page") / "static"
    bodies = {name: (folder / name).read_bytes() for name in _TYPES}
    return {
        name: StaticFile(body, _TYPES[name], hashlib.sha256(body).hexdigest()[:16])
        for name, body in bodies.items()
    }


def static_url(name: str) -> str:
    """The URL of a file, which is another as soon as the file is."""
    return f"/static/{name}?v={static_files()[name].version}"


async def answer(request: web.Request) -> web.Response:
    """A file below ``/static``."""
    found = (await asyncio.to_thread(static_files)).get(request.match_info["name"])
    if found is None:
        return web.Response(status=404, text="no such file\n")
    named = request.query.get("v") == found.version
    headers = {
        "ETag": f'"{found.version}"',
        "Cache-Control": "public, max-age=31536000, immutable" if named else "no-cache",
    }
    if found.version in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    response = web.Response(body=found.body, headers={**headers, "Content-Type": found.content_type})
    response.enable_compression()
    return response
