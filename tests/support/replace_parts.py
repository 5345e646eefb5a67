"""Parts of a built deputy that a test replaces: its clock, its pages, its transport."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deputize.core import Deputy


def exchange(deputy: Deputy, **parts: Any) -> None:
    """Replace these parts of `Services` for the deputy's consents from now on."""
    repository = deputy.consents.repository
    repository.services = replace(repository.services, **parts)
