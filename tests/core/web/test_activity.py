"""The activity page: what agents did as a user, in sentences, searchable, with Undo; and nothing of other users."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deputize.core import Act, Call, Policy, User, Verdict
from deputize.core.audit import Audit
from deputize.core.audit.tail import read_newest
from deputize.core.web.app import pages_app
from deputize.core.web.pages.activity import history_of, uses_of
from deputize.sandbox import Page
from tests.core.web.web_application import World, make, words_of
from tests.support.undo_toolkit import KIT


def allow(act: Act) -> Verdict:
    return Verdict.ALLOW


async def done(*acts: str, policy: Policy = allow, **more: Any) -> World:
    """Star the mails of these calls as Alice's agent, an hour apart."""
    world = await make(policy=policy, toolkits=[KIT], **more)
    await world.connected("modify")
    for call in acts:
        world.clock.now += 3600
        await star(world, call)
    return world


async def star(world: World, call: str, user: User | str = "alice", agent: str = "") -> None:
    mail = world.sandbox.mailbox("alice@example.test").mails()[0].id
    await world.deputy.act("gmail_star", {"id": mail}, user=user, call=Call("t", "m", call), agent=agent)


async def opened(world: World, query: str = "", user: str = "alice") -> Page:
    return await world.browser(user).open(f"/activity{query}")


async def test_act_is_described_with_account_agent_time_and_outcome() -> None:
    text = words_of(await opened(await done("1", time_zone=ZoneInfo("Europe/Berlin"))))
    for part in ("Star a mail labels: STARRED · Inbox", "Done", "Mail helper, as alice@example.test", "gmail_star"):
        assert part in text
    assert "Fri 15 Jan 2027, 10:00 (Europe/Berlin)" in text


async def test_each_user_sees_times_in_their_own_zone() -> None:
    zones = {"alice": ZoneInfo("Asia/Tokyo")}
    text = words_of(await opened(await done("1", time_zone=lambda user: zones[user.id])))
    assert "Fri 15 Jan 2027, 18:00 (Asia/Tokyo)" in text


async def test_undo_on_the_page_happens_once_and_is_shown() -> None:
    world = await done("1")
    browser = world.browser()
    page = await browser.open("/activity")
    (form,) = [form for form in page.forms if form.action.endswith("/undo")]
    page = await browser.submit(page, form)
    text = words_of(page)
    assert "Undone since" in text and "Undo: " in text and "You, on your page" in text
    assert len([form for form in page.forms if form.action.endswith("/undo")]) == 1  # of the undoing itself
    again = await browser.submit(page, form)
    assert again.status == 200 and world.events("act.result").count("act.result") == 3


async def test_undo_that_needs_approval_is_previewed_first() -> None:
    world = await done("1")
    world.deputy.policy = lambda act: Verdict.ASK
    browser = world.browser()
    page = await browser.open("/activity")
    asks = await browser.submit(page, next(form for form in page.forms if form.action.endswith("/undo")))
    assert "Undo this?" in words_of(asks) and "labels now" in words_of(asks)
    assert len(world.events("act.result")) == 2  # starred, and asked about
    left = await browser.submit(asks, asks.forms[0], sure="no")
    assert "Undone since" not in words_of(left)
    world.clock.now += 4000  # and the no is no answer to what is asked later
    page = await browser.open("/activity")
    asks = await browser.submit(page, next(form for form in page.forms if form.action.endswith("/undo")))
    assert "Undone since" in words_of(await browser.submit(asks, asks.forms[0], sure="yes"))


async def test_changed_object_is_not_undone_and_the_page_says_why() -> None:
    world = await done("1")
    browser = world.browser()
    page = await browser.open("/activity")
    mails = world.sandbox._world.mailboxes["alice@example.test"].mails
    mails[world.sandbox.mailbox("alice@example.test").mails()[0].id].labels.append("IMPORTANT")
    said = await browser.submit(page, next(form for form in page.forms if form.action.endswith("/undo")))
    assert said.status == 409 and "It has been changed since: labels" in words_of(said)


async def test_search_finds_acts_with_all_words_in_any_case() -> None:
    world = await done("1")
    await star(world, "2", agent="Sorter")
    assert words_of(await opened(world, "?q=SORTER+star")).count("Star a mail Inbox") == 1
    assert "Nothing was found." in words_of(await opened(world, "?q=sorter+nothing"))
    assert 'value="&lt;b&gt;"' in (await opened(world, "?q=%3Cb%3E")).text


async def test_long_history_is_paged_with_each_act_on_one_page() -> None:
    world = await done(*map(str, range(5)))
    first = await history_of(world.deputy, User("alice"), most=2)
    second = await history_of(world.deputy, User("alice"), most=2, before=first.older)
    third = await history_of(world.deputy, User("alice"), most=2, before=second.older)
    whens = [one.when for found in (first, second, third) for one in found.entries]
    assert len(whens) == len(set(whens)) == 5 and third.older == 0 and first.whole
    page = await opened(world, f"?before={first.older}")
    assert first.entries[0].when not in page.text and second.entries[0].when in page.text
    assert (await opened(world, "?before=x")).status == 200


@pytest.mark.parametrize(("user", "tenant"), [("bob", ""), ("alice", "other")])
async def test_acts_of_another_users_agents_are_hidden(user: str, tenant: str) -> None:
    world = await done("1")
    assert (await history_of(world.deputy, User(user, tenant))).entries == []
    world.app = pages_app(world.deputy, verifier=lambda request: User(user, tenant))
    browser = world.browser(user)
    page = await browser.open("/activity")
    assert "Nothing was done so far." in words_of(page) and "gmail_star" not in page.text
    [mine] = await world.deputy.undoable("alice")
    hidden = re.search(r'name="form" value="([^"]*)"', page.text)
    assert hidden is None  # no form, since there is nothing to undo
    refused = await world.send("POST", "/activity/undo", user=user, data={"act": mine.id, "form": "0" * 64})
    assert refused.status_code == 403 and len(await world.deputy.undoable("alice")) == 1


async def test_user_named_like_anothers_pseudonym_sees_nothing() -> None:
    world = await done("1")
    name = next(row["user"] for row in world.deputy.audit.rows() if row["event"] == "act.result")
    assert name.startswith("p-") and (await history_of(world.deputy, User(name))).entries == []


async def test_viewing_the_activity_page_writes_nothing() -> None:
    world = await done()
    before = len(world.deputy.audit.rows())
    await history_of(world.deputy, User("carol"))
    assert await world.deputy.vault.get("person", world.deputy.vault.key_prefix(User("carol"))) is None
    assert len(world.deputy.audit.rows()) == before


async def test_connections_page_shows_connection_time_and_last_use() -> None:
    world = await done("1")
    [connection] = await world.deputy.connections("alice")
    use = (await uses_of(world.deputy, User("alice")))[connection.id]
    assert (use.since, use.last) == ("Fri 15 Jan 2027, 08:00 (UTC)", "Fri 15 Jan 2027, 09:00 (UTC)")
    text = words_of(await world.browser().open("/connections"))
    assert f"Connected {use.since}. Last used {use.last} by Mail helper." in text


async def test_history_reads_only_the_ends_of_the_newest_files(tmp_path: Path) -> None:
    world = await done(*map(str, range(30)), audit=Audit(tmp_path / "audit", b"k" * 32))
    name = world.deputy.audit.names.user("", "alice") if world.deputy.audit.names else ""
    await asyncio.to_thread(world.deputy.audit.flush)
    folder = world.deputy.audit.trail
    assert folder is not None
    ring = world.deputy.audit.ring
    everything, part = read_newest(folder, {name}, ring), read_newest(folder, {name}, ring, most_bytes=5000)
    assert everything.whole and not part.whole and 0 < len(part.rows) < len(everything.rows)
    assert part.rows == everything.rows[: len(part.rows)] and read_newest(folder, {"p-nobody"}, ring).rows == []
    assert len((await history_of(world.deputy, User("alice"))).entries) == 30
