"""Consent in the user's browser: the link, the Connect button, the provider's page, and the callback.

The callback carries a code, which `deputize.core.consent.redeem` exchanges for a grant. Sources: RFC 6749 4.1, RFC
7636, RFC 9126, RFC 9207, RFC 9700 4.
"""

from __future__ import annotations

import hmac
from collections.abc import Coroutine, Mapping
from dataclasses import field
from typing import Any, Final

from deputize.core.audit.events import ConsentOpened, Misuse
from deputize.core.consent.grant_writer import reason_of
from deputize.core.consent.record import (
    CONSENT_LINK_TTL,
    OPENABLE,
    PENDING,
    REDEEMING,
    ConsentRecord,
    Visit,
    Who,
    refuse_link,
)
from deputize.core.consent.redeem import Redeemer
from deputize.core.consent.repository import ConsentRepository
from deputize.core.errors import ProviderUnavailable, StoreUnavailable
from deputize.core.failures import outcome_of_callback_error
from deputize.core.grants.consent_lock import LOCK_TIMEOUT_SECONDS
from deputize.core.oauth import messages as flow
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint, new_pkce, new_state
from deputize.core.oauth.refusals import log_refusal
from deputize.core.providers.origin import origin_of
from deputize.core.user_requests import Consent
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Secret

STORE_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt to finish a consent while the store refuses writes, for example because a large
backup is being restored."""


@frozen
class Started(Frozen):
    """A browser's next step after Connect: the ``url`` to open, and the ``nonce`` that binds it to ``state``."""

    url: str = field(repr=False)
    nonce: Secret
    state: Secret


class AuthorizationFlow:
    """The steps of a consent in a browser, from the link to the provider and back."""

    def __init__(self, repository: ConsentRepository, redeemer: Redeemer) -> None:
        self.repository, self.redeemer = repository, redeemer

    async def open(self, ticket: str, who: Who) -> Consent:
        """Return the consent of a link, for its page. Changes nothing unless another signed-in user opens the link.

        Raises the same `InvalidInput` for a link that is unknown, expired, or another user's.
        """
        return await self.repository.to_public(await self.repository.find_by_ticket(ticket, who))

    async def start(self, ticket: str, who: Who, return_to: str) -> Started:
        """Bind this browser to the consent after a press of Connect, and return its next address.

        The last three presses stay valid. ``return_to``: an address of your application, checked by the caller, to
        which the page links at the end.
        """
        repository, services = self.repository, self.repository.services
        base = await services.pages.base_url()
        while True:
            record = await repository.find_by_ticket(ticket, who)
            if record.status not in OPENABLE:
                await repository.audit_misuse("used", record)
                raise refuse_link("used")
            provider, app = repository.get_provider_and_app(record)
            await repository.check_origin(record.user, app)
            scopes = await repository.scopes_to_ask(record, provider)
            pkce, state, nonce = new_pkce(), new_state(), new_state()
            visit = Visit(fingerprint(state), fingerprint(nonce), pkce.verifier, services.clock() + CONSENT_LINK_TTL)
            opened = record.open(
                visit,
                redirect_uri=provider.redirect_uri(base, app),
                asked=scopes | set(provider.oauth.always_scopes),
                origin=origin_of(provider, app),
                return_to=return_to,
            )
            await repository.index_state(state, opened, visit.expires)
            if await repository.save(opened):
                break
        await services.audit.record(ConsentOpened(opened.facts()))
        asked = Secret(  # so that no traceback shows its state
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
        """Return the browser's next address: the provider's, or deputize's page if the provider refused the request.

        Raises `ProviderUnavailable` if the user may try the same link again.
        """
        provider, app = self.repository.get_provider_and_app(record)
        endpoint = Endpoint(self.repository.services.http, provider, app, self.repository.services.clock)
        try:
            return await endpoint.push(asked)
        except Refusal as refusal:
            outcome = refusal.outcome
        if outcome.fix_by != "operator":
            raise ProviderUnavailable(f"{provider.label} could not take the request now.")
        log_refusal(provider, app, outcome)
        await self.repository.end(record, "failed", outcome.detail or reason_of(outcome))
        return (await self.repository.to_public(record)).link

    async def decline(self, ticket: str, who: Who) -> None:
        """End the consent as denied: the user pressed Cancel. This counts like a refusal on the provider's page."""
        record = await self.repository.find_by_ticket(ticket, who)
        if record.status not in OPENABLE:
            await self.repository.audit_misuse("used", record)
            raise refuse_link("used")
        await self.repository.end(record, "denied", "consent_denied")

    def finish(self, app_name: str, params: Mapping[str, str], who: Who, nonce: str) -> Coroutine[Any, Any, str]:
        """Handle the callback at ``/callback/{app}``, and return the ticket, whose page shows the outcome.

        Raises the same `InvalidInput` for any mismatch, and sends no token request then.
        """
        return self._finish(
            app_name, flow.parse_callback(params), who, Secret(nonce)
        )  # so that no traceback shows the code

    async def _finish(self, app_name: str, back: flow.Callback, who: Who, nonce: Secret) -> str:
        repository = self.repository
        record = await repository.find_by_state(back.state)
        if record is None:
            await repository.audit_misuse("unknown_state")
            raise refuse_link("unknown_state")
        if record.status not in PENDING and record.is_for(who):
            return repository.ticket(record)  # the Back button: the page shows the outcome
        visit = record.visit_of(fingerprint(back.state))
        why = self._misfit(record, visit, app_name, back, nonce)
        if why or visit is None:
            await repository.refuse_misuse(record, why or "replayed")
        if record.status in REDEEMING and record.is_for(who):  # loaded twice: it is being redeemed, or was interrupted
            await repository.services.in_flight.run(lambda: self.redeemer.resume(record))
            return repository.ticket(record)
        if back.error or back.code is None:
            if not record.is_for(who):
                await repository.refuse_misuse(record, "user_mismatch")
            await self._decline(record, back.error)
            return repository.ticket(record)
        if not record.is_for(who):
            await self._refuse_other_user(record)
        held = await repository.save(record.receive_code(visit, back.code, repository.services.clock()))
        if held is None:
            return await self._finish(app_name, back, who, nonce)  # another process changed it: read it again
        await repository.services.in_flight.run(lambda: self._redeem(held))
        return repository.ticket(record)

    async def _redeem(self, record: ConsentRecord) -> None:
        """Redeem the code. If the store refuses a write, resume from there, because the grant may be stored already.
        Raises `StoreUnavailable` if the store still refuses after 15 seconds."""
        for pause in STORE_PAUSES:
            try:
                return await self.redeemer.resume(record, LOCK_TIMEOUT_SECONDS)
            except StoreUnavailable:
                await self.repository.services.sleep(pause)
        await self.redeemer.resume(record, LOCK_TIMEOUT_SECONDS)

    def _misfit(
        self, record: ConsentRecord, visit: Visit | None, app_name: str, back: flow.Callback, nonce: Secret
    ) -> Misuse | None:
        """Return the reason why a callback does not belong to this consent, or None if it does."""
        provider = self.repository.services.providers.get(record.provider)
        if record.status not in ("opened", *REDEEMING) or provider is None or visit is None:
            return "replayed"
        if record.app != app_name:
            return "other_app"
        if self.repository.services.clock() > visit.expires:
            return "expired_state"
        if not nonce or not hmac.compare_digest(fingerprint(nonce), visit.nonce):
            return "browser_mismatch"
        oauth = provider.oauth
        if (back.iss and oauth.issuer and back.iss != oauth.issuer) or (oauth.iss_required and not back.iss):
            return "other_issuer"
        return None

    async def _refuse_other_user(self, record: ConsentRecord) -> None:
        """End the consent, even during its redemption, and raise: another user is signed in to this browser."""
        await self.repository.audit_misuse("user_mismatch", record)
        now: ConsentRecord | None = record
        while now and now.id == record.id and now.status in PENDING:
            if await self.repository.end(now, "failed", "user_mismatch"):
                break
            now = await self.repository.reload(now)
        raise refuse_link("user_mismatch")

    async def _decline(self, record: ConsentRecord, error: str) -> None:
        provider, app = self.repository.get_provider_and_app(record)
        outcome = outcome_of_callback_error(provider.rules, error or "no_code")
        log_refusal(provider, app, outcome)
        no = outcome.detail == "consent_denied"
        await self.repository.end(record, "denied" if no else "failed", outcome.detail or str(outcome.kind))
