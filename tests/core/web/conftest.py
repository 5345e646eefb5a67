"""Fixtures of the pages: a web application, and no blocking call in a coroutine of ours."""

import pytest

from tests.core.web.web_application import World, make
from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]


@pytest.fixture
async def world() -> World:
    """A web application with the pages of a deputy to which nobody is connected."""
    return await make()
