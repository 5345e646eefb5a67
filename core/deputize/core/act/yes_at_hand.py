"""A yes that comes with its act, and becomes durable with the act's claim: its row goes from pending to used at once.

Whoever has heard the yes hands it along while the act runs. It counts for the one row that it names, as long as that
waits: the act then sees the row as it will lie there once the yes is written, and takes it by one swap of what lies
there now. Where the act comes to anything else, the yes is written as `Approvals.decide` does, before that is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any

from deputize.core.act.approval_row import waits
from deputize.core.errors import Conflict, NotFound, StoreUnavailable
from deputize.core.vault.content import packed
from deputize.core.vault.vault import Record


class YesAtHand:
    """One user's yes to the approval in one row. As a context, it is at hand as long as that lasts, and written then.

    ``said``: what the yes makes of the row's content. ``write``: what else writes it. ``tell`` says in the audit that
    it was written, where the act has done that.
    """

    def __init__(
        self,
        row: Record,
        said: dict[str, Any],
        write: Callable[[], Awaitable[object]],
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        self.key, self.id, self.said = row.key, row.json["id"], said
        self._write, self._tell, self.over = write, tell, False
        self.agreed: Record | None = None
        self.lies: Record | None = None
        self._token: Token[YesAtHand | None] | None = None

    async def __aenter__(self) -> None:
        await record_yes_at_hand()  # of a context around this one: an act sees one yes
        self._token = _at_hand.set(self)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Written at the latest now. A store that cannot take it is told of, unless something else went wrong before:
        whoever has kept the yes says it again. What outlives this, as a task may, has it at hand no more."""
        if self._token is not None:
            _at_hand.reset(self._token)
        try:
            with suppress(*([StoreUnavailable] if error else [])):
                await self.record()
        finally:
            self.over = True

    async def record(self) -> None:
        """Write it by itself, unless it is written, to its end, also where whoever asked was cancelled. What was
        decided meanwhile stands."""
        if not self.over:
            with suppress(NotFound, Conflict):
                await asyncio.shield(asyncio.ensure_future(self._write()))
            self.over = True

    async def used(self) -> None:
        """The act has written it, with the use of it."""
        self.over = True
        await self._tell()


_at_hand: ContextVar[YesAtHand | None] = ContextVar("deputize_yes_at_hand", default=None)


def as_agreed(record: Record | None, now: float) -> Record | None:
    """The row, with the yes that is at hand where that is about it: content as it will be, ``sealed`` as it lies there.
    Any other as it is."""
    yes = _at_hand.get()
    if yes is None or yes.over or record is None or record.key != yes.key:
        return record
    if yes.agreed is None or yes.agreed.sealed != record.sealed:
        content = record.json
        if content["id"] != yes.id or not waits(content, now):
            return record
        agreed = packed(content | yes.said)
        yes.agreed, yes.lies = Record(record.kind, record.key, record.generation, agreed, record.sealed), record
    return yes.agreed


def is_agreed(record: Record | None) -> bool:
    """Whether the row is so only by the yes that is at hand: it does not lie there yet."""
    yes = _at_hand.get()
    return yes is not None and record is not None and record is yes.agreed


def as_it_lies(record: Record) -> Record:
    """The row of `as_agreed` as it lies there: the vault tells by that whether only its seal has changed."""
    yes = _at_hand.get()
    return yes.lies if yes is not None and yes.lies is not None and record is yes.agreed else record


async def record_yes_at_hand() -> None:
    """Write it, where one is at hand and is not written: the act comes to something else."""
    if yes := _at_hand.get():
        await yes.record()


async def tell_of_yes_at_hand() -> None:
    """The act has written it, by the use of it."""
    if yes := _at_hand.get():
        await yes.used()
