"""The house as docs/architecture.md draws it: imports point one way; nothing of a machine is inside."""

import ast
import re
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from swarm_sd.discovery import BUILT_IN

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/swarm_sd"

MAY_IMPORT = {
    # what the others speak in: nothing of ours is below it
    "__init__": set(),
    "model": set(),
    "scalars": set(),
    "go_regexp": set(),
    "log": set(),
    "sim": set(),
    "notify": set(),
    # what is found, and how
    "relabel": {"model", "go_regexp"},
    "provider": {"model", "scalars"},
    "discovery": {"__init__", "model", "scalars", "provider"},
    "job": {"provider", "relabel"},
    "target": {"model", "scalars", "go_regexp", "relabel"},
    # what becomes of it
    "brake": {"model"},
    "snapshot": {"model", "job", "target"},
    "store": {"model", "provider"},
    "history": {"model"},
    "feed": {"model", "provider", "brake", "snapshot", "history"},
    "manager": {"model", "provider", "job", "brake", "snapshot", "store", "feed", "history"},
    # what it can tell of itself
    "advice": {"model", "go_regexp"},
    "explanation": {"model", "relabel", "job", "target", "advice"},
    "inventory": {"model", "job", "target", "feed", "history", "explanation"},
    "insight": {
        "model", "provider", "job", "feed", "manager", "history", "explanation", "inventory",
    },
    "reasons": {"explanation"},
    # how it leaves
    "deliver": {"job", "manager", "snapshot", "store", "deliver.names", "deliver.clients"},
    "deliver.names": {"job"},
    "deliver.clients": set(),
    "web": {
        "__init__", "model", "scalars", "provider", "relabel", "job", "target", "snapshot", "manager",
        "deliver.names", "deliver.clients", "explanation", "inventory", "insight", "history", "reasons",
        "config.web",
    },
    "config.web": {"scalars", "config"},
    "config": {
        "__init__", "model", "scalars", "provider", "go_regexp", "relabel", "discovery", "job",
        "deliver.names",
    },
    "table": {"model", "target"},
    "once": {"model", "provider", "job", "target", "manager"},
    "recording": {"model", "provider", "discovery", "job", "target", "once"},
    "rule_tests": {
        "model", "provider", "discovery", "config", "job", "target", "explanation", "once", "recording",
    },
    "why": {"model", "provider", "job", "once", "explanation", "inventory", "insight"},
    "doctor": {
        "__init__", "model", "scalars", "provider", "relabel", "discovery", "job", "target", "config",
    },
    # who wires it together
    "own_docker": {"model", "scalars", "provider", "relabel", "job", "discovery", "config"},
    "serve": {"*"},
    "cli": {"*"},
    "__main__": {"cli"},
}  # fmt: skip
"""By room: a module or a package of swarm_sd, or a module of a package that stands for itself."""

NOBODY_IMPORTS = {"serve", "cli", "__main__"}  # but each other

NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "core", "base", "helpers", "helper", "misc"}


def modules():
    """Every module and the modules of ours that it imports, names without ``swarm_sd.``, packages as such."""
    found = {_name(path): _imports(ast.parse(path.read_text()), _name(path)) for path in SOURCE.rglob("*.py")}
    return {name: {_known(imported, found) for imported in imports} for name, imports in found.items()}


def _name(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _imports(tree, name):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "swarm_sd")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative imports hide which room they come from"
            if node.module.partition(".")[0] == "swarm_sd":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _known(imported, known):
    """The module that an imported name is, or is in."""
    name = imported.removeprefix("swarm_sd").removeprefix(".")
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or "__init__"


def room(module):
    """The room of a module: the longest name of a room that it starts with; else its first part."""
    rooms = [name for name in MAY_IMPORT if module == name or module.startswith(f"{name}.")]
    return max(rooms, key=len, default=module.partition(".")[0])


def wrong_ways(graph):
    """The imports that do not point the one way, as sentences."""
    for module, imports in sorted(graph.items()):
        here = room(module)
        if here not in MAY_IMPORT:
            yield f"{module}: a room that MAY_IMPORT does not know; say there what it may import"
            continue
        for imported in sorted(imports):
            there = room(imported)
            if there == here:
                continue
            allowed = MAY_IMPORT[here]
            if there not in allowed and not ("*" in allowed and there != "sim"):
                yield f"{module} imports {imported}: {here} may import {sorted(allowed) or 'nothing of ours'}"


def test_imports_point_one_way():
    assert list(wrong_ways(modules())) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("model", "scalars"),
        ("sim.manager", "model"),
        ("sim.manager", "__init__"),
        ("discovery.swarm.provider", "manager"),
        ("discovery.swarm.provider", "config.load"),
        ("discovery.rotation", "sim.faults"),
        ("manager", "deliver.http"),
        ("config.load", "deliver.http"),
        ("web.server", "config"),
        ("web.server", "cli"),
        ("serve", "sim.cluster"),
        ("helpers", "model"),
    ],
)
def test_an_import_that_points_the_other_way_is_found(module, imported):
    assert len(list(wrong_ways({module: {imported}}))) == 1


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter(modules()).prepare()
    except CycleError as err:
        pytest.fail(f"a circle of imports: {' -> '.join(err.args[1])}")


def test_nobody_imports_what_wires_everything_together():
    users = {module for module, imports in modules().items() if imports & NOBODY_IMPORTS}
    assert {room(module) for module in users} <= NOBODY_IMPORTS


def test_no_kind_of_discovery_imports_another():
    kinds = {config.__module__.split(".")[2] for config in BUILT_IN}
    for module, imports in modules().items():
        if module.startswith("discovery."):
            of_kinds = {name.split(".")[1] for name in imports if name.startswith("discovery.")} & kinds
            assert of_kinds <= {module.split(".")[1]}, f"{module} imports {of_kinds}"


def test_no_module_has_a_name_that_says_nothing():
    assert [name for name in modules() if set(name.split(".")) & NAMES_THAT_SAY_NOTHING] == []


# -- nothing of the machine that a file was written on -------------------------------------------------

# each is written so that it does not match itself
OF_A_MACHINE = {
    "a path of a machine": r"(?<![\w.~-])/(?:root|work|workspace|Users/\w+|home/(?!user\b)\w+)/",
    "a path beside the checkout": r"\.\./shar[e]d",
    "an option that names a registry": r"(?:extra-)?index[-_]ur[l]|find-link[s]|trusted-hos[t]\b",
    "the address of a registry": r"https?://[^\s\"'<>]*(?:/simpl[e]/|pythonhoste[d]|artifactor[y]|registr[y]\.)",
}


def tracked():
    """Every text file that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield name, data.decode(errors="replace")


def of_a_machine(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in OF_A_MACHINE.items():
            if re.search(pattern, line):
                yield f"{name}:{number}: {what}: {line.strip()[:120]}"


def test_no_file_names_the_machine_it_was_made_on():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is no list of its files")
    assert [found for name, text in tracked() for found in of_a_machine(name, text)] == []


@pytest.mark.parametrize(
    "line",
    [
        "open('/wo" + "rk/main/x')",
        "see /ro" + "ot/.cache",
        "cd .." + "/shared",
        "--index" + "-url x",
        "PIP_EXTRA_INDEX".lower() + "_url=1",
        "http://10.0.0.1:3141/root/pypi/+simple/".replace("+simple", "simple"),
    ],
)
def test_a_line_that_names_a_machine_is_found(line):
    assert list(of_a_machine("x", line))
