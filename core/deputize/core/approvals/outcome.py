"""The ledger record of a write, as a state machine, and the description of its outcome for people.

    claimed -> claimed | done | unknown
    done    -> done, with a rejection that came too late

A rejection counts until the act has begun to write. After that, the user sees the outcome instead. If the act is done,
each later run of it returns the result with a ``note`` about the rejection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import Any, Final, Self

from deputize.core.tools.act import Act
from deputize.core.tools.steps import Undo
from deputize.core.user_requests import Approval, Outcome
from deputize.core.value_object import frozen
from deputize.core.vault.record import Record, StoredRecord


class State(StrEnum):
    """The state of an act."""

    CLAIMED = "claimed"
    DONE = "done"
    UNKNOWN = "unknown"


MOVES: Final[Mapping[str, State]] = {
    "claim": State.CLAIMED,
    "finish": State.CLAIMED,
    "lose": State.CLAIMED,
    "reject": State.DONE,
}
"""The state that each transition starts from. Any other raises `RuntimeError`, because it is a bug."""
OUTCOMES: Final[Mapping[State, Outcome]] = {State.DONE: "done", State.CLAIMED: "in_progress", State.UNKNOWN: "unknown"}


@frozen(kw_only=True, slots=False)
class LedgerRecord(StoredRecord):
    """The ledger record of an act. Times are in Unix seconds.

    ``at``: when the record was last saved. ``expires``: when it expires. ``account``: the acting subject, None in old
    records. ``service_account``: the app whose service account acts. ``arguments``: digest of the arguments.
    ``noted``: data from which a later run can find out how this run ended. ``until``: the time, by the store's clock,
    after which the run that claimed the record sends no request. ``show``: digest of the preview, and ``preview``: its
    stored form, only beside a note, so that the policy can decide again. ``began``: when the act was first requested.
    ``answered_by``: the reason why the act was allowed. ``people``: resolved people by name.
    Only for a done act: ``tool``; ``undoes``: the act that it undid; and if it can be undone, ``undo`` and the fields
    of `Undoable`. ``late_no``: when the user rejected the act after it was done. ``effect``: the act's effect, in the
    words of its approval.
    """

    KIND = "act"
    state: State = State.CLAIMED
    at: float = 0.0
    expires: float
    account: str | None = None
    service_account: str = ""
    arguments: str
    noted: Mapping[str, Any] | None = field(default=None, repr=False)
    until: float = 0.0
    show: str = ""
    preview: Mapping[str, Any] | None = field(default=None, repr=False)
    began: float = 0.0
    answered_by: str = ""
    people: Mapping[str, str] = field(default_factory=dict, repr=False)
    result: Any = field(default=None, repr=False)
    tool: str = ""
    undoes: str = ""
    call: str = ""
    app: str = ""
    name: str = ""
    what: str = field(default="", repr=False)
    where: str = field(default="", repr=False)
    about: str = field(default="", repr=False)
    undo: Undo | None = field(default=None, repr=False)
    late_no: float = 0.0
    effect: str = ""
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: Record | None = field(default=None, repr=False, compare=False)

    @classmethod
    def begin(cls, act: Act, account: str) -> LedgerRecord:
        """Return a new record for this act. It is saved when the act first writes."""
        return _NEW.copy_with(account=account, arguments=act.digest, service_account=act.service_account)

    # ------------------------------------------------------------- transitions

    def _move(self, transition: str, state: State, facts: Mapping[str, Any]) -> Self:
        if self.state is not MOVES[transition]:
            raise RuntimeError(f"The transition {transition} does not lead from the state {self.state}.")
        return self.copy_with(state=state, **facts)

    def claim(self, **facts: Any) -> Self:
        """Record that a run of the act may write from now on, or has stored a note."""
        return self._move("claim", State.CLAIMED, facts)

    def finish(self, result: Any, undo: Mapping[str, Any] | None = None, **facts: Any) -> Self:
        """Record that the act is done. ``undo``: the fields of an `Undo`, as JSON."""
        facts |= {"noted": None, "preview": None, "until": 0.0, "people": {}, "result": result}
        return self._move("finish", State.DONE, facts | {"undo": Undo(**undo)} if undo else facts)

    def lose(self, **facts: Any) -> Self:
        """Record that the outcome is unknown: the act may have been done."""
        return self._move("lose", State.UNKNOWN, facts | {"noted": None, "preview": None, "until": 0.0, "people": {}})

    def reject(self, now: float, effect: str) -> Self:
        """Record that the user rejected the act after it was done."""
        return self._move("reject", State.DONE, {"late_no": now, "effect": effect})

    # ------------------------------------------------------------- judging

    @property
    def outcome(self) -> Outcome:
        """The outcome of the act, in the words of an approval."""
        return OUTCOMES[self.state]

    def result_now(self) -> Any:
        """Return the recorded result of a done act, with a ``note`` if the user rejected it afterwards."""
        if not self.late_no or not isinstance(self.result, dict):
            return self.result
        when = f"{_verb(self.effect)}{_when(self.at, UTC)}"
        return {"note": f"The user rejected this, but too late: it was already {when}.", **self.result}

    # ------------------------------------------------------------- as JSON

    def pack(self) -> dict[str, Any]:
        """Return the record as JSON for the vault, without empty optional fields."""
        if self.undo is None:
            return self.pack_fields(_OF_A_RESULT if self.state is State.DONE else _ALWAYS)
        undo = {"tool": self.undo.tool, "arguments": self.undo.arguments, "holds": self.undo.holds}
        return self.pack_fields(_OF_AN_UNDO) | {"undo": undo}


_ALWAYS: Final = frozenset({"state", "at", "expires", "arguments"})
_OF_A_RESULT: Final = _ALWAYS | {"result", "tool"}
_OF_AN_UNDO: Final = _OF_A_RESULT | {"call", "app", "name", "what", "where"}
_NEW: Final = LedgerRecord(expires=0.0, arguments="")


def describe_outcome(approval: Approval, zone: tzinfo | None) -> str:
    """Return the outcome of the act that used this approval, such as ``it was already sent at 22:36 UTC``. ``zone``:
    the time zone of the time, None for the machine's."""
    if approval.outcome == "done":
        return f"it was already {_verb(approval.effect)}{_when(approval.ended_at, zone)}"
    if approval.outcome == "unknown":
        return f"it was begun{_when(approval.ended_at, zone)}, and nobody knows whether it was {_verb(approval.effect)}"
    return "it has begun"


def _verb(effect: str) -> str:
    return "sent" if effect == "sends" else "done"


def _when(when: float, zone: tzinfo | None) -> str:
    return f" at {datetime.fromtimestamp(when, UTC).astimezone(zone):%H:%M %Z}" if when else ""
