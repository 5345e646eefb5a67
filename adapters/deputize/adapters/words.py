"""What a model reads of an act: its result, or its failure in one sentence. The same in every framework."""

from __future__ import annotations

import json
from typing import Any

from deputize.core import (
    Conflict,
    Declined,
    DeputizeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ScopeNotGranted,
)


def as_text(result: Any) -> str:
    """A tool's result for the model: text as it is, all else as compact JSON."""
    if isinstance(result, str):
        return result
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))


def told(error: DeputizeError) -> str:
    """A failure as the model should read it: one sentence, what it may do about it, and nothing else."""
    return f"{error} {error.hint if _for_the_model(error) else ''}".strip()


def _for_the_model(error: DeputizeError) -> bool:
    """Whether the hint is for a model: what it may correct, or how it goes on. Other hints are for people."""
    if isinstance(error, InvalidInput):
        return error.fix_by == "agent"
    return isinstance(error, Declined | ScopeNotGranted | OutcomeUnknown | RateLimited | NotFound | Conflict)
