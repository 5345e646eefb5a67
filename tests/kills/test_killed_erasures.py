"""A tenant's erasure that is killed at any step, while another process works for the tenant's user."""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.kills.killed_erasure import Kill, played
from tests.kills.killed_process import Place
from tests.kills.trial import make_database
from tests.support.postgres import postgres_server

STEPS = 22
"""Writes and requests of an erasure, at least."""


@pytest.mark.processes
@pytest.mark.every(2)
@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.counterpart)])
async def test_killed_erasure_is_completed_beside_a_working_process(store: str) -> None:
    chance = random.SystemRandom()
    kills = [Kill(chance.randrange(1, STEPS + 1), chance.choice(("before", "after"))) for _ in range(3)]
    with postgres_server() if store == "postgres" else nullcontext() as server:
        for kill in kills:
            sandbox = Sandbox()
            async with serve(sandbox.app) as base:
                with tempfile.TemporaryDirectory() as made:
                    database = await asyncio.to_thread(make_database, server.url if server else "")
                    assert await played(Place(Path(made), base, database), sandbox, kill) == ""
