"""The services of a swarm and their tasks as metrics. Pure. docs/swarm-metrics.md describes each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, TypeAlias

from swarm_sd.discovery.docker_api.wire import Service
from swarm_sd.discovery.dockerswarm.task_counts import Counted, completions, desired
from swarm_sd.provider import Family, Metric, Sample

Services: TypeAlias = Mapping[str, Service]
"""By ID."""

INFO: Final = Metric(
    "swarm_service_info", "gauge", "What a service is.", ("service", "service_id", "mode", "image", "stack")
)
UPDATE_STATE: Final = Metric(
    "swarm_service_update_state",
    "gauge",
    "Whether the last update of the service is in this state.",
    ("service", "state"),
)
DESIRED: Final = Metric(
    "swarm_service_replicas_desired", "gauge", "Tasks that shall run at a time.", ("service",)
)
RUNNING: Final = Metric("swarm_service_replicas_running", "gauge", "Tasks that run.", ("service",))
COMPLETED: Final = Metric(
    "swarm_service_replicas_completed", "gauge", "Tasks of a job's current run that ended well.", ("service",)
)
COMPLETIONS: Final = Metric(
    "swarm_service_job_completions_desired", "gauge", "Tasks of a job that shall end well.", ("service",)
)
TASKS: Final = Metric("swarm_service_tasks", "gauge", "Listed tasks by their state.", ("service", "state"))
RESTARTS: Final = Metric(
    "swarm_service_task_restarts_total",
    "counter",
    "Tasks that took the place of another one without an update of the service.",
    ("service",),
)

# Source: UpdateState in api/types/swarm of moby
_UPDATE_STATES: Final = (
    *("updating", "paused", "completed"),
    *("rollback_started", "rollback_paused", "rollback_completed"),
)
_STACK: Final = "com.docker.stack.namespace"


def of_services(services: Services) -> list[Family]:
    """What the list of services alone tells."""
    named = _by_name(services)
    return [
        Family(INFO, lambda: [(_described(name, service), 1) for name, service in named.items()]),
        Family(UPDATE_STATE, partial(_update_states, named)),
        Family(COMPLETIONS, partial(_filled, named, completions)),
    ]


def of_tasks(services: Services, counts: Mapping[str, Counted], restarts: Mapping[str, int]) -> list[Family]:
    """What services and tasks tell together; by ID of the service."""
    named = _by_name(services)
    return [
        Family(DESIRED, partial(_filled, named, lambda service: counts[service.id].desired)),
        Family(RUNNING, partial(_filled, named, lambda service: counts[service.id].running)),
        Family(COMPLETED, partial(_filled, named, lambda service: counts[service.id].completed)),
        Family(TASKS, partial(_states, named, counts)),
        Family(RESTARTS, partial(_filled, named, lambda service: restarts[service.id])),
    ]


def without_tasks(services: Services) -> list[Family]:
    """What is known of replicas while tasks are not listed: what shall be, but for the global modes."""
    return [Family(DESIRED, partial(_filled, _by_name(services), desired))]


def _by_name(services: Services) -> Services:
    """A swarm has no name twice."""
    return {service.spec.name: service for service in services.values()}


def _described(name: str, service: Service) -> tuple[str, ...]:
    spec = service.spec
    container = spec.task_template.container_spec
    image = "" if container is None else container.image.partition("@")[0]
    return name, service.id, _mode(service), image, (spec.labels or {}).get(_STACK, "")


def _mode(service: Service) -> str:
    """As ``docker service ls`` calls it."""
    mode = service.spec.mode
    named = {
        "replicated": mode.replicated,
        "global": mode.global_,
        "replicated-job": mode.replicated_job,
        "global-job": mode.global_job,
    }
    return next((name for name, one in named.items() if one is not None), "")


def _update_states(named: Services) -> Iterator[Sample]:
    for name, service in named.items():
        if service.update_status is not None and (now := service.update_status.state):
            for state in _UPDATE_STATES if now in _UPDATE_STATES else (*_UPDATE_STATES, now):
                yield (name, state), state == now


def _states(named: Services, counts: Mapping[str, Counted]) -> Iterator[Sample]:
    for name, service in named.items():
        for state, count in counts[service.id].states.items():
            yield (name, state), count


def _filled(named: Services, value: Callable[[Service], int | None]) -> Iterator[Sample]:
    for name, service in named.items():
        if (now := value(service)) is not None:
            yield (name,), now
