"""A deputy of Alice's for every test of the engine that has none of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import ALL


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house in which Alice has connected Gmail, and of which no request is remembered yet."""
    made = await House().begin()
    await made.connected(*ALL)
    made.line.seen.clear()
    made.line.sent.clear()
    yield made
    await made.deputy.close()
