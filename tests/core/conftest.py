"""Fixtures of the engine: Alice's deputy for every test that builds none of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import ALL


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house in which Alice has connected Gmail, with no request recorded yet."""
    made = await House().begin()
    await made.connected(*ALL)
    made.line.seen.clear()
    made.line.sent.clear()
    yield made
    await made.deputy.close()
