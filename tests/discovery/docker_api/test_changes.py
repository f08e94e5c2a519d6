"""What events and tasks tell of what is about to change."""

import pytest

from swarm_sd.discovery.docker_api.changes import Changes, affected, in_flight, takes_away
from swarm_sd.discovery.docker_api.event_stream import Event
from swarm_sd.discovery.docker_api.wire import (
    Node,
    NodeStatus,
    Present,
    Service,
    ServiceMode,
    ServiceSpec,
    Task,
    TaskStatus,
)

OF_A_SERVICE = {"com.docker.swarm.service.id": "s1"}


def heard(*events):
    changes = Changes()
    for event in events:
        changes.heard(event)
    return changes


def service(name, **mode):
    return Service(id=name, spec=ServiceSpec(mode=ServiceMode(**mode)))


def task(state, desired, node="n1"):
    return Task(id="t1", service_id="s1", node_id=node, status=TaskStatus(state=state), desired_state=desired)


def node(state):
    return Node(id="n1", status=NodeStatus(state=state))


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (Event(type="service", action="update", id="s1"), Changes(services={"s1"})),
        (Event(type="node", action="update", id="n1"), Changes(nodes={"n1"})),
        (Event(type="network", action="create", id="net"), Changes(networks=True)),
        (Event(type="container", action="die", id="c1", attributes=OF_A_SERVICE), Changes(services={"s1"})),
        (Event(type="container", action="die", id="c1"), Changes()),
    ],
    ids=["service", "node", "network", "task", "container"],
)
def test_an_event_is_about_what_it_names(event, changes):
    assert heard(event) == changes


@pytest.mark.parametrize("kind", ["secret", "config", "image", "volume", "daemon", "plugin"])
def test_what_makes_no_target_changes_nothing(kind):
    assert not heard(Event(type=kind, action="update", id="x"))


@pytest.mark.parametrize(
    "event",
    [Event(), Event(type="service", action="update"), Event(type="node"), Event(type="cluster", id="x")],
    ids=["broken", "a service without its ID", "a node without its ID", "a kind not known yet"],
)
def test_an_event_that_cannot_be_read_may_be_about_everything(event):
    assert heard(event).everything


def test_events_add_up():
    changes = heard(Event(type="service", id="s1"), Event(type="node", id="n1"))
    changes.add(heard(Event(type="service", id="s2"), Event(type="network", id="net")))
    assert changes == Changes({"s1", "s2"}, {"n1"}, networks=True)
    changes.add(Changes(everything=True))
    assert changes == Changes({"s1", "s2"}, {"n1"}, networks=True, everything=True)


@pytest.mark.parametrize(
    "changes", [Changes({"s1"}), Changes(nodes={"n1"}), Changes(networks=True), Changes(everything=True)]
)
def test_anything_that_changed_is_a_change(changes):
    assert changes
    assert not Changes()


def scaled(was, shall):
    attributes = {"replicas.old": was, "replicas.new": shall}
    return Event(type="service", action="update", id="s1", attributes=attributes)


@pytest.mark.parametrize(
    "event",
    [
        Event(type="service", action="remove", id="s1"),
        Event(type="node", action="remove", id="n1"),
        Event(type="container", action="die", id="c1"),
        Event(type="container", action="destroy", id="c1"),
        scaled("3", "2"),
        scaled("10", "9"),
        scaled("1", "0"),
    ],
    ids=lambda event: f"{event.type} {event.action} {'-'.join(event.attributes.values())}",
)
def test_what_goes_or_becomes_less_takes_away(event):
    assert takes_away(event)


@pytest.mark.parametrize(
    "event",
    [
        Event(),
        Event(type="service", action="create", id="s1"),
        Event(type="service", action="update", id="s1"),
        Event(type="node", action="update", id="n1"),
        Event(type="container", action="start", id="c1"),
        scaled("2", "2"),
        scaled("9", "10"),
        scaled("3", ""),
        scaled("", "2"),
        scaled("many", "few"),
    ],
    ids=lambda event: f"{event.type} {event.action} {'-'.join(event.attributes.values())}",
)
def test_anything_else_takes_nothing_away(event):
    assert not takes_away(event)


def test_a_node_affects_the_services_that_run_there():
    tasks = [task("running", "running"), Task(id="t2", service_id="s2", node_id="n2")]
    services = [service("s1", replicated=Present()), service("s2", replicated=Present())]
    assert affected({"n1"}, services, tasks) == {"s1"}


@pytest.mark.parametrize("mode", ["global_", "global_job"])
def test_a_node_affects_global_services_before_they_run_there(mode):
    services = [service("agent", **{mode: Present()}), service("web", replicated=Present())]
    assert affected({"new"}, services, []) == {"agent"}


@pytest.mark.parametrize("mode", ["replicated", "replicated_job"])
def test_a_node_does_not_affect_services_that_run_elsewhere(mode):
    assert affected({"new"}, [service("web", **{mode: Present()})], [task("running", "running")]) == set()


def test_no_node_affects_no_service():
    assert affected((), [service("agent", global_=Present())], [task("running", "running")]) == set()


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "preparing", "ready", "starting"])
@pytest.mark.parametrize("desired", ["ready", "running", "complete"])
def test_a_task_that_starts_is_in_flight(state, desired):
    assert in_flight([task(state, desired)], {})


@pytest.mark.parametrize("state", ["running", "starting", "pending"])
@pytest.mark.parametrize("desired", ["shutdown", "remove"])
def test_a_task_that_ends_is_in_flight(state, desired):
    assert in_flight([task(state, desired)], {})


@pytest.mark.parametrize(
    ("state", "desired"),
    [
        ("running", "running"),
        ("running", "complete"),
        ("complete", "complete"),
        ("failed", "running"),
        ("shutdown", "shutdown"),
        ("failed", "shutdown"),
        ("complete", "shutdown"),
        ("orphaned", "shutdown"),
        ("", ""),
    ],
)
def test_a_task_that_rests_is_not_in_flight(state, desired):
    assert not in_flight([task(state, desired)], {"n1": node("ready")})


@pytest.mark.parametrize("state", ["ready", "unknown", ""])
def test_tasks_of_a_node_that_may_live_are_in_flight(state):
    assert in_flight([task("running", "shutdown")], {"n1": node(state)})


@pytest.mark.parametrize("state", ["down", "disconnected"])
def test_tasks_of_a_node_that_is_down_stay_as_they_are(state):
    nodes = {"n1": node(state)}
    assert not in_flight([task("running", "shutdown"), task("starting", "running")], nodes)
    assert in_flight([task("running", "shutdown"), task("pending", "running", node="")], nodes)


def test_no_task_is_not_in_flight():
    assert not in_flight([], {})
