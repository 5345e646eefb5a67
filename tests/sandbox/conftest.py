"""Fixtures of the sandbox: one on its own clock, and an app that uses it."""

from __future__ import annotations

import pytest

from deputize.sandbox import Sandbox
from tests.sandbox.registered_app import Clock, Gmail, TestApp


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until a test sets it."""
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    """Fresh for every test."""
    return Sandbox(clock=clock)


@pytest.fixture
def app(sandbox: Sandbox) -> TestApp:
    """An app registered at the sandbox."""
    return TestApp(sandbox)


@pytest.fixture
async def alice(app: TestApp) -> Gmail:
    """Alice's Gmail for an app that may read, change and send."""
    return await app.gmail("modify")


@pytest.fixture
async def bob(app: TestApp) -> Gmail:
    """Bob's Gmail for the same app."""
    return await app.gmail("modify", as_="bob@example.test")
