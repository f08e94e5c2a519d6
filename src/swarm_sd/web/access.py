"""Who is answered: the rate limit, then users and passwords; and the headers of every answer.

Source: webHandler of prometheus/exporter-toolkit.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping

import bcrypt
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from swarm_sd.config.web import RateLimit
from swarm_sd.scalars import Secret
from swarm_sd.web.config_file import WebConfigFile

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
"""On every answer that says nothing else: a page may load its own files alone, and nobody may frame it."""

_MOST_REMEMBERED = 100  # as the toolkit
_NO_PASSWORD = "QPU1NLoPTWvF9yYJmSWFaOhYcBNIXvFVbDVWOGE.ZzzEpyVwpJ9mO"  # noqa: S105 - nobody's
"""Salt and hash of a random text: what unknown users are checked against."""


def headers(file: WebConfigFile | None) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal ``on_response_prepare`` that adds what every answer has; the file's own headers win."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        for name, value in file.standing.http_server_config.headers.items() if file else ():
            response.headers[name] = value
            if not value:
                del response.headers[name]

    return add


def guard(file: WebConfigFile) -> Middleware:
    """The middleware that lets through whom the web configuration file lets through."""
    users = Users()
    limit = Bucket(file.rate_limit) if file.rate_limit.interval else None

    @web.middleware
    async def let_through(request: web.Request, handler: Handler) -> web.StreamResponse:
        if limit is not None and not limit.takes():
            return web.Response(status=429, text="Too Many Requests\n")
        known = (await file.config()).basic_auth_users
        if not known or await users.has(known, request.headers.get("Authorization", "")):
            return await handler(request)
        return web.Response(status=401, text="Unauthorized\n", headers={"WWW-Authenticate": "Basic"})

    return let_through


class Bucket:
    """A bucket of ``burst`` tokens that gets one back each ``interval`` seconds."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._tokens = float(limit.burst)
        self._at = clock()

    def takes(self) -> bool:
        """Whether there is a token; it is taken."""
        now = self._clock()
        gained = (now - self._at) / self._limit.interval
        self._tokens = min(float(self._limit.burst), self._tokens + gained)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Users:
    """Checks passwords against their bcrypt hashes, one at a time, and remembers those that were right."""

    def __init__(self) -> None:
        self._right: set[bytes] = set()
        self._checking = asyncio.Lock()

    async def has(self, users: Mapping[str, Secret], authorization: str) -> bool:
        """Whether the header ``authorization`` is of one of ``users`` (name: hash), password and all."""
        given = credentials(authorization)
        if given is None:
            return False
        user, password = given
        hashed = users.get(user)
        against = hashed.reveal() if hashed is not None else _like_one_of(users)
        # a digest, so that neither the memory nor the time of a look-up tells a password
        key = hashlib.sha256(repr((user, against, password)).encode("utf-8", "surrogatepass")).digest()
        if key in self._right:
            return True
        async with self._checking:
            if key in self._right:  # was asked for while waiting
                return True
            matches = await asyncio.to_thread(_matches, password, against)
        if hashed is None or not matches:
            return False
        if len(self._right) >= _MOST_REMEMBERED:
            self._right.remove(random.choice(tuple(self._right)))
        self._right.add(key)
        return True


def _like_one_of(users: Mapping[str, Secret]) -> str:
    """A hash without a password that takes as long as the dearest of ``users``: time tells no names."""
    cost = max(hashed.reveal()[4:6] for hashed in users.values())
    return f"$2b${cost}${_NO_PASSWORD}"


def _matches(password: bytes, hashed: str) -> bool:
    return bcrypt.checkpw(password[:72], hashed.encode())  # bcrypt knows no more of a password


def credentials(authorization: str) -> tuple[str, bytes] | None:
    """User and password of a header ``Basic ...``; None where it is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user.decode("utf-8", "surrogateescape"), password) if colon else None
