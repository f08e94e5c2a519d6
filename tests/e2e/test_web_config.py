"""The web configuration file with real clients, and beside a real Prometheus that is given the same file."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import bcrypt
import pytest
import trustme

from .conftest import StartPrometheus
from .programs import SWARM_SD, NotYetError, Program, Prometheus, SwarmSD, becomes, needs, run, until
from .swarm import Swarm

pytestmark = pytest.mark.e2e

TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
CLIENTS = f"{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
REFUSED = "the web configuration is refused, the old one stands"


def users(**passwords: str) -> str:
    lines = "".join(
        f"  {name}: {bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()}\n"
        for name, password in passwords.items()
    )
    return f"basic_auth_users:\n{lines}"


@dataclass
class Folder:
    """Where web.yml is, with certificates of one CA for the server and a client."""

    path: Path
    ca: trustme.CA

    def web(self, text: str) -> Path:
        """Replaces web.yml."""
        (self.path / "web.yml").write_text(text, encoding="utf-8")
        return self.path / "web.yml"

    def certify(self, name: str, *names: str, ca: trustme.CA | None = None) -> None:
        """Replaces ``name``.pem and its key: cert.pem with key.pem, others with <name>.key."""
        made = (ca or self.ca).issue_cert(*names)
        key = "key.pem" if name == "cert" else f"{name}.key"
        (self.path / key).write_bytes(made.private_key_pem.bytes())
        (self.path / f"{name}.pem").write_bytes(made.cert_chain_pems[0].bytes())

    def tls_config(self, client: str = "") -> str:
        """A collector's ``tls_config``."""
        own = f", cert_file: {self.path}/{client}.pem, key_file: {self.path}/{client}.key" if client else ""
        return f"{{ca_file: {self.path}/ca.pem, server_name: localhost{own}}}"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A server's certificate for localhost and 127.0.0.1, clients' for poller.example and other.example."""
    made = Folder(tmp_path, trustme.CA())
    (tmp_path / "ca.pem").write_bytes(made.ca.cert_pem.bytes())
    made.certify("cert", "localhost", "127.0.0.1")
    made.certify("poller", "poller.example")
    made.certify("other", "other.example")
    made.certify("nobody", "poller.example", ca=trustme.CA())
    child = made.ca.create_child_ca()
    (tmp_path / "child-ca.pem").write_bytes(child.cert_pem.bytes())
    made.certify("child", "poller.example", ca=child)
    return made


class Guarded(SwarmSD):
    """``swarm-sd serve`` that does not answer everybody: it is there when it says so."""

    async def _answers(self, path: str) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return "msg=listening" in self.log()


class GuardedPrometheus(Prometheus):
    """Prometheus with the same web configuration file."""

    web: Path

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), f"--web.config.file={self.web}"]

    async def _answers(self, path: str) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return "Server is ready to receive web requests" in self.log()


StartGuarded: TypeAlias = Callable[..., Awaitable[Guarded]]


@pytest.fixture
def guarded(started: list[Program], swarm: Swarm, folder: Folder) -> StartGuarded:
    """Starts ``swarm-sd serve`` on a Swarm with a web configuration file."""

    async def start(web: str) -> Guarded:
        flag = f"--web.config.file={folder.web(web)}"
        program = Guarded(folder.path, swarm.config(), flag, "--log.level=debug")
        started.append(program)
        await program.start()
        return program

    return start


class Curled(dict[str, str]):
    """The headers that curl got, names in small letters; ``status`` is 0 where it got no answer."""

    status: int
    body: str


async def curl(
    program: Program, *flags: str | Path, path: str = "/-/healthy", scheme: str = "https"
) -> Curled:
    """What curl gets, with the CA of the folder that it trusts."""
    url = program.url.replace("http://", f"{scheme}://") + path
    done = await run(needs("curl"), "-si", "--max-time", "10", "--http1.1", *flags, url)
    head, _, body = done.out.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    got = Curled((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    got.status = int(first.split()[1]) if first else 0
    got.body = body
    return got


def trusting(folder: Folder, client: str = "") -> list[str | Path]:
    """The flags of a curl that knows the CA and shows a certificate."""
    own = ["--cert", folder.path / f"{client}.pem", "--key", folder.path / f"{client}.key"] if client else []
    return ["--cacert", folder.path / "ca.pem", *own]


# -- curl ----------------------------------------------------------------------------------------------


async def test_curl_gets_the_targets_with_a_certificate_and_a_password(
    guarded: StartGuarded, folder: Folder
) -> None:
    serving = await guarded(CLIENTS + users(alice="secret"))
    shows = trusting(folder, "poller")
    assert (await curl(serving, *shows, "-u", "alice:secret", path="/-/healthy")).status == 200

    async def served() -> bool:
        return (await curl(serving, *shows, "-u", "alice:secret", path="/sd/swarm")).status == 200

    await until(served, "the targets are known")
    answer = await curl(serving, *shows, path="/sd/swarm")
    assert (answer.status, answer["www-authenticate"], answer.body) == (401, "Basic", "Unauthorized\n")
    assert (await curl(serving, *shows, "-u", "alice:Secret")).status == 401
    assert (await curl(serving, *trusting(folder), "-u", "alice:secret")).status == 0
    assert (await curl(serving, *trusting(folder, "nobody"), "-u", "alice:secret")).status == 0
    assert (await curl(serving, scheme="http")).status == 0
    await serving.said('msg="a client was refused"')


async def test_only_a_client_of_an_allowed_name_is_answered(guarded: StartGuarded, folder: Folder) -> None:
    serving = await guarded(f"{CLIENTS}  client_allowed_sans: [poller.example]\n")
    assert (await curl(serving, *trusting(folder, "poller"))).status == 200
    assert (await curl(serving, *trusting(folder, "other"))).status == 0
    folder.web(f"{CLIENTS}  client_allowed_sans: [other.example]\n")
    assert (await curl(serving, *trusting(folder, "poller"))).status == 0
    assert (await curl(serving, *trusting(folder, "other"))).status == 200


async def test_the_rate_limit_comes_before_the_password(guarded: StartGuarded, folder: Folder) -> None:
    limit = "rate_limit: {interval: 10m, burst: 3}\n"
    serving = await guarded(TLS + users(alice="secret") + limit)
    right = ["-u", "alice:secret"]
    seen = [await curl(serving, *trusting(folder), *flags) for flags in ([], right, right, right, [])]
    assert [answer.status for answer in seen] == [401, 200, 200, 429, 429]
    assert seen[-1].body == "Too Many Requests\n"
    folder.web(TLS + users(alice="secret"))  # counts after a restart
    assert (await curl(serving, *trusting(folder), *right)).status == 429


async def test_certificates_and_users_are_replaced_without_a_restart(
    guarded: StartGuarded, folder: Folder
) -> None:
    serving = await guarded(TLS + users(alice="1"))
    assert (await curl(serving, *trusting(folder), "-u", "alice:1")).status == 200
    new = trustme.CA()
    (folder.path / "new-ca.pem").write_bytes(new.cert_pem.bytes())
    folder.certify("cert", "localhost", "127.0.0.1", ca=new)
    folder.web(TLS + users(bob="2"))
    assert (await curl(serving, *trusting(folder), "-u", "bob:2")).status == 0
    trusted: list[str | Path] = ["--cacert", folder.path / "new-ca.pem"]
    assert (await curl(serving, *trusted, "-u", "alice:1")).status == 401
    assert (await curl(serving, *trusted, "-u", "bob:2")).status == 200
    assert REFUSED not in serving.log()


async def metric(serving: Guarded, *flags: str | Path) -> float:
    """``swarm_sd_web_config_last_reload_successful`` as curl gets it."""
    name = "swarm_sd_web_config_last_reload_successful "
    answer = await curl(serving, *flags, path="/metrics")
    found = [line for line in answer.body.splitlines() if line.startswith(name)]
    if len(found) != 1:
        raise NotYetError(answer.status)
    return float(found[0].removeprefix(name))


async def test_a_file_that_breaks_while_it_serves_leaves_what_was_there_and_is_visible(
    guarded: StartGuarded, folder: Folder
) -> None:
    serving = await guarded(TLS + users(alice="1"))
    flags = [*trusting(folder), "-u", "alice:1"]
    assert await metric(serving, *flags) == 1
    folder.web(TLS + "basic_auth_users:\n  alice: 1\n")
    assert await metric(serving, *flags) == 0
    assert await metric(serving, *flags) == 0
    assert serving.log().count(REFUSED) == 1
    assert "web.yml:5:10: basic_auth_users.alice: not a bcrypt hash" in serving.log()
    folder.web(TLS + users(alice="1"))
    assert await metric(serving, *flags) == 1
    (folder.path / "cert.pem").write_text("nothing")
    assert await metric(serving, *flags) == 0
    assert serving.log().count(REFUSED) == 2
    folder.certify("cert", "localhost", "127.0.0.1")
    assert await metric(serving, *flags) == 1


# -- wrong at the start ----------------------------------------------------------------------------------

WRONG = {
    "basic_auth_users:\n  alice: secret\n": "2:10: basic_auth_users.alice: not a bcrypt hash",
    "tls_server_config:\n  cert_file: cert.pem\n": "2:3: tls_server_config: TLS needs both halves",
    TLS.replace("cert.pem", "gone.pem"): "2:14: tls_server_config.cert_file: cannot read ",
    "http_server_config: {headers: {X-Foo: a}}\n": "1:39: http_server_config.headers.X-Foo: the header",
    "tls_server_confg: {}\n": "1:1: unknown field 'tls_server_confg', did you mean 'tls_server_config'?",
}


@pytest.mark.parametrize("text", WRONG)
async def test_a_wrong_file_ends_the_start_as_it_ends_that_of_prometheus(folder: Folder, text: str) -> None:
    (folder.path / "sd.yml").write_text(
        "scrape_configs:\n- {job_name: a, swarm_sd_configs: [{masters: [a]}]}\n"
    )
    (folder.path / "prometheus.yml").write_text("scrape_configs: []\n")
    web, listen = folder.web(text), "--web.listen-address=127.0.0.1:0"
    flags = (f"--web.config.file={web}", listen)
    ours = await run(SWARM_SD, "serve", f"--config.file={folder.path / 'sd.yml'}", *flags)
    assert ours.code == 2
    assert ours.err.startswith(f"{web}:{WRONG[text]}")
    assert "Traceback" not in ours.err
    config = f"--config.file={folder.path / 'prometheus.yml'}"
    data = f"--storage.tsdb.path={folder.path / 'data'}"
    theirs = await run(needs("prometheus"), config, data, *flags)
    assert theirs.code == 1


async def test_a_file_that_is_not_there_ends_the_start(folder: Folder) -> None:
    (folder.path / "sd.yml").write_text(
        "scrape_configs:\n- {job_name: a, swarm_sd_configs: [{masters: [a]}]}\n"
    )
    done = await run(
        SWARM_SD,
        "serve",
        f"--config.file={folder.path / 'sd.yml'}",
        f"--web.config.file={folder.path}/no.yml",
    )
    assert done.code == 2
    assert done.err == f"{folder.path}/no.yml:1:1: cannot read the file: No such file or directory\n"


# -- Prometheus as the client ------------------------------------------------------------------------------


def polling(serving: Guarded, options: str) -> str:
    """A prometheus.yml that asks ``serving`` for targets with further options."""
    url = serving.url.replace("http://", "https://") + "/sd/swarm"
    entry = f"{{url: '{url}', refresh_interval: 1s, {options}}}"
    return (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
        f"- job_name: swarm\n  http_sd_configs: [{entry}]\n"
    )


async def test_prometheus_gets_its_targets_with_a_certificate_and_a_password(
    guarded: StartGuarded, prometheus: StartPrometheus, swarm: Swarm, folder: Folder
) -> None:
    text = f"{CLIENTS}  client_allowed_sans: [poller.example]\n  min_version: TLS13\n"
    serving = await guarded(text + users(alice="secret"))
    password = "basic_auth: {username: alice, password: secret}"
    asks = await prometheus(polling(serving, f"{password}, tls_config: {folder.tls_config('poller')}"))
    await becomes(asks.health, dict.fromkeys(swarm.targets(), "up"))
    # all of it is replaced; Prometheus reads its files anew by itself, and its password still holds
    folder.certify("cert", "localhost")
    folder.web(text.replace("poller", "other") + users(alice="secret"))
    folder.certify("poller", "other.example")
    await swarm.join()
    await becomes(asks.health, dict.fromkeys(swarm.targets(), "up"))


@pytest.mark.parametrize(
    ("options", "client"),
    [
        ("basic_auth: {username: alice, password: wrong}", "poller"),
        ("basic_auth: {username: bob, password: secret}", "poller"),
        ("", "poller"),
        ("basic_auth: {username: alice, password: secret}", "other"),
        ("basic_auth: {username: alice, password: secret}", ""),
    ],
)
async def test_prometheus_without_what_is_asked_for_gets_nothing(
    guarded: StartGuarded, prometheus: StartPrometheus, folder: Folder, options: str, client: str
) -> None:
    text = f"{CLIENTS}  client_allowed_sans: [poller.example]\n"
    serving = await guarded(text + users(alice="secret"))
    separator = ", " if options else ""
    asks = await prometheus(polling(serving, f"{options}{separator}tls_config: {folder.tls_config(client)}"))
    await asks.said("Unable to refresh target groups", times=2)
    assert await asks.targets() == []


# -- beside Prometheus, with the same file -----------------------------------------------------------------


SAME = {
    "users": users(alice="secret", bob=""),
    "TLS and users": TLS + users(alice="secret"),
    "clients": CLIENTS,
    "clients of a CA below another": CLIENTS.replace("ca.pem", "child-ca.pem"),
    "clients if they like": CLIENTS.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"),
    "clients asked for nothing": CLIENTS.replace("RequireAndVerifyClientCert", "RequestClientCert"),
    "the newest version": f"{TLS}  min_version: TLS13\n",
    "an older version": f"{TLS}  max_version: TLS12\n",
    "a suite": f"{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n",
    # HTTP/2 of Go wants a suite of TLS 1.2
    "suites of TLS 1.3": f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n"
    "http_server_config: {http2: no}\n",
    "a curve": f"{TLS}  min_version: TLS13\n  curve_preferences: [CurveP384]\n",
    "headers": "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: 1\n"
    "    X-Content-Type-Options: nosniff\n    Strict-Transport-Security: max-age=60\n"
    "    Content-Security-Policy: default-src 'none'\n" + users(alice="secret"),
}
PASSWORDS: dict[str, list[str]] = {
    "a password": ["-u", "alice:secret"],
    "a wrong password": ["-u", "alice:x"],
    "an empty password": ["-u", "bob:"],
    "nobody's password": ["-u", "mallory:secret"],
    "a token": ["-H", "Authorization: Bearer secret"],
    "half a password": ["-H", "Authorization: Basic YWxpY2U="],
    "no base64": ["-H", "Authorization: Basic !!!"],
    "small letters": ["-H", "Authorization: basic YWxpY2U6c2VjcmV0"],
}
OF_TLS: dict[str, list[str]] = {
    "TLS 1.2": ["--tls-max", "1.2"],
    "TLS 1.3": ["--tlsv1.3"],
    "another suite": ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    "another curve": ["--curves", "P-256"],
    "that curve": ["--curves", "P-384"],
}
ASKS: dict[str, list[str]] = {"nothing": [], **PASSWORDS, **OF_TLS}
TOLD = ("www-authenticate", "x-frame-options", "x-xss-protection", "strict-transport-security")


def asks(text: str) -> list[str]:
    """What is worth asking a server with this file."""
    of_users = PASSWORDS if "users" in text else {}
    return ["nothing", *of_users, *(OF_TLS if "tls_server" in text else {})]


@pytest.mark.parametrize("name", SAME)
async def test_prometheus_answers_the_same_to_the_same_file(
    started: list[Program], guarded: StartGuarded, folder: Folder, name: str
) -> None:
    ours = await guarded(SAME[name])
    theirs = GuardedPrometheus(folder.path, "scrape_configs: []\n")
    theirs.web = folder.path / "web.yml"
    started.append(theirs)
    await theirs.start()
    scheme = "https" if "tls_server_config" in SAME[name] else "http"
    for client in ("", "poller", "nobody", "child") if "client_auth" in SAME[name] else ("",):
        for asked in asks(SAME[name]) if not client else ("nothing", "TLS 1.2"):
            seen = [
                await curl(program, *trusting(folder, client), *ASKS[asked], scheme=scheme)
                for program in (ours, theirs)
            ]
            what = [
                (one.status, one.status == 401 and one.body, *(one.get(header) for header in TOLD))
                for one in seen
            ]
            assert what[0] == what[1], (client, asked)
            if name == "headers":
                policies = [(one["content-security-policy"], one["x-content-type-options"]) for one in seen]
                assert policies[0] == policies[1]


async def test_prometheus_takes_up_a_change_as_we_do(
    started: list[Program], guarded: StartGuarded, folder: Folder
) -> None:
    ours = await guarded(TLS + users(alice="1"))
    theirs = GuardedPrometheus(folder.path, "scrape_configs: []\n")
    theirs.web = folder.path / "web.yml"
    started.append(theirs)
    await theirs.start()
    folder.certify("cert", "localhost", "127.0.0.1")
    folder.web(CLIENTS + users(bob="2"))
    certificate = (folder.path / "cert.pem").read_text()
    for program in (ours, theirs):
        assert (await curl(program, *trusting(folder), "-u", "bob:2")).status == 0
        assert (await curl(program, *trusting(folder, "poller"), "-u", "alice:1")).status == 401
        assert (await curl(program, *trusting(folder, "poller"), "-u", "bob:2")).status == 200
        assert await shown(program) == certificate.strip()


async def shown(program: Program) -> str:
    """The certificate that a client gets to see, as PEM."""
    address = program.url.removeprefix("http://")
    command = [needs("openssl"), "s_client", "-connect", address, "-servername", "localhost"]
    done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=20)
    text = done.stdout.decode()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + text.partition(begin)[2].partition(end)[0] + end
