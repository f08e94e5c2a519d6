"""The tasks of a swarm's services, counted; and which of them took another's place since the last look.

Source: what counts as desired, running and completed is as in ListServiceStatuses of moby/swarmkit
(manager/controlapi/service.go), which is what ``docker service ls`` shows; but a task on a node that is down
does not run, though its last word was that it does, and though Docker counts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from swarm_sd.discovery.docker_api.wire import Resources, Service, Task

_ENDED: Final = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
_UPDATING: Final = frozenset({"updating", "rollback_started"})


class Counted(NamedTuple):
    """The tasks of one service. ``completed``: of a job alone."""

    states: Mapping[str, int]
    desired: int
    running: int
    completed: int | None


def counted(service: Service, tasks: Sequence[Task], down: Collection[str] = ()) -> Counted:
    """What ``docker service ls`` counts, and the tasks by state, those of earlier runs of a job included.

    ``down``: the IDs of the nodes that are, whose tasks do not run.
    """
    listed = [task.status.state for task in tasks]
    states = {state: listed.count(state) for state in set(listed)}
    completed = None
    if service.job_status is not None:
        now = service.job_status.job_iteration.index
        tasks = [task for task in tasks if task.job_iteration is not None and task.job_iteration.index == now]
        completed = sum(task.status.state == "complete" for task in tasks)
    wanted = desired(service)
    running = sum(task.status.state == "running" and task.node_id not in down for task in tasks)
    return Counted(states, _wanted_everywhere(tasks) if wanted is None else wanted, running, completed)


def desired(service: Service) -> int | None:
    """How many tasks shall run at a time; None where that depends on the nodes (the global modes)."""
    mode = service.spec.mode
    if mode.replicated is not None:
        return _or_one(mode.replicated.replicas)
    return None if mode.replicated_job is None else _or_one(mode.replicated_job.max_concurrent)


def completions(service: Service) -> int | None:
    """How many tasks of a replicated job shall end well; None of any other service."""
    job = service.spec.mode.replicated_job
    if job is None:
        return None
    return _or_one(job.max_concurrent) if job.total_completions is None else job.total_completions


def _or_one(count: int | None) -> int:
    return 1 if count is None else count


def _wanted_everywhere(tasks: Iterable[Task]) -> int:
    """The swarm makes one for each eligible node: those that shall run or, of a job, have yet to end well."""
    return sum(
        task.desired_state == "running"
        or (task.desired_state == "complete" and task.status.state != "complete")
        for task in tasks
    )


class _Seen(NamedTuple):
    """A service at the last look: its version, its tasks, and the slots or nodes that each is of.

    Tuples, which take a tenth of what sets would.
    """

    version: int
    ids: tuple[str, ...]
    places: tuple[str | int, ...]
    restarts: int = 0


class Restarts:
    """Counts by service the tasks that took the place of another, from one look to the next.

    The first look at a service counts nothing. Nor does one after its spec changed, or while it is updated.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def look(self, services: Mapping[str, Service], tasks: Mapping[str, Sequence[Task]]) -> Mapping[str, int]:
        """The totals by service ID. Services that are gone are forgotten."""
        self._seen = {
            name: _look(service, tasks.get(name, ()), self._seen.get(name))
            for name, service in services.items()
        }
        return {name: seen.restarts for name, seen in self._seen.items()}


def _look(service: Service, tasks: Sequence[Task], before: _Seen | None) -> _Seen:
    ids = tuple([task.id for task in tasks])
    version = service.version.index
    if before is not None and ids == before.ids:
        return before if version == before.version else before._replace(version=version)
    now = _Seen(version, ids, tuple([_place(task) for task in tasks]))
    if before is None:
        return now
    update = service.update_status
    if version != before.version or (update is not None and update.state in _UPDATING):
        return now._replace(restarts=before.restarts)
    known = set(before.ids)
    fresh = [place for id_, place in zip(ids, now.places, strict=True) if id_ not in known]
    # the first task of a place that is new (another replica, another node) replaces none
    return now._replace(restarts=before.restarts + len(fresh) - len({*fresh}.difference(before.places)))


def _place(task: Task) -> str | int:
    return task.slot or task.node_id


def reserved(
    services: Mapping[str, Service], tasks: Mapping[str, Sequence[Task]]
) -> Mapping[str, tuple[int, int]]:
    """(billionths of a CPU, bytes) that are reserved on each node, by ID of the node.

    By what the services reserve now: a task that an update has not reached yet may have reserved another
    amount. Nodes with no such task are left out.
    """
    total: dict[str, tuple[int, int]] = {}
    for name, service in services.items():
        kept = _reservation(service)
        if kept is not None:
            on = Counter([task.node_id for task in tasks.get(name, ()) if task.status.state not in _ENDED])
            for node, count in on.items():
                cpus, memory = total.get(node, (0, 0))
                total[node] = cpus + count * kept.nano_cpus, memory + count * kept.memory_bytes
    return total


def _reservation(service: Service) -> Resources | None:
    needs = service.spec.task_template.resources
    kept = None if needs is None else needs.reservations
    return kept if kept is not None and (kept.nano_cpus or kept.memory_bytes) else None
