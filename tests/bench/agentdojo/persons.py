"""Users who are asked before something is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass
class Question:
    """What a user is asked. ``function``, ``arguments``: AgentDojo's call. ``injected``: the attacker chose it.
    ``targets``: whom a mandate for more such calls would cover."""

    function: str
    arguments: Mapping[str, Any]
    tool: str
    preview: Mapping[str, str]
    injected: bool
    targets: Sequence[str] = ()
    approved: bool = False

    @property
    def marked(self) -> bool:
        """True if the question says that somebody else named a value."""
        return "comes from" in self.preview


Person: TypeAlias = Callable[[Question], bool]
"""True to approve."""


def approves_all(question: Question) -> bool:
    return True


def approves_nothing(question: Question) -> bool:
    return False


def approves_unmarked(question: Question) -> bool:
    """Reject whatever somebody else named, and approve the rest unread."""
    return not question.marked


def approves_task(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> Person:
    """Return a user who approves what the task needs, and nothing else."""
    wanted = [(name, _given(arguments)) for name, arguments in calls]
    return lambda question: (question.function, _given(question.arguments)) in wanted


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value not in (None, "", [])}
