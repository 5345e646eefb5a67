"""Writing at most once, where GitHub has no key for it: after a lost answer, look; never write again.

What is found proves that it was done; what is not found proves nothing, since GitHub's lists lag. Then the outcome
stays unknown, a note is left, and a later run of the same act looks again and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deputize.core import SaveNote, Wait
from deputize.core.errors import DeputizeError, OutcomeUnknown, ProviderUnavailable
from deputize.toolkits._shared.steps import T
from deputize.toolkits.github.base import Asks

LOST: Final = (OutcomeUnknown, ProviderUnavailable)
PAUSES: Final = (2.0, 8.0)  # seconds before looking

Noted = Mapping[str, Any] | None


def raise_if_unsent(lost: DeputizeError) -> None:
    """Let pass what cannot have happened."""
    if isinstance(lost, ProviderUnavailable) and not lost.sent:
        raise lost


def once(noted: Noted, write: Asks[T], look: Callable[[], Asks[T | None]], what: str, **pins: Any) -> Asks[T]:
    """What the write made, seen in its answer or found afterwards.

    Raises `OutcomeUnknown` where it may have been made and cannot be found. ``what``: what it makes, in a word.
    ``pins``: what was shown and a later run needs to go on with just that.
    """
    if noted:
        write.close()
    else:
        try:
            return (yield from write)
        except LOST as lost:
            raise_if_unsent(lost)
        yield SaveNote({"looked_for": what, **pins})
    return (yield from found(look, what))


def found(look: Callable[[], Asks[T | None]], what: str) -> Asks[T]:
    """What a write made whose answer was lost. Raises `OutcomeUnknown` where it cannot be found."""
    for pause in PAUSES:
        yield Wait(pause)
        try:
            there = yield from look()
        except DeputizeError:
            continue
        if there is not None:
            return there
    raise OutcomeUnknown(
        f"GitHub's answer was lost: the {what} may have been created, but cannot be found yet.",
        hint=f"Look for the {what} before trying again.",
    )


def again(write: Callable[[], Asks[T]], look: Callable[[], Asks[T | None]]) -> Asks[T]:
    """A write that a precondition guards: after a lost answer look, and try once more if it was not done."""
    try:
        return (yield from write())
    except LOST as lost:
        raise_if_unsent(lost)
    yield Wait(PAUSES[0])
    found = yield from look()
    return found if found is not None else (yield from write())
