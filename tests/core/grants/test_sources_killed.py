"""A process that dies before or after any write and any request while a grant is obtained from a source.

The next process can act, and every live token has a record, except for a reply with which the process died before
writing it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest

from deputize.core import DeputizeError, Deputy
from deputize.core.oauth.app import Source
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from tests.support.kill_points import Died, Fate, MortalLine, MortalStore, When
from tests.support.sandbox_deputy import Clock
from tests.support.token_sources import ASSERTION, EXCHANGE, World, app, deputy_with

WHEN: Final[tuple[When, ...]] = ("before", "after")
IN_FLIGHT: Final = ("after POST auth.api.test/token", "before insert received")
"""Where a process dies with a reply that it could not write."""


async def process(world: World, store: MemoryStore, source: Source, fate: Fate | None = None) -> Deputy:
    fate = fate or Fate()
    vault = await Vault.open(MortalStore(store, fate), [b"k" * 32])
    return await deputy_with(world, app(source), vault=vault, line=MortalLine(world, fate))


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("source", [EXCHANGE, ASSERTION], ids=lambda one: one.kind)
async def test_next_process_acts_and_knows_every_token_after_a_kill(source: Source, when: When) -> None:
    at, ended = 0, set[str]()
    while True:
        at += 1
        clock = Clock(1_800_000_000.0)
        world, store, fate = World(clock), MemoryStore(), Fate(at, when)
        world.session("alice")
        with suppress(Died, DeputizeError):
            first = await process(world, store, source, fate)
            await first.act("notes_count_notes", {}, user="alice")
        if not fate.dead:
            break
        ended.add(fate.last)
        next_one = await process(world, store, source)
        await next_one.consents.settle()
        assert (await next_one.act("notes_count_notes", {}, user="alice"))["user"] == "alice"
        in_flight = fate.last in IN_FLIGHT
        assert len(world.alive) == 1 + in_flight, fate.last
        await next_one.revoke("alice")
        assert len(world.alive) == in_flight, fate.last
    needed = {f"{when} insert received", f"{when} insert grant", f"{when} POST auth.api.test/token"}
    assert needed <= ended and at > 5
