"""The user's own pages with odd records, second tabs, huge texts and changed rules: correct texts, and no error."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Act, ApprovalRequired, Call, User, Verdict
from deputize.core.audit import Audit
from deputize.core.web.pages import texts
from deputize.core.web.pages.activity import Entry, _Teller, history_of
from tests.core.web.test_activity import done, opened
from tests.core.web.web_application import World, make, words_of

BY_HAND = [
    {"decision": None},
    {"decision": ["done"]},
    {"ts": 10**40},
    {"act_id": ["x"]},
    {"user": ["p-x"]},
    {"tool": None, "agent": 7},
    {"tool": "forged_tool"},
    {"account_hash": {}, "undoes": [], "app": {}},
]


async def kept(folder: Path) -> tuple[World, Path, str]:
    """Perform an act with an audit on disk; return the world, the audit file and the act's line."""
    world = await done("1", audit=Audit(folder / "audit", b"k" * 32))
    await asyncio.to_thread(world.deputy.audit.flush)
    (path,) = (folder / "audit").glob("*.jsonl")
    return world, path, next(line for line in path.read_text().splitlines() if '"act.result"' in line)


@pytest.mark.parametrize("odd", BY_HAND, ids=repr)
async def test_hand_written_row_is_hidden_and_breaks_no_page(odd: dict[str, object], tmp_path: Path) -> None:
    world, path, line = await kept(tmp_path)
    row = json.loads(line)
    mark = json.dumps({"user": row["user"]}, separators=(",", ":"))[1:-1]
    forged = json.dumps({"seq": 99, **row, **odd, "act_id": odd.get("act_id", "f" * 12)}, separators=(",", ":"))
    path.with_name("forged.0.jsonl").write_text(forged[:-1] + f',"x":{{{mark}}}}}\n')
    for address in ("/activity", "/connections"):
        page = await world.browser().open(address)
        assert page.status == 200 and "forged_tool" not in page.text, address
    found = await history_of(world.deputy, User("alice"))
    assert [one.tool for one in found.entries] == ["gmail_star"] and not found.whole


async def test_rows_under_an_earlier_key_are_shown_while_it_is_known(tmp_path: Path) -> None:
    world, _, _ = await kept(tmp_path)
    for old, seen in (([b"k" * 32], 1), ([], 0)):
        names, world.deputy.audit = world.deputy.audit.names, Audit(tmp_path / "audit", b"n" * 32, old_keys=old)
        world.deputy.audit.names = names
        assert len((await history_of(world.deputy, User("alice"))).entries) == seen


async def test_history_is_read_outside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    world, threads, told = await done("1"), set[int](), _Teller.entry

    def entry(self: _Teller, row: Mapping[str, Any]) -> Entry:
        threads.add(threading.get_ident())
        return told(self, row)

    monkeypatch.setattr(_Teller, "entry", entry)
    assert "Nothing was found." in words_of(await opened(world, "?q=nothing+there"))
    assert threads and threading.get_ident() not in threads


async def ask(act: Act) -> Verdict:
    return Verdict.ASK


async def deny(act: Act) -> Verdict:
    return Verdict.DENY


async def test_second_tab_shows_the_current_state_whatever_is_pressed() -> None:
    world = await done("1")
    browser = world.browser()
    page = await browser.open("/activity")
    form = next(form for form in page.forms if form.action.endswith("/undo"))
    world.deputy.policy = ask
    one, other = [await browser.submit(page, form) for _ in range(2)]
    assert "Undone since" in words_of(await browser.submit(one, one.forms[0], sure="yes"))
    for sure in ("yes", "no"):
        late = await browser.submit(other, other.forms[0], sure=sure)
        assert late.status == 200 and "Undone since" in words_of(late), sure
        assert len([form for form in late.forms if form.action.endswith("/undo")]) == 1  # of the one undoing


async def test_approval_after_a_rejection_in_another_tab_asks_again() -> None:
    world = await done("1")
    browser = world.browser()
    page = await browser.open("/activity")
    form = next(form for form in page.forms if form.action.endswith("/undo"))
    world.deputy.policy = ask
    one, other = [await browser.submit(page, form) for _ in range(2)]
    await browser.submit(one, one.forms[0], sure="no")
    late = await browser.submit(other, other.forms[0], sure="yes")
    assert late.status == 200 and "Undo this?" in words_of(late)


async def test_undo_denied_by_policy_is_not_a_server_error() -> None:
    world = await done("1")
    browser = world.browser()
    page = await browser.open("/activity")
    world.deputy.policy = deny
    said = await browser.submit(page, next(form for form in page.forms if form.action.endswith("/undo")))
    assert said.status == 409 and "It was not undone" in words_of(said)


@pytest.mark.parametrize("act", ["0" * 12, "", "\u202e<b>", "x" * 9000])
async def test_unknown_act_is_refused_with_a_readable_message(act: str) -> None:
    world = await done("1")
    browser = world.browser()
    page = await browser.open("/activity")
    (mine,) = await world.deputy.undoable("alice")
    form = next(form for form in page.forms if form.action.endswith("/undo"))
    said = await browser.submit(page, form, act=act)
    assert said.status == 409 and "can no longer be undone" in words_of(said) and mine.id not in said.text


async def test_lists_truncate_long_texts_and_keep_request_order(
    world: World,
) -> None:
    await world.connected("send")
    subjects = [f"{at} " + "long " * 1_000_000 if at == 3 else f"{at} short" for at in range(8)]
    note = {"to": "bob@example.test", "text": "At 8."}
    calls = [("notes_post_note", {**note, "subject": one}, Call("t", "m", str(at))) for at, one in enumerate(subjects)]
    found = await world.deputy.check_calls(calls, user="alice")
    step = next(one.approval.request_id for one in found if isinstance(one, ApprovalRequired))
    for address in ("/connections", f"/asks/{step}"):
        page = await world.browser().open(address)
        assert len(page.text) < 20_000 and "3 long long" in page.text, address
        assert re.findall(r'dir="auto">“?(\d) (?:short|long)', page.text) == list("01234567"), address


async def test_page_is_rendered_outside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    world, threads = await make(agent="Agent"), set[int]()
    monkeypatch.setattr(texts, "EFFECTS", {"sends": Slow(threads)})
    await world.connected("send")
    page = await world.browser().open(f"/approve/{(await world.approval()).id}")
    assert "which others will see" in words_of(page) and threads and threading.get_ident() not in threads


class Slow:
    """A value that records which thread renders it into a page."""

    def __init__(self, threads: set[int]) -> None:
        self.threads = threads

    def __str__(self) -> str:
        self.threads.add(threading.get_ident())
        return "others will see"
