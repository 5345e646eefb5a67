"""Text that a model reads: a tool's result, or its failure. It is the same in every framework."""

from __future__ import annotations

import json
from typing import Any, Final

from deputize.core import (
    Conflict,
    Declined,
    DeputizeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    RateLimited,
    ScopeNotGranted,
    SettingsError,
)

__all__ = ["as_text", "failure_text"]

_compact: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":")
).encode  # built once: building it takes half the time of a call


def as_text(result: Any) -> str:
    """Return a tool's result as text for the model: strings unchanged, everything else as compact JSON."""
    if isinstance(result, str):
        return result
    return _compact(result)


def failure_text(error: DeputizeError) -> str:
    """Return a failure as text for the model: what failed, what to do about it, and the provider's reason.

    The reason is JSON marked as untrusted content, like results, so that its text cannot end the mark.
    """
    parts = [str(error)]
    if error.hint and _for_the_model(error):
        parts = [_ended(parts[0]), error.hint]
    if error.from_provider:
        parts = [*parts[:-1], _ended(parts[-1]), f"The provider says: {_compact(error.from_provider)}"]
    return " ".join(parts)


def _ended(sentence: str) -> str:
    """Return the sentence with a full stop, so that another one can follow."""
    return sentence if sentence.endswith((".", "!", "?", ":")) else f"{sentence}."


def _for_the_model(error: DeputizeError) -> bool:
    """Return whether the hint is for the model, which can correct the call or continue. Other hints are for people."""
    if isinstance(error, InvalidInput):
        return error.fix_by == "agent"
    told = (
        Declined | PolicyDenied | ScopeNotGranted | OutcomeUnknown | RateLimited | NotFound | Conflict | SettingsError
    )
    return isinstance(error, told)  # settings: the model tells the user what to set
