"""What a service manager is told, over real sockets. A real one: tests/e2e/test_systemd.py."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm_sd import notify


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that a service manager reads."""
    with (
        tempfile.TemporaryDirectory(prefix="notify-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        name = f"{folder}/socket" if request.param == "a path" else f"@{folder}/socket"
        listening.bind(name.replace("@", "\0"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def told(manager: socket.socket) -> list[str]:
    return manager.recv(1000).decode().split("\n")


async def test_lines_arrive_as_one_message(manager):
    await notify.notify("READY=1", "STATUS=3 jobs")
    assert told(manager) == ["READY=1", "STATUS=3 jobs"]


async def test_a_reload_has_the_time_at_which_it_began(manager):
    before = time.monotonic_ns() // 1000
    await notify.reloading()
    kind, at = told(manager)
    assert kind == "RELOADING=1"
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


async def test_the_watchdog_is_told_three_times_in_its_time(manager, monkeypatch):
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(notify.asyncio, "sleep", sleep)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with pytest.raises(asyncio.CancelledError):
        await notify.keep_alive()
    assert waits == [10, 10, 10]
    assert [told(manager) for _ in waits] == [["WATCHDOG=1"]] * 3


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
async def test_without_a_watchdog_of_ours_nothing_is_told(manager, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    await notify.keep_alive()
    with pytest.raises(BlockingIOError):
        told(manager)


async def test_without_a_service_manager_nothing_happens(monkeypatch, capsys):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    await notify.notify("READY=1")
    assert capsys.readouterr() == ("", "")


async def test_a_service_manager_that_is_gone_is_a_line_in_the_log_and_no_more(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    await notify.notify("READY=1")
    assert "cannot notify the service manager" in "".join(capsys.readouterr())


async def test_a_service_manager_that_reads_nothing_holds_up_nobody_for_long(manager, monkeypatch, capsys):
    monkeypatch.setattr(notify, "_SECONDS", 0.05)
    size = Path("/proc/sys/net/unix/max_dgram_qlen").read_text()
    for _ in range(int(size) + 2):
        await notify.notify("READY=1")
        if said := "".join(capsys.readouterr()):
            break
    assert "timed out" in said
