"""``swarm-sd status``."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from swarm_sd.cli.flags import FILE, TIMEOUT, fail

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from swarm_sd.scalars import Duration

Told: TypeAlias = dict[str, Any]
"""What the API tells, by the names below."""

_PATHS: Final = {
    "buildinfo": "status/buildinfo",
    "runtimeinfo": "status/runtimeinfo",
    "jobs": "jobs",
    "clusters": "clusters",
    "clients": "clients",
    "history": "history?limit=5",
}
_MOST_REASONS: Final = 3


class UnreachableError(Exception):
    """There is no swarm-sd to ask; why, without a password."""


@click.command()
@click.argument("url", default="http://127.0.0.1:9963")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: the data of the API as it comes.",
)
@click.option("--tls.ca-file", "ca_file", type=FILE, help="Certificates to trust instead of the system's.")
@TIMEOUT
def status(url: str, form: str, ca_file: Path | None, timeout: Duration) -> None:
    """Show how the swarm-sd at URL fares; a user and password may stand in it.

    Exit code 0: ready, and every target is confirmed; 1: something is stale, unknown or failing; 2: there is
    nobody to ask.
    """
    try:
        told = asyncio.run(ask(url, ca_file, float(timeout)))
    except UnreachableError as err:
        fail(2, f"swarm-sd: {err}")
    if form == "json":
        click.echo(json.dumps(told, indent=2))
    else:
        for line in lines(_printable(told)):
            click.echo(line)
    sys.exit(0 if fares_well(told) else 1)


async def ask(url: str, ca_file: Path | None = None, timeout: float = 30) -> Told:
    """All that is shown, asked for together."""
    import aiohttp

    base, headers = _base(url)
    try:
        tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
        connector = aiohttp.TCPConnector(ssl=tls)
        async with (
            asyncio.timeout(timeout),
            aiohttp.ClientSession(headers=headers, connector=connector) as session,
        ):
            asked = (_data(session, f"{base}/api/v1/{path}") for path in _PATHS.values())
            answers = await asyncio.gather(*asked)
    except TimeoutError:
        raise UnreachableError(f"{base}: no answer within {timeout:g} s") from None
    except (OSError, aiohttp.ClientError, ValueError) as err:
        raise UnreachableError(f"{base}: {_cause(err)}") from err
    return dict(zip(_PATHS, answers, strict=True))


def _base(url: str) -> tuple[str, dict[str, str]]:
    """(URL without user and without a slash at its end, headers that name the user)."""
    import aiohttp
    from yarl import URL

    way_out = "write it like http://127.0.0.1:9963"
    try:
        base = URL(url)
    except ValueError:
        raise UnreachableError(f"not a URL; {way_out}") from None
    if base.scheme not in ("http", "https") or not base.host:
        raise UnreachableError(f"not a URL of HTTP; {way_out}")
    headers = {}
    if base.user is not None:
        headers["Authorization"] = aiohttp.encode_basic_auth(base.user, base.password or "")
    return str(base.with_user(None).with_query(None).with_fragment(None)).rstrip("/"), headers


def _cause(err: Exception) -> str:
    cause: Exception = getattr(err, "os_error", err)
    number = getattr(cause, "errno", None)
    # those of TLS and of names that are not found are other numbers, with words of their own
    if number is not None and number > 0 and not isinstance(cause, ssl.SSLError):
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause)


async def _data(session: ClientSession, url: str) -> Any:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status == 401:
            way_out = "write the URL like http://user:password@host:port"
            raise UnreachableError(f"{url}: asks for a user and a password; {way_out}")
        try:
            told = json.loads(await answer.text())
        except ValueError:
            told = None
        if not isinstance(told, dict) or "status" not in told:
            raise UnreachableError(f"{url}: answers {answer.status}, and not as swarm-sd does")
        if told["status"] != "success":
            raise UnreachableError(f"{url}: {told.get('error')}")
        return told["data"]


def _printable(told: Any) -> Any:
    """The same without what a terminal would act on: any client names itself as it likes."""
    if isinstance(told, dict):
        return {name: _printable(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_printable(value) for value in told]
    if isinstance(told, str):
        return "".join(char if char.isprintable() or char == "\n" else "?" for char in told)
    return told


def fares_well(told: Told) -> bool:
    """Whether there is nothing to look after."""
    runtime = told["runtimeinfo"]
    troubles = any(cluster["troubles"] or cluster["staleSince"] for cluster in told["clusters"])
    return runtime["ready"] and runtime["reloadConfigSuccess"] and not troubles


def lines(told: Told) -> Iterator[str]:
    """How it fares, for people."""
    from swarm_sd.web.page.words import ago

    runtime = told["runtimeinfo"]
    ready = "ready" if runtime["ready"] else click.style("not ready", fg="red")
    yield f"swarm-sd {told['buildinfo']['version']}, started {ago(_seconds(runtime['startTime']))}: {ready}"
    loaded = ago(_seconds(runtime["lastReloadTime"]))
    if runtime["reloadConfigSuccess"]:
        yield f"{runtime['configFile']}, loaded {loaded}"
    else:
        yield click.style(f"{runtime['configFile']}: refused {loaded}, the old one stands", fg="red")
        yield from (f"  {line}" for line in runtime["lastReloadError"].splitlines())
    yield from _jobs(told)
    yield from _clusters(told["clusters"])
    if changes := told["history"]["generations"]:
        yield ""
        yield "Last changes"
        yield from (_change(one) for one in changes)


def _jobs(told: Told) -> Iterator[str]:
    for job in told["jobs"]:
        yield ""
        yield click.style(f"Job {job['job']}", bold=True)
        for entry in job["entries"]:
            held = ", a mass loss is held back" if entry["held"] else ""
            fresh = "stale" if entry["staleSince"] else "confirmed"
            state = f"{entry['state']}, {fresh}" if entry["state"] == "known" else entry["state"]
            yield f"  entry {entry['index']}, {entry['kind']}: {state}{held}, {entry['targets']} discovered"
        counts = job["targets"]
        yield f"  {counts['scraped']} scraped"
        if counts["dropped"] or counts["refused"]:
            yield f"  {counts['dropped'] + counts['refused']} not scraped: {_reasons(job['reasons'])}"
        if job["passedOver"]:
            number = sum(one["count"] for one in job["passedOver"])
            yield f"  {number} without a target: {_reasons(job['passedOver'])}"
        yield f"  {_pollers(told['clients'], job['job'])}"


def _reasons(reasons: list[Told]) -> str:
    told = [f"{one['reason']} {one['count']}" for one in reasons[:_MOST_REASONS]]
    return ", ".join([*told, *(["..."] if len(reasons) > _MOST_REASONS else [])])


def _pollers(clients: Iterable[Told], job: str) -> str:
    from swarm_sd.web.page.words import ago

    of_job = [one for one in clients if one["job"] == job]
    if not of_job:
        return "nobody asked for its list"
    last = of_job[0]
    agent = last["userAgent"] or "a client"
    return (
        f"asked for by {len(of_job)}, last {ago(_seconds(last['lastTime']))} by {agent} at {last['address']}"
    )


def _clusters(clusters: Iterable[Told]) -> Iterator[str]:
    """Those who ask the same managers together."""
    by_managers: dict[str, list[Told]] = {}
    for one in clusters:
        by_managers.setdefault(json.dumps(one["managers"]), []).append(one)
    for alike in by_managers.values():
        yield ""
        names = ", ".join(f"{entry['job']}/{entry['entry']}" for one in alike for entry in one["entries"])
        yield click.style(f"Asked for {names}", bold=True)
        yield from (_manager(one) for one in alike[0]["managers"])
        for trouble in (trouble for one in alike for trouble in one["troubles"]):
            yield click.style(f"  {trouble['title']}", fg="red" if trouble["level"] == "bad" else "yellow")
            yield f"    {trouble['text']}"


def _manager(told: Told) -> str:
    latency = f", {told['latency'] * 1000:.0f} ms" if told["latency"] is not None else ""
    error = f": {told['lastError']}" if told["lastError"] else ""
    return f"  {told['name']}  {told['state']}{', active' if told['active'] else ''}{latency}{error}"


def _change(one: Told) -> str:
    at = datetime.fromisoformat(one["time"]).strftime("%Y-%m-%d %H:%M:%S UTC")
    numbers = f"{one['added']} added, {one['removed']} removed, {one['changed']} changed"
    return f"  {at}  {', '.join(one['jobs'])}: {numbers} ({one['why'] or 'not told why'})"


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
