"""Writing at most once, because GitHub has no idempotency key: after a lost response, look, and never write again.

A found item proves that the write happened. A missing item proves nothing, because GitHub's lists lag: the outcome
stays unknown, a note is saved, and a later run of the same act looks again and writes nothing.
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
    """Raise the error if the request was never sent."""
    if isinstance(lost, ProviderUnavailable) and not lost.sent:
        raise lost


def write_once(noted: Noted, write: Asks[T], look: Callable[[], Asks[T | None]], what: str, **pins: Any) -> Asks[T]:
    """Return the result of ``write``, from its response or found by ``look``.

    Raises `OutcomeUnknown` if the write may have happened and ``look`` finds no item. ``what``: the item's name.
    ``pins``: previewed values that a later run needs.
    """
    if noted:
        write.close()
    else:
        try:
            return (yield from write)
        except LOST as lost:
            raise_if_unsent(lost)
        yield SaveNote({"looked_for": what, **pins})
    return (yield from find_written(look, what))


def find_written(look: Callable[[], Asks[T | None]], what: str) -> Asks[T]:
    """Return the item of a write whose response was lost. Raises `OutcomeUnknown` if it cannot be found."""
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


def retry_once(write: Callable[[], Asks[T]], look: Callable[[], Asks[T | None]]) -> Asks[T]:
    """Write under a precondition. After a lost response, look, and try once more if nothing was written."""
    try:
        return (yield from write())
    except LOST as lost:
        raise_if_unsent(lost)
    yield Wait(PAUSES[0])
    found = yield from look()
    return found if found is not None else (yield from write())
