"""Nodes by services: what is scraped where, and what is not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from swarm_sd.insight import Spot
from swarm_sd.web.page.links import Paging

NODES: Final = 40
"""Rows of a page."""

SERVICES: Final = 25
"""Columns; of more, the filter finds the others."""

NOT_RUNNING: Final = frozenset({"not_running", "node_not_ready"})


class Cell(NamedTuple):
    """A node and a service. ``others``: objects without a target for another reason than not running."""

    scraped: int
    dropped: int
    not_running: int
    others: int
    reasons: Mapping[str, int]


class Matrix(NamedTuple):
    """A page of it; ``cells`` by (node, service). ``hidden``: how many services have no column."""

    paging: Paging
    nodes: Sequence[str]
    services: Sequence[str]
    hidden: int
    cells: Mapping[tuple[str, str], Cell]


def matrix(spots: Sequence[Spot], service: str, offset: int) -> Matrix:
    """The services that have ``service`` in their name, on the nodes from ``offset`` on."""
    wanted = [spot for spot in spots if service.lower() in spot.service.lower()]
    nodes = sorted({spot.node for spot in wanted})
    services = sorted({spot.service for spot in wanted})
    rows, columns = nodes[offset : offset + NODES], services[:SERVICES]
    of_page = frozenset(rows)
    shown = frozenset(columns)
    cells = {
        (spot.node, spot.service): _cell(spot)
        for spot in wanted
        if spot.node in of_page and spot.service in shown
    }
    paging = Paging(len(nodes), offset, len(rows), NODES)
    return Matrix(paging, rows, columns, len(services) - len(columns), cells)


def _cell(spot: Spot) -> Cell:
    not_running = sum(count for reason, count in spot.reasons.items() if reason in NOT_RUNNING)
    return Cell(spot.scraped, spot.dropped, not_running, spot.passed_over - not_running, spot.reasons)
