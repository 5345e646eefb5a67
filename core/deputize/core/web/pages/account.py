"""A user's own page: connected accounts and pending requests; Disconnect, Use this account, a new link.

GET   /connections          connections   connections.html
POST  /connections/revoke   revoke        disconnect.html, which asks; then revoked.html
POST  /connections/choose   choose        back to /connections
POST  /connections/renew    renew         on to /connect/{ticket}: of a consent, or of an account that ends
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.errors import AccountMismatch, InvalidInput
from deputize.core.grants.connections import Connection
from deputize.core.grants.grant_end import ENDS_SOON
from deputize.core.tools.preview_values import instant
from deputize.core.user_requests import Consent
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.activity import uses_of
from deputize.core.web.pages.approval_lines import first_line
from deputize.core.web.pages.local_links import unbind
from deputize.core.web.pages.mandates import list_mandates
from deputize.core.web.pages.rendering import root_of, see_other
from deputize.core.web.pages.site import Page, Site, current_path


async def connections(site: Site, request: Request) -> Response:
    """Show the connected accounts and pending requests."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/connections")
    deputy, path = site.deputy, current_path(request)
    held, zone = await deputy.connections(user), await deputy.services.zones.of(user)
    families = [deputy.registry.family(one.provider) for one in held]
    return await site.with_forms(
        request,
        "connections.html",
        user,
        "'self'",
        path=path,
        above=path.removesuffix("/connections"),
        accounts=[(c, site.label(c.provider)) for c in held],
        ends=[_end_words(c, site.label(c.provider), zone) for c in held],
        ending=[c.end is not None and c.end.is_near(deputy.clock()) for c in held],
        choices=[families.count(family) > 1 for family in families],
        consents=[(c, site.label(c.provider)) for c in await deputy.consents.list_pending(user)],
        approvals=await deputy.approvals.list_pending(user),
        uses=await uses_of(deputy, user),
        first_line=first_line,
        mandates=await list_mandates(site, user),
        words=texts,
    )


def _end_words(connection: Connection, label: str, zone: tzinfo | None) -> str:
    """Return the sentence about the known end of a connection, or ""."""
    end = connection.end
    return texts.END[end.reason].format(label=label, at=instant(end.at, zone)) if end else ""


async def revoke(site: Site, request: Request) -> Response:
    """Ask for confirmation, then disconnect one account and show the state of the revocation at the provider."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/connections")
    fields = await site.form(request, user)
    provider, app, account = _account(fields)
    label, back = site.label(provider), current_path(request).removesuffix("/revoke")
    held = await site.deputy.connections(user)
    name = next((c.account for c in held if (c.provider, c.app, c.id) == (provider, app, account)), "")
    if not name and provider not in site.deputy.providers:
        raise _no_account()
    if fields.get("sure") != "yes":
        return await site.with_forms(
            request,
            "disconnect.html",
            user,
            "'self'",
            action=current_path(request),
            fields={"provider": provider, "app": app, "account": account},
            label=label,
            account=name,
            more=row.revoke_note if (row := site.deputy.providers.get(provider)) else "",
            back=back,
        )
    ended = await site.deputy.revoke(user, provider, app=app, account=account)
    upstream = [texts.sentence(texts.UPSTREAM, one.upstream, "", label) for one in ended]
    return site.page(request, "revoked.html", label=label, account=name, upstream=upstream, back=back, whom=user.id)


async def choose(site: Site, request: Request) -> Response:
    """Make this account the default."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/connections")
    provider, app, account = _account(await site.form(request, user))
    try:
        await site.deputy.set_default_account(user, provider, account, app=app)
    except (AccountMismatch, InvalidInput):
        raise _no_account() from None
    return see_other(current_path(request).removesuffix("/choose"))


def _account(fields: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the provider, the app and the connection id in a form of the page."""
    provider, app, account = (fields.get(name, "") for name in ("provider", "app", "account"))
    if not provider or not app or not account:
        raise _no_account()
    return provider, app, account


def _no_account() -> InvalidInput:
    return InvalidInput("The form names an unknown account.", fix_by="user", reason="unknown_account")


async def renew(site: Site, request: Request) -> Response:
    """Give a consent a new link if the link has expired or belongs to another browser. For an account that ends,
    request a consent that replaces its grant."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, "/connections")
    fields = await site.form(request, user)
    wanted = fields.get("consent", "")
    if "account" in fields:
        provider, app, account = _account(fields)
        wanted = await _renewal(site, user, provider, app, account)
    for consent in await site.deputy.consents.list_pending(user):
        if consent.id == wanted:
            ticket = await _ticket(site, user, consent)
            if site.local:
                await unbind(site.deputy, ticket)
            target = f"{root_of(request)}/connect/{ticket}" if ticket else current_path(request).removesuffix("/renew")
            return see_other(target)
    raise InvalidInput("The form names an unknown consent.", fix_by="user", reason="unknown_consent")


async def _renewal(site: Site, user: User, provider: str, app: str, account: str) -> str:
    """Return the id of a consent that replaces the grant of this account."""
    for one in await site.deputy.connections(user):
        if (one.provider, one.app, one.id) == (provider, app, account) and one.status != "needs_reauth":
            named = None if one.default else one.account
            asked = await site.deputy.connect(user, provider, app=app, account=named, renew=True)
            return asked[0].id if asked else ""
    raise _no_account()


async def _ticket(site: Site, user: User, consent: Consent) -> str:
    """Return the new ticket, or "" if no scope is missing any more."""
    held = [c for c in await site.deputy.connections(user) if (c.provider, c.app) == (consent.provider, consent.app)]
    default = any(c.default and c.account == consent.account for c in held)
    known = await site.deputy.consents.get_details(consent.id)
    asked = await site.deputy.connect(
        user,
        consent.provider,
        scopes=consent.scopes,
        app=consent.app,
        account=None if default else consent.account or None,
        add_account=known is not None and known.other == "another",
        switch_account=known is not None and known.other == "switch",
        renew=consent.reason_code == ENDS_SOON,
    )
    return asked[0].link.rpartition("/")[2] if asked else ""


PAGES: Final = (
    Page("GET", "/connections", connections, own=True),
    Page("POST", "/connections/revoke", revoke, own=True),
    Page("POST", "/connections/choose", choose, own=True),
    Page("POST", "/connections/renew", renew, own=True),
)
