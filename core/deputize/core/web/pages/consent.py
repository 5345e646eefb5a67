"""One consent: the request, the redirects to the provider and back, the outcome.

GET   /connect/{ticket}   ask        connect.html, connecting.html; consent_result.html after its end
POST  /connect/{ticket}   start      on to the provider; after Cancel, back to the same address
GET   /callback/{app}     callback   back to /connect/{ticket}
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deputize.core.consent.consents import Who
from deputize.core.errors import InvalidInput
from deputize.core.oauth.credential import Credential, token_of
from deputize.core.oauth.provider import Provider
from deputize.core.user_requests import Consent
from deputize.core.vault.grant import Secret
from deputize.core.web.cookies import NONCE_TTL
from deputize.core.web.pages import texts
from deputize.core.web.pages.rendering import root_of, see_other
from deputize.core.web.pages.request_summary import Step, step_of
from deputize.core.web.pages.site import Page, Site, current_path, is_refusal, note


async def ask(site: Site, request: Request) -> Response:
    """Show the request, or its outcome once it is closed."""
    ticket = request.path_params["ticket"]
    named, who = request.query_params.get("return_to", ""), await site.consent_user(request)
    if who is None:
        return site.redirect_to_sign_in(request, _path(ticket) + _query(named if site.return_to.allows(named) else ""))
    return_to = site.return_to.check(named)
    consent = await site.deputy.consents.open(ticket, who)
    facts = await _facts(site, consent, return_to)
    if consent.status != "pending":
        return site.page(request, "consent_result.html", **facts)
    if facts["returned"]:
        return site.page(request, "connecting.html", here=current_path(request) + _query(return_to), **facts)
    targets = site.deputy.providers[consent.provider].forms_to(await site.deputy.pages.base_url())
    facts |= {"action": current_path(request), "return_to": return_to, "fault": request.query_params.get("fault", "")}
    return await site.with_forms(request, "connect.html", who, " ".join(("'self'", *targets)), **facts)


async def start(site: Site, request: Request) -> Response:
    """Bind this browser and send it to the provider after Continue, or decline the consent after Cancel."""
    ticket = request.path_params["ticket"]
    who = await site.consent_user(request)
    if who is None:
        return site.redirect_to_sign_in(request, _path(ticket))
    fields = await site.form(request, who)
    return_to = site.return_to.check(fields.get("return_to", ""))
    if fields.get("decision") == "cancel":
        await site.deputy.consents.decline(ticket, who)
        return see_other(current_path(request) + _query(return_to))
    takes_key, key = await _takes_key(site, ticket, who), fields.get("key", "")
    if takes_key and takes_key.needs(key):
        return see_other(current_path(request) + _query(return_to, fault="key"))
    started = await site.deputy.consents.start(ticket, who, return_to)
    if takes_key:
        back = {"state": started.state.reveal(), "code": key or "none"}
        await site.deputy.consents.finish(takes_key.app, back, who, started.nonce.reveal())
        return see_other(current_path(request))
    cookies, response = await site.cookies(), see_other(started.url)
    cookies.put(response, cookies.nonce(started.state.reveal()), started.nonce.reveal(), NONCE_TTL)
    return response


async def callback(site: Site, request: Request) -> Response:
    """Handle the provider's callback. Always redirects, so that neither code nor state stays in the address bar."""
    if request.method != "GET":  # a HEAD does not finish the consent
        raise HTTPException(405)
    cookies = await site.cookies()
    cookie = cookies.nonce(request.query_params.get("state", ""))
    try:
        target = _path(await _finish(site, request, request.cookies.get(cookie, "")))
    except Exception as e:
        target = "/refused" if is_refusal(e) else "/failed"
        note(e, "GET /callback/{app}")
    response = see_other(root_of(request) + target)
    cookies.drop(response, cookie)
    return response


async def _finish(site: Site, request: Request, nonce: str) -> str:
    params = request.query_params
    if len(params) != len(params.multi_items()):  # RFC 6749 3.1: no parameter may be repeated
        raise InvalidInput("The callback has a repeated parameter.", fix_by="user", reason="repeated")
    return await site.deputy.consents.finish(
        request.path_params["app"], params, await site.consent_user(request), nonce
    )


def _path(ticket: str) -> str:
    return f"/connect/{quote(ticket, safe='')}"


def _query(return_to: str, **more: str) -> str:
    named = {"return_to": return_to, **more} if return_to else more
    return f"?{urlencode(named)}" if named else ""


class _KeyEntry(NamedTuple):
    """A consent whose user enters a key here, or confirms with a press that there is none to enter."""

    credential: Credential
    app: str
    shared: bool

    @property
    def asks(self) -> bool:
        """True if the user has to enter a key."""
        return self.credential.place != "none" and not self.shared

    def needs(self, key: str) -> bool:
        """Return True if this is not a key."""
        return self.asks and token_of(self.credential, Secret(key)) is None


def _key_entry(site: Site, consent: Consent) -> _KeyEntry | None:
    provider, app = site.deputy.providers[consent.provider], site.deputy.apps[consent.app]
    credential = provider.apis.credential
    return _KeyEntry(credential, app.name, app.client_secret is not None) if credential else None


async def _takes_key(site: Site, ticket: str, who: Who) -> _KeyEntry | None:
    return _key_entry(site, await site.deputy.consents.open(ticket, who))


def _return_address(site: Site, named: str, kept: str) -> str:
    """Return the address to which the page links at the end: from this link, from the first link, or the default."""
    return named or (kept if site.return_to.allows(kept) else "") or site.return_to.default


async def _facts(site: Site, consent: Consent, return_to: str) -> dict[str, Any]:
    """Return the template values of a consent's pages."""
    provider, label = site.deputy.providers[consent.provider], site.label(consent.provider)
    known = await site.deputy.consents.get_details(consent.id)
    held = [
        c
        for c in (await site.deputy.connections(known.user) if known else [])
        if (c.provider, c.app, c.account) == (consent.provider, consent.app, consent.account)
    ]
    asked = list(zip(consent.scope_descriptions, consent.scopes, strict=True))
    had = [pair for c in held for pair in zip(c.scope_descriptions, c.scopes, strict=True)]
    over = consent.status != "pending"
    listed = known is not None and not site.local  # in local mode this page must not lead to the approvals
    step = await step_of(site.deputy, known.user, consent.request_id) if known and listed else Step(consent.request_id)
    return {
        "consent": consent,
        "step": step,
        "step_link": consent.request_link if step.progress else "",
        "agent": texts.agent_words(consent.agent),
        "label": label,
        "asked": asked,
        "basics": [(provider.describe(s), s) for s in provider.oauth.always_scopes if s not in consent.scopes],
        "already": [pair for pair in had if pair[1] not in (*consent.scopes, *provider.oauth.always_scopes)],
        "missing": [pair for pair in asked if known and pair[1] in known.missing],
        "why": ""
        if over or not consent.reason_code
        else texts.sentence(texts.WHY, consent.reason_code, texts.WHY_ELSE, label),
        "back": _return_address(site, return_to, known.return_to if known else ""),
        "whom": known.user.id if known else "",
        "head": texts.sentence(texts.HEADS, consent.status, texts.HEAD_ELSE, label),
        "outcome": texts.OUTCOMES.get(consent.status, "failed"),
        "reason": texts.sentence(texts.ENDED, consent.reason_code, texts.ENDED_ELSE, label, consent.account),
        "next_step": texts.sentence(texts.NEXT, consent.reason_code, texts.NEXT_ELSE, label, consent.account),
        "places": _hosts(provider) if consent.provider in site.deputy.registry.late or provider.apis.credential else (),
        "key": _key_entry(site, consent),
        "nameless": texts.nameless_words(label) if provider.apis.identity.nameless else "",
        "returned": bool(known and known.redeeming),
        "other": texts.other_words(known.other, known.instead, label) if known else "",
        "left": texts.minutes(consent.expires_at - site.deputy.clock()),
    }


def _hosts(provider: Provider) -> tuple[str, str]:
    """Return the host of the sign-in, and the hosts of the API, because a discovered server may name any sign-in."""
    return provider.oauth.authorize_origin.partition("://")[2], ", ".join(sorted(provider.apis.hosts))


PAGES: Final = (
    Page("GET", "/connect/{ticket:path}", ask, link="ticket"),
    Page("POST", "/connect/{ticket:path}", start, link="ticket"),
    Page("GET", "/callback/{app}", callback),
)
