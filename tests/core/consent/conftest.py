"""Fixtures of consents: a house without connections, and a check for blocking calls."""

from collections.abc import AsyncIterator

import pytest

from tests.core.consent.test_consents import House
from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house without connections."""
    made = await House().begin()
    yield made
    await made.deputy.close()
