"""``swarm-sd status``: how a running swarm-sd fares, in words, as JSON and as an exit code."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import bcrypt
import pytest
import trustme
from click.testing import CliRunner
from tests.web.world import World, beside

from swarm_sd.cli import cli
from swarm_sd.provider import HostStatus
from swarm_sd.web.about import LastReload
from swarm_sd.web.config_file import WebConfigFile


def status(*args):
    result = CliRunner().invoke(cli, ["status", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def fine():
    return World(hosts=[HostStatus("tcp://m1:2375", "up", active=True, latency=0.25)])


def test_all_is_told_and_the_exit_code_is_0_when_everything_is_fresh():
    with beside(fine()) as served:
        result = status(served.base)
    assert result.exit_code == 0, result.output
    for part in (
        "started ",
        ": ready",
        "prometheus.yml, loaded ",
        "Job shop",
        "entry 0, world: known, confirmed, 5 discovered",
        "3 scraped",
        "2 not scraped: not_an_address 1, relabel_rule_1 1",
        "4 without a target: odd_object 2, no_shared_network 1, not_running 1",
        "nobody asked for its list",
        "Asked for shop/0",
        "tcp://m1:2375  up, active, 250 ms",
        "shop: 5 added, 0 removed, 0 changed (start)",
    ):
        assert part in result.output


def test_a_manager_that_fails_is_told_with_exit_code_1():
    with beside() as served:
        result = status(served.base)
    assert result.exit_code == 1
    assert "tcp://m2:2375  down: m2: refused" in result.output
    assert "1 manager of 2 not answering" in result.output


def test_what_was_never_heard_is_told_with_exit_code_1():
    world = fine()
    world.fails("m1: no route")
    with beside(world) as served:
        result = status(served.base)
    assert result.exit_code == 1
    assert ": not ready" in result.output
    assert "m1: no route" in result.output


def test_a_configuration_that_was_refused_is_told_with_every_complaint():
    world = fine()
    world.reload = LastReload(successful=False, at=20.0, error="x.yml:1:1: no\nx.yml:2:1: nor this")
    with beside(world) as served:
        result = status(served.base)
    assert result.exit_code == 1
    assert "refused" in result.output
    assert "  x.yml:1:1: no\n  x.yml:2:1: nor this\n" in result.output


def test_json_is_the_data_of_the_api():
    with beside(fine()) as served:
        told = json.loads(status(served.base, "--format", "json").output)
    assert set(told) == {"buildinfo", "runtimeinfo", "jobs", "clusters", "clients", "history"}
    assert told["jobs"][0]["targets"]["scraped"] == 3


def test_what_a_client_calls_itself_does_nothing_to_the_terminal():
    with beside(fine()) as served:
        host, port = served.base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /sd/shop HTTP/1.0\r\nUser-Agent: \xc2\x9b31m\r\n\r\n")
            while client.recv(65536):
                pass
        output = status(served.base).output
    assert "asked for by 1, last just now by ?31m at 127.0.0.1" in output


@contextmanager
def answering(handler):
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Other(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *args):
        pass


def test_who_is_no_swarm_sd_is_told_with_exit_code_2():
    with answering(Other) as url:
        result = status(url)
    assert result.exit_code == 2
    assert "answers 200, and not as swarm-sd does" in result.output


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1: Connection refused"),
        ("http://me:hunter2@127.0.0.1:1/x", "http://127.0.0.1:1/x: Connection refused"),
        ("http://nobody.invalid", "http://nobody.invalid: "),
        ("ftp://x", "not a URL of HTTP"),
        ("http://[x", "not a URL"),
        ("127.0.0.1:9963", "not a URL"),
    ],
)
def test_who_cannot_be_reached_is_told_with_exit_code_2(url, says):
    result = status(url)
    assert result.exit_code == 2
    assert says in result.output
    assert "hunter2" not in result.output


def test_who_is_silent_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = status(f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "200ms")
    assert result.exit_code == 2
    assert "no answer within 0.2 s" in result.output


@pytest.fixture
def guarded(tmp_path):
    """A web configuration file with TLS and a user, and the authority that signed its certificate."""
    ca = trustme.CA()
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    hashed = bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(
        "tls_server_config: {cert_file: cert.pem, key_file: cert.pem}\n"
        f"basic_auth_users: {{me: {hashed}}}\n"
    )
    return WebConfigFile(tmp_path / "web.yml"), str(tmp_path / "ca.pem")


def test_a_user_in_the_url_and_certificates_of_a_file_are_used(guarded):
    config, ca = guarded
    with beside(fine(), config=config) as served:
        rest = served.base.removeprefix("https://")
        assert status(f"https://me:hunter2@{rest}", "--tls.ca-file", ca).exit_code == 0
        wrong = status(f"https://me:hunter3@{rest}", "--tls.ca-file", ca)
        untrusted = status(f"https://me:hunter2@{rest}")
    assert (wrong.exit_code, untrusted.exit_code) == (2, 2)
    assert "write the URL like http://user:password@host:port" in wrong.output
    assert "certificate" in untrusted.output.lower()
    assert "hunter" not in wrong.output + untrusted.output


def test_a_file_of_certificates_that_is_none_is_told(tmp_path):
    result = status("https://127.0.0.1:1", "--tls.ca-file", str(tmp_path / "none.pem"))
    assert result.exit_code == 2
    assert "No such file" in result.output
