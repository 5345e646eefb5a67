"""Servers that settings name by their issuer: whether a start could use them, from their own metadata."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from deputize.core import DeputizeError, Provider
from deputize.core.oauth.client_auth import check_client
from deputize.core.oauth.server_metadata import check_addresses
from deputize.core.portal import portal
from deputize.core.settings import Settings
from deputize.core.start import from_issuer


def servers(settings: Settings) -> Iterator[tuple[str, str | DeputizeError]]:
    """Each server's name for people, and how it can be used, or why it cannot. Raises `DeputizeError` for settings that
    cannot be read."""
    rows, apps = settings.all_providers(), settings.all_apps()
    for name, app in settings.issuers().items():
        try:
            row = portal().run(from_issuer(name, app))
            check_addresses(row, rows.values())
            for client in apps:
                if client.provider == name:
                    check_client(row, client)
            found: str | DeputizeError = _used(row)
        except DeputizeError as e:
            found = e
        yield app.label or name, found


def _used(row: Provider) -> str:
    ways = {
        "requests are pushed (RFC 9126)": bool(row.par),
        "accounts are known from id_tokens": bool(row.jwks),
    }
    return "; ".join((f"{urlsplit(row.issuer).netloc} can be used", *(way for way, so in ways.items() if so)))
