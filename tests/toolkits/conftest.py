"""Fixtures of every toolkit: providers that the sandbox simulates, each with all scopes and without approvals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deputize.core import Deputy, allow_all
from deputize.sandbox.pytest_plugin import Granting
from tests.toolkits.github_play import Play
from tests.toolkits.slack_world import World, world


@pytest.fixture
def alice(deputy: Deputy, grant: Granting) -> Deputy:
    """A deputy that may do everything for Alice in Linear and Salesforce."""
    grant("alice", "read", "write", "admin", provider="linear")
    grant("alice", "api", provider="salesforce")
    deputy.policy = allow_all
    return deputy


@pytest.fixture
async def play() -> Play:
    """GitHub with every scope for Alice and Bob."""
    return await Play.begin()


@pytest.fixture
async def slack() -> AsyncIterator[World]:
    """Slack with every scope for Alice."""
    async with world() as made:
        yield made
