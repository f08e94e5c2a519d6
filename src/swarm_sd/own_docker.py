"""``serve --docker``: the machine's own Docker, with jobs that suit it and no file.

Source: DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as Docker's own client reads them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from swarm_sd.config import Complaint, Config, ConfigError
from swarm_sd.config.shown import of_jobs
from swarm_sd.discovery.docker.provider import DockerSDConfig
from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig
from swarm_sd.discovery.http_client import TLSConfig
from swarm_sd.job import Job
from swarm_sd.provider import DiscoveryError, SDConfig
from swarm_sd.relabel import RelabelConfig, compile_rule
from swarm_sd.scalars import FilePath, Interval, Port

DEFAULT_HOST = "unix:///var/run/docker.sock"
ENGINE_METRICS = Port("9323")
"""Where dockerd serves its own metrics when ``metrics-addr`` is set as its documentation shows."""

_INTERVAL = Interval(15)

_CONTAINERS = (
    # what listens nowhere cannot be scraped, and who says no is left alone
    RelabelConfig(source_labels=("__meta_docker_port_private",), regex=".+", action="keep"),
    RelabelConfig(
        source_labels=("__meta_docker_container_label_prometheus_scrape",), regex="false", action="drop"
    ),
    RelabelConfig(
        source_labels=("__meta_docker_container_name",),
        regex="/(.+)",
        target_label="container",
    ),
)
_TASKS = (
    RelabelConfig(source_labels=("__meta_dockerswarm_task_desired_state",), regex="running", action="keep"),
    RelabelConfig(
        source_labels=("__meta_dockerswarm_network_ingress",), regex="true", action="drop"
    ),  # an address on ingress answers nobody
    RelabelConfig(
        source_labels=("__meta_dockerswarm_service_label_prometheus_scrape",), regex="false", action="drop"
    ),
    RelabelConfig(source_labels=("__meta_dockerswarm_service_name",), target_label="job"),
    RelabelConfig(source_labels=("__meta_dockerswarm_service_name",), target_label="service"),
    RelabelConfig(source_labels=("__meta_dockerswarm_node_hostname",), target_label="node"),
)
_NODES = (
    RelabelConfig(source_labels=("__meta_dockerswarm_node_hostname",), target_label="node"),
    RelabelConfig(source_labels=("__meta_dockerswarm_node_role",), target_label="role"),
)


class _Swarm(msgspec.Struct, rename={"control": "ControlAvailable"}):
    control: bool = False


class _Info(msgspec.Struct, rename={"swarm": "Swarm"}):
    swarm: _Swarm = msgspec.field(default_factory=_Swarm)


def read(environment: Mapping[str, str] | None = None) -> Config:
    """The jobs for the Docker that ``DOCKER_HOST`` names, or that listens on the default socket.

    A swarm manager: every service's tasks and the nodes' engines; any other engine: its containers.
    ConfigError where DOCKER_HOST is no host, or nobody answers there: what it is decides the jobs.
    """
    environment = os.environ if environment is None else environment
    text = environment.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        host = Host.from_yaml(text)
        tls = _tls(environment)
        manages = asyncio.run(_manages(host, DockerSDConfig(host=host, tls_config=tls)))
    except (ValueError, DiscoveryError) as err:
        way_out = "" if "DOCKER_HOST" in environment else "; set DOCKER_HOST where Docker listens elsewhere"
        raise ConfigError([Complaint("--docker", 0, 0, "", f"{err}{way_out}")]) from err
    jobs = _manager_jobs(host, tls) if manages else (_engine_job(host, tls),)
    return _config(*jobs)


def containers(environment: Mapping[str, str] | None = None) -> Config:
    """The job of an engine that is no manager. ``ValueError`` where DOCKER_HOST is no host."""
    environment = os.environ if environment is None else environment
    host = Host.from_yaml(environment.get("DOCKER_HOST") or DEFAULT_HOST)
    return _config(_engine_job(host, _tls(environment)))


def _config(*jobs: Job) -> Config:
    return Config(Path("--docker"), jobs, files=(), shown=lambda: of_jobs(jobs))


def _tls(environment: Mapping[str, str]) -> TLSConfig | None:
    folder = environment.get("DOCKER_CERT_PATH")
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not folder:
        return TLSConfig() if verify else None
    return TLSConfig(
        ca_file=FilePath(f"{folder}/ca.pem"),
        cert_file=FilePath(f"{folder}/cert.pem"),
        key_file=FilePath(f"{folder}/key.pem"),
        insecure_skip_verify=not verify,
    )


async def _manages(host: Host, config: DockerAPIConfig) -> bool:
    api = DockerAPI((host,), config, timeout=5, negotiate=True)
    try:
        _, info = await api.get("/info", _info)
    finally:
        await api.close()
    return info.swarm.control


def _info(body: bytes | bytearray) -> _Info:
    try:
        return msgspec.json.decode(body, type=_Info)
    except msgspec.DecodeError as err:
        raise DiscoveryError("not_json", f"answers with something else than a JSON object: {err}") from None


def _engine_job(host: Host, tls: TLSConfig | None) -> Job:
    config = DockerSDConfig(host=host, tls_config=tls, refresh_interval=_INTERVAL)
    return _job("docker-containers", config, _CONTAINERS)


def _manager_jobs(host: Host, tls: TLSConfig | None) -> tuple[Job, ...]:
    tasks = DockerSwarmSDConfig(host=host, tls_config=tls, role="tasks", refresh_interval=_INTERVAL)
    nodes = DockerSwarmSDConfig(
        host=host, tls_config=tls, role="nodes", port=ENGINE_METRICS, refresh_interval=_INTERVAL
    )
    return _job("docker-services", tasks, _TASKS), _job("docker-engines", nodes, _NODES)


def _job(name: str, config: SDConfig, rules: tuple[RelabelConfig, ...]) -> Job:
    defaults = {
        "job": name,
        "__scheme__": "http",
        "__metrics_path__": "/metrics",
        "__scrape_interval__": "1m",
        "__scrape_timeout__": "10s",
    }
    return Job(name, (config,), tuple(compile_rule(rule) for rule in rules), defaults)
