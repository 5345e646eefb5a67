"""Findings about the OAuth apps of the settings: their provider, and the redirect URI to register there."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from deputize.cli.doctor_findings import Finding, bad
from deputize.core import App, DeputizeError, Provider
from deputize.core.oauth.app import IdentityAssertion, ServiceAccount
from deputize.core.oauth.client_auth import check_client
from deputize.core.settings import Settings


def apps(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each app, or one finding that there is none."""
    try:
        rows, issuers, found = settings.all_providers(), settings.issuers(), settings.all_apps()
    except DeputizeError as e:
        yield bad("apps", e)
        return
    names = {app.name for app in found}
    for app in found:
        if app.provider in rows or app.provider in issuers:
            yield _app(rows.get(app.provider), settings, app, names)
        else:
            todo = f"There are: {', '.join((*rows, *issuers))}. Set the app's provider, or call it like one."
            yield Finding(f"app {app.name}", "bad", f"no provider is called {app.provider!r}", todo)
    if not found:
        todo = "Set DEPUTIZE_APPS__GOOGLE__CLIENT_ID and __CLIENT_SECRET, or [apps.google] in deputize.toml."
        yield Finding("apps", "open", "no OAuth app: deputize demo works without one, all else needs one", todo)


def _app(row: Provider | None, settings: Settings, app: App, names: Collection[str]) -> Finding:
    """Return the finding for an app: the source of its grants, and the redirect URI in the provider's form.

    ``row``: None for a provider that is configured by its issuer.
    """
    source, what = app.source, f"app {app.name}"
    base = settings.base_url.rstrip("/") or f"http://127.0.0.1:{settings.port}"
    try:
        if row:
            check_client(row, app)
    except DeputizeError as e:
        return bad(what, e)
    if isinstance(source, ServiceAccount):
        words = f"service account of {source.organisation}, for {', '.join(sorted(source.scopes))}"
        return Finding(what, "ok", f"{words}; it acts only where code names app={app.name!r}")
    if isinstance(source, IdentityAssertion) and source.identity_app not in names:
        todo = f"Register the client at the company's provider as [apps.{source.identity_app}]."
        return Finding(what, "bad", f"its source goes through {source.identity_app!r}, which is no app", todo)
    try:
        uri = row.redirect_uri(base, app) if row else f"{base}/callback/{app.name}"
    except DeputizeError as e:
        return bad(what, e)
    if row and settings.base_url and (fault := row.cookie_fault(base)):
        return bad(what, fault)
    came = f"grants by {source.kind} of the session that token_for gives; by hand, " if source else ""
    return Finding(what, "ok", f"{came}redirect URI to register: {uri}")
