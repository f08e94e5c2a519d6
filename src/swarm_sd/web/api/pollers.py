"""Who asks for the lists."""

from __future__ import annotations

from swarm_sd.web.api.answers import Answer, Time, at
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked


class Client(Answer, frozen=True, kw_only=True):
    """Whoever asks for one list over HTTP SD.

    `address` is where the connection comes from, which may be a proxy. `job` is "" where `path` names none.
    `interval`: how often it asks, in seconds, as it announces; null where it does not. `relabel`: it has the
    job's rules run here.
    """

    address: str
    user_agent: str
    path: str
    job: str
    interval: float | None
    first_time: Time
    last_time: Time
    requests: int
    last_status: int
    relabel: bool


async def clients(running: Running, asked: Asked) -> tuple[Client, ...]:
    """Who asked for lists since the start, the last one first; 1000 are remembered."""
    return tuple(
        Client(
            address=one.address,
            user_agent=one.user_agent,
            path=one.path,
            job=one.job,
            interval=one.interval,
            first_time=at(one.first_time),
            last_time=at(one.last_time),
            requests=one.requests,
            last_status=one.last_status,
            relabel=one.relabel,
        )
        for one in running.clients.all()
    )
