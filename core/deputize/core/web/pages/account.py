"""A user's own page: what is connected and what waits; Disconnect, Act with this one, a new link.

GET  /connections            connections    connections.html
POST /connections/revoke     revoke         revoked.html
POST /connections/choose     choose         back to /connections
POST /connections/renew      renew          on to /connect/{ticket}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.errors import AccountMismatch, InvalidInput
from deputize.core.grants.connections import Connection
from deputize.core.pending import Consent
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.vault import called
from deputize.core.web import texts
from deputize.core.web.rendering import root_of, see_other
from deputize.core.web.site import Page, Site, here


async def connections(site: Site, request: Request) -> Response:
    """What is connected, and what waits."""
    user = await site.user(request)
    if user is None:
        return site.nobody(request, "/connections")
    deputy, path = site.deputy, here(request)
    held = await deputy.connections(user)
    names = _names(held, await deputy.vault.grants(user))
    families = [deputy.registry.family(one.provider) for one in held]
    return await site.with_forms(
        request,
        "connections.html",
        user,
        "'self'",
        path=path,
        above=path.removesuffix("/connections"),
        signed_in="" if site.local else user.id,
        accounts=[(c, site.label(c.provider), name) for c, name in zip(held, names, strict=True)],
        choices=[families.count(family) > 1 for family in families],
        consents=[(c, site.label(c.provider)) for c in await deputy.consents.waiting(user)],
        approvals=await deputy.approvals.waiting(user),
        notes={name: row.revoke_note for name, row in deputy.providers.items()},
        words=texts,
    )


def _names(held: Sequence[Connection], grants: Sequence[Grant]) -> list[str]:
    """What forms call these accounts: by name, or by id where the name is not one account's alone."""
    ids, names = defaultdict[tuple[str, str, str], list[str]](list), []
    live = [grant for grant in grants if grant.status != "revoked"]
    for grant in live:
        ids[grant.provider, grant.app, grant.account.name].append(grant.account.subject)
    for one in held:
        found = called([grant for grant in live if (grant.provider, grant.app) == (one.provider, one.app)], one.account)
        alone = [grant.account.name for grant in found] == [one.account]
        same = ids[one.provider, one.app, one.account]
        names.append(one.account if alone or not same else same.pop(0))
    return names


async def revoke(site: Site, request: Request) -> Response:
    """Disconnect one account, and say what the provider knows of it."""
    user = await site.user(request)
    if user is None:
        return site.nobody(request, "/connections")
    provider, app, account = await _account(site, request, user)
    label, ended = site.label(provider), await site.deputy.revoke(user, provider, app=app, account=account)
    account = ended[0].account if ended else account
    told = [texts.sentence(texts.UPSTREAM, one.upstream, "", label) for one in ended]
    back = here(request).removesuffix("/revoke")
    return site.page(request, "revoked.html", label=label, account=account, told=told, back=back)


async def choose(site: Site, request: Request) -> Response:
    """Let this account act from now on, where none is named."""
    user = await site.user(request)
    if user is None:
        return site.nobody(request, "/connections")
    provider, app, account = await _account(site, request, user)
    try:
        await site.deputy.choose(user, provider, account, app=app)
    except (AccountMismatch, InvalidInput):
        raise InvalidInput("There is no such account.", fix_by="user", reason="unknown_account") from None
    return see_other(here(request).removesuffix("/choose"))


async def _account(site: Site, request: Request, user: User) -> tuple[str, str, str]:
    """The provider, app and account that a form of the page of connections names."""
    fields = await site.form(request, user)
    provider, app, account = (fields.get(name, "") for name in ("provider", "app", "account"))
    if provider not in site.deputy.providers or not app or not account:
        raise InvalidInput("There is no such account.", fix_by="user", reason="unknown_account")
    return provider, app, account


async def renew(site: Site, request: Request) -> Response:
    """A link that opens, for a consent whose link no longer does."""
    user = await site.user(request)
    if user is None:
        return site.nobody(request, "/connections")
    wanted = (await site.form(request, user)).get("consent", "")
    for consent in await site.deputy.consents.waiting(user):
        if consent.id == wanted:
            ticket = await _ticket(site, user, consent)
            target = f"{root_of(request)}/connect/{ticket}" if ticket else here(request).removesuffix("/renew")
            return see_other(target)
    raise InvalidInput("There is no such consent.", fix_by="user", reason="unknown_consent")


async def _ticket(site: Site, user: User, consent: Consent) -> str:
    """The new ticket; empty if nothing is lacking any more."""
    held = [c for c in await site.deputy.connections(user) if (c.provider, c.app) == (consent.provider, consent.app)]
    default = any(c.default and c.account == consent.account for c in held)
    known = await site.deputy.consents.details(consent.id)
    asked = await site.deputy.connect(
        user,
        consent.provider,
        scopes=consent.scopes,
        app=consent.app,
        account=None if default else consent.account or None,
        another=known is not None and known.other == "another",
        allow_switch=known is not None and known.other == "switch",
    )
    return asked[0].link.rpartition("/")[2] if asked else ""


PAGES: Final = (
    Page("GET", "/connections", connections, own=True),
    Page("POST", "/connections/revoke", revoke, own=True),
    Page("POST", "/connections/choose", choose, own=True),
    Page("POST", "/connections/renew", renew, own=True),
)
