"""A process dies at any step of a call whose server asks its user: the question is kept, and the effect happens
once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import pytest

from deputize.core import App, ApprovalRequired, Call, Deputy, InvalidInput, OutcomeUnknown, User, allow_all
from deputize.core.mcp_client.pins import Pin
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.mcp_client.tools import foreign_toolkit
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from tests.core.mcp_client.test_asking_the_user import LINK, SEND, asks
from tests.support.foreign_mcp import URL, Foreign, give, provider_at, text
from tests.support.kill_points import Fate, MortalLine, MortalStore, When
from tests.support.sandbox_deputy import PAGES, no_sleep, public_names

KEY = b"k" * 32
ALICE = User("alice")


def reply(params: Any, request: httpx.Request) -> Any:
    """Ask first, and act when the answer arrives."""
    return text("did it") if params.get("requestState") else asks(LINK)


async def process(store: MemoryStore, foreign: Foreign, fate: Fate) -> Deputy:
    server = McpServer("other", URL)
    pins = {"send": Pin(dict(SEND), at=1_795_000_000.0, by="ops")}
    return Deputy(
        await Vault.open(MortalStore(store, fate), [KEY]),
        [App("other", "client", name="other")],
        pages=PAGES,
        providers={"other": provider_at(server)},
        toolkits=[foreign_toolkit(server, pins)],
        transport=MortalLine(foreign, fate),
        policy=allow_all,
        sleep=no_sleep,
        resolve=public_names,
    )


async def attempt(deputy: Deputy) -> str:
    """Run the call once, answering if it asks."""
    try:
        await deputy.act("other_send", {"to": "bob"}, user="alice", call=Call("t", "m", "1"))
    except ApprovalRequired as waits:
        await deputy.questions.reply(waits.approval.id, "accept", by=ALICE)
        return "asked"
    except OutcomeUnknown:
        return "unknown"
    except InvalidInput as late:
        return late.reason
    return "done"


async def story(deputy: Deputy) -> str:
    """Run the call until it has ended."""
    for _ in range(4):
        if (ended := await attempt(deputy)) != "asked":
            return ended
    return "asked"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_call_is_done_once_or_unknown_when_killed_at_any_step(when: When) -> None:
    ends = dict[str, str]()
    for at in range(1, 100):
        foreign, store, fate = Foreign([SEND]), MemoryStore(), Fate()
        foreign.reply = reply
        await Vault.open(store, [KEY])
        await give(await process(store, foreign, Fate()))
        dying = await process(store, foreign, fate)
        fate.steps.clear()
        fate.at, fate.when = at, when
        with suppress(Exception):  # whatever the last gasp of it is
            await story(dying)
        if not fate.dead:
            break
        ends[f"{at} {fate.last}"] = ended = await story(await process(store, foreign, Fate()))
        done = [one for one in foreign.calls if one.get("requestState")]
        assert len(done) <= 1 and ended in ("done", "unknown"), ends
        assert await story(await process(store, foreign, Fate())) == ended  # whoever looks again is told the same
    assert len(ends) > 10 and {"done", "unknown"} == set(ends.values()), ends
