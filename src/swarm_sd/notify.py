"""What a systemd unit of ``Type=notify`` wants to be told: ready, reloading, stopping, alive.

Source: sd_notify(3) and systemd.service(5): one datagram of ``NAME=value`` lines to the socket that
``NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time

import structlog

log = structlog.stdlib.get_logger("main")

_SECONDS = 5.0  # that the service manager may take to read what came before


async def notify(*lines: str) -> None:
    """Sends ``lines``, such as ``READY=1``; does nothing where no service manager waits for them.

    Nobody may depend on it: where it fails the log says so, and that is all.
    """
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name  # "@": an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.connect(address)
            async with asyncio.timeout(_SECONDS):
                await asyncio.get_running_loop().sock_sendall(sender, "\n".join(lines).encode())
    except OSError as err:
        log.warning("cannot notify the service manager", err=str(err) or "timed out", lines=" ".join(lines))


async def reloading() -> None:
    """A reload begins. The time is what ``Type=notify-reload`` tells reloads apart by."""
    await notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


async def keep_alive() -> None:
    """Says again and again that the loop turns, where the unit has a ``WatchdogSec=``; until cancelled."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        await notify("WATCHDOG=1")
        await asyncio.sleep(int(usec) / 1_000_000 / 3)
