"""The web configuration file: every key, every complaint with its place, and what TLS comes of it.

The keys, their defaults and what is wrong with them are those of exporter-toolkit's
docs/web-configuration.md; ``promtool check web-config`` judges the same files.
"""

import asyncio
import os
import ssl
import subprocess
import time

import pytest
from structlog.testing import capture_logs
from tests.e2e.programs import needs
from tests.web.conftest import hashed

from swarm_sd.config.web import HEADERS, SUITES, TLS_1_3_SUITES, ConfigError, Pause, load
from swarm_sd.web import tls
from swarm_sd.web.config_file import WebConfigFile, _stamp

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"  # of the toolkit's tests
TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
CLIENTS = f"{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
VERIFIED = "RequireAndVerifyClientCert"

BOTH_TAKE = {
    "an empty file": "",
    "remarks only": "# nothing\n",
    "empty sections": "tls_server_config:\nhttp_server_config: {}\nbasic_auth_users: {}\n",
    "a certificate": TLS,
    "a client's certificate if it likes": f"{TLS}  client_auth_type: RequestClientCert\n",
    "no client's certificate": f"{TLS}  client_auth_type: NoClientCert\n",
    "a client's certificate checked if given": f"{TLS}  client_auth_type: VerifyClientCertIfGiven\n",
    "a client's certificate": CLIENTS,
    "clients that the system trusts": f"{TLS}  client_auth_type: {VERIFIED}\n",
    "a least version": f"{TLS}  min_version: TLS13\n",
    "an old least version": f"{TLS}  min_version: TLS10\n",
    "a greatest version": f"{TLS}  max_version: TLS12\n",
    "no version": f"{TLS}  min_version:\n",
    "a quoted version": f"{TLS}  min_version: 'TLS12'\n",
    "all suites": f"{TLS}  cipher_suites: [{', '.join([*SUITES, *TLS_1_3_SUITES])}]\n",
    "suites of TLS 1.3": f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
    "no suites": f"{TLS}  cipher_suites: []\n",
    "one curve": f"{TLS}  curve_preferences: [CurveP384]\n",
    "all curves": f"{TLS}  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]\n",
    "the client's preference": f"{TLS}  prefer_server_cipher_suites: no\n",
    "no HTTP/2": "http_server_config: {http2: false}\n",
    "HTTP/2": "http_server_config: {http2: on}\n",
    "all headers": "http_server_config:\n  headers:\n"
    "    Content-Security-Policy: default-src 'self'\n    X-Frame-Options: sameorigin\n"
    "    X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1; mode=block\n"
    "    Strict-Transport-Security: max-age=3600\n",
    "framing forbidden": "http_server_config: {headers: {X-Frame-Options: deny}}\n",
    "an empty header": "http_server_config: {headers: {Content-Security-Policy: ''}}\n",
    "a header that is a number": "http_server_config: {headers: {X-XSS-Protection: 0}}\n",
    "users": f"basic_auth_users:\n  alice: {HASH}\n  '': {HASH}\n  1: {HASH}\n",
    "every kind of bcrypt": "".join(
        ["basic_auth_users:\n", *(f"  u{kind}: $2{kind}${HASH[4:]}\n" for kind in "aby")]
    ),
    "a cheap hash": f"basic_auth_users: {{a: $2y$04${HASH[7:]}}}\n",
    "a dear hash": f"basic_auth_users: {{a: $2y$31${HASH[7:]}}}\n",
}
ONLY_NEWER_ONES_TAKE = {
    "PEM in the file": "tls_server_config:\n  cert: |\n{cert.pem}\n  key: |\n{key.pem}\n"
    "  client_ca: |\n{ca.pem}\n"
    f"  client_auth_type: {VERIFIED}\n",
    "a file and PEM: the file counts": f"{TLS}  cert: x\n  key: y\n",
    "clients by name": f"{CLIENTS}  client_allowed_sans: [poller.example, 10.0.0.7, 'spiffe://a/b']\n",
    "a rate limit": "rate_limit: {interval: 1s, burst: 20}\n",
    "no rate limit": "rate_limit: {interval: 0, burst: 20}\n",
    "no rate limit at all": "rate_limit: {}\n",
}
"""The toolkit in Prometheus 2.42 does not know these."""

BOTH_REFUSE = {
    # name: (file, complaint)
    "another key": ("foo: 1\n", "1:1: unknown field 'foo'"),
    "a slip": ("tls_config: {}\n", "1:1: unknown field 'tls_config', did you mean 'tls_server_config'?"),
    "a slip below": (
        f"{TLS}  cert-file: x\n",
        "4:3: tls_server_config: unknown field 'cert-file', did you mean 'cert_file'?",
    ),
    "a list": ("[]\n", "1:1: expected a mapping, found a list"),
    "a text": ("hello\n", "1:1: expected a mapping, found a text"),
    "no YAML": (
        "tls_server_config: {\n",
        "2:1: not valid YAML: expected the node content, but found '<stream end>' while parsing a flow node",
    ),
    "a tab": (
        "tls_server_config:\n\tcert: x\n",
        "2:1: a tab cannot be used for indentation in YAML; use spaces",
    ),
    "a key twice": (
        "basic_auth_users: {}\nbasic_auth_users: {}\n",
        "2:1: the key 'basic_auth_users' is given twice, first in line 1; keep one",
    ),
    "a certificate without its key": (
        "tls_server_config:\n  cert_file: cert.pem\n",
        "2:3: tls_server_config: TLS needs both halves: key_file (or key) is missing",
    ),
    "a key without its certificate": (
        "tls_server_config:\n  key_file: key.pem\n",
        "2:3: tls_server_config: TLS needs both halves: cert_file (or cert) is missing",
    ),
    "an empty path": (
        "tls_server_config:\n  cert_file: ''\n  key_file: key.pem\n",
        "2:3: tls_server_config: TLS needs both halves: cert_file (or cert) is missing",
    ),
    "clients' certificates without our own": (
        "tls_server_config:\n  client_auth_type: NoClientCert\n",
        "2:3: tls_server_config: TLS needs both halves: cert_file (or cert) is missing\n"
        "web.yml:2:3: tls_server_config: TLS needs both halves: key_file (or key) is missing",
    ),
    "a certificate that is not there": (
        "tls_server_config:\n  cert_file: gone.pem\n  key_file: key.pem\n",
        "2:14: tls_server_config.cert_file: cannot read {folder}/gone.pem: No such file or directory",
    ),
    "a key that is not there": (
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: sub/key.pem\n",
        "3:13: tls_server_config.key_file: cannot read {folder}/sub/key.pem: No such file or directory",
    ),
    "no certificate in the file": (
        "tls_server_config:\n  cert_file: key.pem\n  key_file: key.pem\n",
        "2:14: tls_server_config.cert_file: no certificate in PEM in it (-----BEGIN CERTIFICATE-----)",
    ),
    "no key in the file": (
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: cert.pem\n",
        "3:13: tls_server_config.key_file: no private key in PEM in it (-----BEGIN PRIVATE KEY-----)",
    ),
    "another one's key": (
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: client.key\n",
        "3:13: tls_server_config.key_file: the key does not belong to the certificate",
    ),
    "half a certificate": (
        "tls_server_config:\n  cert_file: half.pem\n  key_file: key.pem\n",
        "2:14: tls_server_config.cert_file: certificate and key cannot be used: ...",
    ),
    "an encrypted key": (
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: encrypted.key\n",
        "3:13: tls_server_config.key_file: the key is encrypted; give one without a pass phrase",
    ),
    "clients' CA that is not there": (
        CLIENTS.replace("ca.pem", "gone.pem"),
        "4:19: tls_server_config.client_ca_file: cannot read {folder}/gone.pem: No such file or directory",
    ),
    "clients' CA without asking clients": (
        f"{TLS}  client_ca_file: ca.pem\n",
        "4:19: tls_server_config.client_ca_file: no client is asked for a certificate; "
        "add client_auth_type: RequireAndVerifyClientCert",
    ),
    "clients' CA and clients not asked": (
        f"{TLS}  client_ca_file: ca.pem\n  client_auth_type: NoClientCert\n",
        "4:19: tls_server_config.client_ca_file: no client is asked for a certificate; "
        "add client_auth_type: RequireAndVerifyClientCert",
    ),
    "a way to ask clients that there is not": (
        f"{TLS}  client_auth_type: RequireAndVerifyClientCerts\n",
        "4:21: tls_server_config.client_auth_type: expected 'NoClientCert' or 'RequestClientCert' or "
        "'RequireAnyClientCert' or 'RequireClientCert' or 'VerifyClientCertIfGiven' or "
        "'RequireAndVerifyClientCert', found 'RequireAndVerifyClientCerts'",
    ),
    "a version that there is not": (
        f"{TLS}  min_version: TLS14\n",
        "4:16: tls_server_config.min_version: expected 'TLS10' or 'TLS11' or 'TLS12' or 'TLS13', "
        "found 'TLS14'",
    ),
    "a version in other words": (
        f"{TLS}  max_version: 1.2\n",
        "4:16: tls_server_config.max_version: expected 'TLS10' or 'TLS11' or 'TLS12' or 'TLS13', found '1.2'",
    ),
    "an empty version": (
        f"{TLS}  max_version: ''\n",
        "4:16: tls_server_config.max_version: expected 'TLS10' or 'TLS11' or 'TLS12' or 'TLS13', found ''",
    ),
    "a suite that there is not": (
        f"{TLS}  cipher_suites:\n  - TLS_AES_128_GCM_SHA256\n  - TLS_RSA_WITH_3DES_EDE_CBC_SHA\n",
        "6:5: tls_server_config.cipher_suites[1]: unknown cipher suite 'TLS_RSA_WITH_3DES_EDE_CBC_SHA'; "
        "docs/web-config.md lists those there are",
    ),
    "a suite by OpenSSL's name": (
        f"{TLS}  cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]\n",
        "4:19: tls_server_config.cipher_suites[0]: unknown cipher suite 'ECDHE-RSA-AES128-GCM-SHA256'; "
        "docs/web-config.md lists those there are",
    ),
    "a suite that is no list": (
        f"{TLS}  cipher_suites: TLS_AES_128_GCM_SHA256\n",
        "4:18: tls_server_config.cipher_suites: expected a list, found a text; "
        "write it as a list: [...], or one '- ' line each",
    ),
    "a curve that there is not": (
        f"{TLS}  curve_preferences: [P256]\n",
        "4:23: tls_server_config.curve_preferences[0]: expected 'CurveP256' or 'CurveP384' or 'CurveP521' "
        "or 'X25519', found 'P256'",
    ),
    "neither yes nor no": (
        f"{TLS}  prefer_server_cipher_suites: maybe\n",
        "4:32: tls_server_config.prefer_server_cipher_suites: expected true or false, found 'maybe'",
    ),
    "HTTP/2 neither on nor off": (
        "http_server_config: {http2: 2}\n",
        "1:29: http_server_config.http2: expected true or false, found '2'",
    ),
    "another header": (
        "http_server_config: {headers: {X-Foo: bar}}\n",
        "1:39: http_server_config.headers.X-Foo: the header 'X-Foo' cannot be set; "
        f"those that can are {', '.join(HEADERS)}",
    ),
    "a header in small letters": (
        "http_server_config: {headers: {x-frame-options: deny}}\n",
        "1:49: http_server_config.headers.x-frame-options: the header 'x-frame-options' cannot be set; "
        f"those that can are {', '.join(HEADERS)}",
    ),
    "framing allowed to one": (
        "http_server_config: {headers: {X-Frame-Options: DENY}}\n",
        "1:49: http_server_config.headers.X-Frame-Options: expected 'deny' or 'sameorigin', found 'DENY'",
    ),
    "framing not said": (
        "http_server_config: {headers: {X-Frame-Options: }}\n",
        "1:32: http_server_config.headers.X-Frame-Options: expected 'deny' or 'sameorigin', found ''",
    ),
    "types sniffed": (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
        "1:56: http_server_config.headers.X-Content-Type-Options: expected 'nosniff', found 'sniff'",
    ),
    "headers that are a list": (
        "http_server_config: {headers: [deny]}\n",
        "1:31: http_server_config.headers: expected a mapping, found a list",
    ),
    "a password that is not hashed": (
        "basic_auth_users:\n  alice: hunter2\n",
        "2:10: basic_auth_users.alice: not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 31); "
        "make one with htpasswd -nBC 10",
    ),
    "a user without a hash": (
        "basic_auth_users:\n  alice:\n",
        "2:9: basic_auth_users.alice: expected a text, found nothing",
    ),
    "a hash that is cut off": (
        f"basic_auth_users:\n  alice: {HASH[:-2]}\n",
        "2:10: basic_auth_users.alice: not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 31); "
        "make one with htpasswd -nBC 10",
    ),
    "a hash that costs nothing": (
        f"basic_auth_users:\n  alice: $2y$03${HASH[7:]}\n",
        "2:10: basic_auth_users.alice: not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 31); "
        "make one with htpasswd -nBC 10",
    ),
    "a hash of another kind": (
        f"basic_auth_users:\n  alice: $5{HASH[2:]}\n",
        "2:10: basic_auth_users.alice: not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 31); "
        "make one with htpasswd -nBC 10",
    ),
    "users that are a list": (
        "basic_auth_users: [alice]\n",
        "1:19: basic_auth_users: expected a mapping, found a list",
    ),
}
ONLY_WE_REFUSE = {
    # what would serve more people than meant, or nobody, and the toolkit does not say
    "a version without a certificate": (
        "tls_server_config: {min_version: TLS13}\n",
        "1:34: tls_server_config.min_version: without cert_file and key_file plain HTTP is spoken; "
        "add them, or leave this out",
    ),
    "suites without a certificate": (
        "tls_server_config: {cipher_suites: [TLS_AES_128_GCM_SHA256]}\n",
        "1:36: tls_server_config.cipher_suites: without cert_file and key_file plain HTTP is spoken; "
        "add them, or leave this out",
    ),
    "clients' CA without a certificate in it": (
        CLIENTS.replace("ca.pem", "key.pem"),
        "4:19: tls_server_config.client_ca_file: no certificate in PEM in it (-----BEGIN CERTIFICATE-----)",
    ),
    "clients' CA that is half a certificate": (
        CLIENTS.replace("ca.pem", "half.pem"),
        "4:19: tls_server_config.client_ca_file: the certificates cannot be used: ...",
    ),
    "any client's certificate": (
        f"{TLS}  client_auth_type: RequireAnyClientCert\n",
        "4:21: tls_server_config.client_auth_type: a certificate that nobody checks can be made by anybody, "
        "and cannot be asked for here; write RequireAndVerifyClientCert, and client_ca_file",
    ),
    "any client's certificate, the old way": (
        f"{TLS}  client_auth_type: RequireClientCert\n",
        "4:21: tls_server_config.client_auth_type: a certificate that nobody checks can be made by anybody, "
        "and cannot be asked for here; write RequireAndVerifyClientCert, and client_ca_file",
    ),
    "only versions of old": (
        f"{TLS}  max_version: TLS11\n",
        "4:16: tls_server_config.max_version: TLS11 is not spoken here; write TLS12 or TLS13",
    ),
    "no version at all": (
        f"{TLS}  min_version: TLS13\n  max_version: TLS12\n",
        "5:16: tls_server_config.max_version: must not be below min_version",
    ),
    "no suite at all": (
        f"{TLS}  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
        "5:18: tls_server_config.cipher_suites: none of them is of TLS 1.2, and max_version allows no more; "
        "add one",
    ),
    "two strong curves": (
        f"{TLS}  curve_preferences: [CurveP384, CurveP521]\n",
        "4:22: tls_server_config.curve_preferences: one curve can be demanded here, not several; write one, "
        "or weaker ones would be taken",
    ),
    "a header of two lines": (
        'http_server_config: {headers: {Content-Security-Policy: "a\\nb"}}\n',
        "1:57: http_server_config.headers.Content-Security-Policy: a header's value holds no line break; "
        "write it on one line",
    ),
    "a name that cannot log in": (
        f"basic_auth_users:\n  'a:b': {HASH}\n",
        "2:10: basic_auth_users.a:b: a name with ':' cannot log in; choose one without",
    ),
    "a hash that no password has": (
        f"basic_auth_users:\n  a: {HASH[:28]}A{HASH[29:]}\n",
        "2:6: basic_auth_users.a: not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 31); "
        "make one with htpasswd -nBC 10",
    ),
}
OF_NEWER_ONES = {
    # promtool 2.42 does not know the keys
    "names of clients that are not asked": (
        f"{TLS}  client_allowed_sans: [a]\n",
        "4:24: tls_server_config.client_allowed_sans: clients without a certificate would pass; "
        "write client_auth_type: RequireAndVerifyClientCert",
    ),
    "names of clients that may keep silent": (
        f"{TLS}  client_allowed_sans: [a]\n  client_auth_type: VerifyClientCertIfGiven\n",
        "4:24: tls_server_config.client_allowed_sans: clients without a certificate would pass; "
        "write client_auth_type: RequireAndVerifyClientCert",
    ),
    "names of nobody": (
        f"{CLIENTS}  client_allowed_sans: []\n",
        "6:24: tls_server_config.client_allowed_sans: an empty list lets nobody in; name someone, "
        "or leave it out",
    ),
    "names without TLS": (
        "tls_server_config: {client_allowed_sans: [a]}\n",
        "1:42: tls_server_config.client_allowed_sans: without cert_file and key_file plain HTTP is spoken; "
        "add them, or leave this out",
    ),
    "no certificate in the text": (
        "tls_server_config:\n  cert: hello\n  key_file: key.pem\n",
        "2:9: tls_server_config.cert: no certificate in PEM in it (-----BEGIN CERTIFICATE-----)",
    ),
    "no key in the text": (
        "tls_server_config:\n  cert_file: cert.pem\n  key: hello\n",
        "3:8: tls_server_config.key: no private key in PEM in it (-----BEGIN PRIVATE KEY-----)",
    ),
    "clients' CA in the text without asking clients": (
        f"{TLS}  client_ca: hello\n",
        "4:14: tls_server_config.client_ca: no client is asked for a certificate; "
        "add client_auth_type: RequireAndVerifyClientCert",
    ),
    "a limit without a unit": (
        "rate_limit: {interval: 1, burst: 1}\n",
        "1:24: rate_limit.interval: not a duration: '1'; write it with its unit, like 1s, 250ms or 1m30s",
    ),
    "a limit in days": (
        "rate_limit: {interval: 1d, burst: 1}\n",
        "1:24: rate_limit.interval: not a duration: '1d'; write it with its unit, like 1s, 250ms or 1m30s",
    ),
    "a limit below nothing": (
        "rate_limit: {interval: -1s, burst: 1}\n",
        "1:24: rate_limit.interval: not a duration: '-1s'; write it with its unit, like 1s, 250ms or 1m30s",
    ),
    "a limit that lets nothing through": (
        "rate_limit: {interval: 1s}\n",
        "1:13: rate_limit.burst: must be 1 or more: nothing would be answered at all; write burst: 20",
    ),
    "a burst below nothing": (
        "rate_limit: {burst: -1}\n",
        "1:21: rate_limit.burst: must not be negative",
    ),
    "a burst that is a text": (
        "rate_limit: {interval: 1s, burst: many}\n",
        "1:35: rate_limit.burst: expected a whole number, found 'many'",
    ),
    "a slip in the limit": (
        "rate_limit: {intervall: 1s}\n",
        "1:14: rate_limit: unknown field 'intervall', did you mean 'interval'?",
    ),
}
TAKEN = BOTH_TAKE | ONLY_NEWER_ONES_TAKE
REFUSED = BOTH_REFUSE | ONLY_WE_REFUSE | OF_NEWER_ONES


@pytest.fixture
def written(pems, monkeypatch):
    """Writes web.yml beside the certificates; its folder is the one worked in."""
    monkeypatch.chdir(pems.folder)
    (pems.folder / "half.pem").write_text(pems.text("cert.pem")[:300])
    key = pems.text("key.pem").replace("BEGIN EC PRIVATE", "BEGIN PRIVATE")
    (pems.folder / "encrypted.key").write_text(key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE"))

    def write(text):
        for name in ("cert.pem", "key.pem", "ca.pem"):
            indented = "".join(f"    {line}\n" for line in pems.text(name).splitlines())
            text = text.replace(f"{{{name}}}\n", indented)
        (pems.folder / "web.yml").write_text(text)
        return "web.yml"

    return write


@pytest.mark.parametrize("name", TAKEN)
def test_a_file_that_is_right_is_taken(written, name):
    WebConfigFile(written(TAKEN[name]))


@pytest.mark.parametrize("name", REFUSED)
def test_a_complaint_has_its_place_and_the_way_out(written, tmp_path, name):
    text, complaint = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        WebConfigFile(written(text))
    told, expected = str(caught.value), f"web.yml:{complaint.replace('{folder}', str(tmp_path))}"
    assert told.startswith(expected[:-3]) if expected.endswith("...") else told == expected  # OpenSSL's words


def test_a_file_that_is_not_there_is_a_complaint(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the file: No such file or directory"):
        WebConfigFile(tmp_path / "web.yml")


def test_every_complaint_is_told_at_once(written):
    text = "foo: 1\nhttp_server_config: {headers: {A: b}}\nbasic_auth_users: {a: b}\n"
    with pytest.raises(ConfigError) as caught:
        load(written(text))
    assert [one.line for one in caught.value.complaints] == [1, 2]


def test_no_secret_is_in_a_complaint(written, pems):
    (pems.folder / "odd.pem").write_text("hunter2")
    texts = [text for text, _ in REFUSED.values()]
    texts += ["tls_server_config: {cert: hunter2, key: hunter2}\n", "basic_auth_users: {a: [hunter2]}\n"]
    texts += ["tls_server_config: {cert_file: odd.pem, key_file: odd.pem}\n", "basic_auth_users: hunter2\n"]
    for text in texts:
        with pytest.raises(ConfigError) as caught:
            WebConfigFile(written(text))
        assert "hunter2" not in str(caught.value)


# -- the same files, judged by promtool ------------------------------------------------------------------


def promtool_takes(file):
    command = [needs("promtool"), "check", "web-config", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done
    return done.returncode == 0


JUDGED = [
    *((name, text, True) for name, text in BOTH_TAKE.items()),
    *((name, text, False) for name, (text, _) in BOTH_REFUSE.items()),
    *((name, text, True) for name, (text, _) in ONLY_WE_REFUSE.items()),
]


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "text", "takes"), JUDGED, ids=[name for name, *_ in JUDGED])
def test_promtool_judges_the_same_file_as_is_said_here(written, name, text, takes):
    assert promtool_takes(written(text)) is takes


# -- durations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1s", 1),
        ("+1s", 1),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("250ms", 0.25),
        ("1m30s", 90),
        ("2h", 7200),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("1s1s", 2),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text, seconds):
    assert Pause.from_yaml(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "s", ".s", "1 s", "1d", "1w", "-1s", "1s ", "1S", "٣s", "1e3s", "inf"]
)
def test_what_is_no_duration_to_go_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        Pause.from_yaml(text)


# -- what TLS comes of it --------------------------------------------------------------------------------


def client(pems, *, cert=None, **limits):
    made = ssl.create_default_context(cafile=pems.folder / "ca.pem")
    if cert:
        made.load_cert_chain(pems.folder / f"{cert}.pem", pems.folder / f"{cert}.key")
    for name, value in limits.items():
        setattr(made, name, value)
    return made


def shake_hands(server, client):
    """Both sides after a handshake without a network, and a byte each way. ssl.SSLError if it fails."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    here = server.wrap_bio(to_server, to_client, server_side=True)
    for step in (there.do_handshake, here.do_handshake) * 3:
        try:
            step()
        except ssl.SSLWantReadError:
            continue
    there.write(b"x")
    assert here.read() == b"x"
    here.write(b"y")
    assert there.read() == b"y"
    return here


def context(written, text):
    return tls.context(load(written(text)).config.tls_server_config)


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("text", "offers", "agreed"),
    [
        (TLS, (V12, V13), "TLSv1.3"),
        (TLS, (V12, V12), "TLSv1.2"),
        (f"{TLS}  min_version: TLS10\n", (V12, V12), "TLSv1.2"),
        (f"{TLS}  min_version: TLS13\n", (V12, V12), None),
        (f"{TLS}  max_version: TLS12\n", (V12, V13), "TLSv1.2"),
        (f"{TLS}  max_version: TLS12\n", (V13, V13), None),
        (f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", (V12, V12), None),
    ],
)
def test_the_versions_are_those_of_the_file(written, pems, text, offers, agreed):
    one = client(pems, minimum_version=offers[0], maximum_version=offers[1])
    server = context(written, text)
    if agreed is None:
        with pytest.raises(ssl.SSLError):
            shake_hands(server, one)
    else:
        assert shake_hands(server, one).version() == agreed


OF_ECDSA = {name: openssl for name, openssl in SUITES.items() if "_ECDSA_" in name}


@pytest.mark.parametrize("name", OF_ECDSA)
def test_only_the_suites_of_the_file_are_agreed_on(written, pems, name):
    one = client(pems, maximum_version=V12)
    one.set_ciphers("ALL:@SECLEVEL=1")
    server = context(written, f"{TLS}  cipher_suites: [{name}]\n")
    assert shake_hands(server, one).cipher()[0] == OF_ECDSA[name]
    one.set_ciphers(":".join(set(OF_ECDSA.values()) - {OF_ECDSA[name]}))
    with pytest.raises(ssl.SSLError):
        shake_hands(server, one)


def test_every_suite_is_one_that_openssl_has(written):
    for openssl in SUITES.values():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_ciphers(openssl)
        assert openssl in {suite["name"] for suite in made.get_ciphers()}


def test_who_prefers_a_suite_is_what_the_file_says(written, pems):
    one = client(pems, maximum_version=V12)
    one.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    ours = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
    text = f"{TLS}  cipher_suites: [{', '.join(ours)}]\n"
    assert shake_hands(context(written, text), one).cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    text += "  prefer_server_cipher_suites: false\n"
    assert shake_hands(context(written, text), one).cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("curves", "offered", "agree"),
    [
        ("CurveP384", "secp384r1", True),
        ("CurveP384", "prime256v1", False),
        ("CurveP256", "prime256v1", True),
        ("CurveP521", "X25519", False),
        ("CurveP521", "secp521r1", True),
        ("X25519", "X25519", True),
        ("X25519, X25519", "prime256v1", False),
        ("X25519, CurveP256", "X25519", True),
        ("X25519, CurveP256", "prime256v1", True),
        ("X25519, CurveP256", "secp384r1", True),  # a list of several has no effect
    ],
)
def test_one_curve_is_demanded_and_of_several_none(written, pems, curves, offered, agree):
    one = client(pems, minimum_version=V13)
    one.set_ecdh_curve(offered)
    server = context(written, f"{TLS}  curve_preferences: [{curves}]\n")
    if agree:
        shake_hands(server, one)
    else:
        with pytest.raises(ssl.SSLError):
            shake_hands(server, one)


NOBODYS = "nobodys"  # a certificate of a CA that is not ours


@pytest.mark.parametrize(
    ("auth", "shows", "passes"),
    [
        ("NoClientCert", None, True),
        ("RequestClientCert", None, True),
        ("RequestClientCert", NOBODYS, True),
        ("VerifyClientCertIfGiven", None, True),
        ("VerifyClientCertIfGiven", "client", True),
        ("VerifyClientCertIfGiven", NOBODYS, False),
        (VERIFIED, None, False),
        (VERIFIED, "client", True),
        (VERIFIED, NOBODYS, False),
    ],
)
@pytest.mark.parametrize("offers", [V12, V13])
def test_a_client_passes_by_the_certificate_that_the_file_asks_for(
    written, pems, auth, shows, passes, offers
):
    type(pems)(pems.folder, type(pems.ca)()).issue("x.example", to=f"{NOBODYS}.pem", key=f"{NOBODYS}.key")
    ca = "" if auth == "NoClientCert" else "  client_ca_file: ca.pem\n"
    server = context(written, f"{TLS}{ca}  client_auth_type: {auth}\n")
    one = client(pems, cert=shows, minimum_version=offers, maximum_version=offers)
    if passes:
        shake_hands(server, one)
    else:
        with pytest.raises(ssl.SSLError):
            shake_hands(server, one)


def test_without_a_ca_a_client_is_one_that_the_system_trusts(written, pems, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(pems.folder / "ca.pem"))
    server = context(written, f"{TLS}  client_auth_type: {VERIFIED}\n")
    shake_hands(server, client(pems, cert="client"))
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client(pems))


def test_a_ca_below_another_is_enough_to_check_clients(written, pems):
    child = pems.ca.create_child_ca()
    type(pems)(pems.folder, child).issue("x.example", to="x.pem", key="x.key")
    (pems.folder / "child-ca.pem").write_bytes(child.cert_pem.bytes())
    server = context(written, CLIENTS.replace("ca.pem", "child-ca.pem"))
    shake_hands(server, client(pems, cert="x"))
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client(pems, cert="client"))


def test_pem_in_the_file_is_as_good_as_files(written, pems):
    server = context(written, ONLY_NEWER_ONES_TAKE["PEM in the file"])
    shake_hands(server, client(pems, cert="client"))
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client(pems))


def test_a_key_in_the_file_is_never_written_to_a_disk(written, monkeypatch):
    opened = []
    monkeypatch.setattr(
        os, "memfd_create", lambda name, create=os.memfd_create: opened.append(create(name)) or opened[-1]
    )
    context(written, ONLY_NEWER_ONES_TAKE["PEM in the file"])
    assert len(opened) == 2
    for number in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_remarks_around_a_certificate_are_passed_over(written, pems):
    one, server = client(pems, cert="client"), CLIENTS.replace("ca.pem", "remarks.pem")
    (pems.folder / "remarks.pem").write_text("für alle\n" + pems.text("ca.pem"), encoding="latin-1")
    shake_hands(context(written, server), one)


def test_only_http_1_is_agreed_on(written, pems):
    one = client(pems)
    one.set_alpn_protocols(["h2", "http/1.1"])
    assert shake_hands(context(written, TLS), one).selected_alpn_protocol() == "http/1.1"


CERTIFICATE = {
    "subject": ((("commonName", "cn.example"),),),
    "subjectAltName": (
        ("DNS", "poller.example"),
        ("DNS", "*.example.org"),
        ("email", "ops@example.org"),
        ("IP Address", "10.0.0.7"),
        ("IP Address", "FD00:0:0:0:0:0:0:1"),
        ("URI", "spiffe://example.org/poller"),
        ("DirName", ((("commonName", "dir.example"),),)),
    ),
}


@pytest.mark.parametrize(
    ("allowed", "passes"),
    [
        (None, True),
        (["poller.example"], True),
        (["other.example", "poller.example"], True),
        (["Poller.example"], False),
        (["x.example.org"], False),
        (["*.example.org"], True),
        (["ops@example.org"], True),
        (["10.0.0.7"], True),
        (["fd00::1"], True),
        (["spiffe://example.org/poller"], True),
        (["spiffe://example.org"], False),
        (["cn.example"], False),
        (["dir.example"], False),
    ],
)
def test_a_client_is_allowed_by_one_of_its_names_exactly(allowed, passes):
    assert tls.is_allowed(CERTIFICATE, allowed) is passes


def test_a_client_without_names_is_not_allowed():
    assert not tls.is_allowed({}, ["a"])
    assert not tls.is_allowed(None, ["a"])


# -- read again while it serves ---------------------------------------------------------------------------


def server_name(made, pems):
    """The name in the certificate that a new connection gets."""
    one = client(pems, check_hostname=False)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = one.wrap_bio(to_client, to_server)
    here = made.wrap_bio(to_server, to_client, server_side=True)
    for step in (there.do_handshake, here.do_handshake) * 3:
        try:
            step()
        except ssl.SSLWantReadError:
            continue
    return there.getpeercert()["subjectAltName"][0][1]


async def opened(path):
    """As ``serve`` does before there is a loop."""
    return await asyncio.to_thread(WebConfigFile, path)


async def test_users_and_headers_are_those_of_the_file_as_it_is_now(written):
    file = await opened(written(f"basic_auth_users: {{a: {HASH}}}\n"))
    assert list((await file.config()).basic_auth_users) == ["a"]
    written(f"basic_auth_users: {{b: {HASH}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n")
    assert list((await file.config()).basic_auth_users) == ["b"]
    assert file.standing.http_server_config.headers == {"X-Frame-Options": "deny"}


async def test_every_change_is_seen_however_soon_it_follows_the_last(written):
    file = await opened(written(""))
    for number in range(20):
        written(f"basic_auth_users: {{u{number:02}: {HASH}}}\n")
        assert list((await file.config()).basic_auth_users) == [f"u{number:02}"]


def test_a_file_is_read_only_when_a_write_after_it_would_show_in_its_time(tmp_path):
    for _ in range(3):
        (tmp_path / "web.yml").write_text("")
        _stamp([tmp_path / "web.yml"], settled=True)
        assert time.time() - (tmp_path / "web.yml").stat().st_mtime > 0.01  # the kernel's clock ticks faster


async def test_a_file_that_did_not_change_is_not_read(written, monkeypatch):
    file = await opened(written(TLS))
    before = await file.context()
    monkeypatch.setattr("swarm_sd.web.config_file.load", None)
    monkeypatch.setattr("swarm_sd.web.tls.context", None)
    assert await file.context() is before


async def test_a_certificate_that_was_replaced_is_shown_from_then_on(written, pems):
    file = await opened(written(TLS))
    assert server_name(await file.context(), pems) == "localhost"
    pems.issue("new.example")
    assert server_name(await file.context(), pems) == "new.example"


async def test_what_clients_have_to_show_is_what_the_file_says_now(written, pems):
    file = await opened(written(TLS))
    shake_hands(await file.context(), client(pems))
    written(CLIENTS)
    with pytest.raises(ssl.SSLError):
        shake_hands(await file.context(), client(pems))


async def test_a_broken_file_leaves_what_was_right_and_is_told_once(written):
    file = await opened(written(f"basic_auth_users: {{a: {HASH}}}\n"))
    with capture_logs() as told:
        for _ in range(2):
            written("basic_auth_users: {b: plain}\n")
            assert list((await file.config()).basic_auth_users) == ["a"]
            assert file.refused
    assert [line["event"] for line in told] == ["the web configuration is refused, the old one stands"]
    assert "web.yml:1:23: basic_auth_users.b: not a bcrypt hash" in told[0]["err"]
    written(f"basic_auth_users: {{c: {HASH}}}\n")
    assert list((await file.config()).basic_auth_users) == ["c"]
    assert not file.refused


async def test_a_file_that_is_gone_leaves_what_was_right(written, pems):
    file = await opened(written(f"basic_auth_users: {{a: {HASH}}}\n"))
    (pems.folder / "web.yml").unlink()
    assert list((await file.config()).basic_auth_users) == ["a"]
    assert file.refused


async def test_a_user_who_is_taken_out_is_out_while_the_certificate_is_being_replaced(written, pems):
    file = await opened(written(f"{TLS}basic_auth_users: {{a: {HASH}, b: {HASH}}}\n"))
    (pems.folder / "key.pem").write_text("")
    written(f"{TLS}basic_auth_users: {{a: {HASH}}}\n")
    assert server_name(await file.context(), pems) == "localhost"
    assert list((await file.config()).basic_auth_users) == ["a"]
    assert file.refused
    pems.issue("new.example")
    assert server_name(await file.context(), pems) == "new.example"
    assert not file.refused


@pytest.mark.parametrize(("before", "after"), [(TLS, ""), ("", TLS)], ids=["off", "on"])
async def test_tls_is_not_switched_while_it_serves(written, before, after):
    file = await opened(written(before))
    written(f"{after}basic_auth_users: {{a: {HASH}}}\n")
    with capture_logs() as told:
        assert not (await file.config()).basic_auth_users
    assert file.speaks_tls is bool(before)
    assert "TLS is switched on and off when swarm-sd starts; start it again" in told[0]["err"]


async def test_the_rate_limit_is_that_of_the_start(written):
    file = await opened(written("rate_limit: {interval: 1s, burst: 1}\n"))
    written("rate_limit: {interval: 1s, burst: 100}\n")
    await file.config()
    assert file.rate_limit.burst == 1


def test_hashes_for_the_tests_are_taken(written):
    load(written(f"basic_auth_users: {{a: {hashed('x')}}}\n"))
