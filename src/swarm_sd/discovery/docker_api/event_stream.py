"""The body of ``/events``, which never ends, as events: pure, and patient with what is broken.

Events are hints: they are read to know *that* something changed and roughly what, never to learn a
target from them. So whatever looks like an event comes out as one, and nothing here ever fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

MAX_EVENT = 1024 * 1024
"""Bytes of an event that are kept to be read; of a larger one only its end is looked for."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. A field that was not told is empty; an event without ``type`` may be anything.

    ``type``: container, network, image, ..., in swarm mode service, node, ..., and ``swarm`` for what a
    classic manager tells of its engines. ``action``: start, die, update, engine_disconnect, ...; never the
    command of an exec. ``id``: the object's. ``attributes``: those in KEPT alone, never the labels of a
    container. ``scope``: local or swarm. ``time_nano``: nanoseconds since 1970 by the clock of the engine.
    """

    type: str = ""
    action: str = ""
    id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    time_nano: int = 0


class _Kept(msgspec.Struct, gc=False):
    """What is read of an event's attributes. The others are the labels of a container, of any size."""

    name: str = ""
    container: str = ""
    node_name: str = msgspec.field(default="", name="node.name")
    node_id: str = msgspec.field(default="", name="node.id")
    node_addr: str = msgspec.field(default="", name="node.addr")
    service_id: str = msgspec.field(default="", name="com.docker.swarm.service.id")
    task_id: str = msgspec.field(default="", name="com.docker.swarm.task.id")
    replicas_old: str = msgspec.field(default="", name="replicas.old")
    replicas_new: str = msgspec.field(default="", name="replicas.new")


KEPT = _Kept.__struct_encode_fields__
"""The attributes that events keep."""


class _Actor(msgspec.Struct, gc=False):
    id: str = msgspec.field(default="", name="ID")
    attributes: _Kept | None = msgspec.field(default=None, name="Attributes")


class _Node(msgspec.Struct, rename="pascal", gc=False):
    """The node of an event of a classic manager."""

    name: str = ""
    id: str = ""
    addr: str = ""


class _Wire(msgspec.Struct, gc=False):
    """Every dialect at once.

    Source: the Message of api/types/events in moby (1.24 and later; ``status``, ``id`` and ``from`` are
    those of older engines, still written up to 28), and api/events.go of classic Swarm: v0.1 writes
    ``node_name`` and so on, v0.2 to v1.0.1 ``node`` in the older form, v1.1 and later ``node`` in the newer.
    """

    status: str | None = None
    id: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    type: str = msgspec.field(default="", name="Type")
    action: str = msgspec.field(default="", name="Action")
    actor: _Actor | None = msgspec.field(default=None, name="Actor")
    scope: str = ""
    time: int = 0
    time_nano: int = msgspec.field(default=0, name="timeNano")
    node: _Node | None = None
    node_name: str = ""
    node_id: str = ""
    node_addr: str = ""


_decode = msgspec.json.Decoder(_Wire).decode

# v1.1.0 to v1.2.6 of classic Swarm print an event as a format of Printf: what stood after a percent sign
# comes out as %!x(MISSING). Where x was a quote or a backslash that is no JSON any more. JSON never has it:
# a quote before the bracket would be escaped, and a bracket cannot be.
_PRINTED = rb"""%!(["\\])\((?:MISSING|BADINDEX|NOVERB)\)"""

# What matters in the stream. "wait" is a beginning that only further bytes can make sense of; none of them
# ends with a brace that closes, so no event waits for the next. "key" may be how an event begins.
_TOKEN = re.compile(
    rb"""(?P<wait>(?:\\|%(?:!(?:["\\](?:\([A-Z]{0,8})?)?)?|\{(?:"[A-Za-z_]{0,20}"?)?)\Z)"""
    rb"""|(?P<key>\{"[A-Za-z_]{1,20}":)"""
    rb"""|(?P<escape>\\.)"""
    rb"""|(?P<printed>""" + _PRINTED + rb""")"""
    rb"""|(?P<mark>[{}"])""",
    re.DOTALL,
)

# Outside of strings: what needs no closer look. Strings without anything special are gone over whole.
_PLAIN = re.compile(rb"""(?:[^"\\%{}]|"[^"\\%{]*")+""")

_BETWEEN = b" \t\r\n\x1e"  # 0x1e begins a record of application/json-seq
_LOOKED_BACK = 4  # bytes before a "key"


class EventDecoder:
    """Events out of bytes in whatever pieces they come; how they are cut changes nothing.

    Objects may follow each other with nothing between them. ``broken`` counts what was no JSON as it came:
    an object is an event all the same, without a type unless it could be mended; text between objects is
    none. After an object that is cut off, reading goes on with the next.
    """

    def __init__(self) -> None:
        self.broken = 0
        self._bytes = bytearray()  # of the unfinished event
        self._at = 0  # up to where they were looked at
        self._depth = 0  # of braces; 0 is between events
        self._quoted = False
        self._ill = False  # something was mended
        self._too_large = False
        self._litter = False  # between events is something else

    @property
    def pending(self) -> bool:
        """Whether an event has begun and not ended."""
        return self._depth > 0

    def feed(self, chunk: bytes | bytearray) -> list[Event]:
        """The events that end within ``chunk``."""
        self._bytes += chunk
        events = []
        while (end := self._next_end()) is not None:
            events.append(self._event(end))
        self._forget()
        return events

    def _next_end(self) -> int | None:
        """Where the event that stands first ends; None where that is still to come."""
        if self._depth == 0 and not self._begins():
            return None
        while (found := self._token()) is not None:
            self._at = found.start()
            kind = found.lastgroup
            if kind == "wait":
                return None
            if kind == "key" and self._follows_a_brace():
                return self._at  # never within JSON, quoted or not: what came before was cut off
            if kind == "escape":
                self._at += 2
            elif kind == "printed":
                self._mend(found.end())
            elif self._closes(self._bytes[self._at]):
                return self._at
        self._at = len(self._bytes)
        return None

    def _begins(self) -> bool:
        """Throws away what is between events; whether one begins after that."""
        start = self._bytes.find(b"{")
        between = self._bytes if start < 0 else self._bytes[:start]
        if not self._litter and between.strip(_BETWEEN):
            self._litter = True
            self.broken += 1
        del self._bytes[: len(between)]
        if start < 0:
            return False
        self._at = self._depth = 1
        self._litter = False
        return True

    def _token(self) -> re.Match[bytes] | None:
        if not self._quoted and (plain := _PLAIN.match(self._bytes, self._at)):
            self._at = plain.end()
        return _TOKEN.search(self._bytes, self._at)

    def _follows_a_brace(self) -> bool:
        return self._bytes[max(0, self._at - _LOOKED_BACK) : self._at].rstrip(_BETWEEN).endswith(b"}")

    def _mend(self, end: int) -> None:
        """Takes what was printed after a percent sign back; the character after it is looked at again."""
        del self._bytes[self._at + 3 : end]
        del self._bytes[self._at + 1]
        self._at += 1
        self._ill = True

    def _closes(self, mark: int) -> bool:
        """Goes over a quote or a brace; whether it ends the event."""
        self._at += 1
        if mark == _QUOTE:
            self._quoted = not self._quoted
        elif not self._quoted:
            self._depth += 1 if mark == _OPEN else -1
        return self._depth == 0

    def _event(self, end: int) -> Event:
        body = bytes(self._bytes[:end])
        too_large = self._too_large or end > MAX_EVENT
        event = None if too_large else _read(body)
        self.broken += self._ill or event is None
        del self._bytes[:end]
        self._at = self._depth = 0
        self._quoted = self._ill = self._too_large = False
        return event or Event()

    def _forget(self) -> None:
        if self._at > MAX_EVENT:
            self._too_large = True
            del self._bytes[: self._at - _LOOKED_BACK]
            self._at = _LOOKED_BACK


_QUOTE, _OPEN = b'"{'


def _read(body: bytes) -> Event | None:
    """None for what is no JSON, or has a field of a type that no Docker writes."""
    try:
        wire = _decode(body)
    except UnicodeDecodeError:
        return _read(body.decode("utf-8", "replace").encode())  # U+FFFD, as Go does
    except (msgspec.DecodeError, RecursionError):
        return None
    actor = wire.actor or _Actor()
    return Event(
        type=wire.type or _type(wire),
        action=_action(wire.action or wire.status or ""),
        id=actor.id or wire.id or "",
        attributes=_attributes(wire, actor.attributes or _Kept()),
        scope=wire.scope,
        time_nano=wire.time_nano or wire.time * 1_000_000_000,
    )


def _type(wire: _Wire) -> str:
    """The type that engines and managers before API 1.22 did not write."""
    if (wire.from_ or "").startswith("swarm node:"):
        return "swarm"
    if wire.status in ("delete", "import", "load", "pull", "push", "save", "tag", "untag"):
        return "image"
    return "container" if wire.status and wire.id else ""


def _action(action: str) -> str:
    # "exec_create: sh -c ...": what somebody ran is nobody's business, "health_status: healthy" is
    return action.partition(":")[0] if action.startswith("exec_") else action


def _attributes(wire: _Wire, kept: _Kept) -> dict[str, str]:
    node = wire.node or _Node(wire.node_name, wire.node_id, wire.node_addr)
    told = {"node.name": node.name, "node.id": node.id, "node.addr": node.addr}
    told |= {name: value for name, value in zip(KEPT, msgspec.structs.astuple(kept), strict=True) if value}
    return {name: value for name, value in told.items() if value}
