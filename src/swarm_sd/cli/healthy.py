"""``swarm-sd healthy``."""

from __future__ import annotations

import click

from swarm_sd.cli.flags import fail

_OWN = ("http://127.0.0.1:9963", "https://127.0.0.1:9963")
_SECONDS = 4.0  # for each
_LIVES = (200, 401, 403, 429)
"""Whoever wants to know who asks, or says that it is asked too often, lives."""


@click.command()
@click.argument("url", required=False)
def healthy(url: str | None) -> None:
    """Ask the swarm-sd at URL whether it lives; exit code 1 where it does not.

    Without URL that of this machine at its default port, with TLS or without. For the health check of a
    container, which has neither curl nor a shell.
    """
    failures = []
    for base in [url.rstrip("/")] if url else _OWN:
        if not (why := _fault(f"{base}/-/healthy")):
            click.echo(f"{base}: healthy")
            return
        failures.append(f"{base}: {why}")
    fail(1, "\n".join(failures))


def _fault(url: str) -> str:
    """What is wrong with who answers at ``url``; "" where nothing is."""
    # not aiohttp, which takes longer to load than all the rest takes
    import ssl
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import HTTPSHandler, ProxyHandler, build_opener

    # whom the certificate is for says nothing about whether it lives, and no secret is sent
    anybody = ssl._create_unverified_context()  # noqa: S323
    ask = build_opener(ProxyHandler({}), HTTPSHandler(context=anybody))
    try:
        with ask.open(url, timeout=_SECONDS) as answer:
            status = answer.status
    except HTTPError as err:
        status = err.code
        err.close()
    except (OSError, HTTPException, ValueError) as err:  # ValueError: no URL
        cause = getattr(err, "reason", err)
        return str(getattr(cause, "strerror", None) or cause)
    return "" if status in _LIVES else f"status {status}"
