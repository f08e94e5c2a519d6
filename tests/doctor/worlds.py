"""What the doctor's tests share: an examination of a configuration, and what it told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from swarm_sd.config import load
from swarm_sd.doctor.examine import examine
from swarm_sd.doctor.findings import Finding, Report
from swarm_sd.sim.moby.clusters import example


def swarm():
    """Three managers, two workers, services of every kind."""
    return example()


async def examined(folder: Path, text: str, *, timeout: float = 20) -> Report:
    """What the doctor says of a configuration."""
    file = folder / "swarm.yml"
    file.write_text(text)
    return await examine(load(file), timeout=timeout)


def entry(kind: str, *lines: str, rules: str = "", job: str = "job") -> str:
    """A job with one entry."""
    first, *rest = lines
    more = "".join(f"\n    {line}" for line in rest)
    rules = f"  relabel_configs:\n{rules}\n" if rules else ""
    return f"- job_name: {job}\n  {kind}_sd_configs:\n  - {first}{more}\n{rules}"


def config(*jobs: str) -> str:
    return "scrape_configs:\n" + "".join(jobs)


def told(report: Report, check: str) -> Finding:
    """The one finding of that name."""
    found = [one for section in report.sections for one in section.findings if one.check == check]
    assert len(found) == 1, f"{len(found)} findings of {check} among {names(report)}"
    return found[0]


def names(report: Report, *states: str) -> list[str]:
    """The checks that failed, or that have one of ``states``."""
    wanted = states or ("problem", "warning")
    every = [one for section in report.sections for one in section.findings]
    return sorted({one.check for one in every if one.state in wanted and one.check != "not-discovered"})


@contextlib.asynccontextmanager
async def server(
    answer: Callable[[str], Awaitable[bytes]] | bytes, *, goes_on: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[int]:
    """Something that answers on TCP: ``answer`` gets the path that was asked; gives the port.

    ``goes_on``: of which paths the answer has no end.
    """
    open_: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ")[1]
                writer.write(answer if isinstance(answer, bytes) else await answer(path))
                await writer.drain()
                if goes_on(path):
                    await reader.read()  # until the other side has had enough
        finally:
            open_.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)


def http(status: str, body: str, content_type: str = "text/html", *headers: str) -> bytes:
    """A whole answer."""
    more = "".join(f"{one}\r\n" for one in headers)
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return (head + body).encode()
