"""Who is answered, and with which headers, over real sockets."""

import asyncio
import base64
import json
import ssl
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.web.conftest import hashed

from swarm_sd.config.web import RateLimit
from swarm_sd.scalars import Secret
from swarm_sd.web import access
from swarm_sd.web.access import HEADERS, Bucket, Users, credentials
from swarm_sd.web.config_file import WebConfigFile
from swarm_sd.web.listen import _is_own, listening

TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
CLIENTS = f"{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


def basic(user, password):
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


class Serving:
    """One server on ``text`` as its web configuration file."""

    def __init__(self, folder, url):
        self.folder = folder
        self.url = url

    def write(self, text):
        (self.folder / "web.yml").write_text(text)

    async def get(self, path="/", *, tls=None, method="GET", **headers):
        connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.request(method, self.url + path, headers=headers) as answer:
                return answer.status, answer.headers, await answer.text()


async def say_ok(request):
    return web.Response(text="ok")


async def break_down(request):
    raise RuntimeError("a bug")


async def say_otherwise(request):
    return web.Response(headers={"Content-Security-Policy": "default-src 'self'"})


ANSWERS = {"/": say_ok, "/bug": break_down, "/otherwise": say_otherwise}


@asynccontextmanager
async def serving(folder, text, *hosts):
    file = None
    if text is not None:
        (folder / "web.yml").write_text(text)
        file = await asyncio.to_thread(WebConfigFile, folder / "web.yml")
    routes = [web.get(path, answer) for path, answer in ANSWERS.items()]
    async with listening(routes, [(host, 0) for host in hosts or ("127.0.0.1",)], file) as urls:
        yield Serving(folder, urls[0])


# -- headers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/", "HEAD", 200),
        ("/", "DELETE", 405),
        ("/nothing", "GET", 404),
        ("/bug", "GET", 500),
    ],
)
@pytest.mark.parametrize("text", [None, ""])
async def test_every_answer_says_what_a_browser_may_do_with_it(tmp_path, text, path, method, status):
    async with serving(tmp_path, text) as server:
        answered, headers, _ = await server.get(path, method=method)
    assert answered == status
    assert {name: headers.get(name) for name in HEADERS} == HEADERS


async def test_an_answer_that_cannot_be_given_as_asked_has_them_too(tmp_path):
    async with serving(tmp_path, None) as server:
        status, headers, _ = await server.get(Expect="miracles")
    assert status == 417
    assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


async def test_a_page_may_say_otherwise_and_the_file_has_the_last_word(tmp_path):
    async with serving(tmp_path, "") as server:
        assert (await server.get("/otherwise"))[1]["Content-Security-Policy"] == "default-src 'self'"
        server.write("http_server_config: {headers: {Content-Security-Policy: default-src 'none'}}\n")
        assert (await server.get("/otherwise"))[1]["Content-Security-Policy"] == "default-src 'none'"


async def test_the_headers_of_the_file_are_there_and_an_empty_one_is_not_sent(tmp_path):
    given = {"Strict-Transport-Security": "max-age=60", "X-Frame-Options": "deny", "X-XSS-Protection": "0"}
    text = f"http_server_config: {{headers: {json.dumps({**given, 'Content-Security-Policy': ''})}}}\n"
    async with serving(tmp_path, text) as server:
        _, headers, _ = await server.get()
    assert given.items() <= headers.items()
    assert "Content-Security-Policy" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"


# -- users -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method"),
    [("/", "GET"), ("/", "POST"), ("/nothing", "GET")],
)
async def test_every_path_asks_for_a_user_without_a_realm(tmp_path, path, method):
    async with serving(tmp_path, f"basic_auth_users: {{alice: {hashed('secret')}}}\n") as server:
        status, headers, text = await server.get(path, method=method)
        assert (status, headers["WWW-Authenticate"], text) == (401, "Basic", "Unauthorized\n")
        status, _, _ = await server.get(path, method=method, **basic("alice", "secret"))
        assert status not in (401, 500)


BASIC = base64.b64encode(b"alice:secret").decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Basic {BASIC}", 200),
        (f"basic {BASIC}", 200),
        (f"BASIC {BASIC}", 200),
        (basic("alice", "Secret")["Authorization"], 401),
        (basic("Alice", "secret")["Authorization"], 401),
        (basic("", "secret")["Authorization"], 401),
        (basic("alice", "")["Authorization"], 401),
        (basic("alice:", "secret")["Authorization"], 401),
        (basic("alice", "secret" + "x" * 100)["Authorization"], 401),
        (basic("alice", "secret\0")["Authorization"], 401),
        (basic("alicé", "secret")["Authorization"], 401),
        ("Basic " + base64.b64encode(b"alice\xff:secret").decode(), 401),
        ("Basic " + base64.b64encode(b"alice").decode(), 401),
        (f"Bearer {BASIC}", 401),
        (f"Basic{BASIC}", 401),
        ("Basic", 401),
        ("Basic ***", 401),
        (f"Basic {BASIC[:-1]}", 401),
        ("", 401),
    ],
)
async def test_only_a_users_own_password_lets_in(tmp_path, header, status):
    async with serving(tmp_path, f"basic_auth_users: {{alice: {hashed('secret')}}}\n") as server:
        assert (await server.get(Authorization=header))[0] == status


@pytest.mark.parametrize(
    ("user", "password"),
    [("", "x"), ("é", "日本"), ("a", "with:colon"), ("a", ""), ("a", "x" * 72), ("1", "y" * 72 + "more")],
)
async def test_odd_users_and_passwords_are_as_good_as_others(tmp_path, user, password):
    hash_of_it = hashed(password.encode()[:72].decode())  # bcrypt knows no more of a password
    text = f"basic_auth_users: {{{json.dumps(user)}: {hash_of_it}}}\n"
    async with serving(tmp_path, text) as server:
        assert (await server.get(**basic(user, password)))[0] == 200
        assert (await server.get(**basic(user, "nonsense")))[0] == 401


async def test_the_kinds_of_bcrypt_hashes_are_all_checked(tmp_path):
    of = hashed("secret")
    users = "".join(f"  {kind}: $2{kind}${of[4:]}\n" for kind in "aby")
    async with serving(tmp_path, f"basic_auth_users:\n{users}") as server:
        for kind in "aby":
            assert (await server.get(**basic(kind, "secret")))[0] == 200


async def test_no_users_is_no_question(tmp_path):
    async with serving(tmp_path, "basic_auth_users: {}\n") as server:
        assert (await server.get())[0] == 200


async def test_users_come_and_go_while_it_serves(tmp_path):
    async with serving(tmp_path, f"basic_auth_users: {{a: {hashed('1')}}}\n") as server:
        assert (await server.get(**basic("a", "1")))[0] == 200
        server.write(f"basic_auth_users: {{a: {hashed('2')}}}\n")
        assert (await server.get(**basic("a", "1")))[0] == 401
        assert (await server.get(**basic("a", "2")))[0] == 200
        server.write(f"basic_auth_users: {{b: {hashed('2')}}}\n")
        assert (await server.get(**basic("a", "2")))[0] == 401
        server.write("basic_auth_users: {\n")
        assert (await server.get(**basic("a", "2")))[0] == 401
        assert (await server.get(**basic("b", "2")))[0] == 200


@pytest.fixture
def checks(monkeypatch):
    """What bcrypt was asked, and how many at a time."""
    asked = []

    def matches(password, against, check=access._matches):
        asked.append(against)
        return check(password, against)

    monkeypatch.setattr(access, "_matches", matches)
    return asked


async def test_a_password_that_was_right_is_not_hashed_again(checks):
    users, known = Users(), {"a": Secret(hashed("1"))}
    header = basic("a", "1")["Authorization"]
    assert all(await asyncio.gather(*(users.has(known, header) for _ in range(20))))
    assert len(checks) == 1
    assert await users.has({"a": Secret(hashed("1"))}, header)  # another hash of it
    assert len(checks) == 2


async def test_a_password_that_was_wrong_is_hashed_each_time(checks):
    users, known = Users(), {"a": Secret(hashed("1"))}
    for _ in range(3):
        assert not await users.has(known, basic("a", "2")["Authorization"])
    assert len(checks) == 3


async def test_an_unknown_user_costs_as_much_as_a_known_one_and_never_gets_in(checks, monkeypatch):
    known = {"a": Secret(hashed("1", cost=4)), "b": Secret(hashed("1", cost=6))}
    assert not await Users().has(known, basic("nobody", "1")["Authorization"])
    assert checks[0][:7] == "$2b$06$"
    monkeypatch.setattr(access, "_matches", lambda password, against: True)
    assert not await Users().has(known, basic("nobody", "1")["Authorization"])


async def test_no_more_than_a_hundred_passwords_are_remembered(checks, monkeypatch):
    monkeypatch.setattr(access, "_matches", lambda password, against: checks.append(against) or True)
    users, known = Users(), {f"u{number}": Secret(hashed("1")) for number in range(120)}
    for name in known:
        assert await users.has(known, basic(name, "1")["Authorization"])
    assert len(users._right) == 100
    assert not any(b"u119" in key or b"$2b$" in key for key in users._right)


async def test_hashing_is_done_one_at_a_time_and_holds_nobody_up(tmp_path, monkeypatch):
    running, most = 0, 0
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(password, against):
        nonlocal running, most
        running += 1
        most = max(most, running)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        running -= 1
        return True

    text = f"basic_auth_users: {{a: {hashed('1')}, b: {hashed('1')}, c: {hashed('1')}}}\n"
    async with serving(tmp_path, text) as server:
        assert (await server.get(**basic("a", "1")))[0] == 200
        monkeypatch.setattr(access, "_matches", slow)
        waiting = [asyncio.create_task(server.get(**basic(user, "x"))) for user in "bcbc"]
        assert (await server.get(**basic("a", "1")))[0] == 200
        gate.set()
        assert {status for status, *_ in await asyncio.gather(*waiting)} == {200}
    assert most == 1


@given(st.text())
def test_no_header_is_too_odd_to_be_read(text):
    credentials(text)
    credentials(f"Basic {text}")


@given(st.text().filter(lambda text: ":" not in text), st.binary())
def test_user_and_password_come_out_as_they_went_in(user, password):
    raw = user.encode("utf-8", "surrogatepass")
    header = "Basic " + base64.b64encode(raw + b":" + password).decode()
    found = credentials(header)
    assert found is not None
    assert found[1] == password
    assert found[0].encode("utf-8", "surrogateescape") == raw


# -- the rate limit ---------------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_and_then_one_each_interval():
    now = [0.0]
    bucket = Bucket(RateLimit(interval=2.0, burst=3), lambda: now[0])
    assert [bucket.takes() for _ in range(5)] == [True, True, True, False, False]
    now[0] = 1.9
    assert not bucket.takes()
    now[0] = 2.0
    assert [bucket.takes(), bucket.takes()] == [True, False]
    now[0] = 1000.0
    assert [bucket.takes() for _ in range(5)] == [True, True, True, False, False]


@given(st.lists(st.floats(0, 10), max_size=50), st.integers(1, 5), st.floats(0.1, 5))
def test_never_more_is_let_through_than_the_burst_and_one_each_interval(pauses, burst, interval):
    now = [0.0]
    bucket = Bucket(RateLimit(interval=interval, burst=burst), lambda: now[0])
    let_through = 0
    for pause in pauses:
        now[0] += pause
        let_through += bucket.takes()
    assert let_through <= burst + now[0] / interval + 1e-6


async def test_what_is_too_much_is_429_before_anybody_is_asked_who_they_are(tmp_path, checks):
    text = f"rate_limit: {{interval: 1h, burst: 2}}\nbasic_auth_users: {{a: {hashed('1')}}}\n"
    async with serving(tmp_path, text) as server:
        assert (await server.get())[0] == 401
        assert (await server.get(**basic("a", "1")))[0] == 200
        status, headers, body = await server.get(**basic("a", "2"))
        assert (status, body) == (429, "Too Many Requests\n")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "WWW-Authenticate" not in headers
        assert (await server.get())[0] == 429
        assert len(checks) == 1


async def test_a_limit_of_no_interval_is_none(tmp_path):
    async with serving(tmp_path, "rate_limit: {interval: 0s, burst: 1}\n") as server:
        assert [(await server.get())[0] for _ in range(5)] == [200] * 5


# -- TLS --------------------------------------------------------------------------------------------------


def trusting(pems, *, cert=None):
    made = ssl.create_default_context(cafile=pems.folder / "ca.pem")
    if cert:
        made.load_cert_chain(pems.folder / f"{cert}.pem", pems.folder / f"{cert}.key")
    return made


async def test_with_a_certificate_it_is_https_and_nothing_else(pems):
    async with serving(pems.folder, TLS) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert (await server.get(tls=trusting(pems)))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await server.get()
        server.url = server.url.replace("https", "http")
        with pytest.raises(aiohttp.ClientError):
            await server.get()


async def test_a_replaced_certificate_is_for_new_connections_and_old_ones_go_on(pems):
    async with serving(pems.folder, TLS) as server:
        tls = trusting(pems)
        host, port = "127.0.0.1", int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        pems.issue("other.example")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await server.get(tls=tls)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("sans", "cert", "passes"),
    [
        ("", None, False),
        ("", "client", True),
        ("  client_allowed_sans: [other.example, poller.example]\n", "client", True),
        ("  client_allowed_sans: [10.0.0.7]\n", "client", True),
        ("  client_allowed_sans: [ops@example.org]\n", "client", True),
        ("  client_allowed_sans: [other.example]\n", "client", False),
    ],
)
async def test_a_client_is_answered_by_the_names_in_its_certificate(pems, sans, cert, passes):
    async with serving(pems.folder, CLIENTS + sans) as server:
        if passes:
            assert (await server.get(tls=trusting(pems, cert=cert)))[0] == 200
        else:
            with capture_logs() as told, pytest.raises((aiohttp.ClientError, OSError)):
                await server.get(tls=trusting(pems, cert=cert))
            refused = [line for line in told if line["event"] == "a client was refused"]
            assert all(line["log_level"] == "debug" for line in refused)
            assert refused


async def test_a_request_that_comes_right_behind_the_handshake_is_answered(pems):
    async with serving(pems.folder, TLS) as server:
        port = int(server.url.rpartition(":")[2])
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(pems))
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            await writer.wait_closed()


async def test_a_client_that_says_nothing_holds_neither_others_nor_the_end_up(pems):
    async with serving(pems.folder, TLS) as server:
        port = int(server.url.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        silent[1][1].write(b"\x16\x03\x01")
        silent[2][1].close()
        assert (await server.get(tls=trusting(pems)))[0] == 200
    async with asyncio.timeout(5):
        for reader, writer in silent[:2]:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_a_handshake_has_a_time_limit(pems, monkeypatch):
    monkeypatch.setattr("swarm_sd.web.tls_site.HANDSHAKE", 0.05)
    async with serving(pems.folder, TLS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


# -- listening beyond this machine ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "without"),
    [
        (None, "TLS and users"),
        ("", "TLS and users"),
        (TLS, "users"),
        (f"basic_auth_users: {{a: {hashed('1')}}}\n", "TLS"),
        (f"{TLS}basic_auth_users: {{a: {hashed('1')}}}\n", None),
        (CLIENTS, None),
    ],
    ids=["no file", "empty", "TLS", "users", "both", "client certificates"],  # hashes differ with each run
)
async def test_what_others_can_reach_without_protection_is_told_once(pems, text, without):
    with capture_logs() as told:
        async with serving(pems.folder, text, "0.0.0.0"):
            pass
    warned = [line["without"] for line in told if line["event"] == "other machines can reach this"]
    assert warned == ([without] if without else [])


async def test_of_what_is_on_loopback_nothing_is_told(tmp_path):
    with capture_logs() as told:
        async with serving(tmp_path, None, "127.0.0.1", "localhost", "::1"):
            pass
    assert told == []


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("fe80::1%e0", False)],
)
def test_which_addresses_are_of_this_machine(host, own):
    assert _is_own(host) is own
