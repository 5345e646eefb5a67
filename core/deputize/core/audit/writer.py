"""Writer of the audit: rows wait in memory, and one thread makes them durable with one write and one sync.

Rows that must outlive the process are passed to the kernel at once, by the thread that wrote them, and synced with the
others.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal, TypeAlias
from weakref import WeakSet

from deputize.core.audit.anchors import deliver_anchors
from deputize.core.audit.commit_thread import CommitThread
from deputize.core.audit.events import EVENTS, AuditLost, ChainAnchor, ChainClosed, Event
from deputize.core.audit.key_rotation import closing_rows
from deputize.core.audit.pseudonyms import PEOPLE, Names, Person, pseudonymize
from deputize.core.audit.reader import read
from deputize.core.audit.rows import Fact, Head, Key, Row, render
from deputize.core.audit.sinks import Memory, prepare_trail, sink_at, write_error
from deputize.core.audit.trail import ChainTaken, Trail
from deputize.core.batching_thread import AnsweringThread, ThreadEnded, for_all
from deputize.core.errors import InvalidInput, SettingsError, StoreUnavailable

Mode: TypeAlias = Literal["standard", "strict"]

GROUP = 1000  # rows in one write at most, and between two anchors
WAITING = 50_000  # rows kept while the disk refuses them

_KNOWN = frozenset(EVENTS.values())
_log = logging.getLogger("deputize.core.audit")


class Audit:
    """Writes the rows of this process. Safe for threads, event loops and forks (a child is another writer).

    ``trail``: the folder of its files (0700, created if necessary), a table that machines share, or None for memory.
    ``key``: 32 to 64 bytes, not the vault's. ``old_keys``: earlier ones; a chain that ends under one of them is closed
    by a ``key.rotated`` row. ``mode``: if ``strict``, callers await `settle` before a side effect. ``clock``: UTC
    seconds. ``anchor``: receives, as a line, the row ``chain.anchor`` after every 1,000 rows, at the end of a file (of
    about ``rotate_bytes``) and when the object closes (``ended``); with ``anchor_every``, also after the first rows and
    then that many seconds after the last one. Store the lines elsewhere, for `verify`. It runs on the writing thread
    and must not wait for that. Raises `SettingsError` (key, mode, folder).
    """

    writer: str
    """Random id of this object in this process; names its files."""
    names: Names | None = None
    """Pseudonyms of users and accounts; None: users keep their ids."""

    def __init__(
        self,
        trail: Trail | None,
        key: bytes,
        *,
        old_keys: Sequence[bytes] = (),
        mode: Mode = "standard",
        clock: Callable[[], float] = time.time,
        anchor: Callable[[str], None] | None = None,
        anchor_every: float = math.inf,
        rotate_bytes: int = 16 << 20,
    ) -> None:
        if mode not in ("standard", "strict"):
            raise SettingsError("The audit mode must be 'standard' or 'strict'.")
        self.mode: Mode = mode
        self._key, *_ = self.ring = tuple(map(Key, (key, *old_keys)))
        self._clock, self._anchor, self._every, self._limit = clock, anchor, anchor_every, rotate_bytes
        self.trail: Trail | None = prepare_trail(trail)
        """The storage of the rows; None if they stay in memory."""
        self.listeners = list[Callable[[Event], object]]()
        """Called with every event before its row is written."""
        self._begin(inline=trail is None)
        _living.add(self)
        if self.trail and old_keys:
            for rotated in closing_rows(self.trail, self.ring):
                self.write(rotated)

    def _begin(self, *, inline: bool) -> None:
        """Initialize the state of one process. ``inline``: no thread, so that each caller commits its rows."""
        self._lost, self._lost_unsynced, self.failing = 0, 0, False
        self._queue, self._unsynced = deque[tuple[float, str]](), deque[tuple[float, str]]()
        self._anchors, self._due = deque[str](), deque[str]()
        self._io, self._turn = threading.Lock(), threading.Lock()
        self._thread = CommitThread(self._commit, _close_with_child, inline=inline)
        self._handing = AnsweringThread[None, None]("audit hands over", for_all(self.hand_over))
        self._begin_chain()

    def _begin_chain(self) -> None:
        """Start a new chain with a new random writer id."""
        self.writer = os.urandom(8).hex()
        self._seq, self._prev, self._since_anchor = 0, self._key.first(self.writer), 0
        self._ended, self._next_anchor = False, 0.0 if math.isfinite(self._every) else math.inf
        self._safe = self._chain()
        self._sink = sink_at(self.trail, self.writer, self._limit)

    def write(self, event: Event) -> None:
        """Queue a row. Empty fields are omitted, and strings are cut at 4,096 characters. Never waits for the disk.

        Raises `InvalidInput` for an event that is not in `deputize.core.audit.events`. After `close`, the row is still
        written at once, or `StoreUnavailable` is raised.
        """
        self._write(event, _facts_of(event))

    def _write(self, event: Event, facts: dict[str, Fact]) -> None:
        for listener in self.listeners:
            listener(event)
        self._append(event.event, **pseudonymize(facts, self.names, self.digest))

    async def learn(self, tenant: str, user: str) -> None:
        """Load the user's pseudonym, before the first row of an act or consent."""
        if self.names and user:
            await self.names.learn(tenant, user)

    async def record(self, event: Event) -> None:
        """Queue a row of a user's event, after loading the user's pseudonym if it is not cached. Raises as `write`."""
        facts = _facts_of(event)
        tenant, people = str(facts.get("tenant") or ""), [facts.get(name) for name in ("user", *PEOPLE)]
        try:
            for user in (str(one or "") for one in people if one is people[0] or isinstance(one, Person)):
                if self.names and not self.names.knows(tenant, user):
                    await self.learn(tenant, user)
        finally:
            self._write(event, facts)

    def _append(self, event: str, /, **facts: Fact) -> None:
        """Queue a row of any event. Raises `InvalidInput` for a reserved fact name."""
        self._queue.append((self._clock(), render(event, facts)))
        if not self._thread.awake:
            self._thread.ring()

    async def hand_over_async(self) -> None:
        """Call `hand_over` in a separate thread, because even that blocks if a disk stalls."""
        with suppress(ThreadEnded):  # closed: all waiting rows are durable
            await self._handing.ask(None)

    def hand_over(self) -> None:
        """Make the waiting rows outlive this process: in files, unsynced, in microseconds; in a table with one commit
        for all callers. Rows that cannot be written now keep waiting for the thread."""
        if not self._sink.at_once:
            with suppress(StoreUnavailable):
                return self.flush()
        with self._io:
            number = len(self._queue)
            if self._thread.inline or not self._sink.at_once or self._lost or self._since_anchor + number >= GROUP:
                return
            taken = [self._queue.popleft() for _ in range(number)]
            lines, seq, prev = self._key.chain(self.writer, taken, self._seq, self._prev)
            if self._sink.ends_after(sum(map(len, lines))) or not self._sink.add("".join(lines).encode("ascii")):
                self._queue.extendleft(reversed(taken))
                return
            self._seq, self._prev = seq, prev
            self._since_anchor += len(lines)
            self._unsynced.extend(taken)

    def head(self) -> Head | None:
        """Return the last durable row, or None before the first."""
        with self._io:
            seq, mac, _ = self._safe
        return Head(self.writer, seq - 1, mac, int(self._clock() * 1e9), False) if seq else None

    async def settle(self) -> None:
        """Wait until every row written so far is durable. Raises `StoreUnavailable` if that is impossible now. The rows
        then stay in the queue, including the ``act.result`` of a caller that refuses the act because of this error."""
        await self._thread.wait()

    def flush(self) -> None:
        """Block until every row written so far is durable, like `settle`."""
        self._thread.flush()

    def digest(self, *parts: str | bytes) -> str:
        """Return a keyed digest of values that no row may contain, as 32 hexadecimal characters. Equal parts have equal
        digests. Nobody can guess the parts without the key."""
        return self._key.value(parts)

    def rows(self) -> list[Row]:
        """Return all rows of the trail, or of memory, oldest first. Raises `StoreUnavailable`."""
        self.flush()
        if isinstance(self._sink, Memory):
            return [json.loads(line) for line in list(self._sink.lines)]
        return list(read(self.trail)) if self.trail else []

    def close(self) -> None:
        """Make all rows durable and end the thread. Safe to call twice. Raises `StoreUnavailable` if rows remain."""
        try:
            self._thread.end(partial(self._commit, ending=True))
        finally:
            self._handing.end()
            with self._io:
                self._sink.close()

    def _commit(self, *, ending: bool = False) -> None:
        """Make the waiting rows durable, group by group. Raises `StoreUnavailable`. Unwritten rows keep waiting."""
        with self._turn:
            try:
                if self._sink.in_doubt:
                    self._make_durable()
                with self._io:
                    left = len(self._queue)
                    while left > 0:
                        left -= self._group(left)
                    if ending and self._anchor and self._seq and not self._ended:
                        self._group(0, ending=True)
                self._make_durable()
            except Exception as error:
                with self._io:
                    self._take_back()
                    if isinstance(error, ChainTaken):
                        self._go_on_elsewhere()
                    raise self._refusal(error) from None
        if self.failing:
            self.failing = False
            _log.warning("Audit rows can be written again.")
        deliver_anchors(self._anchors, self._anchor)

    def _make_durable(self) -> None:
        """Sync all rows passed to the sink so far."""
        with self._io:
            mark, chain, number = self._sink.mark(), self._chain(), len(self._unsynced)
        self._sink.sync(mark)  # other threads may hand rows over meanwhile
        with self._io:
            self._mark_durable(chain, number)

    def _mark_durable(self, chain: tuple[int, str, int], number: int) -> None:
        """Mark ``number`` rows, and the chain with them, as durable. The caller holds ``_io``."""
        self._safe, self._lost_unsynced = chain, 0
        for _ in range(number):
            self._unsynced.popleft()
        self._anchors += self._due
        self._due.clear()

    def _chain(self) -> tuple[int, str, int]:
        """Return the state of the chain."""
        return self._seq, self._prev, self._since_anchor

    def _take_back(self) -> None:
        """Reset to the last sync. Later rows wait again, except rows in doubt. The caller holds ``_io``."""
        if not self._sink.take_back():
            return
        self._queue.extendleft(reversed(self._unsynced))
        self._unsynced.clear()
        self._due.clear()
        self._seq, self._prev, self._since_anchor = self._safe
        self._ended = False
        self._lost, self._lost_unsynced = self._lost + self._lost_unsynced, 0

    def _go_on_elsewhere(self) -> None:
        """Continue in a new chain, which vouches for the end of this one. The caller holds ``_io``."""
        writer, (seq, mac, _) = self.writer, self._safe
        self._sink.close()
        self._begin_chain()
        closed = ChainClosed(writer, seq - 1, mac)
        self._queue.extendleft([(self._clock(), render(closed.event, closed.facts()))] if seq else ())

    def _group(self, most: int, *, ending: bool = False) -> int:
        """Write up to ``most`` rows, and an anchor if one is due. Return the number of waiting rows written."""
        taken = [self._queue.popleft() for _ in range(min(most, GROUP - self._since_anchor))]
        try:
            lost = [(self._clock(), render(AuditLost.event, AuditLost(self._lost).facts()))] if self._lost else []
            lines, seq, prev = self._key.chain(self.writer, [*lost, *taken], self._seq, self._prev)
            due = ending or self._since_anchor + len(lines) >= GROUP or self._sink.ends_after(sum(map(len, lines)))
            due = due or not (self._thread.inline or 0 < self._next_anchor - self._clock() <= self._every)
            if due and self._anchor:
                facts: dict[str, Fact] = {"ended": True} if ending else {}
                last, seq, prev = self._key.chain(
                    self.writer, [(self._clock(), render(ChainAnchor.event, facts))], seq, prev
                )
                lines += last
            if self._sink.turn():
                self._mark_durable(self._chain(), len(self._unsynced))
            self._sink.append("".join(lines).encode("ascii"))
        except BaseException:
            self._queue.extendleft(reversed(taken))
            raise
        self._seq, self._prev, self._lost, self._lost_unsynced = seq, prev, 0, self._lost + self._lost_unsynced
        self._since_anchor, self._ended = 0 if due else self._since_anchor + len(lines), ending
        self._next_anchor = self._clock() + self._every if due else self._next_anchor
        self._unsynced.extend(taken)
        if due and self._anchor:
            self._due.append(lines[-1])
        return len(taken)

    def _refusal(self, error: Exception) -> StoreUnavailable:
        """Return the error for a refused write. Logs the first one, and limits the number of waiting rows."""
        refused = write_error(error, self.trail, tell=not self.failing)
        self.failing = True
        while len(self._queue) > WAITING:
            self._queue.popleft()
            self._lost += 1
        return refused

    def restart_in_child(self) -> None:
        """Start again as another writer in a forked child. The parent writes the inherited rows."""
        self._sink.close()
        self._begin(inline=self._thread.inline)


def _facts_of(event: Event) -> dict[str, Fact]:
    """Return the fields of the event's row. Raises InvalidInput for an event that is not in the list."""
    if type(event) not in _KNOWN:
        hint = "Use an event of deputize.core.audit.events."
        raise InvalidInput(f"{type(event).__name__} is not an audit event.", hint=hint, fix_by="operator")
    return event.facts()


_living: Final = WeakSet[Audit]()
"""All audits of this process: closed when it ends, and restarted in a forked child."""


@atexit.register
def _close_all() -> None:
    for audit in list(_living):
        try:
            audit.close()
        except StoreUnavailable as error:
            _log.error("Audit rows are lost: %s", error)


def _close_with_child() -> None:
    """Close all audits if this process is a child forked by multiprocessing, which ends without atexit. That is before
    the portal closes, which stores the heads of chains in the vault. A later row is written at once."""
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util and process and process.parent_process() is not None:
        util.Finalize(None, _close_all, exitpriority=1)


def _begin_again() -> None:
    for audit in list(_living):
        audit.restart_in_child()


os.register_at_fork(after_in_child=_begin_again)
