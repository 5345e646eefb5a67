"""What doctor finds: one thing looked at, how it stands, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deputize.core import DeputizeError

State = Literal["ok", "open", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``open``: fine for now, but something is left to do."""

    what: str
    state: State
    found: str
    todo: str = ""


def bad(what: str, e: DeputizeError) -> Finding:
    return Finding(what, "bad", e.message, e.hint)
