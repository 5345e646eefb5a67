"""Findings whether servers answer, and whether issuers in the settings can be used."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from deputize.cli.doctor_findings import Finding, away, bad
from deputize.core import DeputizeError, Provider
from deputize.core.background_loop import portal
from deputize.core.errors import ProviderUnavailable
from deputize.core.from_settings import from_issuer
from deputize.core.oauth.client_auth import check_client
from deputize.core.oauth.server_metadata import check_addresses
from deputize.core.settings import Settings


def servers(settings: Settings) -> Iterator[Finding]:
    """Yield for each issuer how it can be used, or why not. Raises `DeputizeError` for unreadable settings."""
    rows, apps = settings.all_providers(), settings.all_apps()
    for name, app in settings.issuers().items():
        try:
            row = portal().run(from_issuer(name, app))
            check_addresses(row, rows.values())
            for client in apps:
                if client.provider == name:
                    check_client(row, client)
            yield Finding(app.label or name, "ok", _used(row))
        except ProviderUnavailable as e:
            yield bad(app.label or name, away(e, f"issuer in [apps.{name}] is {app.issuer}"))
        except DeputizeError as e:
            yield bad(app.label or name, e)


def _used(row: Provider) -> str:
    ways = {
        "requests are pushed (RFC 9126)": bool(row.oauth.par_url),
        "accounts are known from id_tokens": bool(row.oauth.jwks_url),
        "it does not say whose account a grant is, so that a new consent as somebody else cannot be seen": (
            row.apis.identity.nameless
        ),
    }
    return "; ".join((f"{urlsplit(row.oauth.issuer).netloc} can be used", *(way for way, so in ways.items() if so)))


def reached(what: str, url: str, todo: str) -> Finding:
    """Return the finding whether a server answers at this URL. The content of the answer does not matter."""
    host = httpx.URL(url).netloc.decode()
    try:
        with httpx.Client(timeout=5.0, follow_redirects=False) as client:
            client.get(url)
    except httpx.HTTPError as e:
        return Finding(what, "bad", f"{host} cannot be reached: {type(e).__name__}", todo)
    return Finding(what, "ok", f"{host} answers")
