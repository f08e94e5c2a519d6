"""TLS as the web configuration file describes it, made of Python's ``ssl``.

Source: ConfigToTLSConfig of prometheus/exporter-toolkit.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarm_sd.config.web import SUITES, TLSServerConfig
from swarm_sd.scalars import Secret

_VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_CERTIFICATE = re.compile("-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile("-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED = re.compile("-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")


class TLSFileError(Exception):
    """A certificate or key cannot be used. ``where``: the field that gives it; ``what``: why, the way out."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what


def files(tls: TLSServerConfig) -> list[str]:
    """The files that ``context`` reads."""
    return [path for path in (tls.cert_file, tls.key_file, tls.client_ca_file) if path]


def context(tls: TLSServerConfig) -> ssl.SSLContext:
    """The server's side of TLS. Reads files; TLSFileError names the field whose file cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _limit(made, tls)
    _certify(made, tls)
    if (mode := _VERIFY.get(tls.client_auth_type or "")) is not None:
        made.verify_mode = mode
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go: a CA below another is enough
        _trust(made, tls)
    made.set_alpn_protocols(["http/1.1"])
    # what was agreed on once is not taken up again: each connection shows its certificate anew
    made.options |= ssl.OP_NO_TICKET
    made.num_tickets = 0
    return made


def _limit(made: ssl.SSLContext, tls: TLSServerConfig) -> None:
    suites = [SUITES[name] for name in tls.cipher_suites if name in SUITES]
    if suites:
        made.set_ciphers(":".join(suites))
    if tls.min_version == "TLS13" or (tls.cipher_suites and not suites):
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    else:  # TLS10 and TLS11 ask for no less; older clients are not served
        made.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.max_version == "TLS12":
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    if not tls.prefer_server_cipher_suites:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if len(set(tls.curve_preferences)) == 1:  # ssl can be told one
        made.set_ecdh_curve(_CURVES[tls.curve_preferences[0]])


def _certify(made: ssl.SSLContext, tls: TLSServerConfig) -> None:
    cert_at, cert = _text(tls, "cert")
    key_at, key = _text(tls, "key")
    if _CERTIFICATE.search(cert) is None:
        raise TLSFileError(cert_at, "no certificate in PEM in it (-----BEGIN CERTIFICATE-----)")
    if _ENCRYPTED.search(key):
        raise TLSFileError(key_at, "the key is encrypted; give one without a pass phrase")
    if _KEY.search(key) is None:
        raise TLSFileError(key_at, "no private key in PEM in it (-----BEGIN PRIVATE KEY-----)")
    try:
        with _as_file(cert) as cert_path, _as_file(key) as key_path:
            made.load_cert_chain(cert_path, key_path)
    except ssl.SSLError as err:
        if err.reason == "KEY_VALUES_MISMATCH":
            raise TLSFileError(key_at, "the key does not belong to the certificate") from err
        raise TLSFileError(cert_at, f"certificate and key cannot be used: {_reason(err)}") from err


def _trust(made: ssl.SSLContext, tls: TLSServerConfig) -> None:
    if not (tls.client_ca or tls.client_ca_file):
        made.load_default_certs(ssl.Purpose.CLIENT_AUTH)  # as the toolkit: whom the system trusts
        return
    where, text = _text(tls, "client_ca")
    if _CERTIFICATE.search(text) is None:
        raise TLSFileError(where, "no certificate in PEM in it (-----BEGIN CERTIFICATE-----)")
    try:
        made.load_verify_locations(cadata=text)
    except ssl.SSLError as err:
        raise TLSFileError(where, f"the certificates cannot be used: {_reason(err)}") from err


def _reason(err: ssl.SSLError) -> str:
    """OpenSSL's own words, without where in its source they come from."""
    return (err.reason or re.sub(r"^\[.*?\] | \(_ssl\.c.*", "", str(err.args[-1]))).replace("_", " ").lower()


def _text(tls: TLSServerConfig, name: str) -> tuple[str, str]:
    """The field that gives the PEM ``name``, and its text."""
    path = getattr(tls, f"{name}_file")
    if not path:
        text = getattr(tls, name)
        return name, text.reveal() if isinstance(text, Secret) else text
    where = f"{name}_file"
    try:
        # around the PEM there may be remarks in any language
        return where, Path(path).read_bytes().decode("ascii", "ignore")
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        cause = err.strerror if isinstance(err, OSError) else err
        raise TLSFileError(where, f"cannot read {path}: {cause}") from err


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path where ``text`` is, in memory alone: ssl loads a key from files only, and a key is no one's."""
    number = os.memfd_create("pem")
    with os.fdopen(number, "w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{number}"


def is_allowed(certificate: Mapping[str, Any] | None, sans: Iterable[str] | None) -> bool:
    """Whether a client with ``certificate`` (as ``ssl`` tells it) is one of ``client_allowed_sans``."""
    if sans is None:
        return True
    return not names(certificate or {}).isdisjoint(sans)


def names(certificate: Mapping[str, Any]) -> set[str]:
    """The DNS names, mail and IP addresses and URIs that a certificate is for."""
    return {
        str(ipaddress.ip_address(value.strip())) if kind == "IP Address" else value
        for kind, value in certificate.get("subjectAltName", ())
        if kind in ("DNS", "email", "IP Address", "URI")
    }
