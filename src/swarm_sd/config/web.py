"""The web configuration file of exporter-toolkit: how this program is served. Nothing is read but the file.

Source: docs/web-configuration.md and web/tls_config.go of prometheus/exporter-toolkit; ``promtool check
web-config`` of 2.42.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from swarm_sd.config.complaints import ConfigError, Report
from swarm_sd.config.decode import INVALID, Decoder, locate
from swarm_sd.config.document import Document, read
from swarm_sd.config.nodes import is_null
from swarm_sd.scalars import FilePath, Secret

__all__ = ["ConfigError", "HTTPServerConfig", "RateLimit", "TLSServerConfig", "Web", "WebConfig", "load"]

ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
TLSVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
Curve = Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]

TLS_1_3_SUITES = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
SUITES = {
    f"TLS_{exchange}_WITH_{go}": openssl
    for exchange, openssl_exchange in (
        ("ECDHE_ECDSA", "ECDHE-ECDSA-"),
        ("ECDHE_RSA", "ECDHE-RSA-"),
        ("RSA", ""),
    )
    for go, openssl in (
        ("AES_128_GCM_SHA256", f"{openssl_exchange}AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", f"{openssl_exchange}AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", f"{openssl_exchange}CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", f"{openssl_exchange}AES128-SHA"),
        ("AES_256_CBC_SHA", f"{openssl_exchange}AES256-SHA"),
    )
    if (exchange, go) != ("RSA", "CHACHA20_POLY1305_SHA256")
}
"""Go's names of the suites of TLS 1.2, and OpenSSL's. Source: tls.CipherSuites() of Go 1.19."""

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class CipherSuite(str):
    """A cipher suite by Go's name."""

    __slots__ = ()

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The suite of that name. ``ValueError`` where Go offers none."""
        if text not in SUITES.keys() | TLS_1_3_SUITES:
            raise ValueError(f"unknown cipher suite {text[:60]!r}; docs/web-config.md lists those there are")
        return cls(text)


class Pause(float):
    """A span of time in seconds as Go writes it: ``1s``, ``1.5s``, ``250ms``, ``1m30s``, ``0``.

    Source: time.ParseDuration of Go.
    """

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The span that ``text`` writes. ``ValueError`` where it is none, or has no unit."""
        if text in ("0", "+0", "-0"):
            return cls(0)
        parts = _PARTS.findall(text) if _PAUSE.fullmatch(text) else []
        if not parts:
            # a bare number would be nanoseconds to the toolkit, and hardly meant
            raise ValueError(
                f"not a duration: {text[:60]!r}; write it with its unit, like 1s, 250ms or 1m30s"
            )
        return cls(sum(float(count) * _SECONDS[unit] for count, unit in parts))


_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_PARTS = re.compile(_NUMBER, re.ASCII)
_PAUSE = re.compile(rf"\+?({_NUMBER})+", re.ASCII)


class TLSServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who we are to clients, and who they have to be. Of a text and its file the file counts."""

    cert: str | None = None
    cert_file: FilePath | None = None
    key: Secret | None = None
    key_file: FilePath | None = None
    client_ca: str | None = None
    client_ca_file: FilePath | None = None
    client_auth_type: ClientAuth | None = None
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: TLSVersion | None = None
    max_version: TLSVersion | None = None
    cipher_suites: tuple[CipherSuite, ...] = ()
    curve_preferences: tuple[Curve, ...] = ()
    prefer_server_cipher_suites: bool = True

    @property
    def enabled(self) -> bool:
        """Whether TLS is spoken. Source: TLSConfig.IsEnabled of the toolkit."""
        pems = (self.cert, self.cert_file, self.key, self.key_file, self.client_ca, self.client_ca_file)
        return any(pems) or self.client_auth_type is not None

    @property
    def asks_for_certificate(self) -> bool:
        """Whether nobody gets in without a certificate that was checked."""
        return self.client_auth_type == "RequireAndVerifyClientCert"

    def problems(self) -> list[tuple[str, str]]:
        """What would not be what it seems to be: every one of these would serve more people than meant."""
        if not self.enabled:
            return self._without_effect()
        missing = [
            ("", f"TLS needs both halves: {name}_file (or {name}) is missing")
            for name in ("cert", "key")
            if not (getattr(self, name) or getattr(self, f"{name}_file"))
        ]
        return [*missing, *self._of_clients(), *self._of_versions(), *self._of_curves()]

    def _without_effect(self) -> list[tuple[str, str]]:
        what = "without cert_file and key_file plain HTTP is spoken; add them, or leave this out"
        names = ("client_allowed_sans", "min_version", "max_version", "cipher_suites", "curve_preferences")
        return [(name, what) for name in names if getattr(self, name) not in (None, ())]

    def _of_clients(self) -> list[tuple[str, str]]:
        found = []
        if self.client_auth_type in ("RequireAnyClientCert", "RequireClientCert"):
            what = "a certificate that nobody checks can be made by anybody, and cannot be asked for here"
            found.append(
                ("client_auth_type", f"{what}; write RequireAndVerifyClientCert, and client_ca_file")
            )
        ca = "client_ca_file" if self.client_ca_file else "client_ca"
        if getattr(self, ca) and self.client_auth_type in (None, "NoClientCert"):
            what = "no client is asked for a certificate; add client_auth_type: RequireAndVerifyClientCert"
            found.append((ca, what))
        if self.client_allowed_sans is not None:
            found += self._of_sans(self.client_allowed_sans)
        return found

    def _of_sans(self, sans: tuple[str, ...]) -> list[tuple[str, str]]:
        if not self.asks_for_certificate:
            what = "clients without a certificate would pass; write client_auth_type: "
            return [("client_allowed_sans", f"{what}RequireAndVerifyClientCert")]
        if not sans:
            return [("client_allowed_sans", "an empty list lets nobody in; name someone, or leave it out")]
        return []

    def _of_versions(self) -> list[tuple[str, str]]:
        if self.max_version in ("TLS10", "TLS11"):
            return [("max_version", f"{self.max_version} is not spoken here; write TLS12 or TLS13")]
        if self.max_version and (self.min_version or "TLS12") > self.max_version:
            return [("max_version", "must not be below min_version")]
        if self.max_version == "TLS12" and self.cipher_suites and set(self.cipher_suites) <= TLS_1_3_SUITES:
            return [("cipher_suites", "none of them is of TLS 1.2, and max_version allows no more; add one")]
        return []

    def _of_curves(self) -> list[tuple[str, str]]:
        if set(self.curve_preferences) == {"CurveP384", "CurveP521"}:
            # a list of others is taken without effect: what is agreed on is as good as the weakest of them
            what = "one curve can be demanded here, not several; write one, or weaker ones would be taken"
            return [("curve_preferences", what)]
        return []


HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""Headers that may be set, and to what; () for any text. Source: extraHTTPHeaders of the toolkit."""


class HTTPServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How HTTP is spoken. An empty header is not sent."""

    http2: bool = True  # taken for the file's sake; we speak HTTP/1.1
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    def problems(self) -> list[tuple[str, str]]:
        """Headers that are not to be set, and values that they cannot have."""
        found = []
        for name, value in self.headers.items():
            allowed = HEADERS.get(name)
            if allowed is None:
                what = f"the header {name[:60]!r} cannot be set; those that can are {', '.join(HEADERS)}"
                found.append((f"headers.{name}", what))
            elif allowed and value not in allowed:
                found.append(
                    (f"headers.{name}", f"expected {' or '.join(map(repr, allowed))}, found {value[:60]!r}")
                )
            elif _CONTROL.search(value):
                found.append(
                    (f"headers.{name}", "a header's value holds no line break; write it on one line")
                )
        return found


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most ``burst`` requests at once and one more each ``interval`` seconds, of all clients together."""

    interval: Pause = Pause(0)  # 0: no limit
    burst: int = 0

    def problems(self) -> list[tuple[str, str]]:
        """A limit that lets nothing through."""
        if self.interval and self.burst < 1:
            return [("burst", "must be 1 or more: nothing would be answered at all; write burst: 20")]
        return [("burst", "must not be negative")] if self.burst < 0 else []


class WebConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: TLSServerConfig = TLSServerConfig()
    http_server_config: HTTPServerConfig = HTTPServerConfig()
    basic_auth_users: dict[str, Secret] = msgspec.field(default_factory=dict)  # name: bcrypt hash
    rate_limit: RateLimit = RateLimit()

    @property
    def open_to_all(self) -> bool:
        """Whether nobody is asked who they are."""
        return not self.basic_auth_users and not self.tls_server_config.asks_for_certificate

    def problems(self) -> list[tuple[str, str]]:
        """Passwords that are not hashed, and names that nobody can log in by."""
        found = []
        for name, hashed in self.basic_auth_users.items():
            if _BCRYPT.fullmatch(hashed.reveal()) is None:
                what = "not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 31); make one with htpasswd -nBC 10"
                found.append((f"basic_auth_users.{name}", what))
            if ":" in name:
                found.append(
                    (f"basic_auth_users.{name}", "a name with ':' cannot log in; choose one without")
                )
        return found


@dataclass(frozen=True)
class Web:
    """A web configuration file as read, with its nodes for complaints that come later."""

    config: WebConfig
    document: Document

    def refused(self, problems: Iterable[tuple[str, str]]) -> ConfigError:
        """The complaints about ``problems`` (field path, what), each at its place in the file."""
        root = self.document.root
        return ConfigError(
            self.document.complaint(locate(root, where).start if root is not None else 0, where, what)
            for where, what in problems
        )


def load(path: str | os.PathLike[str]) -> Web:
    """The web configuration file at ``path``. ``ConfigError`` with everything that is wrong in it.

    The files that it names are not looked at. An empty file is a configuration: plain HTTP for all.
    """
    report = Report()
    document = read(Path(path), os.fspath(path), report)
    made: Any = INVALID
    if document is not None and (document.root is None or is_null(document.root)):
        made = WebConfig()
    elif document is not None and document.root is not None:
        made = Decoder(document, report).struct(document.root, WebConfig, "")
    report.raise_if_any()
    assert document is not None  # noqa: S101 - for the type checker; the report has seen to it
    return Web(made, document)
