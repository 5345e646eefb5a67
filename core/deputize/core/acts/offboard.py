"""The end of a user's access: page sessions, mandates, grants, consents and approvals, without erasing the user.

Everything that could still act ends here first, each with a durable write, and then at the providers. It may be
interrupted anywhere and repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from deputize.core.approvals.mandate_record import Mandate
from deputize.core.approvals.mandates import Mandates
from deputize.core.approvals.record import ApprovalRecord, Change
from deputize.core.approvals.service import Approvals
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import UserOffboarded
from deputize.core.engine import Engine
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.grants.mass_revocation import Revoked
from deputize.core.text import visible
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Vault

MAX_REASON_CHARACTERS: Final = 200
ENDED: Final = "The user's access has ended."
"""The reason that a waiting run is told."""


@frozen
class Offboarded(ValueObject):
    """What ended. ``revoked``: accounts, each with the state of its tokens at the provider. The others are numbers."""

    revoked: tuple[Revoked, ...]
    approvals: int
    mandates: int
    sessions: int


async def offboard(
    user: User,
    reason: str,
    engine: Engine,
    approvals: Approvals,
    mandates: Mandates,
    revoke: Callable[[], Awaitable[list[Revoked]]],
) -> Offboarded:
    """End the user's access, and record it in the audit with the reason.

    ``revoke``: ends the user's grants and consents. Raises `InvalidInput` without a reason, and the errors of
    ``revoke``, after everything else has ended.
    """
    if not str.strip(reason) or len(reason) > MAX_REASON_CHARACTERS or "\n" in reason or visible(reason) != reason:
        raise InvalidInput(
            f"The reason of an offboarding is 1 to {MAX_REASON_CHARACTERS} visible characters.", fix_by="operator"
        )
    vault, revoked, given = engine.vault, list[Revoked](), list[Mandate]()
    sessions, closed = await _end_sessions(user, vault), await _close_approvals(user, vault, approvals)
    try:
        given = await _end_mandates(user, mandates)
    finally:  # a damaged mandate must not keep the grants alive
        try:
            revoked = await revoke()
        finally:  # what began meanwhile
            closed += await _close_approvals(user, vault, approvals)
            sessions += await _end_sessions(user, vault)
            numbers = len(revoked), closed, len(given), sessions
            await engine.audit.record(UserOffboarded(OfUser(tenant=user.tenant, user=user.id), reason, *numbers))
    return Offboarded(tuple(revoked), closed, len(given), sessions)


async def _end_mandates(user: User, mandates: Mandates) -> list[Mandate]:
    given = await mandates.list_valid(user)
    for mandate in given:
        with suppress(NotFound):  # ended meanwhile
            await mandates.end(user, mandate.id)
    return given


async def _end_sessions(user: User, vault: Vault) -> int:
    """End the user's sessions at the pages, damaged ones too, and return their number."""
    ended = 0
    for key, sealed in await vault.store.scan("session", vault.key_prefix(user)):
        ended += await vault.store.delete("session", key, sealed)
    return ended


async def _close_approvals(user: User, vault: Vault, approvals: Approvals) -> int:
    """Reject the user's approvals that no act has used, and return their number."""

    def close(found: ApprovalRecord) -> Change | None:
        return (found.reject(user, ENDED)[0], None) if found.may("reject") else None

    rows, _ = await vault.scan_openable(ApprovalRecord.KIND, vault.key_prefix(user))
    return sum([(await approvals.rows.swap(record, close))[1] for record in ApprovalRecord.read_all(rows)])
