"""The ledger's record of an act that writes, as a state machine; and how people are told what became of the act.

    claimed -> claimed | done | unknown
    done    -> done, with a no that came too late

A no counts until the act has begun to write. After that the truth is told instead: to whoever said it, and, where the
act is done, to every later run of it, whose result then says so in a ``note``.
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
    """How an act stands."""

    CLAIMED = "claimed"
    DONE = "done"
    UNKNOWN = "unknown"


MOVES: Final[Mapping[str, State]] = {
    "claim": State.CLAIMED,
    "finish": State.CLAIMED,
    "lose": State.CLAIMED,
    "reject": State.DONE,
}
"""From which state each transition leads. Any other is a bug, and raises `RuntimeError`."""
OUTCOMES: Final[Mapping[State, Outcome]] = {State.DONE: "done", State.CLAIMED: "in_progress", State.UNKNOWN: "unknown"}


@frozen(kw_only=True, slots=False)
class LedgerRecord(StoredRecord):
    """An act's record in the ledger. Times are in Unix seconds.

    ``at``: of its last write; ``expires``: until then it counts. ``account``: the subject it acts as, None where an old
    row does not say; ``service_account``: the app of an organisation's account. ``arguments``: the digest of them.
    ``noted``: what a later run needs to find out how this one ended. ``until``: no request of the run that claimed it
    leaves later, by the store's clock. ``show``: the digest of what the act showed; ``began``: when it was first asked
    for; ``answered_by``: what let it begin. ``people``: who was meant by names. The next are of a done act: ``tool``,
    ``undoes``, the act that it put back, and, where it can be put back, ``undo`` and what `Undoable` says of it.
    ``late_no``: when the user said no to it; ``effect``: its effect, in the words of its approval.
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
    undo: Undo | None = field(default=None, repr=False)
    late_no: float = 0.0
    effect: str = ""
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    row: Record | None = field(default=None, repr=False, compare=False)

    @classmethod
    def begin(cls, act: Act, account: str) -> LedgerRecord:
        """A record for this act, which is to be saved when the act first writes."""
        return _NEW.copy_with(account=account, arguments=act.digest, service_account=act.service_account)

    # ------------------------------------------------------------- transitions

    def _moved(self, transition: str, state: State, facts: Mapping[str, Any]) -> Self:
        if self.state is not MOVES[transition]:
            raise RuntimeError(f"The transition {transition} does not lead from the state {self.state}.")
        return self.copy_with(state=state, **facts)

    def claim(self, **facts: Any) -> Self:
        """A run of the act may write from now on, or has noted something."""
        return self._moved("claim", State.CLAIMED, facts)

    def finish(self, result: Any, undo: Mapping[str, Any] | None = None, **facts: Any) -> Self:
        """The act is done. ``undo``: the fields of an `Undo`, as JSON."""
        facts |= {"noted": None, "until": 0.0, "people": {}, "result": result}
        return self._moved("finish", State.DONE, facts | {"undo": Undo(**undo)} if undo else facts)

    def lose(self, **facts: Any) -> Self:
        """The act may have been done: nobody knows."""
        return self._moved("lose", State.UNKNOWN, facts | {"noted": None, "until": 0.0, "people": {}})

    def reject(self, now: float, effect: str) -> Self:
        """The user said no, too late."""
        return self._moved("reject", State.DONE, {"late_no": now, "effect": effect})

    # ------------------------------------------------------------- judging

    @property
    def outcome(self) -> Outcome:
        """How the act stands, as an approval says it."""
        return OUTCOMES[self.state]

    def result_now(self) -> Any:
        """The recorded result of a done act; with a ``note`` where the user has said no to it since."""
        if not self.late_no or not isinstance(self.result, dict):
            return self.result
        when = f"{_verb(self.effect)}{_at(self.at, UTC)}"
        return {"note": f"The user said no to this, but too late: it was already {when}.", **self.result}

    # ------------------------------------------------------------- as JSON

    def pack(self) -> dict[str, Any]:
        """As JSON for the vault; of what not every act has, only what there is."""
        if self.undo is None:
            return self.pack_fields(_OF_A_RESULT if self.state is State.DONE else _ALWAYS)
        undo = {"tool": self.undo.tool, "arguments": self.undo.arguments, "holds": self.undo.holds}
        return self.pack_fields(_OF_AN_UNDO) | {"undo": undo}


_ALWAYS: Final = frozenset({"state", "at", "expires", "arguments"})
_OF_A_RESULT: Final = _ALWAYS | {"result", "tool"}
_OF_AN_UNDO: Final = _OF_A_RESULT | {"call", "app", "name", "what", "where"}
_NEW: Final = LedgerRecord(expires=0.0, arguments="")


def what_is_so(approval: Approval, zone: tzinfo | None) -> str:
    """How the act stands that used this approval: ``it was already sent at 22:36 UTC``. ``zone``: None for here."""
    if approval.outcome == "done":
        return f"it was already {_verb(approval.effect)}{_at(approval.ended_at, zone)}"
    if approval.outcome == "unknown":
        return f"it was begun{_at(approval.ended_at, zone)}, and nobody knows whether it was {_verb(approval.effect)}"
    return "it has begun"


def _verb(effect: str) -> str:
    return "sent" if effect == "sends" else "done"


def _at(when: float, zone: tzinfo | None) -> str:
    return f" at {datetime.fromtimestamp(when, UTC).astimezone(zone):%H:%M %Z}" if when else ""
