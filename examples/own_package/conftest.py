"""The `sandbox` fixture of deputize, which plays Acme as well; `deputy` and `grant` work over it."""

from __future__ import annotations

import pytest
from acme_tasks.provider import ACME
from acme_tasks.sandbox import Tasks

from deputize.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    """All that deputize plays, and Acme."""
    sandbox = Sandbox()
    sandbox.play(ACME, Tasks())
    return sandbox
