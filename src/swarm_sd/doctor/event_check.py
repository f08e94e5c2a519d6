"""Whether events arrive, found out without making any: those that Docker remembers are asked for again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from swarm_sd.discovery.http_session import Answer
from swarm_sd.doctor import engines
from swarm_sd.doctor.findings import Finding, ok, warning
from swarm_sd.provider import DiscoveryError

BEGIN, ARRIVE, LASTS = 3.0, 2.0, 0.3
"""Seconds in which a stream must begin, events that are past must come, and for which it must not end."""

_LOOK_BACK = 7 * 86_400
"""Seconds; Docker remembers the last 256 events."""

Get: TypeAlias = Callable[[str], Awaitable[Answer]]
Stream: TypeAlias = Callable[[str, Callable[[bytes], None], Callable[[], None]], Awaitable[None]]


async def events_arrive(get: Get | None, stream: Stream) -> Finding:
    """Opens the stream of events for a moment.

    ``stream`` is given a path, and who takes parts and its beginning; ``get`` asks for past events. None:
    there are none to be had (classic Swarm), and only its beginning is looked at.
    """
    since = int(time.time()) - _LOOK_BACK
    path = "/events" if get is None else f"/events?since={since}"
    began, came, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    error: list[DiscoveryError] = []

    async def follow() -> None:
        try:
            await stream(path, lambda part: came.set() if part else None, began.set)
        except DiscoveryError as err:
            error.append(err)
        finally:
            ended.set()

    following = asyncio.create_task(follow())
    try:
        await _first(BEGIN, began, ended)
        if not began.is_set():
            return _no_stream(error[0] if error else None, await _past(get, since))
        past = await _past(get, since)
        await _first(ARRIVE if past else LASTS, came, ended)
        if ended.is_set():
            return _ends(came.is_set())
        if past and not came.is_set():
            return _held_back(
                f"Docker told {past} bytes of past events, and none came through the open stream"
            )
        return ok("events", "events arrive" if came.is_set() else "the stream of events is open")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _first(seconds: float, *events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(one.wait()) for one in events]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _past(get: Get | None, since: int) -> int:
    """How many bytes of past events there are, when they are asked for as an answer that ends."""
    if get is None:
        return 0
    try:
        answer = await get(f"/events?since={since}&until={int(time.time())}")
    except DiscoveryError:
        return 0
    return len(answer.body) if answer.status < 300 else 0


_POLLED = "changes are found by asking every refresh_interval alone"


def _no_stream(error: DiscoveryError | None, past: int) -> Finding:
    if error is None or error.reason == "timeout":
        if past:
            return _held_back("/events with an end is answered, and without one not even its beginning comes")
        return warning("no-events", f"/events does not begin within {BEGIN:g} s: {_POLLED}",
                       "a proxy does not let it through, or holds it back", _BUFFERING)  # fmt: skip
    if "HTTP status 403" in str(error):
        forbidden = engines.forbidden(["/events"], 403)
        return warning("no-events", f"/events is forbidden: {_POLLED}", forbidden.cause, forbidden.way_out)
    return warning("no-events", f"{error}: {_POLLED}", "the stream of events cannot be had", _BUFFERING)


def _ends(some: bool) -> Finding:
    came = "after the past events" if some else "at once"
    return warning("no-events", f"the stream of events ends {came}: {_POLLED}",
                   "a proxy takes /events for an answer that ends", _BUFFERING)  # fmt: skip


def _held_back(cause: str) -> Finding:
    return warning(
        "events-held-back", f"events are held back on their way: {_POLLED}",
        f"a proxy gathers answers before it hands them on: {cause}", _BUFFERING)  # fmt: skip


_BUFFERING = (
    "let the proxy hand on /events as it comes (nginx: proxy_buffering off; proxy_read_timeout 1h; HAProxy: "
    "no option http-buffer-request, timeout server 1h)"
)
