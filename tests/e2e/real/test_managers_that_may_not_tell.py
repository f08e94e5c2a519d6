"""Managers that are locked, demoted, or that show a wrong certificate: targets stand, the next one tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trustme

from ..conftest import StartSwarmSD
from ..programs import Program, SwarmSD, becomes, until
from .asking import ROLES, config, known, lasting, stale, standing
from .cluster import Cluster, Engine
from .inside import SwarmSDInside
from .test_ill_managers import job, news

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ALONE = "alone"
"""A job that asks the manager that falls ill, and nobody else."""


@pytest.fixture
def ill(cluster: Cluster, leader: Engine) -> Engine:
    """A manager that does not lead: nothing else changes with it."""
    return next(manager for manager in cluster.managers if manager is not leader)


async def is_passed_over(
    cluster: Cluster,
    start: StartSwarmSD,
    hosts: Sequence[str],
    ill: Engine,
    reason: str,
    said: str,
    *lines: str,
    strike: Callable[[], Awaitable[object]],
    mend: Callable[[], Awaitable[object]],
) -> None:
    """Between ``strike`` and ``mend`` the manager ``ill``, first of ``hosts``, cannot tell for ``reason``."""
    sd = await start(config(hosts, *lines) + job(ALONE, hosts[:1], *lines))
    await known(sd, [*ROLES, ALONE])
    targets = await lasting(sd, [ill.name])
    async with standing(sd, {**targets, ALONE: targets["tasks"]}):
        await strike()
        failures = {"job": ALONE, "reason": reason}
        await until(lambda: sd.metric("swarm_sd_refresh_failures_total", **failures), "it is told why")
        assert await sd.metric("swarm_sd_stale", job=ALONE) == 1
        assert said in (await sd.get("/")).body.decode()

        late = await start(config(hosts, *lines))
        await known(late)
        failed = {"job": "nodes", "manager": hosts[0], "reason": reason}
        assert await late.metric("swarm_sd_manager_failures_total", **failed) >= 1
        assert await late.metric("swarm_sd_manager_active", job="nodes", manager=hosts[1]) == 1

        await news(cluster, sd)
        assert await stale(sd) == set()
        await mend()
        # Docker takes 2 s or 30 s to make a manager of a node again
        await becomes(lambda: sd.metric("swarm_sd_stale", job=ALONE), 0.0, seconds=90)


async def test_a_locked_manager_is_passed_over_until_it_is_unlocked(
    cluster: Cluster, leader: Engine, ill: Engine, swarm_sd: StartSwarmSD
) -> None:
    await is_passed_over(
        *(cluster, swarm_sd, [ill.host, leader.host], ill, "locked", "needs to be unlocked"),
        strike=lambda: asyncio.to_thread(cluster.lock, ill),
        mend=lambda: asyncio.to_thread(cluster.unlock, ill),
    )


async def test_a_demoted_manager_is_passed_over_until_it_is_promoted(
    cluster: Cluster, leader: Engine, ill: Engine, swarm_sd: StartSwarmSD
) -> None:
    await is_passed_over(
        *(cluster, swarm_sd, [ill.host, leader.host], ill, "not_a_manager", "not a swarm manager"),
        strike=lambda: cluster.update_node(ill, Role="worker"),
        mend=lambda: cluster.update_node(ill, Role="manager"),
    )


TLS = "tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}"
NO_CERTIFICATE = "tls_config: {ca_file: ca.pem}"


def pems(authority: trustme.CA, issuer: trustme.CA, name: str) -> dict[str, bytes]:
    """Files for who trusts ``authority`` and has a certificate of ``issuer``."""
    own = issuer.issue_cert(name)
    return {
        "ca.pem": authority.cert_pem.bytes(),
        "cert.pem": b"".join(pem.bytes() for pem in own.cert_chain_pems),
        "key.pem": own.private_key_pem.bytes(),
    }


@pytest.fixture
def inside(cluster: Cluster, started: list[Program], tmp_path: Path) -> StartSwarmSD:
    """Starts ``swarm-sd serve`` in the cluster's network."""

    async def start(text: str) -> SwarmSD:
        sd = SwarmSDInside(tmp_path, text)
        sd.namespace = cluster.namespace
        started.append(sd)
        await sd.start()
        return sd

    return start


@pytest.mark.campaign
async def test_managers_over_tls_of_which_one_shows_the_certificate_of_another_authority(
    cluster: Cluster, leader: Engine, ill: Engine, inside: StartSwarmSD, tmp_path: Path
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    (other,) = (manager for manager in cluster.managers if manager not in (leader, ill))
    for manager in (ill, other):
        await asyncio.to_thread(cluster.secure, manager, pems(authority, authority, manager.address))
    for name, content in pems(authority, authority, "swarm-sd.example").items():
        (tmp_path / name).write_bytes(content)

    await is_passed_over(
        *(cluster, inside, [ill.tcp, other.tcp], ill, "tls", "TLS", TLS),
        strike=lambda: asyncio.to_thread(cluster.secure, ill, pems(authority, stranger, ill.address)),
        mend=lambda: asyncio.to_thread(cluster.secure, ill, pems(authority, authority, ill.address)),
    )
    without = await inside(config([other.tcp], NO_CERTIFICATE, roles=["tasks"]))
    await without.said("our client certificate")
    assert (await without.get("/sd/tasks")).status == 503
