"""Where a job's targets are: nodes by services."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec

from swarm_sd.insight import Spot
from swarm_sd.web.api.answers import Answer
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked, JobName, Limit, Offset


class MatrixAsked(Asked, frozen=True, kw_only=True):
    """Which nodes and services."""

    job: JobName
    service: Annotated[
        str,
        msgspec.Meta(
            max_length=500, description="Only services with this in their name, in any letter case."
        ),
    ] = ""
    offset: Offset = 0
    limit: Limit = 100


class Cell(Answer, frozen=True, kw_only=True):
    """What there is of a service on a node. `passedOver`: objects without a target; `reasons` count them."""

    service: str
    scraped: int
    dropped: int
    passed_over: int
    reasons: dict[str, int]


class Node(Answer, frozen=True, kw_only=True):
    """A node and the services that it has something of; "" stands for what belongs to no node or service."""

    node: str
    cells: tuple[Cell, ...]


class Matrix(Answer, frozen=True, kw_only=True):
    """A page of nodes, how many there are in all, and every service there is on any of them."""

    total: int
    services: tuple[str, ...]
    nodes: tuple[Node, ...]


async def matrix(running: Running, asked: MatrixAsked) -> Matrix:
    """Node by node and service by service, what is scraped and what is not."""
    spots = await running.insight.spots(asked.job)
    return await asyncio.to_thread(_matrix, spots, asked)


def _matrix(spots: Sequence[Spot], asked: MatrixAsked) -> Matrix:
    wanted = asked.service.lower()
    by_node: dict[str, list[Spot]] = {}
    for spot in spots:
        if wanted in spot.service.lower():
            by_node.setdefault(spot.node, []).append(spot)
    nodes = sorted(by_node)
    services = sorted({spot.service for of_node in by_node.values() for spot in of_node})
    page = nodes[asked.offset : asked.offset + asked.limit]
    return Matrix(
        total=len(nodes),
        services=tuple(services),
        nodes=tuple(Node(node=node, cells=tuple(map(_cell, by_node[node]))) for node in page),
    )


def _cell(spot: Spot) -> Cell:
    return Cell(
        service=spot.service,
        scraped=spot.scraped,
        dropped=spot.dropped,
        passed_over=spot.passed_over,
        reasons=dict(spot.reasons),
    )
