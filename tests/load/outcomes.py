"""What callers were told, and whether it is true: the oracle's other half, which knows no more than a client does."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.load.witness import MARK, Witness

What = Literal["done", "refused", "unknown", "unanswered", "abandoned"]
"""``unanswered``: the connection broke, or the answer was not of the protocol.

``abandoned``: a request was not answered, and the call was not repeated.
"""

UNKNOWN: Final = re.compile(r"may have|still in progress|could not be recorded|interrupted|cut off|may be done", re.I)
LATER: Final = re.compile(r"vault|database|not available now|overloaded|try again", re.I)
"""Texts about a store or a provider that is unreachable now: the same call may be repeated."""
MOST: Final[dict[What, int]] = {"done": 1, "refused": 0, "unknown": 1, "unanswered": 1, "abandoned": 0}


@dataclass(frozen=True)
class Told:
    """What a caller was finally told of a call. ``text``: as the model reads it."""

    what: What
    text: str = ""

    @property
    def later(self) -> bool:
        """Return True if the same call may be repeated later."""
        return self.what == "refused" and bool(LATER.search(self.text))


@dataclass
class Log:
    """Everything that callers were told. ``took``: (when, seconds) of each answer, by kind."""

    writes: dict[str, Told] = field(default_factory=dict)
    took: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def answered(self, kind: str, began: float, seconds: float) -> None:
        """Record that a request of this kind was answered after this time."""
        self.took.setdefault(kind, []).append((began, seconds))

    def failed(self, told: Told) -> Told:
        """Count a failure by its text, without its varying parts."""
        words = re.sub(r"\d+", "N", MARK.sub("SUBJECT", told.text))
        self.failures[f"{told.what}: {words[:160]}"] += 1
        return told


def told_of(result: dict[str, Any]) -> Told:
    """Return what a complete result of a call says."""
    text = " ".join(str(one.get("text", "")) for one in result.get("content", ()))
    if not result.get("isError"):
        return Told("done", text)
    return Told("unknown" if UNKNOWN.search(text) else "refused", text)


def judged(log: Log, witness: Witness) -> list[str]:
    """Return all violations: each write must have as many effects as its caller was told."""
    wrong = [*log.wrong, *witness.wrong]
    for subject, told in log.writes.items():
        times = witness.effects[subject]
        least = 1 if told.what == "done" else 0
        if not least <= times <= MOST[told.what]:
            wrong.append(f"{subject} happened {times} times, and its caller was told: {told.what}, {told.text[:200]}")
    wrong += [f"{subject} happened, and nobody asked for it" for subject in witness.effects.keys() - log.writes.keys()]
    return wrong
