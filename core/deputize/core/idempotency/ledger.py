"""The ledger: records that make each act write at most once, across retries, double resumes and crashes.

A run holds the store's lock of its act key while it writes. So if a record is in state "claimed" and nobody holds the
lock, the process has died. The outcome is then unknown and reported as such, unless the tool noted data to look it up.
A second caller waits for the first and receives the recorded result.

If a run can lose its lock while it continues (`HeldLock`), the record also contains the time, by the store's clock,
after which the run sends no request. Another run that finds the record waits until that time.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from deputize.core.approvals.outcome import LedgerRecord, State
from deputize.core.approvals.repository import Repository
from deputize.core.errors import Conflict, InvalidInput, OutcomeUnknown, StoreUnavailable
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Preview
from deputize.core.tools.steps import Undo
from deputize.core.tools.tool import Effect
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.data_key import DataKey
from deputize.core.vault.grant import User
from deputize.core.vault.sealed_records import PreparedWrite
from deputize.core.vault.stores.protocol import HeldLock, RecordRead
from deputize.core.vault.vault import Vault

OUTCOME_TTL: Final = 86400
"""Default of the setting ``outcome_retention_seconds``: how long an outcome is stored, and can be undone."""
STRIPES: Final = 1024
LOCK_TIMEOUT_SECONDS: Final = 120.0
MAX_REQUEST_SECONDS: Final = 20.0
"""Default maximum seconds of one request."""
CLAIM_MARGIN_SECONDS: Final = 5.0
"""Additional seconds for work before the request, and for requests that follow at once."""
CONFIRMATION_SECONDS: Final = 1.0
"""Seconds for which a confirmation of the lock serves the next request."""
POLL_INTERVAL_SECONDS: Final = 0.5
SETTLE_TIMEOUT_SECONDS: Final = 20.0
"""Seconds to wait for another run of the same act."""


@frozen
class Recorded(Printed):
    """The recorded result of an act: any JSON value, including null."""

    result: Any


class Entry:
    """The ledger record of an act while the act runs. ``noted``: notes of an interrupted run, or None.

    ``record``: as last saved. ``kept``: seconds that the record is valid after its last write. ``show``: digest of the
    preview, ``preview``: the preview, and ``began``: when the act was first requested; all from the first run.
    ``answered_by``: the reason why that run was allowed: "policy", or the id of an approval or a mandate. ``taken_up``:
    True if this run resumes an interrupted run. ``check_again``: awaited before a resumed run writes, raises if the
    policy no longer permits the act; None if it need not decide. ``undo``: the call that undoes the act. ``people``:
    resolved people by name, from the first run.
    ``asks``: True if the run ends with a question of the provider; ``heard``: True if the run received the reply.
    ``lock``: reports whether this run still holds the lock; None if the lock cannot be lost. ``data_key``: encrypts a
    new record, see `Records.insert`. It is read before, because a claim may read nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        key: str,
        left: LedgerRecord | None,
        act: Act,
        account: str,
        lock: HeldLock | None,
        data_key: DataKey | None = None,
    ) -> None:
        self.rows, self.clock, self.kept, self.key, self.lock = ledger.rows, ledger.clock, ledger.kept, key, lock
        self.ledger, self.data_key, self._tenant = ledger, data_key, act.user.tenant
        begun = left or LedgerRecord.begin(act, account)
        self.record = begun if begun.account == account else begun.copy_with(account=account)
        self.noted, self.show, self.began = begun.noted, begun.show, begun.began
        self.answered_by, self.people = begun.answered_by, dict(begun.people)
        self.preview = Preview.of(begun.preview) if begun.preview else None
        self.taken_up = left is not None
        self.check_again: Callable[[], Awaitable[None]] | None = None
        self.undo: Undo | None = None
        self.asks = self.heard = self._ours = False
        self._until, self._ahead = 0.0, ledger.ahead
        self._asked: _Confirmation | None = None
        self._notes: dict[str, Any] = {}
        self._one = asyncio.Lock()

    async def renew_data_key(self) -> None:
        """Read the data key again if it is no longer cached. Raises `StoreUnavailable` if the tenant is being erased
        since the act began: nothing may be written for it then."""
        if self.record.row is None:
            self.data_key = await self.rows.vault.data_keys.get(self._tenant)

    async def begin(self, also: PreparedWrite | None = None) -> bool:
        """Make the claim durable before the act begins to write. ``also``: a write that follows the claim in the same
        transaction, see `Records.write`. Return False if the store rejects ``also``."""
        async with self._one:
            if self._ours:
                return also is None or await self.rows.vault.write(also) == 1
            if self.lock is not None:
                self._until = self._guess_time() + MAX_REQUEST_SECONDS + CLAIM_MARGIN_SECONDS
            return await self._save_claim(also)

    async def claim(self, seconds: float = MAX_REQUEST_SECONDS) -> None:
        """Make the claim durable before the first byte of a write, which takes at most ``seconds``, also when resumed.
        Raises `StoreUnavailable` if the lock is lost: nothing may be sent then."""
        async with self._one:
            if self.lock is None:
                if not self._ours:
                    await self._save_claim()
                return
            now = await self._confirm() if self._ours else None
            while now is None or now + seconds > self._until:
                self._until = (self._guess_time() if now is None else now) + seconds + CLAIM_MARGIN_SECONDS
                await self._save_claim()
                now = await self._confirm()

    async def _confirm(self) -> float:
        """Return the store's time after checking that the lock is held. A check that came with a save is used for one
        request."""
        asked, self._asked = self._asked, None
        if self.lock is None:
            raise RuntimeError("This lock cannot be lost.")
        if asked is None or asked.at < time.monotonic() - CONFIRMATION_SECONDS:
            asked = _Confirmation(self.lock)
        now = await asked.now()
        ahead = now - time.time()
        if abs(ahead - self._ahead) > CLAIM_MARGIN_SECONDS:
            self._until = 0.0  # the claim names a wrong time
        self._ahead = self.ledger.ahead = ahead
        return now

    def _guess_time(self) -> float:
        """Return an estimate of the store's time, so that a claim need not wait for the store. `_confirm` checks the
        time before a request."""
        self._ahead = self.ledger.ahead
        return time.time() + self._ahead

    async def note(self, data: Mapping[str, Any]) -> None:
        """Store data from which a later run can find out how this one ended, in addition to earlier notes."""
        async with self._one:
            self._notes |= data
            await self._save_claim()

    async def done(self, result: Any, more: Mapping[str, Any] | None = None) -> None:
        """Record the result for every later run of the act. ``more``: the facts from `undo_facts`."""
        await self._save(self.record.finish(result, **{**self._facts(), **(more or {})}))

    @property
    def keeps_note(self) -> bool:
        """True if a later run continues from the notes. Then the record stays, and no approval is requested again."""
        return bool(self.noted or self._notes)

    def drop_notes(self) -> None:
        """Forget the notes of an earlier run that did nothing, so that the next run starts from the beginning."""
        self.noted, self._notes = None, {}

    async def give_up_permission(self) -> None:
        """Record that the run's approval is released. A run that continues from the notes uses the approval again,
        unless the user rejects the act in between."""
        async with self._one:
            self.answered_by = ""
            await self._save_claim()

    async def release(self) -> None:
        """Delete the record, so that a later run can start from the beginning. A record with notes is not deleted."""
        if self.record.row is not None and not self.keeps_note:
            await self.rows.vault.delete(self.record.row)
            self.record = self.record.copy_with(row=None)

    async def mark_unknown(self) -> None:
        """Record that the outcome is unknown: no later run may start, except to look it up by the notes."""
        if self.record.row is not None and not self.keeps_note:
            await self._save(self.record.lose(**self._facts()))

    async def _save_claim(self, also: PreparedWrite | None = None) -> bool:
        """Save the claim, and confirm the lock at the same time. See `begin`."""
        noted = {**(self.noted or {}), **self._notes} or None
        shown = self.preview.kept if noted and self.preview else None
        record = self.record.claim(**self._facts(), noted=noted, preview=shown, until=self._until, people=self.people)
        self._asked = None if self.lock is None else _Confirmation(self.lock)
        try:
            return await self._save(record, also)
        except Conflict:
            if self._asked:
                await self._asked.now()  # another run has the lock by now: that is the cause
            raise

    def _facts(self) -> dict[str, Any]:
        now, answered = self.clock(), {"answered_by": self.answered_by}
        return {"at": now, "expires": now + self.kept, "show": self.show, "began": self.began, **answered}

    async def _save(self, record: LedgerRecord, also: PreparedWrite | None = None) -> bool:
        vault, made = self.rows.vault, 0
        if also is None:
            saved = await self.rows.put(self.key, record, self.data_key)
        else:
            claim = vault.prepare(record.row, record.KIND, self.key, record.pack(), self.data_key)
            made = await vault.write(claim, also)
            saved = record.copy_with(row=claim.new) if made else None
        if saved is None:
            raise Conflict("Another run of this act has already begun.", reason="already_done")
        self.record, self._ours = saved, True
        return also is None or made == 2


class _Confirmation:
    """A pending check that a lock is held. ``at``: when the check was started, by the monotonic clock."""

    def __init__(self, lock: HeldLock) -> None:
        self.at = time.monotonic()
        self._answer = asyncio.ensure_future(lock.confirm())
        self._answer.add_done_callback(_note_failure)

    async def now(self) -> float:
        """Return the store's time, or raise `StoreUnavailable` if the lock is lost."""
        return await asyncio.shield(self._answer) + (time.monotonic() - self.at)


def _note_failure(answer: asyncio.Future[float]) -> None:
    if not answer.cancelled():
        answer.exception()  # nobody may need it


class Ledger:
    """The ledger records in one vault. ``kept``: seconds that a record is valid after its last write."""

    def __init__(self, services: Services) -> None:
        self.vault, self.clock, self.kept = services.vault, services.clock, services.outcome_retention
        self.rows = Repository(services, LedgerRecord)
        self.unsaved = DeferredOutcomes(services.vault)
        self.ahead = 0.0
        """Seconds by which the store's clock was last ahead of this machine's."""
        services.vault.before_close.append(self.unsaved.settle_all)

    def keep_ending(self, act: Act, write: Callable[[], Awaitable[None]]) -> None:
        """Keep a write in memory until the store accepts it, at the latest before the next run of the act reads."""
        self.unsaved.keep(self._place(act), _stripe(act), write)

    def act_id(self, act: Act) -> str:
        """Return the id of a write for people, pages and the audit; "" for a read, which has no record."""
        return "" if act.effect is Effect.READS else self._id_at(self._place(act))

    async def records_by_id(self, user: User) -> dict[str, LedgerRecord]:
        """Return the ledger records of this user's acts by act id, without unreadable records."""
        found, _ = await self.vault.scan_openable("act", self.vault.key_prefix(user))
        return {self._id_at(record.place.key): record for record in LedgerRecord.read_all(found)}

    def _id_at(self, key: str) -> str:
        """Return an id keyed by the vault, because others may guess the arguments from which an act's key derives."""
        return hmac.digest(self.vault.keys.index, b"act" + key.encode(), "sha256").hex()[:12]

    async def outcome(self, act: Act) -> Recorded | None:
        """Return the recorded result of this act, or None. Reads and calls without an id have none.

        Raises `OutcomeUnknown` after an interrupted run, and `Conflict` if the record has other arguments.
        """
        record = await self._load_record(act)
        return None if record is None else self._recorded_result(act, record)

    async def has_begun(self, act: Act) -> bool:
        """Return True if this act has an outcome, or a run has begun to write and still has its permission: then no
        approval is requested. Raises the errors of `outcome`."""
        record = await self._load_record(act)
        if self._recorded_result(act, record) is not None:
            return True
        released = record is not None and record.noted and not record.answered_by
        return record is not None and not self._is_expired(record) and not released

    async def _load_record(self, act: Act) -> LedgerRecord | None:
        """Return the act's record, or None."""
        if act.effect is Effect.READS or not act.call.has_id:  # a call without an id is never repeated
            return None
        await self.unsaved.settle(self._place(act))
        return await self._row(act)

    def _recorded_result(self, act: Act, record: LedgerRecord | None) -> Recorded | None:
        """Return the result in an act's record, or None if a run may continue."""
        if record is None or self._is_expired(record):
            return None
        if record.service_account != act.service_account:
            raise Conflict("A call of this id was already made as another account.", hint="Make a new call.")
        if record.arguments != act.digest:
            raise Conflict("A call of this id was already made with other arguments.", hint="Make a new call.")
        if record.state is State.UNKNOWN:
            raise OutcomeUnknown("An earlier run of this act was interrupted: it may have been done.")
        return Recorded(record.result_now()) if record.state is State.DONE else None

    @asynccontextmanager
    async def perform_once(self, act: Act, account: str, *reads: RecordRead) -> AsyncIterator[Entry | Recorded]:
        """Enter the run of an act: yield its `Entry`, or the recorded result if an earlier run completed it.

        ``account``: the acting subject. A run of another account is not resumed. ``reads``: the caller's next reads,
        which are made together with the lock. Raises `OutcomeUnknown` after an interrupted run without notes, or if one
        is still in progress after the timeout; `Conflict` if the record has other arguments; `StoreUnavailable` if
        other acts hold the lock.
        """
        async with AsyncExitStack() as held:
            try:
                lock = await held.enter_async_context(
                    self.vault.lock(_stripe(act), LOCK_TIMEOUT_SECONDS, ("get", "act", self._place(act)), *reads)
                )
            except TimeoutError:
                if await self._row(act):
                    raise OutcomeUnknown("Another run of this act is still in progress.") from None
                raise StoreUnavailable("Too many acts are in progress. Nothing was done.", hint="Try again.") from None
            record = await self._wait_for_requests(act, lock)
            if (done := self._recorded_result(act, record)) is not None:
                yield done
            else:
                yield await self._entry(record, act, account, lock)

    async def _wait_for_requests(self, act: Act, lock: HeldLock | None) -> LedgerRecord | None:
        """Return the act's record after waiting until no request of a run that lost its lock can be in flight."""
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            record = await self._row(act)
            if lock is None or record is None or record.state is not State.CLAIMED or self._is_expired(record):
                return record
            left = record.until - await lock.confirm()
            if left <= 0 or time.monotonic() > deadline:
                return record
            await asyncio.sleep(min(left, POLL_INTERVAL_SECONDS))

    async def _entry(self, record: LedgerRecord | None, act: Act, account: str, lock: HeldLock | None) -> Entry:
        if record is not None and self._is_expired(record):
            await self.vault.delete(record.place)
            record = None
        if record is not None and record.account not in (None, account):
            raise OutcomeUnknown(
                "An earlier run of this act was interrupted, and it used another account.",
                hint="Use that account again and repeat the call: it looks up the outcome.",
            )
        data_key = await self.vault.data_keys.get(act.user.tenant)
        entry = Entry(self, self._place(act), record, act, account, lock, data_key)
        if record is not None and (not entry.noted or not act.tool.reads_notes):
            await entry.mark_unknown()
            raise OutcomeUnknown("An earlier run of this act was interrupted: it may have been done.")
        return entry

    async def _row(self, act: Act) -> LedgerRecord | None:
        return await self.rows.load(self._place(act))

    def _is_expired(self, record: LedgerRecord) -> bool:
        return record.expires <= self.clock()

    def reads(self, act: Act) -> list[RecordRead]:
        """Return what `outcome` reads."""
        return [("get", "act", self._place(act))] if act.effect is not Effect.READS and act.call.has_id else []

    def _place(self, act: Act) -> str:
        return self.vault.key_prefix(act.user) + act.key.hex


def no_longer_permitted(act: Act) -> OutcomeUnknown:
    """Return the error for a resumed act that the policy of now does not permit."""
    return OutcomeUnknown(
        f"An earlier run of {act.tool.name} was interrupted: it may have been done. The policy does not permit it now, "
        "so nothing more was sent.",
        hint="Check at the provider whether it was done.",
    )


def _stripe(act: Act) -> str:
    """Return the name of the act's lock. Some other acts have the same lock."""
    return f"act-{int(act.key.hex[:8], 16) % STRIPES:04d}"


def recordable(result: Any) -> Any:
    """Return the result as plain JSON. Raises `InvalidInput` if the tool returned anything else."""
    try:
        return json.loads(json.dumps(result))
    except (TypeError, ValueError):
        raise InvalidInput("The tool's result cannot be encoded as JSON.", fix_by="operator") from None


class _Ending:
    def __init__(self, lock: str, write: Callable[[], Awaitable[None]], pid: int) -> None:
        self.lock, self.write, self.pid = lock, write, pid


class DeferredOutcomes:
    """Outcomes of one deputy's acts that the store could not accept, by record key, kept until it accepts writes again.

    A claim that stays in the store means that its act may have been done. This process knows the outcome as long as it
    lives, so a later run of the act finds the result, or learns that nothing happened, even if the disk was full when
    the act ended. The number of waiting outcomes is limited by the acts in progress, because no act is claimed while
    the store accepts no writes.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._endings: dict[str, _Ending] = {}

    def __len__(self) -> int:
        return len(self._endings)

    def keep(self, key: str, lock: str, write: Callable[[], Awaitable[None]]) -> None:
        """Keep this write of an outcome in memory, for a retry. ``write`` raises `Conflict`, and changes nothing, if
        another run has taken over."""
        self._endings[key] = _Ending(lock, write, os.getpid())

    async def settle(self, key: str) -> None:
        """Write the waiting outcome of this key, if any. Raises `StoreUnavailable` if the store cannot accept it."""
        waits = self._endings.get(key)
        if waits is None:
            return
        if waits.pid != os.getpid():  # from before a fork: the parent writes it
            del self._endings[key]
            return
        with suppress(TimeoutError):  # a run in progress will find it
            async with self._vault.lock(waits.lock, SETTLE_TIMEOUT_SECONDS):
                await self._write(key)

    async def settle_all(self) -> None:
        """Write all waiting outcomes. Outcomes that the store cannot accept keep waiting."""
        with suppress(StoreUnavailable):
            for key in list(self._endings):
                await self.settle(key)

    async def _write(self, key: str) -> None:
        if ending := self._endings.pop(key, None):
            try:
                await ending.write()
            except Conflict:
                return  # another run writes the outcome
            except BaseException:
                self._endings.setdefault(key, ending)
                raise
