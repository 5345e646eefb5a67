"""What a model reads of an act: its result, or its failure in one sentence. The same in every framework."""

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
    RateLimited,
    ScopeNotGranted,
    SettingsError,
)

__all__ = ["as_text", "failure_text"]

_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # made once: it costs half a call


def as_text(result: Any) -> str:
    """A tool's result for the model: text as it is, all else as compact JSON."""
    if isinstance(result, str):
        return result
    return _compact(result)


def failure_text(error: DeputizeError) -> str:
    """A failure as the model should read it: one sentence, what it may do about it, and the provider's own reason.

    The reason is JSON with the mark of texts from outside, as results have it: no word of it can end it.
    """
    parts = [str(error)]
    if error.hint and _for_the_model(error):
        parts = [_ended(parts[0]), error.hint]
    if error.from_provider:
        parts = [*parts[:-1], _ended(parts[-1]), f"The provider says: {_compact(error.from_provider)}"]
    return " ".join(parts)


def _ended(sentence: str) -> str:
    """With a full stop where another sentence follows."""
    return sentence if sentence.endswith((".", "!", "?", ":")) else f"{sentence}."


def _for_the_model(error: DeputizeError) -> bool:
    """Whether the hint is for a model: what it may correct, or how it goes on. Other hints are for people."""
    if isinstance(error, InvalidInput):
        return error.fix_by == "agent"
    told = Declined | ScopeNotGranted | OutcomeUnknown | RateLimited | NotFound | Conflict | SettingsError
    return isinstance(error, told)  # of settings: the model tells its person what to set
