"""The user of a task: opens links, and answers requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Preview: TypeAlias = Mapping[str, Any]
Arguments: TypeAlias = Mapping[str, Any]
Decision: TypeAlias = str | dict[str, Any]
"""``approve``, ``reject``, or all arguments of an edited call."""


@dataclass(frozen=True)
class Person:
    """``decides``: the decision on an approval, from its preview and the arguments of the call.

    ``allows``: whether consents are given; ``unticked``: scopes that are left out, by what follows their last slash.
    ``speaks``: the user's further messages after an answer, one after another.
    """

    decides: Callable[[Preview, Arguments], Decision] = lambda preview, arguments: "approve"
    allows: bool = True
    unticked: tuple[str, ...] = ()
    speaks: tuple[str, ...] = ()


SAYS_YES: Final = Person()
SAYS_NO: Final = Person(decides=lambda preview, arguments: "reject")


def edits(**changes: Any) -> Person:
    """Return a person who approves with other arguments than the model's."""
    return Person(decides=lambda preview, arguments: {**arguments, **changes})


def approves_only(*words: str) -> Person:
    """Return a person who approves if all of these words are shown, and rejects everything else."""
    return Person(
        decides=lambda preview, arguments: "approve" if all(one in str(preview) for one in words) else "reject"
    )
