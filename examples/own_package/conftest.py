"""The `sandbox` fixture of deputize, which also simulates Acme; `deputy` and `grant` use it."""

from __future__ import annotations

import pytest
from acme_tasks.provider import ACME
from acme_tasks.sandbox import Tasks

from deputize.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    """Return a sandbox that also simulates Acme."""
    sandbox = Sandbox()
    sandbox.play(ACME, Tasks())
    return sandbox
