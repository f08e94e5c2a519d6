"""Why TLS fails: what the other side shows, looked at once more without trusting it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from swarm_sd.discovery import credentials
from swarm_sd.discovery.http_client import TLSConfig
from swarm_sd.doctor.findings import Finding, listed, problem
from swarm_sd.provider import DiscoveryError

WITHIN = 5.0
"""Seconds for one handshake."""

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python's ssl has no name for
_NOT_YET, _EXPIRED = 9, 10  # OpenSSL's X509_V_ERR_...
_NAME, _ADDRESS = 62, 64


class Peer(NamedTuple):
    """Where TLS is to be spoken, and how it is configured."""

    hostname: str
    port: int
    tls: TLSConfig


class Shown(NamedTuple):
    """What a certificate says; empty where it could not be had."""

    names: Sequence[str] = ()
    subject: str = ""
    issuer: str = ""
    not_before: str = ""
    not_after: str = ""


async def speaks_tls(hostname: str, port: int) -> bool:
    """Whether somebody there makes a TLS handshake, with whatever certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        await _handshake(hostname, port, context, "")
    except ssl.SSLError as err:
        # an alert is TLS, too
        return "ALERT" in (err.reason or "")
    except (OSError, TimeoutError):
        return False
    return True


async def explained(peer: Peer, said: str) -> Finding:
    """Why TLS with ``peer`` fails; ``said`` is the failure as it was told."""
    try:
        context = await asyncio.to_thread(credentials.context, peer.tls)
    except DiscoveryError as err:
        return problem(
            "tls-files",
            str(err),
            "a file of tls_config cannot be used",
            "mend its path or its rights; a path is relative to the configuration file",
        )
    name = peer.tls.server_name or peer.hostname
    try:
        await _handshake(peer.hostname, peer.port, context, name)
    except ssl.SSLCertVerificationError as err:
        shown = await _shown(peer)
        return judged(err.verify_code, err.verify_message, name, shown, peer.tls)
    except ssl.SSLError as err:
        return _refused(err.reason or str(err), peer.tls)
    except (OSError, TimeoutError) as err:
        return problem("tls", f"TLS fails: {said or err}", "the connection ends during the handshake")
    return _refused(said, peer.tls)  # the handshake is fine: in TLS 1.3 who we are is judged after it


def judged(code: int, message: str, name: str, shown: Shown, tls: TLSConfig) -> Finding:
    """What it means that a certificate was refused with ``code``, one of OpenSSL's, for the host ``name``."""
    if code in (_EXPIRED, _NOT_YET):
        when = f"from {shown.not_before} to {shown.not_after}" if shown.not_after else message
        return problem(
            "certificate-expired",
            f"its certificate is {'not valid yet' if code == _NOT_YET else 'expired'}",
            f"it is valid {when}; or the clock of this machine is wrong",
            "renew the certificate on the host, and let Docker read it: systemctl restart docker",
        )
    if code in (_NAME, _ADDRESS):
        of = listed(shown.names) or shown.subject or "other names"
        server_name = next((one for one in shown.names if "*" not in one), "THE NAME IN IT")
        return problem(
            "certificate-name",
            f"its certificate is for {of}, not for {name}",
            "the host is asked under a name that its certificate does not have",
            f"write that name as the host, or:\n  tls_config: {{server_name: {server_name}}}",
        )
    ca = tls.ca_file or ("the ca given" if tls.ca else "")
    cause = f"{ca} did not issue it" if ca else "no ca_file is given, and the system does not know its issuer"
    issuer = f" (issued by {shown.issuer})" if shown.issuer else ""
    return problem(
        "certificate-untrusted",
        f"its certificate is not trusted{issuer}: {message}",
        cause,
        "give the CA that issued the certificate of the host:\n  tls_config: {ca_file: ca.pem}",
    )


def _refused(said: str, tls: TLSConfig) -> Finding:
    """What the other side said in its alert."""
    if "WRONG_VERSION_NUMBER" in said or "does not speak TLS" in said:
        return problem(
            "no-tls",
            "it does not speak TLS, which is configured",
            "something that is not TLS listens at this port",
            "write the port of TLS (Docker's: 2376); or, on a network that nobody else is on, "
            "remove tls_config and write tcp:// or http://",
        )
    gives = bool(tls.cert or tls.cert_file)
    wants = any(word in said for word in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "client certificate"))
    if not gives and wants:
        return problem(
            "client-certificate",
            "it wants a client certificate (dockerd --tlsverify), and none is configured",
            said,
            "tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}",
        )
    if gives:
        return problem(
            "client-certificate",
            f"it does not take our client certificate: {said}",
            "another CA issued it than the one that the host trusts (dockerd --tlscacert), or it is expired",
            "give one that this CA issued: cert_file and key_file of tls_config",
        )
    return problem("tls", f"TLS fails: {said}", "both sides have no version of TLS or no cipher in common")


async def _handshake(hostname: str, port: int, context: ssl.SSLContext, name: str) -> Mapping[str, Any]:
    async with asyncio.timeout(WITHIN):
        _, writer = await asyncio.open_connection(
            hostname, port, ssl=context, server_hostname=name or hostname
        )
        found: Mapping[str, Any] = writer.get_extra_info("peercert") or {}
        writer.transport.abort()
        return found


async def _shown(peer: Peer) -> Shown:
    """What the certificate says: read by trusting it, and nothing but it, once."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        pem = await _as_it_is(peer)
        context = ssl.create_default_context(cadata=pem)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        found = await _handshake(peer.hostname, peer.port, context, "")
        return Shown(
            tuple(value for _, value in found.get("subjectAltName", ())),
            _named(found.get("subject", ())),
            _named(found.get("issuer", ())),
            found.get("notBefore", ""),
            found.get("notAfter", ""),
        )
    return Shown()


async def _as_it_is(peer: Peer) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(WITHIN):
        _, writer = await asyncio.open_connection(
            peer.hostname, peer.port, ssl=context, server_hostname=peer.hostname
        )
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der)


def _named(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """``O=..., CN=...`` of a subject or issuer."""
    short = {"commonName": "CN", "organizationName": "O"}
    return ", ".join(f"{short[key]}={value}" for part in parts for key, value in part if key in short)
