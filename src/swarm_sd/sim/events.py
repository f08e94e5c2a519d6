"""What happens in a simulated cluster, as ``/events`` of each release writes it.

Source: api/events.go, Handle; cluster/engine.go for the engines' own; tests/fixtures/classic.
"""

from __future__ import annotations

import re
from datetime import datetime

from swarm_sd.sim.cluster import Engine, Happening
from swarm_sd.sim.gojson import Value, dumps
from swarm_sd.sim.info import shown_id
from swarm_sd.sim.tags import Tag


def event(happening: Happening, tag: Tag, at: datetime) -> bytes:
    """The bytes of one event; none where that release tells nothing of it."""
    action = _action(happening, tag)
    if action is None:
        return b""
    text = dumps(_told(happening, action, tag, int(at.timestamp())))
    if tag.since("v1.1.0") and not tag.since("v1.2.7"):
        text = printed(text)
    # v1.0.1 alone ends an event with a line feed
    ends = "\n" if tag.since("v1.0.1") and not tag.since("v1.1.0") else ""
    return f"{text}{ends}".encode()


def _action(happening: Happening, tag: Tag) -> str | None:
    if happening.container is not None or tag.since("v1.0.0"):
        return happening.action
    if happening.action == "engine_connect":
        return None  # v0.3 and v0.4 listen only after that
    if tag.since("v0.3.0"):
        return happening.action
    return happening.action.replace("engine", "node")


def _told(happening: Happening, action: str, tag: Tag, seconds: int) -> dict[str, Value]:
    engine, container = happening.engine, happening.container
    own_id = container.id if container else ""
    sender = f"{container.image if container else 'swarm'} node:{engine.name}"
    if not tag.since("v1.1.0"):
        told: dict[str, Value] = {"status": action, "id": own_id, "from": sender, "time": seconds}
        return told | (_flat(engine) if not tag.since("v0.2.0") else {"node": _node(engine, tag)})
    attributes = {f"node.{key.lower()}": value for key, value in _node(engine, tag).items()}
    if container:
        attributes |= {**container.labels, "image": container.image, "name": container.name}
    return {
        "status": action,
        **({"id": own_id} if container else {}),
        "from": sender,
        "Type": "container" if container else "swarm",
        "Action": action,
        "Actor": {"ID": own_id, "Attributes": dict(sorted(attributes.items()))},
        **({"scope": "local"} if container and tag.since("v1.2.7") else {}),
        "time": seconds,
        "timeNano": seconds * 1_000_000_000,
        "node": _node(engine, tag),
    }


def _flat(engine: Engine) -> dict[str, Value]:
    return {
        "node_name": engine.name,
        "node_id": engine.id,
        "node_addr": engine.address,
        "node_ip": engine.shown_ip,
    }


def _node(engine: Engine, tag: Tag) -> dict[str, str]:
    own_id = shown_id(engine, tag)
    return {"Name": engine.name, "Id": own_id, "Addr": engine.address, "Ip": engine.shown_ip}


_DIRECTIVE = re.compile(r"%[-+# 0-9.]*(.)", re.DOTALL)


def printed(text: str) -> str:
    """``text`` used as a format without arguments, which is how v1.1.0 to v1.2.6 print an event.

    Source: fmt.Fprintf of Go; ``%%`` becomes one, any other directive a complaint in its place.
    """
    return _DIRECTIVE.sub(lambda found: _complaint(found[1]), text)


def _complaint(verb: str) -> str:
    if verb == "%":
        return "%"
    return "%!!(NOVERB)" if verb == "!" else f"%!{verb}(MISSING)"
