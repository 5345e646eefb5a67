"""At most once: one act key makes a write happen at most once, across re-runs, double resumes and crashes.

Whoever performs a write holds the store's lock of its act key while it runs. So a row that says "claimed" while the
lock is free was left by a process that died in the middle: the outcome is unknown, and said so, unless the tool noted
something it can look up. A second caller waits for the first and is handed the recorded result.

Where a lock can be lost while its holder goes on (`HeldLock`), the row also says until when a request of this run may
be under way, by the store's clock: no request leaves later, and who finds the row waits that long before going on.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from deputize.core.approvals.outcome import LedgerRecord, State
from deputize.core.approvals.repository import Repository
from deputize.core.engine import Engine
from deputize.core.errors import Conflict, InvalidInput, OutcomeUnknown, StoreUnavailable
from deputize.core.idempotency.deferred_outcomes import Unsaved
from deputize.core.tools.act import Act
from deputize.core.tools.steps import Undo
from deputize.core.tools.tool import Effect
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import User
from deputize.core.vault.stores import HeldLock

KEPT: Final = 86400.0
"""Seconds a recorded outcome is kept, unless the host says otherwise."""
STRIPES: Final = 1024
WAIT: Final = 120.0
LONGEST: Final = 20.0
"""Seconds that one request takes at most, unless whoever sends it says otherwise."""
SPARE: Final = 5.0
"""Seconds beside that: for what happens before it leaves, and for the requests that follow at once."""
LOOK: Final = 0.5


@frozen
class Recorded(Printed):
    """The recorded result of an act, which may be anything JSON can say, null included."""

    result: Any


class Entry:
    """One act's row while it is being performed. ``noted``: what an interrupted run left behind, or None.

    ``record``: its record as it was last saved; ``kept``: seconds that this counts after its last write.
    ``show``: the digest of what the act showed; ``began``: when it was first asked for; both as the first run had them.
    ``answered_by``: what let that run begin: "policy", or the id of an approval or a mandate.
    ``taken_up``: that run was interrupted, and this one goes on with what it noted. ``undo``: how it is put back.
    ``people``: who was meant by names, as the first run had it. ``asks``: it ends since its provider asks the user
    something; ``heard``: it was handed what the user has said to that.
    ``lock``: what says whether this run has the act to itself; None where nothing but its end can change that.
    """

    def __init__(
        self, ledger: Ledger, key: str, left: LedgerRecord | None, act: Act, account: str, lock: HeldLock | None
    ) -> None:
        self.rows, self.clock, self.kept, self.key, self.lock = ledger.rows, ledger.clock, ledger.kept, key, lock
        begun = left or LedgerRecord.begin(act, account)
        self.record = begun if begun.account == account else begun.copy_with(account=account)
        self.noted, self.show, self.began = begun.noted, begun.show, begun.began
        self.answered_by, self.people = begun.answered_by, dict(begun.people)
        self.taken_up = left is not None
        self.undo: Undo | None = None
        self.asks = self.heard = self._ours = False
        self._until = 0.0
        self._notes: dict[str, Any] = {}
        self._one = asyncio.Lock()

    async def claim(self, seconds: float = LONGEST) -> None:
        """Durable, before the first byte of a write leaves, which takes so many seconds at most. A run that is taken up
        lasts as long as a new one. Raises `StoreUnavailable` where the lock is lost: nothing may leave then."""
        async with self._one:
            if self.lock is None:
                if not self._ours:
                    await self._claimed()
                return
            while (now := await self.lock.confirm()) + seconds > self._until or not self._ours:
                self._until = now + seconds + SPARE
                await self._claimed()

    async def note(self, data: Mapping[str, Any]) -> None:
        """Keep what a later run will need to find out how this one ended, beside what earlier runs have noted."""
        async with self._one:
            self._notes |= data
            await self._claimed()

    async def done(self, result: Any, more: Mapping[str, Any] | None = None) -> None:
        """Record the result for every later run of the same act. ``more``: what `undoing` keeps beside it."""
        await self._save(self.record.finish(result, **{**self._facts(), **(more or {})}))

    @property
    def keeps_note(self) -> bool:
        """Whether a later run goes on with what was noted: then nobody is asked again, and nothing is given back."""
        return bool(self.noted or self._notes)

    async def release(self) -> None:
        """Nothing final happened: a later run may try. One that left a note begins where this one stopped."""
        if self.record.row is not None and not self.keeps_note:
            await self.rows.vault.delete(self.record.row)
            self.record = self.record.copy_with(row=None)

    async def unknown(self) -> None:
        """It may have happened: no later run may try, unless it can look up what was noted."""
        if self.record.row is not None and not self.keeps_note:
            await self._save(self.record.lose(**self._facts()))

    async def _claimed(self) -> None:
        noted = {**(self.noted or {}), **self._notes} or None
        await self._save(self.record.claim(**self._facts(), noted=noted, until=self._until, people=self.people))

    def _facts(self) -> dict[str, Any]:
        now, answered = self.clock(), {"answered_by": self.answered_by}
        return {"at": now, "expires": now + self.kept, "show": self.show, "began": self.began, **answered}

    async def _save(self, record: LedgerRecord) -> None:
        made = await self.rows.put(self.key, record)
        if made is None:
            raise Conflict("Another run of this act has already begun.", reason="already_done")
        self.record, self._ours = made, True


class Ledger:
    """Rows of acts, in one vault. ``kept``: seconds that each counts after its last write."""

    def __init__(self, engine: Engine, kept: float = KEPT) -> None:
        self.vault, self.clock, self.kept = engine.vault, engine.clock, kept
        self.rows = Repository(engine, LedgerRecord)
        self.unsaved = Unsaved(engine.vault.store)
        engine.vault.before_close.append(self.unsaved.settle_all)

    def keep_ending(self, act: Act, write: Callable[[], Awaitable[None]]) -> None:
        """Write it as soon as the store takes something again: before the next run of the act looks, at the latest."""
        self.unsaved.keep(self._place(act), _stripe(act), write)

    def act_id(self, act: Act) -> str:
        """By which people, pages and the audit name an act that writes; "" of one that reads, which has no row."""
        return "" if act.effect is Effect.READS else self._id_at(self._place(act))

    async def done_by(self, user: User) -> dict[str, LedgerRecord]:
        """The records of this user's acts, by the acts' ids. Those that cannot be read are left out."""
        found, _ = await self.vault.scan_open("act", self.vault.key_prefix(user))
        return {self._id_at(record.place.key): record for record in LedgerRecord.readable(found)}

    def _id_at(self, key: str) -> str:
        """Under the vault's key, since an act's own is made of what others may guess: its arguments."""
        return hmac.digest(self.vault.keys.index, b"act" + key.encode(), "sha256").hex()[:12]

    async def outcome(self, act: Act) -> Recorded | None:
        """The recorded result, if this act has one; reads have none, nor has a call that nobody can make again.

        Raises `OutcomeUnknown` after a run that was cut off, `Conflict` where the row is of other arguments.
        """
        return self._recorded(act, await self._known(act))

    async def begun(self, act: Act) -> bool:
        """Whether this act has an outcome, or a run of it has begun to write: this one is to take it up, and nobody is
        asked. Raises as `outcome` does."""
        record = await self._known(act)
        return self._recorded(act, record) is not None or (record is not None and not self._over(record))

    async def _known(self, act: Act) -> LedgerRecord | None:
        """The act's record."""
        if act.effect is Effect.READS or not act.call.has_id:  # that one is never the same as another
            return None
        await self.unsaved.settle(self._place(act))
        return await self._row(act)

    def _recorded(self, act: Act, record: LedgerRecord | None) -> Recorded | None:
        """What an act's row says to a later run of it."""
        if record is None or self._over(record):
            return None
        if record.service_account != act.service_account:
            raise Conflict("A call of this id was already made as another account.", hint="Make a new call.")
        if record.arguments != act.digest:
            raise Conflict("A call of this id was already made with other arguments.", hint="Make a new call.")
        if record.state is State.UNKNOWN:
            raise OutcomeUnknown("An earlier run of this act was interrupted: it may have been done.")
        return Recorded(record.result_now()) if record.state is State.DONE else None

    @asynccontextmanager
    async def once(self, act: Act, account: str = "") -> AsyncIterator[Entry | Recorded]:
        """The right to perform an act that `outcome` knew nothing of: an `Entry`; or the result of whoever was first.

        ``account``: the subject it acts as; a run that was begun as another account is not taken up.

        Raises `OutcomeUnknown` after a run that was cut off and left no note, or if one is still under way for long;
        `Conflict` where the row is of other arguments; `StoreUnavailable` if only other acts stood in the way.
        """
        async with AsyncExitStack() as held:
            try:
                lock = await held.enter_async_context(self.vault.store.lock(_stripe(act), WAIT))
            except TimeoutError:
                if await self._row(act):
                    raise OutcomeUnknown("Another run of this act is still in progress.") from None
                raise StoreUnavailable("Too many acts are in progress; nothing was done.", hint="Try again.") from None
            record = await self._outlasted(act, lock)
            if (done := self._recorded(act, record)) is not None:
                yield done
            else:
                yield await self._entry(record, act, account, lock)

    async def _outlasted(self, act: Act, lock: HeldLock | None) -> LedgerRecord | None:
        """The act's row, when no request of a run that has lost its lock can be under way any more."""
        deadline = time.monotonic() + WAIT
        while True:
            record = await self._row(act)
            if lock is None or record is None or record.state is not State.CLAIMED or self._over(record):
                return record
            left = record.until - await lock.confirm()
            if left <= 0 or time.monotonic() > deadline:
                return record
            await asyncio.sleep(min(left, LOOK))

    async def _entry(self, record: LedgerRecord | None, act: Act, account: str, lock: HeldLock | None) -> Entry:
        if record is not None and self._over(record):
            await self.vault.delete(record.place)
            record = None
        if record is not None and record.account not in (None, account):
            raise OutcomeUnknown(
                "An earlier run of this act was interrupted, and it used another account.",
                hint="Let that account act again, and run it once more: it looks up what became of it.",
            )
        entry = Entry(self, self._place(act), record, act, account, lock)
        if record is not None and (not entry.noted or not act.tool.reads_notes):
            await entry.unknown()
            raise OutcomeUnknown("An earlier run of this act was interrupted: it may have been done.")
        return entry

    async def _row(self, act: Act) -> LedgerRecord | None:
        return await self.rows.load(self._place(act))

    def _over(self, record: LedgerRecord) -> bool:
        return record.expires <= self.clock()

    def _place(self, act: Act) -> str:
        return self.vault.key_prefix(act.user) + act.key.hex


def _stripe(act: Act) -> str:
    """The lock of an act's runs, which some others share."""
    return f"act-{int(act.key.hex[:8], 16) % STRIPES:04d}"


def recordable(result: Any) -> Any:
    """The result as JSON keeps it. Raises `InvalidInput` for a tool that returns anything else."""
    try:
        return json.loads(json.dumps(result))
    except (TypeError, ValueError):
        raise InvalidInput("The tool's result cannot be encoded as JSON.", fix_by="operator") from None
