"""Decisions that the user already made, so that the same request does not ask the user again."""

from __future__ import annotations

import math
from typing import Final

from deputize.core.consent.record import CONSENT_LINK_TTL, PENDING, ConsentRecord
from deputize.core.consent.repository import ConsentRepository
from deputize.core.errors import AccountMismatch, Declined, ScopeNotGranted
from deputize.core.oauth.provider import App
from deputize.core.vault.grant import User

MAX_STEP_UPS: Final = 3
"""How often one request asks for more scopes because the API wants them (RFC 6750 3.1): a server that names other
scopes each time would ask its users forever."""


async def check_answers(
    repository: ConsentRepository, user: User, app: App, wanted: tuple[str, ...] | None, ask: str, why: str
) -> int:
    """Return the number of consents that are pending for the user. ``wanted``: the scopes, or None to ask in any case.

    Raises `Declined`, `ScopeNotGranted` or `AccountMismatch` if a consent for these scopes was just refused or failed.
    """
    pending, step_ups, now = 0, 0, repository.services.clock()
    for record in await repository.list_for_user(user):
        pending += record.is_live(now) and not record.is_late(now)
        if wanted is not None and record.provider == app.provider and record.app == app.name:
            _stop_if_answered(repository, record, wanted, ask, why)
            step_ups += (
                _is_same_request(record, ask, now) and record.status == "granted" and record.why == "scope_missing"
            )
    if wanted and why == "scope_missing" and step_ups >= MAX_STEP_UPS:
        label = repository.services.providers[app.provider].label
        raise ScopeNotGranted(
            f"{label} asked {MAX_STEP_UPS} times for more scopes for the same request.", scopes=wanted
        )
    return pending


def _stop_if_answered(
    repository: ConsentRepository, record: ConsentRecord, wanted: tuple[str, ...], ask: str, why: str
) -> None:
    status = record.status
    missing = tuple(s for s in record.missing or record.scopes if s in wanted)
    nothing = not missing and bool(wanted or record.scopes)  # if the provider has scopes
    in_vain = status == "granted" and why == "scope_missing"  # granted, but the API still refuses
    if status in PENDING or (status == "granted" and not in_vain) or nothing:
        return
    if not _is_same_request(record, ask, repository.services.clock()):
        return
    provider = repository.services.providers[record.provider]
    if status == "partial" or in_vain:
        words = ", ".join(provider.describe(s) for s in missing) or "what was asked for"
        raise ScopeNotGranted(f"The user did not allow this at {provider.label}: {words}.", scopes=missing)
    if status == "denied":
        left = record.finished + CONSENT_LINK_TTL - repository.services.clock()
        raise Declined(
            f"The user declined to connect {provider.label}.",
            hint="" if ask else f"Go on without it. The same call asks again in {math.ceil(left / 60)} minutes.",
        )
    if status == "cancelled" and ask:  # the run that waited for it; an unknown run is a later one
        raise Declined(f"The user disconnected {provider.label} while this waited for them.")
    if record.reason == "account_mismatch":
        raise AccountMismatch(f"The user connected another {provider.label} account than {record.account}.")


def _is_same_request(record: ConsentRecord, ask: str, now: float) -> bool:
    """Return True if the same user request led to this consent. Without a request id, True if the consent ended a short
    time ago."""
    return ask in record.asks if ask else record.finished > now - CONSENT_LINK_TTL
