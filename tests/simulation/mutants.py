"""Faults that deputize once had, or that its design excludes, put back one at a time: each must be found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final
from unittest import mock

from deputize.core.acts.provider_requests import Exchange
from deputize.core.approvals.service import Approvals
from deputize.core.consent.grant_writer import GrantWriter
from deputize.core.consent.redeem import Redeemer, Turn
from deputize.core.failures import Kind
from deputize.core.grants import end_grant, mass_revocation, revoke
from deputize.core.grants.refresh import GrantLost, Refresher
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.token_reply_journal import Received
from deputize.core.idempotency.ledger import Entry
from deputize.core.vault.token_ownership import EndedByProvider
from deputize.core.vault.vault import Vault
from tests.simulation.schedule import Came, play

MOST: Final = 10_000
"""Schedules within which each mutant must be found."""
Mutant = Callable[[], AbstractContextManager[object]]


def _patched(*changes: tuple[Any, str, Any]) -> AbstractContextManager[object]:
    stack = ExitStack()
    for where, name, value in changes:
        stack.enter_context(mock.patch.object(where, name, value))
    return stack


def second_401_ends_grant() -> AbstractContextManager[object]:
    """The API refuses a token that was just refreshed: the grant ends, and its tokens are dropped."""
    before = Exchange._failure

    async def failure(self: Any, outcome: Any, grant: Any) -> Exception:
        if outcome.kind is not Kind.REFRESH_ONCE:
            return await before(self, outcome, grant)
        await self.transport.services.vault.end_grant(grant, grant.dead("rejected"), EndedByProvider())
        return GrantLost("rejected", grant)

    return _patched((Exchange, "_failure", failure))


def refresh_needs_no_lease() -> AbstractContextManager[object]:
    """A second process takes a refresh over at once when the first has lost its lock."""
    before = Refresher._intent

    async def holds_same(self: Any, key: str, grant: Any) -> bool:
        return True

    return _patched(
        (Refresher, "_intent", lambda self, grant, lock: before(self, grant, None)),
        (Refresher, "_holds_same", holds_same),
    )


def stored_grant_is_checked_again() -> AbstractContextManager[object]:
    """After a crash between grant and consent, an error of the userinfo endpoint revokes the stored grant."""
    keep, find, first = GrantWriter._keep, GrantWriter._find_stored_grant, ContextVar("first", default=False)

    async def keeping(self: Any, *args: Any) -> Any:
        first.set(True)
        return await keep(self, *args)

    async def finding(self: Any, reply: Any) -> Any:
        if first.get():
            first.set(False)
            return None
        return await find(self, reply)

    return _patched((GrantWriter, "_keep", keeping), (GrantWriter, "_find_stored_grant", finding))


def refresh_takes_no_lock() -> AbstractContextManager[object]:
    """Two processes refresh one grant at once."""

    async def unlocked(self: Any, key: str, failed: Any, again: Any) -> Any:
        return await self._refresh(key, failed, again, None)

    return _patched((Refresher, "_refresh_locked", unlocked))


def last_write_of_grant_wins() -> AbstractContextManager[object]:
    """A refresh in progress writes its tokens over the tombstone of a revocation."""

    async def swap_grant(self: Any, old: Any, new: Any) -> Any:
        while record := await self.get("grant", self.record_key(old)):
            if stored := await self.swap(record, new.pack()):
                return replace(new, generation=stored.generation)
        return None

    return _patched((Vault, "_swap_grant", swap_grant))


def code_is_redeemed_without_lock() -> AbstractContextManager[object]:
    """Two processes finish one consent at once."""

    @asynccontextmanager
    async def always(self: Any, *args: Any) -> AsyncIterator[Turn]:
        yield Turn(None)

    return _patched((Redeemer, "_try_lock", always))


def tombstone_precedes_queue() -> AbstractContextManager[object]:
    """A disconnect deletes the tokens before the queue has them."""

    async def end(queue: Any, grant: Any, *, leaked: bool) -> list[Any]:
        vault = queue.vault
        while not (stone := await vault._swap_grant(grant, grant.tombstone())):
            grant = await vault.get_stored_grant(vault.record_key(grant))
            if grant is None or grant.status == "revoked":
                return []
        return [(stone, await queue.enqueue_grant(grant, leaked=leaked, replaced=True))]

    return _patched(*((module, "end_grant", end) for module in (end_grant, mass_revocation, revoke)))


def replaced_tokens_are_dropped() -> AbstractContextManager[object]:
    """A newer consent overwrites the tokens of an older one, which nobody revokes."""

    async def enqueue(self: Any, before: Any, after: Any) -> None:
        return None

    return _patched((RevocationQueue, "enqueue_replaced", enqueue))


def queue_ends_living_grants() -> AbstractContextManager[object]:
    """An entry of the queue is sent although a grant holds its tokens, or might end with them."""

    async def must_wait(self: Any, entry: Any) -> None:
        return None

    return _patched((RevocationQueue, "_must_wait", must_wait))


def unkept_tokens_wait_for_no_grant() -> AbstractContextManager[object]:
    """The queue compares tokens that were not kept with no grant, and a later one of their account ends with them."""

    async def active(self: Any, note: Any) -> Any:
        grant = await self.vault.get_grant(note["place"]) if "place" in note else None
        return grant if grant and grant.status == "active" else None

    enqueue = RevocationQueue.enqueue

    async def enqueue_nameless(self: Any, *args: Any, subject: str = "", **more: Any) -> Any:
        return await enqueue(self, *args, **more)

    return _patched((RevocationQueue, "_active", active), (RevocationQueue, "enqueue", enqueue_nameless))


def cancelled_consent_keeps_its_grant() -> AbstractContextManager[object]:
    """A disconnect comes between a stored grant and the end of its consent, and the grant stays."""

    async def take_back(self: Any, reply: Any) -> None:
        return None

    return _patched((GrantWriter, "_take_back", take_back))


def dead_grant_overwrites_newer_tokens() -> AbstractContextManager[object]:
    """A refused refresh marks the grant dead without looking whether a consent has stored newer tokens meanwhile."""

    async def end_with(self: Any, grant: Any, reason: str, next_owner: Any) -> Any:
        while current := await self.vault.get_grant(self.vault.record_key(grant)):
            if current.status != "active" or await self.vault._swap_grant(current, current.dead(reason)):
                break
        raise GrantLost(reason, grant)

    return _patched((Refresher, "_end_with", end_with))


def write_is_not_claimed() -> AbstractContextManager[object]:
    """A write is sent before anything says so."""

    async def claim(self: Any, *args: Any) -> None:
        return None

    async def begin(self: Any, *args: Any) -> bool:
        return True

    async def consume(self: Any, act: Any, account: Any, claim: Any = None, seen: Any = ...) -> str:
        return (await self._load_or_ask(act, account)).id  # type: ignore[no-any-return]

    return _patched((Entry, "claim", claim), (Entry, "begin", begin), (Approvals, "consume", consume))


def refreshed_token_is_used_before_it_is_stored() -> AbstractContextManager[object]:
    """A refresh hands out its token, and stores it afterwards."""
    before = Refresher._save

    async def save(self: Any, old: Any, new: Any) -> Any:
        asyncio.ensure_future(before(self, old, new))  # noqa: RUF006 - the loop keeps it
        return new, None

    return _patched((Refresher, "_save", save))


def reply_is_not_sealed() -> AbstractContextManager[object]:
    """A consent asks whose tokens it got before it has stored them."""
    before = GrantWriter.keep_or_end

    async def take(self: Any, record: Any, endpoint: Any, tokens: Any, asked_at: float) -> None:
        key = record.row.key if record.row else ""
        await before(
            self.keeper,
            Received(
                family=f"{tokens.access.reveal():0<32}"[:32],
                consent=record.id,
                key=key,
                user=record.user,
                provider=record.provider,
                app=record.app,
                tokens=tokens,
                asked_at=asked_at,
                origin=record.origin,
            ),
        )

    return _patched((Redeemer, "_take", take))


MUTANTS: Final[tuple[Mutant, ...]] = (
    reply_is_not_sealed,
    queue_ends_living_grants,
    second_401_ends_grant,
    refresh_needs_no_lease,
    stored_grant_is_checked_again,
    refresh_takes_no_lock,
    last_write_of_grant_wins,
    code_is_redeemed_without_lock,
    tombstone_precedes_queue,
    replaced_tokens_are_dropped,
    unkept_tokens_wait_for_no_grant,
    cancelled_consent_keeps_its_grant,
    dead_grant_overwrites_newer_tokens,
    write_is_not_claimed,
    refreshed_token_is_used_before_it_is_stored,
)


def find(mutant: Mutant, most: int = MOST) -> Came | None:
    """Return the first schedule in which the mutant does what it must not, or None."""
    with mutant():
        came = next((came for came in map(play, range(most)) if came.wrong), None)
    if came and came.wrong[0].startswith(("AttributeError", "TypeError")):
        raise AssertionError(f"{mutant.__name__} does not fit the code any more: {came.wrong[0]}")
    return came


def found(number: int) -> str:
    """Look for a mutant by its number; a line that says when it was found, "" if it was not."""
    came = find(MUTANTS[number])
    return f"{MUTANTS[number].__name__}: schedule {came.seed}: {came.wrong[0]}" if came else ""
