"""A consent in the user's browser: the link is opened, Connect is pressed, the provider asks, the browser comes back.

What it brings back is a code, which `deputize.core.consent.redeem` makes a grant of.
Sources: RFC 6749 4.1, RFC 7636, RFC 9126, RFC 9207, RFC 9700 4.
"""

from __future__ import annotations

import hmac
from collections.abc import Coroutine, Mapping
from dataclasses import field
from typing import Any

from deputize.core.audit.events import ConsentOpened, Misuse
from deputize.core.consent.grant_writer import reason_of
from deputize.core.consent.record import (
    OPENABLE,
    PENDING,
    REDEEMING,
    TICKET_LIFE,
    ConsentRecord,
    Visit,
    Who,
    refused,
)
from deputize.core.consent.redeem import LOCK_WAIT, Redeemer
from deputize.core.consent.repository import ConsentRepository
from deputize.core.errors import ProviderUnavailable
from deputize.core.failures import denied
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint, new_pkce, new_state
from deputize.core.oauth.refusals import log_refusal
from deputize.core.providers.origin import origin_of
from deputize.core.user_requests import Consent
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Secret


@frozen
class Started(Frozen):
    """What the browser gets when Connect was pressed: where to go, and the nonce that binds it to this ``state``."""

    url: str = field(repr=False)
    nonce: Secret
    state: Secret


class AuthorizationFlow:
    """Walks consents through browsers, from the link to the provider and back."""

    def __init__(self, repository: ConsentRepository, redeemer: Redeemer) -> None:
        self.repository, self.redeemer = repository, redeemer

    async def open(self, ticket: str, who: Who) -> Consent:
        """The consent behind a link, for the page. Changes nothing, unless another signed-in user holds the link.

        Raises `InvalidInput`, always the same, for a link that is unknown, expired, or another user's.
        """
        return await self.repository.public(await self.repository.by_ticket(ticket, who))

    async def start(self, ticket: str, who: Who, return_to: str = "") -> Started:
        """Connect was pressed: bind this browser, and say where it goes. The last three presses may come back.

        ``return_to``: an address of the application, checked by the caller, that the page leads back to in the end.
        """
        repository, engine = self.repository, self.repository.engine
        base = await engine.pages.base_url()
        while True:
            record = await repository.by_ticket(ticket, who)
            if record.status not in OPENABLE:
                await repository.audit_misuse("used", record)
                raise refused("used")
            provider, app = repository.registered(record)
            await repository.check_origin(record.user, app)
            scopes = await repository.scopes_to_ask(record, provider)
            pkce, state, nonce = new_pkce(), new_state(), new_state()
            visit = Visit(fingerprint(state), fingerprint(nonce), pkce.verifier, engine.clock() + TICKET_LIFE)
            opened = record.opened(
                visit,
                redirect_uri=provider.redirect_uri(base, app),
                asked=scopes | set(provider.oauth.always_scopes),
                origin=origin_of(provider, app),
                return_to=return_to,
            )
            await repository.index_state(state, opened, visit.expires)
            if await repository.save(opened):
                break
        await engine.audit.record(ConsentOpened(opened.facts()))
        asked = Secret(  # its state is in no frame of an error
            flow.authorize_url(
                provider,
                app,
                redirect_uri=opened.redirect_uri,
                scopes=scopes,
                state=state,
                challenge=pkce.challenge,
                login_hint=opened.account,
                choose=bool(opened.other),
                nonce=visit.nonce,
                claims=opened.claims,
            )
        )
        return Started(await self._push(opened, asked), nonce, state)

    async def _push(self, record: ConsentRecord, asked: Secret) -> str:
        """Where the browser goes: to the provider, or to our own page where it has refused the request for good.

        Raises `ProviderUnavailable` where the same link may be tried again.
        """
        provider, app = self.repository.registered(record)
        endpoint = Endpoint(self.repository.engine.http, provider, app, self.repository.engine.clock)
        try:
            return await endpoint.push(asked)
        except Refusal as refusal:
            outcome = refusal.outcome
        if outcome.fix_by != "operator":
            raise ProviderUnavailable(f"{provider.label} could not take the request now.")
        log_refusal(provider, app, outcome)
        await self.repository.end(record, "failed", outcome.detail or reason_of(outcome))
        return (await self.repository.public(record)).link

    async def decline(self, ticket: str, who: Who) -> None:
        """Cancel was pressed: the user's no, before any provider was asked. It counts as one that was said there."""
        record = await self.repository.by_ticket(ticket, who)
        if record.status not in OPENABLE:
            await self.repository.audit_misuse("used", record)
            raise refused("used")
        await self.repository.end(record, "denied", "consent_denied")

    def finish(self, app_name: str, params: Mapping[str, str], who: Who, nonce: str) -> Coroutine[Any, Any, str]:
        """The browser is back at ``/callback/{app}``. Returns the ticket, whose page tells how it went.

        Raises `InvalidInput`, always the same, for anything that does not fit; no token request is sent then.
        """
        return self._finish(app_name, flow.parse_callback(params), who, Secret(nonce))  # no frame keeps the code

    async def _finish(self, app_name: str, back: flow.Callback, who: Who, nonce: Secret) -> str:
        repository = self.repository
        record = await repository.by_state(back.state)
        if record is None:
            await repository.audit_misuse("unknown_state")
            raise refused("unknown_state")
        if record.status not in PENDING and record.is_for(who):
            return repository.ticket(record)  # the Back button: the page says how it went
        visit = record.visit_of(fingerprint(back.state))
        why = self._misfit(record, visit, app_name, back, nonce)
        if why or visit is None:
            await repository.refuse_misuse(record, why or "replayed")
        if record.status in REDEEMING and record.is_for(who):  # loaded twice: it is being redeemed, or was cut off
            await repository.engine.in_flight.run(lambda: self.redeemer.go_on(record))
            return repository.ticket(record)
        if back.error or back.code is None:
            if not record.is_for(who):
                await repository.refuse_misuse(record, "user_mismatch")
            await self._decline(record, back.error)
            return repository.ticket(record)
        if not record.is_for(who):
            await self._refuse_other_user(record)
        held = await repository.save(record.came_back(visit, back.code, repository.engine.clock()))
        if held is None:
            return await self._finish(app_name, back, who, nonce)  # somebody else moved it: look again
        await repository.engine.in_flight.run(lambda: self.redeemer.go_on(held, LOCK_WAIT))
        return repository.ticket(record)

    def _misfit(
        self, record: ConsentRecord, visit: Visit | None, app_name: str, back: flow.Callback, nonce: Secret
    ) -> Misuse | None:
        """Why a callback does not belong to this consent; None if it does."""
        provider = self.repository.engine.providers.get(record.provider)
        if record.status not in ("opened", *REDEEMING) or provider is None or visit is None:
            return "replayed"
        if record.app != app_name:
            return "other_app"
        if self.repository.engine.clock() > visit.expires:
            return "expired_state"
        if not nonce or not hmac.compare_digest(fingerprint(nonce), visit.nonce):
            return "browser_mismatch"
        oauth = provider.oauth
        if (back.iss and oauth.issuer and back.iss != oauth.issuer) or (oauth.iss_required and not back.iss):
            return "other_issuer"
        return None

    async def _refuse_other_user(self, record: ConsentRecord) -> None:
        """The right browser, in which somebody else is signed in now: even a code that is being redeemed ends."""
        await self.repository.audit_misuse("user_mismatch", record)
        now: ConsentRecord | None = record
        while now and now.id == record.id and now.status in PENDING:
            if await self.repository.end(now, "failed", "user_mismatch"):
                break
            now = await self.repository.again(now)
        raise refused("user_mismatch")

    async def _decline(self, record: ConsentRecord, error: str) -> None:
        provider, app = self.repository.registered(record)
        outcome = denied(provider.rules, error or "no_code")
        log_refusal(provider, app, outcome)
        no = outcome.detail == "consent_denied"
        await self.repository.end(record, "denied" if no else "failed", outcome.detail or str(outcome.kind))
