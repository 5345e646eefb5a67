"""Fixtures of the pages: a web application, and a check for blocking calls."""

import pytest

from tests.core.web.web_application import World, make
from tests.support.blocking import no_coroutine_of_ours_blocks

__all__ = ["no_coroutine_of_ours_blocks"]


@pytest.fixture
async def world() -> World:
    """A web application with the pages of a deputy without connections."""
    return await make()
