"""The end of a user's access: page sessions, mandates, grants, consents and approvals, without erasing the user.

Everything that could still act ends here first, each with a durable write, and then at the providers. A record says
from the first step to the last that an offboarding is under way. So if a process dies between two steps, another one
completes it: at its start, or within a minute.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final

from deputize.core.approvals.mandate_record import Mandate
from deputize.core.approvals.mandates import Mandates
from deputize.core.approvals.record import ApprovalRecord, Change
from deputize.core.approvals.service import Approvals
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import UserOffboarded
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, StoreUnavailable
from deputize.core.grants.mass_revocation import Revoked
from deputize.core.shared_services import Services
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Record, Vault
from deputize.core.visible_text import visible

KIND: Final = "offboarding"
"""The kind of record that exists while a user is being offboarded."""
MAX_REASON_CHARACTERS: Final = 200
LOCK_TIMEOUT_SECONDS: Final = 30.0
LOGOUT_TTL: Final = 900.0
"""Seconds for which the end of sessions is remembered: longer than a sign-in takes."""
ENDED: Final = "The user's access has ended."
"""The reason that a waiting run is told."""


@frozen
class Offboarded(ValueObject):
    """The result of an offboarding. ``revoked``: accounts, each with the state of its tokens at the provider. The other
    fields are the numbers of ended things."""

    revoked: tuple[Revoked, ...]
    approvals: int
    mandates: int
    sessions: int


async def offboard(
    user: User,
    reason: str,
    services: Services,
    approvals: Approvals,
    mandates: Mandates,
    revoke: Callable[[], Awaitable[list[Revoked]]],
) -> Offboarded:
    """End the user's access, and record it in the audit with the reason.

    ``revoke``: ends the user's grants and consents. Raises `InvalidInput` without a reason, `StoreUnavailable` if
    another process has begun to complete it and is slow, and the errors of ``revoke``, after everything else has ended.
    """
    if not str.strip(reason) or len(reason) > MAX_REASON_CHARACTERS or "\n" in reason or visible(reason) != reason:
        raise InvalidInput(
            f"The reason of an offboarding is 1 to {MAX_REASON_CHARACTERS} visible characters.", fix_by="operator"
        )
    vault, mark = services.vault, None
    while mark is None:
        key = vault.key_prefix(user) + secrets.token_hex(8)
        content = {"user": user.id, "tenant": user.tenant, "reason": reason}
        mark = await vault.insert(KIND, key, content, await vault.data_keys.get(user.tenant))
    async with AsyncExitStack() as lock:
        try:
            await lock.enter_async_context(vault.store.lock(_lock_name(mark), LOCK_TIMEOUT_SECONDS))
        except TimeoutError:
            raise StoreUnavailable(
                "Another process is completing this offboarding, and has not ended yet.",
                hint="Wait a minute, and repeat it.",
            ) from None
        return await _complete(mark, services, approvals, mandates, revoke)


async def resume_offboardings(
    services: Services, approvals: Approvals, mandates: Mandates, revoke: Callable[[User], Awaitable[list[Revoked]]]
) -> None:
    """Complete the offboardings of processes that died. Those in progress elsewhere hold a lock."""
    for mark in (await services.vault.scan_openable(KIND))[0]:
        with suppress(TimeoutError):
            async with services.vault.store.lock(_lock_name(mark), 0.0):
                if now := await services.vault.get(KIND, mark.key):
                    await _complete(now, services, approvals, mandates, partial(revoke, _user(now)))


def _lock_name(mark: Record) -> str:
    return f"{KIND} {mark.key}"


def _user(mark: Record) -> User:
    return User(mark.json["user"], mark.json["tenant"])


async def _complete(
    mark: Record,
    services: Services,
    approvals: Approvals,
    mandates: Mandates,
    revoke: Callable[[], Awaitable[list[Revoked]]],
) -> Offboarded:
    """Do all steps, and remove the mark, unless the store failed: a repetition could then still end something."""
    try:
        ended = await _end_all(_user(mark), mark.json["reason"], services, approvals, mandates, revoke)
    except DeputizeError as error:
        if not isinstance(error, StoreUnavailable):
            await services.vault.delete(mark)
        raise
    await services.vault.delete(mark)
    return ended


async def _end_all(
    user: User,
    reason: str,
    services: Services,
    approvals: Approvals,
    mandates: Mandates,
    revoke: Callable[[], Awaitable[list[Revoked]]],
) -> Offboarded:
    vault, revoked, given = services.vault, list[Revoked](), list[Mandate]()
    sessions, closed = await _end_sign_ins(user, services), await _close_approvals(user, vault, approvals)
    try:
        given = await _end_mandates(user, mandates)
    finally:  # a damaged mandate must not keep the grants alive
        try:
            revoked = await revoke()
        finally:  # what began meanwhile
            closed += await _close_approvals(user, vault, approvals)
            sessions += await _end_sign_ins(user, services)
            numbers = len(revoked), closed, len(given), sessions
            await services.audit.record(UserOffboarded(OfUser(tenant=user.tenant, user=user.id), reason, *numbers))
    return Offboarded(tuple(revoked), closed, len(given), sessions)


async def _end_mandates(user: User, mandates: Mandates) -> list[Mandate]:
    given = await mandates.list_valid(user)
    for mandate in given:
        with suppress(NotFound):  # ended meanwhile
            await mandates.end(user, mandate.id)
    return given


async def _end_sign_ins(user: User, services: Services) -> int:
    """End the user's sessions and the sign-ins that have begun by now, and forget the roles of the last one. Return the
    number of sessions."""
    vault, now = services.vault, services.clock()
    ended = await end_sessions(user, vault, now, now)
    for key, sealed in await vault.store.scan("roles", vault.key_prefix(user)):
        await vault.store.delete("roles", key, sealed)
    return ended


def sign_ins_key(user: User, vault: Vault) -> str:
    """Return the key of the record that says which sign-ins of this user count no more. Erasing a user keeps it."""
    return f"user.{vault.key_prefix(user)}"


async def end_sessions(user: User, vault: Vault, at: float, now: float) -> int:
    """End the user's sessions at the pages, damaged ones too, and links to chats. Return the number of sessions.

    ``at``: a sign-in that began, or that the issuer confirmed, until then begins no session afterwards, because the
    user may hold its answer back. ``now``: the time (both in Unix seconds).
    """
    over, ended = {"at": at, "expires": now + LOGOUT_TTL}, 0
    while not await vault.insert("logged_out", sign_ins_key(user, vault), over):
        earlier = await vault.get("logged_out", sign_ins_key(user, vault))
        if earlier and await vault.swap(earlier, over | {"at": max(at, earlier.json["at"])}):
            break
    for key, sealed in await vault.store.scan("session", vault.key_prefix(user)):
        ended += await vault.store.delete("session", key, sealed)
    for key, sealed in await vault.store.scan("chat_link", vault.key_prefix(user)):
        await vault.store.delete("chat_link", key, sealed)
    return ended


async def _close_approvals(user: User, vault: Vault, approvals: Approvals) -> int:
    """Reject the user's approvals that no act has used, and return their number."""

    def close(found: ApprovalRecord) -> Change | None:
        return (found.reject(user, ENDED)[0], None) if found.may("reject") else None

    rows, _ = await vault.scan_openable(ApprovalRecord.KIND, vault.key_prefix(user))
    closed = 0
    for record in ApprovalRecord.read_all(rows):
        ended, done = await approvals.rows.swap(record, close)
        if ended is not None and done:
            closed += 1
            await approvals.tell("decided", user, ended)
    return closed
