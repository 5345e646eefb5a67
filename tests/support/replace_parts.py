"""What a test exchanges in a deputy that is made: its clock, its pages, its way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deputize.core import Deputy


def exchange(deputy: Deputy, **parts: Any) -> None:
    """Let the deputy's consents work with these parts of an `Engine` from now on."""
    repository = deputy.consents.repository
    repository.engine = replace(repository.engine, **parts)
