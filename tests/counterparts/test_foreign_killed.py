"""A process is killed (SIGKILL) at each step of a foreign tool's call, at independently written servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core.mcp_client import protocol
from tests.counterparts.test_foreign_servers import WAYS, deputy_at, running
from tests.support.foreign_mcp_process import Place, lived, once

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module", params=WAYS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with running(request.param) as address:
        yield address


@pytest.fixture(params=["modern", "legacy"])
async def place(request: pytest.FixtureRequest, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A vault in which the server's tools are pinned."""
    if request.param == "legacy":
        monkeypatch.setattr(protocol.Link, "open", lambda link: link._initialize())
    async with deputy_at(url) as deputy:
        looked = await deputy.mcp.look("other", "alice")
    there = Place(tmp_path, url, request.param)
    await there.prepare([dict(one.now) for one in looked if one.now])
    return there


async def sent(place: Place) -> list[str]:
    """Return what the server did, by its own account."""
    _, words = await once(place, "sent", f"asked {len(list(place.folder.iterdir()))}")
    return words.split("'id': '")[1].split("'")[0].split(",")


async def test_call_killed_at_any_step_is_done_once_or_unknown(place: Place) -> None:
    ends = dict[str, tuple[str, str]]()
    for at in range(1, 30):  # what is after one step is before the next
        to = f"{place.era} {at}"
        if await asyncio.to_thread(lived, place, "send", to, at=at) is not None:
            break
        step = json.loads((place.folder / "trace").read_text())[0]
        ended, words = await once(place, "send", to)  # the next process
        assert await once(place, "send", to) == (ended, words)  # whoever looks again is told the same
        assert ended == "done" or ("may have been done" in words and "Check at the provider" in words), (step, words)
        ends[to] = ended, step
    assert len(ends) > 4, ends
    did = await sent(place)
    assert all(did.count(to) == 1 if ended == "done" else did.count(to) <= 1 for to, (ended, _) in ends.items()), ends
    assert {"done", "outcome_unknown"} == {ended for ended, _ in ends.values()}, ends
    assert {did.count(to) for to, (ended, _) in ends.items() if ended == "outcome_unknown"} == {0, 1}, ends


async def test_call_killed_while_the_server_works_is_unknown_and_not_repeated(place: Place) -> None:
    ended, words, to = "never tried", "", ""
    for number in range(4):  # on a busy machine it may be killed before it, or its server, has begun
        to = f"held {place.era} {number}"
        assert await asyncio.to_thread(lived, place, "hold", to, seconds=0.9) is None
        ended, words = await once(place, "hold", to)
        if ended != "done" and f"{to} begun" in await sent(place):
            break
    assert ended == "outcome_unknown", words
    await asyncio.sleep(1.2)  # it ends there, or was stopped half way: nobody here can know
    assert await once(place, "hold", to) == (ended, words)
    did: Any = await sent(place)
    assert did.count(f"{to} begun") == 1 and did.count(to) <= 1
