"""A consent in the user's browser: Connect is pressed, the provider asks, the browser comes back, the code is spent.

Sources: RFC 6749 4.1, RFC 7636, RFC 9207, RFC 9700 4.
"""

from __future__ import annotations

import hmac
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deputize.core.consent.record import (
    PENDING,
    REDEEMING,
    TICKET_LIFE,
    Content,
    Records,
    Who,
    is_them,
    refused,
)
from deputize.core.failures import Outcome, denied
from deputize.core.grants.accounts import Accounts
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint, new_pkce, new_state
from deputize.core.oauth.provider import Provider
from deputize.core.pending import Consent
from deputize.core.portal import portal
from deputize.core.providers.origin import MOVED, noted, origin_in, origin_of
from deputize.core.vault.grant import Account, Grant, Secret, User
from deputize.core.vault.rollback import facts_of
from deputize.core.vault.vault import Record


@dataclass(frozen=True, slots=True)
class Started:
    """What the browser gets when Connect was pressed: where to go, and the nonce that binds it."""

    url: str = field(repr=False)
    nonce: Secret


class Visits(Records):
    """Consents as a browser walks through them."""

    async def open(self, ticket: str, who: Who) -> Consent:
        """The consent behind a link, for the page. Changes nothing, unless another signed-in user holds the link.

        Raises `InvalidInput`, always the same, for a link that is unknown, expired, or another user's.
        """
        record = await self._ticketed(ticket, who)
        return await self._public(record.json)

    async def start(self, ticket: str, who: Who) -> Started:
        """Connect was pressed: bind this browser, and say where it goes. The last three presses may come back."""
        base = await self.pages.base_url()
        while True:
            record = await self._ticketed(ticket, who)
            content, now = record.json, self.clock()
            if content["status"] not in ("created", "opened"):
                self._suspect("used", self._facts(content))
                raise refused("used")
            provider, app = self._row(content)
            await self._stay(User(content["user"], content["tenant"]), app)
            asked = await self._asked(content, provider)
            pkce, state, nonce = new_pkce(), new_state(), new_state()
            visit = {
                "state": fingerprint(state),
                "nonce": fingerprint(nonce),
                "verifier": pkce.verifier,
                "expires": now + TICKET_LIFE,
            }
            content |= {
                "status": "opened",
                "visits": [*content.get("visits", ())[-2:], visit],
                "visit_expires": now + TICKET_LIFE,
                "redirect_uri": provider.redirect_uri(base, app),
                "asked": sorted(asked | set(provider.always)),
                **noted(origin_of(provider, app)),
            }
            row = {"key": record.key, "id": content["id"], "expires": content["visit_expires"]}
            await self._point("state", fingerprint(state), row)
            if await self.vault.swap(record, content):
                break
        self.audit.write("consent.opened", **self._facts(content))
        url = flow.authorize_url(
            provider,
            app,
            redirect_uri=content["redirect_uri"],
            scopes=asked,
            state=state,
            challenge=pkce.challenge,
            login_hint=content["account"],
            choose=bool(content.get("other")),
        )
        return Started(url, nonce)

    async def _asked(self, content: Content, provider: Provider) -> frozenset[str]:
        """What is asked of the provider: what is lacking, and what the grant has that must not get lost."""
        held = await self._held(content)
        return (
            frozenset(content["scopes"]) | (held.scopes if held else frozenset()) - provider.incompatible_scopes.keys()
        )

    def finish(self, app_name: str, params: Mapping[str, str], who: Who, nonce: str) -> Coroutine[Any, Any, str]:
        """The browser is back at ``/callback/{app}``. Returns the ticket, whose page tells how it went.

        Raises `InvalidInput`, always the same, for anything that does not fit; no token request is sent then.
        """
        return self._finish(app_name, flow.parse_callback(params), who, Secret(nonce))  # no frame keeps the code

    async def _finish(self, app_name: str, back: flow.Callback, who: Who, nonce: Secret) -> str:
        record = await self._by("state", fingerprint(back.state)) if back.state else None
        if record is None:
            self._suspect("unknown_state", {})
            raise refused("unknown_state")
        content = record.json
        if content["status"] not in PENDING and is_them(who, content):
            return self._ticket(content)  # the Back button: the page says how it went
        visit = next((v for v in content.get("visits", ()) if v["state"] == fingerprint(back.state)), None)
        if why := self._wrong(content, visit, app_name, back, nonce):
            await self._burn(record, why)
        if content["status"] in REDEEMING and is_them(who, content):
            return self._ticket(content)  # loaded twice: the first one is being redeemed
        if back.error or back.code is None:
            if not is_them(who, content):
                await self._burn(record, "user_mismatch")
            await self._decline(record, back.error)
            return self._ticket(content)
        content |= {"status": "returned", "visits": [visit], "code": back.code, "returned": self.clock()}
        held = await self.vault.swap(record, content)
        if held is None:
            return await self._finish(app_name, back, who, nonce)  # somebody else moved it: look again
        if not is_them(who, content):
            self._suspect("user_mismatch", self._facts(content))
            await self._end(held, "failed", "user_mismatch")
            raise refused("user_mismatch")
        await portal().hop(lambda: self._redeem(held))
        return self._ticket(content)

    def _wrong(self, content: Content, visit: Content | None, app_name: str, back: flow.Callback, nonce: Secret) -> str:
        """Why a callback does not belong to this consent; empty if it does."""
        provider = self.providers.get(content["provider"])
        if content["status"] not in ("opened", *REDEEMING) or provider is None or visit is None:
            return "replayed"
        if content["app"] != app_name:
            return "other_app"
        if self.clock() > visit["expires"]:
            return "expired_state"
        if not nonce or not hmac.compare_digest(fingerprint(nonce), visit["nonce"]):
            return "browser_mismatch"
        if (back.iss and provider.issuer and back.iss != provider.issuer) or (provider.iss_required and not back.iss):
            return "other_issuer"
        return ""

    async def _decline(self, record: Record, error: str) -> None:
        provider, _ = self._row(record.json)
        outcome = denied(provider.rules, error or "no_code")
        no = outcome.detail == "consent_denied"
        await self._end(record, "denied" if no else "failed", outcome.detail or str(outcome.kind))

    # ------------------------------------------------------------- spending the code

    async def _redeem(self, record: Record) -> None:
        """Spend the code, look whose token it is, and keep the grant. Runs to its end once begun."""
        content = record.json
        provider, app = self._row(content)
        if origin_in(content) != origin_of(provider, app):  # a start with other settings came between
            await self._end(record, "failed", MOVED)
            return
        [visit] = content["visits"]
        code, verifier = content["code"], visit["verifier"]
        spent = {"status": "confirmed", "code": "", "visits": [visit | {"verifier": ""}]}
        confirmed = await self.vault.swap(record, content | spent)
        if confirmed is None:
            raise refused("raced")
        endpoint = Endpoint(self.http, provider, app, self.clock)
        asked_at = self.clock()
        try:
            tokens = await endpoint.exchange(code, verifier, content["redirect_uri"])
        except Refusal as refusal:
            await self._end(confirmed, "failed", reason_of(refusal.outcome))
            return
        await self._hold(confirmed, endpoint, tokens, asked_at)

    async def _hold(self, record: Record, endpoint: Endpoint, tokens: flow.Tokens, asked_at: float) -> None:
        """Keep tokens that are here, or end them."""
        kept = False
        try:
            kept = await self._keep(record, endpoint, tokens, asked_at)
        finally:
            if not kept:
                await self._discard(record.json, tokens)

    async def _keep(self, record: Record, endpoint: Endpoint, tokens: flow.Tokens, asked_at: float) -> bool:
        """Put the tokens into the vault, if they are of the right account. False: they must not live on."""
        content = record.json
        try:
            account, extra = await endpoint.whoami(tokens.access)
            granted = await endpoint.granted(tokens, frozenset(content["asked"]))
        except Refusal as refusal:
            await self._end(record, "failed", reason_of(refusal.outcome))
            return False
        user = User(content["user"], content["tenant"])
        if why := await self._unwanted(content, endpoint.provider, account, granted):
            await self._end(record, "failed", why)
            return await self._covered(user, endpoint.provider, content["app"], account)
        if not await self._still(record):
            return False
        accounts, before = self._accounts(), await self.vault.find_whole(user, content["provider"], content["app"])
        replaced: list[Record] = []

        async def owe(old: Grant, new: Grant) -> None:
            if debt := await self.outbox.owe_replaced(old, new):
                replaced.append(debt)

        fresh = _granted(user, content, account, granted, tokens, asked_at, extra)
        grant = await self.vault.add(replace(fresh, origin=origin_of(endpoint.provider, endpoint.app)), owe)
        if content.get("other") == "switch":
            await accounts.prefer(grant)
        missing = sorted(set(content["scopes"]) - endpoint.provider.covered(granted))
        ended = await self._end(
            record,
            "partial" if missing else "granted",
            "scope_missing" if missing else "",
            missing=missing,
            account=account.name,
            granted=sorted(granted),
            generation=grant.generation,
            account_hash=self.audit.digest(account.subject),
        )
        if ended is None:  # cancelled in the last moment: revocation wins
            await self._take_back(grant)
            if content.get("other") == "switch" and before:
                await accounts.prefer(before)
        await self.outbox.deliver(*replaced)
        return ended is not None

    async def _unwanted(self, content: Content, provider: Provider, account: Account, granted: frozenset[str]) -> str:
        """Why the tokens of this account must not be kept; empty if they may be."""
        if not _expected(account, content):
            return "account_mismatch"
        user = User(content["user"], content["tenant"])
        if content.get("other") and await self._narrower(user, provider, content["app"], account, granted):
            return "same_account"
        return ""

    def _accounts(self) -> Accounts:
        return Accounts(self.engine)

    async def _take_back(self, grant: Grant) -> None:
        """End a grant that was just stored, unless a newer consent has taken its place."""
        now: Grant | None = grant
        while now and now.access_token == grant.access_token and now.status != "revoked":
            if buried := await self.vault.replace(now, now.tombstone()):
                self.audit.write("grant.revoked", **facts_of(buried, self.audit))
                return
            now = await self.vault.grant(self.vault.place_of(grant))

    async def _narrower(
        self, user: User, provider: Provider, app: str, account: Account, granted: frozenset[str]
    ) -> bool:
        """Whether this account is connected already, and for more: the new tokens would take from that."""
        held = await self.vault.grant(self.vault.place(user, provider.name, app, account.subject))
        kept = (
            held.scopes - provider.incompatible_scopes.keys() if held and held.status == "active" else frozenset[str]()
        )
        return not kept <= provider.covered(granted)

    async def _covered(self, user: User, provider: Provider, app: str, account: Account) -> bool:
        """Whether ending this account's new tokens would end a grant that is held here, too."""
        held = await self.vault.grant(self.vault.place(user, provider.name, app, account.subject))
        all_at_once = provider.revokes_all and not provider.revoke_one
        return all_at_once and held is not None and held.status == "active"

    async def _still(self, record: Record) -> bool:
        """Whether nobody has ended the consent meanwhile."""
        now = await self.vault.get(record.kind, record.key)
        return now is not None and (now.json["id"], now.json["status"]) == (record.json["id"], "confirmed")

    async def _discard(self, content: Content, tokens: flow.Tokens) -> None:
        """End tokens that must not be kept, and no others of the account."""
        user = User(content["user"], content["tenant"])
        await self.outbox.end(user, content["provider"], content["app"], tokens, alone=True)


def _granted(
    user: User,
    content: Content,
    account: Account,
    scopes: frozenset[str],
    tokens: flow.Tokens,
    asked_at: float,
    extra: Mapping[str, str],
) -> Grant:
    """The grant that these tokens are, asked for at ``asked_at``, from when on their lifetime counts."""
    return Grant(
        user=user,
        provider=content["provider"],
        app=content["app"],
        account=account,
        scopes=scopes,
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        expires_at=asked_at + tokens.lifetime if tokens.lifetime else 0.0,
        obtained_at=asked_at,
        extra={**extra, **tokens.extra},
    )


def _expected(account: Account, content: Content) -> bool:
    """Whether this is the account that was there before, or that was named; any, where none was."""
    if content["subject"]:
        return bool(account.subject == content["subject"])
    named = content["account"].casefold()
    return named in ("", account.name.casefold(), account.subject.casefold())


def reason_of(outcome: Outcome) -> str:
    """Why a consent failed, in the words of its record."""
    return "operator" if outcome.fix_by == "operator" else outcome.detail or str(outcome.kind)
