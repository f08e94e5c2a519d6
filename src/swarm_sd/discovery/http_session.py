"""One GET under Prometheus' HTTP client options; every failure a DiscoveryError that names its cause."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from yarl import URL

from swarm_sd import __version__
from swarm_sd.discovery import credentials
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.resolver import Resolver
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import Secret

Body: TypeAlias = bytes | bytearray
"""An answer as it came."""

_READ_AHEAD = 1024 * 1024

_CONNECTIONS = 32
"""To one host: a few lists at once, some of them asked for a second time because it is silent, and events."""


class Request(NamedTuple):
    """What is asked besides the URL; ``headers`` are sent along with those of the options.

    ``also``: statuses that are answers although they are not 2xx.
    """

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    data: bytes | None = None
    also: frozenset[int] = frozenset()


GET = Request()


class Answer(NamedTuple):
    """An answer as it came; the case of its headers' names does not matter."""

    status: int
    headers: Mapping[str, str]
    body: Body


class HTTPStatusError(DiscoveryError):
    """An answer that is not 2xx; ``said`` is how its body begins."""

    def __init__(self, status: int, phrase: str, said: str) -> None:
        super().__init__("status", f"HTTP status {status} {phrase}: {said[:200]}".rstrip(" :"))
        self.status = status
        self.said = said


class HTTPSession:
    """A pool of connections to one or more servers, or to one unix socket.

    Secrets and certificates in files are read again when they change. ``connect_timeout`` is in seconds.
    """

    def __init__(
        self, config: HTTPClientConfig, *, socket_path: str | None = None, connect_timeout: float = 5
    ) -> None:
        self._config = config
        self._socket_path = socket_path
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._tls: tuple[object, ssl.SSLContext] | None = None

    async def get(
        self, url: str, *, timeout: float, max_bytes: int, basic_auth: tuple[str, Secret] | None = None
    ) -> Body:
        """The body of a 2xx answer. ``timeout`` in seconds bounds the whole exchange.

        ``basic_auth``: user and password of the URL itself, used where the options name no other.
        """
        # grown in place: joining the parts of a list of 300 MB would need it twice
        body = bytearray()
        await self.receive(url, body.extend, timeout=timeout, max_bytes=max_bytes, basic_auth=basic_auth)
        return body

    async def receive(
        self,
        url: str,
        take: Callable[[bytes], None],
        *,
        timeout: float,
        max_bytes: int,
        basic_auth: tuple[str, Secret] | None = None,
    ) -> None:
        """Hands the body of a 2xx answer to ``take`` as it arrives; as ``get`` otherwise."""
        with _failures_named(self._connect_timeout, timeout):
            async with asyncio.timeout(timeout):
                async with self._answer(url, basic_auth) as answer:
                    size = 0
                    async for chunk in answer.content.iter_any():
                        size += len(chunk)
                        if size > max_bytes:
                            raise DiscoveryError("too_large", f"the answer is larger than {max_bytes} bytes")
                        take(chunk)

    async def exchange(
        self,
        url: str,
        request: Request,
        *,
        timeout: float,
        max_bytes: int,
        basic_auth: tuple[str, Secret] | None = None,
    ) -> Answer:
        """The answer to ``request`` with its status and headers; as ``get`` otherwise."""
        with _failures_named(self._connect_timeout, timeout):
            async with asyncio.timeout(timeout), self._answer(url, basic_auth, request) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > max_bytes:
                        raise DiscoveryError("too_large", f"the answer is larger than {max_bytes} bytes")
                return Answer(answer.status, answer.headers, body)

    async def stream(
        self,
        url: str,
        take: Callable[[bytes], None],
        *,
        began: Callable[[], None],
        timeout: float,
        silence: float,
        basic_auth: tuple[str, Secret] | None = None,
        request: Request = GET,
    ) -> None:
        """Hands the body of a 2xx answer that never ends to ``take``; returns when the other side ends it.

        ``began`` is called when the answer begins, ``timeout`` seconds from now at the latest. After
        ``silence`` seconds without a part of it (DiscoveryError) the connection may be dead for all one can
        tell.
        """
        loop = asyncio.get_running_loop()
        with _failures_named(self._connect_timeout, timeout):
            async with asyncio.timeout(timeout) as limit:
                async with self._answer(url, basic_auth, request) as answer:
                    began()
                    limit.reschedule(loop.time() + silence)
                    async for chunk in answer.content.iter_any():
                        take(chunk)
                        limit.reschedule(loop.time() + silence)

    @asynccontextmanager
    async def _answer(
        self, url: str, basic_auth: tuple[str, Secret] | None, request: Request = GET
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = self._open()
        config = self._config
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=[*await self._headers(basic_auth), *request.headers],
            data=request.data,
            ssl=await self._ssl(),
            server_hostname=config.tls_config.server_name if config.tls_config else None,
            allow_redirects=config.follow_redirects,
            max_redirects=10,
            **self._proxy(url),
        ) as answer:
            if not (200 <= answer.status < 300 or answer.status in request.also):
                raise HTTPStatusError(answer.status, answer.reason or "", await _said(answer))
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise DiscoveryError("encoding", "the answer is compressed, which was not asked for")
            yield answer

    def _open(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._socket_path is not None:
            connector = aiohttp.UnixConnector(self._socket_path, limit=_CONNECTIONS)
        else:
            connector = aiohttp.TCPConnector(
                limit=0, limit_per_host=_CONNECTIONS, ttl_dns_cache=10, resolver=Resolver()
            )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            auto_decompress=False,
            read_bufsize=_READ_AHEAD,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"swarm-sd/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def _headers(self, basic_auth: tuple[str, Secret] | None) -> list[tuple[str, str]]:
        if not credentials.reads_files(self._config):
            return credentials.headers(self._config, basic_auth)
        return await asyncio.to_thread(credentials.headers, self._config, basic_auth)

    async def _ssl(self) -> ssl.SSLContext | bool:
        tls = self._config.tls_config
        if tls is None:
            return True
        if self._tls is None or tls.ca_file or tls.cert_file or tls.key_file:
            stamp = await asyncio.to_thread(credentials.stamp, tls)
            if self._tls is None or self._tls[0] != stamp:
                # connections are pooled by context: none made with the old certificate is used again
                self._tls = stamp, await asyncio.to_thread(credentials.context, tls)
        return self._tls[1]

    def _proxy(self, url: str) -> dict[str, Any]:
        config = self._config
        if self._socket_path is not None:
            return {}
        if config.proxy_from_environment:
            return _environment_proxy(url)
        if not config.proxy_url or _bypasses(url, config.no_proxy or ""):
            return {}
        headers = [
            (name, value.reveal()) for name, values in config.proxy_connect_header.items() for value in values
        ]
        return {"proxy": config.proxy_url, "proxy_headers": headers or None}

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _said(answer: aiohttp.ClientResponse) -> str:
    """What an error's body says: Docker's ``message``, else its first line."""
    body = await answer.content.read(4096)
    try:
        return msgspec.json.decode(body, type=_ErrorBody).message.strip()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace").strip().partition("\n")[0]


class _ErrorBody(msgspec.Struct):
    message: str


@contextmanager
def _failures_named(connect_timeout: float, timeout: float) -> Iterator[None]:
    """Every failure as a DiscoveryError that names its cause."""
    try:
        yield
    except TimeoutError as err:
        connecting = isinstance(err, aiohttp.ConnectionTimeoutError)
        what = (
            f"connect timed out after {connect_timeout:g} s" if connecting else f"no answer in {timeout:g} s"
        )
        raise DiscoveryError("timeout", what) from err
    except aiohttp.ClientError as err:
        raise DiscoveryError(*_cause(err)) from err
    except OSError as err:
        raise DiscoveryError(*_os_cause(err)) from err
    except ValueError as err:  # aiohttp's word for an answer that is not HTTP, or a redirect to nowhere
        raise DiscoveryError("not_http", f"answers with something that is not HTTP: {err}") from err


def _environment_proxy(url: str) -> dict[str, Any]:
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Not by aiohttp: it would send ~/.netrc's passwords too."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    return {} if proxy is None or proxy_bypass(parts.netloc) else {"proxy": proxy}


def _bypasses(url: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` names the URL's host: hosts, domains, IPs, CIDRs, each with or without a port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    for item in filter(None, (part.strip() for part in no_proxy.split(","))):
        name, _, port = item.rpartition(":") if item.count(":") == 1 else (item, "", "")
        if port and port != str(parts.port):
            continue
        if item == "*" or host == name.strip("[]") or _in_network(host, name) or _in_domain(host, name):
            return True
    return False


def _in_domain(host: str, domain: str) -> bool:
    return not host.replace(".", "").isdigit() and host.endswith("." + domain.lstrip("."))


def _in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network)
    except ValueError:
        return False


def _cause(err: aiohttp.ClientError) -> tuple[str, str]:
    """(reason, message) of what aiohttp says went wrong."""
    if isinstance(err, aiohttp.ClientSSLError):
        return "tls", f"TLS: {_tls_word(err)}"
    if isinstance(err, aiohttp.ClientConnectorDNSError):
        return "dns", f"cannot resolve the host name: {err.os_error.strerror or err.os_error}"
    if isinstance(err, aiohttp.ClientProxyConnectionError):
        return "proxy", f"cannot connect to the proxy: {err.strerror or err}"
    if isinstance(err, aiohttp.ClientHttpProxyError):
        return "proxy", f"the proxy answers {err.status} {err.message}"
    if isinstance(err, aiohttp.ClientOSError):
        return _os_cause(err)
    if isinstance(err, aiohttp.ServerDisconnectedError):
        return "reset", "connection closed before an answer"
    if isinstance(err, aiohttp.ClientPayloadError):
        return "truncated", "the answer was cut short"
    if isinstance(err, aiohttp.TooManyRedirects):
        return "status", "redirects without end"
    if isinstance(err, aiohttp.InvalidURL):
        return "status", "redirects to something that is no URL"  # not to be shown: it may hold a password
    if isinstance(err, aiohttp.ClientResponseError):
        return "not_http", f"answers with something that is not HTTP: {err.message}"
    return "other", f"{type(err).__name__}: {err}"


def _tls_word(err: aiohttp.ClientSSLError) -> str:
    cause = getattr(err, "certificate_error", None) or getattr(err, "os_error", None) or err
    reason = str(getattr(cause, "reason", "") or "")
    return str(getattr(cause, "verify_message", "") or _ALERTS.get(reason, reason) or cause)


_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a client certificate; give it in tls_config",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take our client certificate, or wants one",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no protocol or cipher in common, or it wants a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of our client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak our versions of TLS",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
}

_REASONS = {
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}


def _os_cause(err: OSError) -> tuple[str, str]:
    inner = err.os_error if isinstance(err, aiohttp.ClientConnectorError) else err
    for error in (inner, inner.__cause__):
        # an alert that comes with the first read (TLS 1.3: no or a wrong client certificate) is wrapped
        if isinstance(error, ssl.SSLError):
            return "tls", f"TLS: {_ALERTS.get(error.reason or '', '') or error.reason or error}"
    if isinstance(inner, socket.gaierror):
        return "dns", f"cannot resolve the host name: {inner.strerror}"
    number = inner.errno or 0
    word = os.strerror(number).lower() if number > 0 else str(inner)
    return _REASONS.get(number, "unreachable" if number else "reset"), word
