"""Undo of an act, by a call that its tool provided. That call is an act of its own.

A tool yields an `Undo` after its last write. The call in it is stored encrypted in the act's ledger record, which is
valid for ``outcome_retention_seconds`` (settings). To undo an act, deputize makes this call. Policy, approval, ledger
and audit treat the call like any other act. Its id derives from the act that it undoes, so it happens once. Its preview
is compared with the values that the first act wrote, so a later change by somebody else is not overwritten.
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
    """A user's act that can be undone. ``id``: the id for `Deputy.undo`. ``call``: id of the tool call, from the
    model's provider. ``what`` and ``where``: the preview's fields. ``about``: whom the act reached, and what it
    changed. ``at``: when the act was done. ``until``: when the undo expires. Both are Unix seconds."""

    id: str
    call: str
    tool: str
    what: str
    where: str
    account: str
    at: float
    until: float
    about: str = ""


@frozen
class Inverse(ValueObject):
    """The call that undoes an act, as arguments for `Deputy.act`."""

    tool: str
    arguments: Mapping[str, Any]
    account: str
    app: str
    call: Call


class Undoing:
    """Lookup of undoable acts in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.clock, self.kept = ledger, ledger.clock, ledger.kept

    async def undoable(self, user: User) -> list[Undoable]:
        """Return this user's acts that can be undone now, newest first."""
        rows = await self.ledger.records_by_id(user)
        undone = _undone_acts(rows)
        can = [one for act_id, row in rows.items() if act_id not in undone and (one := self._undoable(act_id, row))]
        return sorted(can, key=lambda one: -one.at)

    def _undoable(self, act_id: str, row: LedgerRecord) -> Undoable | None:
        if row.undo is None or self._is_expired(row):
            return None
        return Undoable(act_id, row.call, row.tool, row.what, row.where, row.name, row.at, row.expires, row.about)

    async def inverse(self, user: User, act_id: str) -> Inverse:
        """Return the call that undoes this act. The call is the same each time, so the ledger lets it happen once.

        Raises `NotFound` for an unknown or expired act or one of another user, `OutcomeUnknown` if the act's outcome is
        unknown, and `Conflict` if it cannot be undone, or was undone and done again.
        """
        act_id = str.strip(act_id).lower()
        rows = await self.ledger.records_by_id(user)
        row = rows.get(act_id)
        if row is None or self._is_expired(row):
            raise NotFound(
                f"No act with the id {act_id[:40]!r} is known, or it has expired.",
                hint=f"An act can be undone for {_hours(self.kept)}. {await self._instead(user)}",
            )
        if row.state is not State.DONE:
            raise OutcomeUnknown("The outcome of this act is unknown, so it cannot be undone.")
        if (undo := row.undo) is None:
            raise Conflict(
                f"{row.tool or 'This act'} cannot be undone.",
                reason="not_undoable",
                hint=f"Correct it with another call. {await self._instead(user)}",
            )
        _refuse_done_again(rows, act_id)
        call = Call(message="undo", id=act_id, undoes=Undoes(act_id, undo.holds))
        return Inverse(undo.tool, undo.arguments, row.account or "", row.app, call)

    async def _instead(self, user: User) -> str:
        can = [one.id for one in await self.undoable(user)]
        return f"These can be undone: {', '.join(can[:10])}." if can else "Nothing can be undone now."

    def _is_expired(self, row: LedgerRecord) -> bool:
        return row.expires <= self.clock()


def _undone_acts(rows: Mapping[str, LedgerRecord]) -> dict[str, str]:
    """Return a map from each undone act to the act that undid it, by id."""
    return {row.undoes: one for one, row in rows.items() if row.undoes and row.state is State.DONE}


def _refuse_done_again(rows: Mapping[str, LedgerRecord], act_id: str) -> None:
    """Raise `Conflict` if the act was undone and then done again: the record of its undo is older than its own."""
    by = _undone_acts(rows)
    if again := by.get(by.get(act_id, "")):
        raise Conflict(
            "This act was undone, and then done again.", reason="already_done", hint=f"To undo that, name {again}."
        )


def undo_facts(
    act: Act, grant: Grant, show: Preview | None, undo: Undo | None, at: float, about: str = ""
) -> dict[str, Any]:
    """Return the facts that an act's record stores with its result. ``at``: Unix seconds. ``about``: the summary."""
    facts: dict[str, Any] = {"tool": act.tool.name}
    facts |= {"undoes": act.call.undoes.act} if act.call.undoes else {}
    if undo is None or show is None:
        return facts
    facts |= {"call": act.call.id, "app": act.app, "name": grant.account.name, "at": at}
    facts |= {"what": show.what, "where": show.where, "about": about}
    return facts | {"undo": {"tool": undo.tool, "arguments": dict(undo.arguments), "holds": as_kept(undo.holds)}}


def refuse_if_changed(act: Act) -> None:
    """Raise `Conflict` if this act is an undo and would overwrite values that have changed."""
    undoes = act.call.undoes
    if undoes is None or not undoes.holds:
        return
    if act.show is None:
        said = f"{act.tool.name} makes no preview, so changes since the act cannot be detected."
        raise InvalidInput(said, fix_by="operator")
    if changed := act.show.unlike(undoes.holds):
        names = ", ".join(name.replace("_", " ") for name in changed)
        raise Conflict(f"It has been changed since: {names}. Nothing was undone.", reason="stale")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} hours" if seconds != 3600 else "an hour"
