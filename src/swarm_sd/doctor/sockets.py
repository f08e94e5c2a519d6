"""Why a unix socket does not answer. What the file system tells is looked up apart from what it means."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarm_sd.doctor.findings import Finding, problem

_USUAL = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock")


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What is at a path. ``kind``: missing, hidden (a folder on the way may not be entered), folder, file,
    socket. ``there``: sockets that are where Docker's usually is. ``who``: the user that we run as, with
    groups; ``user``: its name alone.
    """

    path: str
    kind: str
    owner: str = ""
    group: str = ""
    group_id: int = 0
    mode: str = ""
    who: str = ""
    user: str = ""
    stops_at: str = ""  # the first folder that is missing or closed
    there: tuple[str, ...] = ()
    in_container: bool = False


def look(path: str) -> SocketFacts:
    """The facts. Blocks."""
    in_container = Path("/.dockerenv").exists()
    try:
        found = Path(path).stat()
    except PermissionError:
        return SocketFacts(path, "hidden", who=_who(), stops_at=_stops_at(path), in_container=in_container)
    except OSError:
        there = tuple(one for one in _sockets() if one != path and _is_socket(one))
        return SocketFacts(path, "missing", stops_at=_stops_at(path), there=there, in_container=in_container)
    kind = "socket" if stat.S_ISSOCK(found.st_mode) else "folder" if stat.S_ISDIR(found.st_mode) else "file"
    return SocketFacts(
        path,
        kind,
        owner=_name(lambda: pwd.getpwuid(found.st_uid).pw_name, found.st_uid),
        group=_name(lambda: grp.getgrgid(found.st_gid).gr_name, found.st_gid),
        group_id=found.st_gid,
        mode=f"{stat.S_IMODE(found.st_mode):04o}",
        who=_who(),
        user=_user().partition(" ")[0],
        in_container=in_container,
    )


def _sockets() -> list[str]:
    own = os.environ.get("XDG_RUNTIME_DIR")
    return [*_USUAL, *([f"{own}/docker.sock"] if own else [])]


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket()
    except OSError:
        return False


def _stops_at(path: str) -> str:
    """The first folder on the way that is not there or may not be entered; "" where only the last is not."""
    for folder in reversed(Path(path).parents):
        if not os.access(folder, os.X_OK):
            return str(folder)
    return ""


def _name(look_up: Callable[[], str], number: int) -> str:
    try:
        return f"{look_up()} ({number})"
    except KeyError:
        return str(number)


def _user() -> str:
    return _name(lambda: pwd.getpwuid(os.geteuid()).pw_name, os.geteuid())


def _who() -> str:
    groups = ", ".join(
        _name(lambda one=one: grp.getgrgid(one).gr_name, one)  # type: ignore[misc]
        for one in sorted({os.getegid(), *os.getgroups()})
    )
    return f"user {_user()} of {groups}"


def judged(facts: SocketFacts, reason: str, said: str) -> Finding:
    """Why ``unix://`` of these facts failed for ``reason``; ``said`` is the failure in the system's words."""
    if facts.kind == "missing":
        return _missing(facts)
    if facts.kind in ("folder", "file"):
        return _no_socket(facts)
    if facts.kind == "hidden" or reason == "permission":
        return _permission(facts)
    if reason == "refused":
        return problem(
            "socket-nobody-listens",
            f"{facts.path}: nobody listens on the socket",
            "the file is left of a Docker that has ended"
            + ("; in a container: of a Docker that was started anew since" if facts.in_container else ""),
            "start Docker: systemctl start docker"
            + ("; then start the container anew: docker restart NAME" if facts.in_container else ""),
        )
    return problem("no-answer", f"{facts.path}: {said}", "something listens, and does not answer")


def _missing(facts: SocketFacts) -> Finding:
    if facts.in_container:
        way_out = "mount it into the container:\n  volumes: [/var/run/docker.sock:/var/run/docker.sock:ro]"
    elif facts.there:
        way_out = f"write host: unix://{facts.there[0]}"
    else:
        way_out = (
            "start Docker (systemctl start docker), or write where its socket is (docker context inspect)"
        )
    what = f"the folder {facts.stops_at} is not there" if facts.stops_at else "there is no such file"
    there = f"; a socket is at {', '.join(facts.there)}" if facts.there else ""
    return problem("socket-missing", f"{facts.path}: no such socket", f"{what}{there}", way_out)


def _no_socket(facts: SocketFacts) -> Finding:
    cause = f"it is a {facts.kind}"
    if facts.kind == "folder":
        cause += (
            "; Docker makes a folder where a path to be mounted is missing: the socket was not there then"
        )
    way_out = "write the path of the socket, such as unix:///var/run/docker.sock"
    if facts.kind == "folder":
        way_out = f"on the machine: rmdir {facts.path}; start Docker; start the container anew"
    return problem("socket-no-socket", f"{facts.path}: not a socket", cause, way_out)


def _permission(facts: SocketFacts) -> Finding:
    if facts.kind == "hidden":
        cause = f"swarm-sd runs as {facts.who}, which may not enter {facts.stops_at or 'a folder on the way'}"
        way_out = f"chmod o+x {facts.stops_at}" if facts.stops_at else "let the user enter its folders"
        return problem("socket-permission", f"{facts.path}: permission denied", cause, way_out)
    cause = (
        f"the socket belongs to {facts.owner}, group {facts.group}, mode {facts.mode}; "
        f"swarm-sd runs as {facts.who}"
    )
    if facts.in_container:
        way_out = f'give the container the group (Compose and stacks):\n  user: "65534:{facts.group_id}"'
    else:
        group = facts.group.partition(" ")[0]
        anew = f"then start swarm-sd anew (systemd: SupplementaryGroups={group})"
        way_out = f"usermod -aG {group} {facts.user}; {anew}"
    return problem("socket-permission", f"{facts.path}: permission denied", cause, way_out)
