"""What packaging/ ships is of one piece with the program: versions, pins, paths, completion, health."""

from __future__ import annotations

import http.server
import os
import re
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click.testing
import pytest
import trustme
from ruamel.yaml import YAML
from tests.e2e.programs import free_port, needs

from swarm_sd import __version__
from swarm_sd.cli import cli
from swarm_sd.config.convert import convert

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
DOCKERFILE = (PACKAGING / "Dockerfile").read_text()
FILES = {name: PACKAGING / name for name in ("swarm/stack.yml", "classic/compose.yml")}
FOLDERS = ("swarm", "classic")
HEALTHY = sys.modules["swarm_sd.cli.healthy"]  # in the package the command of that name is in its way


def services(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = YAML(typ="safe").load(FILES[name])["services"]
    return found


def pins(lock: str) -> dict[str, str]:
    """The exact versions in a lock file; every one has hashes."""
    text = (ROOT / lock).read_text()
    found = re.findall(r"^([a-z0-9-]+)==(\S+)(?: ;[^\n]*?)? \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^\S", text, re.MULTILINE))
    return dict(found)


# -- versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_image_is_named_with_a_version_that_stays(name):
    for service in services(name).values():
        _, default = re.fullmatch(r"\$\{(\w+)_IMAGE:-(.+)\}", service["image"]).groups()
        assert re.fullmatch(r".+:v?\d+\.[\w.-]+", default)
    assert services(name)["swarm-sd"]["image"].endswith(f":-prometheus-swarm-sd:{__version__}}}")


def test_the_image_has_the_libraries_that_were_tested_and_no_others():
    shipped, tested = pins("requirements.lock"), pins("requirements-dev.lock")
    assert shipped.items() <= tested.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["zookeeper"]]
    names = {re.match(r"[\w.-]+", one)[0].replace(".", "-") for one in wanted}
    assert names <= shipped.keys()
    assert "--require-hashes" in DOCKERFILE


# -- configurations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_configuration_of_prometheus_is_made_of_that_of_swarm_sd(folder):
    made = convert(PACKAGING / folder / "swarm-sd.yml", sd_url="http://swarm-sd:9963").text
    assert made == (PACKAGING / folder / "prometheus.yml").read_text()


@pytest.mark.parametrize("name", FILES)
def test_swarm_sd_may_write_nowhere_but_into_its_volume_and_do_nothing(name):
    service = services(name)["swarm-sd"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    writable = [one for one in service["volumes"] if not one.endswith(":ro")]
    assert writable == ["swarm-sd:/var/lib/swarm-sd"]
    assert "VOLUME /var/lib/swarm-sd\n" in DOCKERFILE
    assert "--storage.path=/var/lib/swarm-sd" in DOCKERFILE


def test_nobody_but_swarm_sd_is_on_the_network_of_the_socket():
    on = {name for name, one in services("swarm/stack.yml").items() if "docker-api" in one["networks"]}
    assert on == {"docker-api", "swarm-sd"}
    assert YAML(typ="safe").load(FILES["swarm/stack.yml"])["networks"]["docker-api"]["internal"] is True


def test_the_proxy_lets_through_just_what_swarm_mode_is_asked_for():
    config = (PACKAGING / "swarm/docker-api.conf").read_text()
    lets = re.compile(re.search(r'location ~ "(.*)"', config)[1])
    for path in (
        "/version",
        "/v1.41/nodes",
        "/v1.41/services",
        "/v1.41/tasks",
        "/v1.41/networks",
        "/v1.41/events",
    ):
        assert lets.search(path), path
    for path in ("/v1.41/secrets", "/nodes/x", "/x/nodes", "/info", "/containers/json", "/v1.41/nodes/"):
        assert not lets.search(path), path
    assert "proxy_buffering off;" in config
    assert "limit_except GET { deny all; }" in config


@pytest.mark.e2e
@pytest.mark.parametrize("name", FILES)
def test_dockers_own_tools_take_the_files(name):
    command = [needs("docker-compose"), "-f", FILES[name].name, "config", "-q"]
    done = subprocess.run(command, cwd=FILES[name].parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- completion -----------------------------------------------------------------------------------------


def completion(shell: str) -> str:
    done = click.testing.CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize(
    ("words", "offered"),
    [(["ser"], {"serve"}), (["completion", "z"], {"zsh"}), (["serve", "--config."], {"--config.file"})],
)
def test_bash_completes_commands_flags_and_choices(words, offered):
    line = " ".join(["swarm-sd", *words])
    script = f"{completion('bash')}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}\n"
    script += '_swarm_sd_completion swarm-sd; printf "%s\\n" "${COMPREPLY[@]}"'
    found = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ | found)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_asked_their_own_way(shell):
    assert f"_SWARM_SD_COMPLETE={shell}_complete" in completion(shell)


def test_a_shell_that_is_not_known_is_an_error_of_the_users():
    assert click.testing.CliRunner().invoke(cli, ["completion", "csh"]).exit_code == 2


# -- health ---------------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server that answers everything so."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/-/healthy" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def healthy(*arguments: str) -> tuple[int, str]:
    done = click.testing.CliRunner().invoke(cli, ["healthy", *arguments], catch_exceptions=False)
    return done.exit_code, done.output


@pytest.mark.parametrize("status", [200, 401, 403, 429])
def test_who_answers_lives_even_if_it_wants_to_know_who_asks(status):
    with answering(status) as address:
        assert healthy(f"http://{address}/") == (0, f"http://{address}: healthy\n")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_who_answers_something_else_does_not(status):
    with answering(status) as address:
        assert healthy(f"http://{address}") == (1, f"http://{address}: status {status}\n")


def test_without_an_address_tls_is_tried_too(monkeypatch):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("elsewhere.example").configure_cert(tls)
    with answering(200, tls) as address:
        monkeypatch.setattr(HEALTHY, "_OWN", (f"http://{address}", f"https://{address}"))
        assert healthy() == (0, f"https://{address}: healthy\n")


@pytest.mark.parametrize(("url", "why"), [("nonsense", "unknown url type"), ("", "Connection refused")])
def test_where_nobody_answers_is_told_with_the_reason(monkeypatch, url, why):
    monkeypatch.setattr(HEALTHY, "_OWN", [f"http://127.0.0.1:{free_port()}"])
    code, said = healthy(*filter(None, [url]))
    assert code == 1
    assert why in said
