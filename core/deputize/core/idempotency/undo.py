"""Putting back what an act has done: by the call that its tool has left for that, which is an act of its own.

A tool yields an `Undo` after its last write. It is kept sealed in the act's row, as long as that counts. To undo is to
make that call: policy, approval, ledger and audit see an act like any other, whose id follows from the one that it puts
back, so that it happens once. Where it shows what it will do, that is compared with what the first act has left: what
somebody has changed since is not overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deputize.core.approvals.outcome import LedgerRecord, State
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.idempotency.ledger import Ledger
from deputize.core.tools.act import Act, Call, Undoes
from deputize.core.tools.preview import Preview, as_kept
from deputize.core.tools.steps import Undo
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Grant, User


@frozen
class Undoable(ValueObject):
    """An act of a user that can be put back. ``id``: what `Deputy.undo` takes; ``call``: the tool call's id, as the
    model's provider gave it; ``what`` and ``where``: as it was shown; ``at`` and ``until``: when it was done, and until
    when it can be undone, in Unix seconds."""

    id: str
    call: str
    tool: str
    what: str
    where: str
    account: str
    at: float
    until: float


@frozen
class Inverse(ValueObject):
    """The call that puts an act back, as `Deputy.act` takes it."""

    tool: str
    arguments: Mapping[str, Any]
    account: str
    app: str
    call: Call


class Undoing:
    """Finds what can be undone in the rows of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.clock, self.kept = ledger, ledger.clock, ledger.kept

    async def undoable(self, user: User) -> list[Undoable]:
        """What of this user's acts can be put back now, newest first."""
        rows = await self.ledger.done_by(user)
        undone = _undone(rows)
        can = [one for act_id, row in rows.items() if act_id not in undone and (one := self._undoable(act_id, row))]
        return sorted(can, key=lambda one: -one.at)

    def _undoable(self, act_id: str, row: LedgerRecord) -> Undoable | None:
        if row.undo is None or self._expired(row):
            return None
        return Undoable(act_id, row.call, row.tool, row.what, row.where, row.name, row.at, row.expires)

    async def inverse(self, user: User, act_id: str) -> Inverse:
        """The call that puts this act back. The same one each time, which the ledger lets happen once.

        Raises `NotFound` for an act that is not this user's or not known any more, `OutcomeUnknown` for one of which
        nobody knows how it ended, and `Conflict` for one that cannot be put back, or was again.
        """
        act_id = act_id.strip().lower()
        rows = await self.ledger.done_by(user)
        row = rows.get(act_id)
        if row is None or self._expired(row):
            raise NotFound(
                "No act of this id is known, or not any more.",
                hint=f"An act can be undone for {_hours(self.kept)}. {await self._instead(user)}",
            )
        if row.state is not State.DONE:
            raise OutcomeUnknown("Nobody knows how this act ended, so it cannot be undone.")
        if (undo := row.undo) is None:
            raise Conflict(
                f"{row.tool or 'This act'} cannot be undone.",
                reason="not_undoable",
                hint=f"Do what puts it right as an act of its own. {await self._instead(user)}",
            )
        _refuse_done_again(rows, act_id)
        call = Call(message="undo", id=act_id, undoes=Undoes(act_id, undo.holds))
        return Inverse(undo.tool, undo.arguments, row.account or "", row.app, call)

    async def _instead(self, user: User) -> str:
        can = [one.id for one in await self.undoable(user)]
        return f"These can be undone: {', '.join(can[:10])}." if can else "Nothing can be undone now."

    def _expired(self, row: LedgerRecord) -> bool:
        return row.expires <= self.clock()


def _undone(rows: Mapping[str, LedgerRecord]) -> dict[str, str]:
    """The acts that were put back, each with the one that did it."""
    return {row.undoes: one for one, row in rows.items() if row.undoes and row.state is State.DONE}


def _refuse_done_again(rows: Mapping[str, LedgerRecord], act_id: str) -> None:
    """Raises `Conflict` for an act that was undone and then done again: the record of its undoing is of before that."""
    by = _undone(rows)
    if again := by.get(by.get(act_id, "")):
        raise Conflict(
            "This act was undone, and then done again.", reason="already_done", hint=f"To undo that, name {again}."
        )


def kept_of(act: Act, grant: Grant, show: Preview | None, undo: Undo | None, at: float) -> dict[str, Any]:
    """What an act's row keeps beside its result. ``at``: Unix seconds."""
    facts: dict[str, Any] = {"tool": act.tool.name}
    facts |= {"undoes": act.call.undoes.act} if act.call.undoes else {}
    if undo is None or show is None:
        return facts
    facts |= {"call": act.call.id, "app": act.app, "name": grant.account.name, "at": at}
    facts |= {"what": show.what, "where": show.where}
    return facts | {"undo": {"tool": undo.tool, "arguments": dict(undo.arguments), "holds": as_kept(undo.holds)}}


def refuse_if_changed(act: Act) -> None:
    """Raises `Conflict` where what this act would put back is not as it was left; for any other act does nothing."""
    undoes = act.call.undoes
    if undoes is None or not undoes.holds:
        return
    if act.show is None:
        said = f"{act.tool.name} does not show what it would put back, so nobody can tell whether it is as it was left."
        raise InvalidInput(said, fix_by="operator")
    if changed := act.show.unlike(undoes.holds):
        names = ", ".join(name.replace("_", " ") for name in changed)
        raise Conflict(f"It has been changed since: {names}. Nothing was undone.", reason="stale")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} hours" if seconds != 3600 else "an hour"
