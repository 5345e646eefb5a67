"""The decision of a policy about one act: the verdict, the rule that gave it, and the operator's reason."""

from __future__ import annotations

from enum import StrEnum

from deputize.core.value_object import ValueObject, frozen
from deputize.core.visible_text import visible

MAX_REASON_CHARACTERS = 300


class Verdict(StrEnum):
    """The decision of a policy."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@frozen
class Decision(ValueObject):
    """A verdict with its explanation.

    ``rule``: id of the rule that decided, "" if there is none. It is in the audit. ``reason``: the operator's words for
    the user and the model, one line. ``approvers``: the role whose members are asked instead of the user; only with
    `Verdict.ASK`. ``over_budget``: True if a budget has no room for the act. No mandate answers such a question.
    """

    verdict: Verdict
    rule: str = ""
    reason: str = ""
    approvers: str = ""
    over_budget: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.verdict, Verdict):
            raise TypeError(f"A verdict is a Verdict, not a value of type {type(self.verdict).__name__}.")
        if self.approvers and self.verdict is not Verdict.ASK:
            raise ValueError(f"Approvers can be named only with the verdict ask, not with {self.verdict}.")

    @property
    def gravity(self) -> int:
        """The rank of the decision; the greatest rank wins. From high to low: deny, ask another person, ask, allow."""
        return _GRAVITY[self.verdict] + bool(self.approvers)

    @property
    def reason_line(self) -> str:
        """The reason on one line of at most `MAX_REASON_CHARACTERS`, with invisible characters written out."""
        line = visible(" ".join(self.reason.split()))
        return line if len(line) <= MAX_REASON_CHARACTERS else f"{line[: MAX_REASON_CHARACTERS - 1]}…"


_GRAVITY = {Verdict.ALLOW: 0, Verdict.ASK: 1, Verdict.DENY: 3}
