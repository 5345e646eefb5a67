"""Waiting for consents to end, in this process, in another one, or in a browser.

Only the vault has the current state of a consent. A pending consent also counts as ended when the user's grant has all
of its scopes, through any link.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from deputize.core.consent.consents import Consents
from deputize.core.consent.record import ConsentRecord
from deputize.core.errors import AccountMismatch, NotFound
from deputize.core.grants.grant_end import ENDS_SOON
from deputize.core.providers.origin import origin_change
from deputize.core.shared_services import Services
from deputize.core.user_requests import Consent, id_of
from deputize.core.vault.notify import deadline, watch_records


async def wait_for_ends(consents: Consents, asked: Iterable[Consent | str], timeout: float) -> list[Consent]:
    """Return these consents in order, after they have ended or timed out. See `Deputy.wait_for_consents`."""
    asked = list(asked)
    known = {one.id: _as_removed(one) for one in asked if isinstance(one, Consent)}
    ids = [id_of(one) for one in asked]
    ends = deadline(timeout)
    async with watch_records(
        consents.repository.services.vault.store, *await _watched_prefixes(consents, ids)
    ) as watch:
        while True:
            found = []
            for one in ids:
                now = await current_consent(consents, one) or known.get(one)
                if now is None:
                    raise NotFound(
                        "No consent has this id.", hint="Wait for consents that were requested within a day."
                    )
                known[one] = _as_removed(now)
                found.append(now)
            if not any(one.status == "pending" for one in found) or time.monotonic() >= ends:
                return found
            await watch.changed(max(ends - time.monotonic(), 0))


async def _watched_prefixes(consents: Consents, ids: Iterable[str]) -> list[tuple[str, str]]:
    """Return the kinds and key prefixes of the records whose change may end these consents."""
    records = [await consents.repository.find_by_id(one) for one in ids]
    places = [consents.repository.owner(record) for record in records if record]
    return [(kind, key) for key in places for kind in ("consent", "grant")]


async def current_consent(consents: Consents, consent_id: str) -> Consent | None:
    """Return the current consent: ``granted`` with the reason ``elsewhere`` if a grant has all of its scopes."""
    consent = await consents.status(consent_id)
    if consent is None or consent.status not in ("pending", "expired"):
        return consent
    record = await consents.repository.find_by_id(consent_id)
    if record is None or not await _is_held(consents.repository.services, record):
        return consent
    return replace(consent, status="granted", reason_code="elsewhere")


async def _is_held(services: Services, record: ConsentRecord) -> bool:
    """Return True if the expected account has a grant with these scopes, or with scopes that include them.

    False for an added or switched account, which the user still has to choose. False if only a new consent helps: the
    provider refused scopes that the grant has, the grant ends soon, or it has a scope that makes the others useless.
    """
    row, app = services.providers.get(record.provider), services.apps.get(record.app)
    if row is None or app is None or record.other or record.why in ("scope_missing", ENDS_SOON):
        return False
    account = record.subject or record.account or None
    try:
        grant = await services.vault.find_undamaged(record.user, record.provider, record.app, account)
    except AccountMismatch:
        return False
    if grant is None or grant.status != "active" or origin_change(grant.origin, row, app):
        return False
    return row.apis.incompatible_scopes.keys().isdisjoint(grant.scopes) and record.is_met_by(
        row.implied_scopes(grant.scopes)
    )


def _as_removed(consent: Consent) -> Consent:
    """Return the consent as failed. For a consent with no stored data, for example after its user was erased."""
    return replace(consent, status="failed", reason_code="removed")
