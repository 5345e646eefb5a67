"""Waiting until consents have ended, wherever that happens: in this process, in another one, in a browser.

The vault is the only truth: a consent that still waits has come to its end, too, once the user's grant holds all that
it asks for, whichever link that came by.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from deputize.core.consent.consents import Consents
from deputize.core.consent.record import ConsentRecord
from deputize.core.engine import Engine
from deputize.core.errors import AccountMismatch, NotFound
from deputize.core.providers.origin import differs
from deputize.core.user_requests import Consent, id_of
from deputize.core.vault.notify import watching


async def ends_of(consents: Consents, asked: Iterable[Consent | str], timeout: float) -> list[Consent]:
    """How each of these consents ended, in order; see `Deputy.wait_for_consents`."""
    asked = list(asked)
    known = {one.id: _removed(one) for one in asked if isinstance(one, Consent)}
    ids = [id_of(one) for one in asked]
    deadline = time.monotonic() + timeout
    async with watching(consents.repository.engine.vault.store, *await _watched(consents, ids)) as watch:
        while True:
            found = []
            for one in ids:
                now = await _now(consents, one) or known.get(one)
                if now is None:
                    raise NotFound("No consent has this id.", hint="Wait for those that were asked for within a day.")
                known[one] = _removed(now)
                found.append(now)
            if not any(one.status == "pending" for one in found) or time.monotonic() >= deadline:
                return found
            await watch.changed(max(deadline - time.monotonic(), 0))


async def _watched(consents: Consents, ids: Iterable[str]) -> list[tuple[str, str]]:
    """The records by which these may end."""
    records = [await consents.repository.by_id(one) for one in ids]
    places = [consents.repository.owner(record) for record in records if record]
    return [(kind, key) for key in places for kind in ("consent", "grant")]


async def _now(consents: Consents, consent_id: str) -> Consent | None:
    """The consent as it stands: ``granted``, for the reason ``elsewhere``, where a grant has all of it by now."""
    consent = await consents.status(consent_id)
    if consent is None or consent.status not in ("pending", "expired"):
        return consent
    record = await consents.repository.by_id(consent_id)
    if record is None or not await _is_held(consents.repository.engine, record):
        return consent
    return replace(consent, status="granted", reason_code="elsewhere")


async def _is_held(engine: Engine, record: ConsentRecord) -> bool:
    """Whether the account that is to consent has a grant with these scopes, or with others that do as well.

    Never for one more account, or another one, which the user still has to choose; nor where the provider has refused
    what the grant says it may do, or it has a scope with which the others are no good: then only a new consent helps.
    """
    row, app = engine.providers.get(record.provider), engine.apps.get(record.app)
    if row is None or app is None or record.other or record.why == "scope_missing":
        return False
    account = record.subject or record.account or None
    try:
        grant = await engine.vault.find_whole(record.user, record.provider, record.app, account)
    except AccountMismatch:
        return False
    if grant is None or grant.status != "active" or differs(grant.origin, row, app):
        return False
    return row.apis.incompatible_scopes.keys().isdisjoint(grant.scopes) and record.met_by(row.covered(grant.scopes))


def _removed(consent: Consent) -> Consent:
    """How it counts once nothing is known of it any more, as when its user was erased."""
    return replace(consent, status="failed", reason_code="removed")
