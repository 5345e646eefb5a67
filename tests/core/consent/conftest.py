"""Fixtures of consents: a house where nobody is connected, and no blocking call in a coroutine of ours."""

from collections.abc import AsyncIterator

import pytest

from tests.core.consent.test_consents import House
from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house where nobody is connected."""
    made = await House().begin()
    yield made
    await made.deputy.close()
