"""Mandates on the pages: given beside the approval of one act, listed, ended."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Audience, Call, Effect, Preview, Request, Steps, User, any_of
from deputize.core.user_requests import Approval
from deputize.core.web.pages.local_links import me_token
from deputize.sandbox import Page
from deputize.sandbox.forms import Form
from tests.core.web.web_application import SEND, World, make, notes, words_of


@notes.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
def tell_note(to: list[str], text: str, destroys: bool = False) -> Steps:
    """Send a note that is shown first."""
    yield Preview("Send this note", audience=Audience.PEOPLE, people=to, destroys=destroys, to=to, text=text)
    mail = base64.urlsafe_b64encode(f"To: {to[0]}\r\n\r\n{text}".encode()).decode()
    yield Request("POST", "/users/me/messages/send", json={"raw": mail})
    return "sent"


async def tell(world: World, text: str = "Hello", to: str = "bob@acme.example", **more: Any) -> Any:
    arguments = {"to": [to], "text": text} | more
    return await world.deputy.act("notes_tell_note", arguments, user="alice", call=Call("t", "m", text + to))


async def asked(world: World, **call: Any) -> Approval:
    with pytest.raises(ApprovalRequired) as needed:
        await tell(world, **call)
    return needed.value.approval


def form(page: Page, ending: str) -> Form:
    [found] = [form for form in page.forms if form.action.endswith(ending)]
    return found


async def opened(local: bool = False) -> tuple[World, str]:
    world = await make(local=local)
    await world.connected("send")
    return world, f"/me/{me_token(world.deputy, User('alice'))}" if local else ""


@pytest.mark.parametrize("local", [False, True])
async def test_mandate_is_created_listed_and_ended_on_pages(local: bool) -> None:
    world, me = await opened(local)
    approval, browser = await asked(world), world.browser()
    page = await browser.open(f"{me}/approve/{approval.id}")
    assert "bob@acme.example" in words_of(page).partition("nobody and nothing but:")[2]
    done = await browser.submit(page, form(page, "/more"), most="1", hours="168")
    assert "Approved" in words_of(done) and "1 time in all" in words_of(done)
    assert await tell(world) == await tell(world, "More") == "sent"
    await asked(world, text="Once more")
    listed = await browser.open(f"{me}/connections")
    text = words_of(listed)
    assert "Mail helper may use notes_tell_note as alice@example.test without asking, 1 time in all" in text
    assert "Used so far: 1" in text and "until Fri 22 Jan 2027, 08:00 (UTC)" in text
    ended = await browser.submit(listed, form(listed, "/mandates/end"))
    assert "without being asked" not in words_of(ended) and await world.deputy.mandates("alice") == []
    assert world.events("mandate.") == ["mandate.given", "mandate.used", "mandate.ended"]


async def approved(world: World, times: int, **call: Any) -> None:
    for number in range(times):
        waits = await asked(world, **{"text": f"Note {number}", **call})
        await world.deputy.decide(waits, "approve", by="alice")


async def offer(world: World, **call: Any) -> str:
    """Return "open" or "folded" for the offer on the page of the next approval, and "none" without one."""
    page = await world.browser().open(f"/approve/{(await asked(world, text='Next', **call)).id}")
    said = "You have approved this" in words_of(page)
    assert said == ("<details open>" in page.text)
    return "open" if said else "folded" if "<details>" in page.text else "none"


async def test_mandate_is_offered_openly_after_three_equal_approvals() -> None:
    world, _ = await opened()
    await approved(world, 3)
    browser = world.browser()
    page = await browser.open(f"/approve/{(await asked(world)).id}")
    assert "You have approved this 3 times in the last hour" in words_of(page) and "<details open>" in page.text
    done = await browser.submit(page, form(page, "/more"), most="2", hours="24")
    assert "2 times in all" in words_of(done)


async def test_used_approvals_count_for_the_offer() -> None:
    world, _ = await opened()
    for text in ("One", "Two", "Three"):
        await world.deputy.decide(await asked(world, text=text), "approve", by="alice")
        assert await tell(world, text) == "sent"
    assert await offer(world) == "open"


@pytest.mark.parametrize(
    ("times", "call", "later"),
    [
        (2, {}, 0),  # too few
        (3, {"to": "eve@acme.example"}, 0),  # somebody else
        (3, {}, 3601),  # an hour ago
    ],
)
async def test_mandate_stays_folded_otherwise(times: int, call: dict[str, Any], later: int) -> None:
    world, _ = await opened()
    await approved(world, times, **call)
    world.clock.now += later
    assert await offer(world) == "folded"


async def test_rejections_and_destructive_acts_do_not_open_the_offer() -> None:
    world, _ = await opened()
    for text in ("One", "Two", "Three"):
        await world.deputy.decide(await asked(world, text=text), "reject", by="alice")
    assert await offer(world) == "folded"
    await approved(world, 4)
    assert await offer(world, destroys=True) == "none"


async def test_approvals_of_another_user_or_agent_do_not_open_the_offer() -> None:
    world, _ = await opened()
    for number in range(3):
        arguments = {"to": ["bob@acme.example"], "text": f"Note {number}"}
        call = Call("t", "m", str(number))
        with pytest.raises(ApprovalRequired) as needed:
            await world.deputy.act("notes_tell_note", arguments, user="alice", call=call, agent="other agent")
        await world.deputy.decide(needed.value.approval, "approve", by="alice")
    assert await offer(world) == "folded"


async def test_plain_approval_creates_no_mandate_and_destructive_acts_offer_none() -> None:
    world, _ = await opened()
    browser = world.browser()
    page = await browser.open(f"/approve/{(await asked(world)).id}")
    await browser.submit(page, page.forms[0], decision="approve")
    page = await browser.open(f"/approve/{(await asked(world, text='Gone', destroys=True)).id}")
    assert await world.deputy.mandates("alice") == [] and not [f for f in page.forms if f.action.endswith("/more")]


@pytest.mark.parametrize(
    "fields", [{"most": "0"}, {"most": "201"}, {"most": "-1"}, {"most": "x"}, {"most": "9" * 9}, {"hours": "8760"}]
)
async def test_invalid_form_neither_approves_nor_creates_a_mandate(fields: dict[str, str]) -> None:
    world, _ = await opened()
    approval, browser = await asked(world), world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    refused = await browser.submit(page, form(page, "/more"), **{"most": "2", "hours": "24"} | fields)
    assert refused.status == 403 and await world.deputy.mandates("alice") == []
    await asked(world)


async def test_form_after_a_rejection_creates_no_mandate() -> None:
    world, _ = await opened()
    approval, browser = await asked(world), world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    await browser.submit(page, page.forms[0], decision="reject")
    late = await browser.submit(page, form(page, "/more"), most="2", hours="24")
    assert "Rejected" in words_of(late) and await world.deputy.mandates("alice") == []


@pytest.mark.parametrize("mandate", ["", "\0", "../x", "x" * 10_000])
async def test_malformed_mandate_id_ends_nothing(mandate: str) -> None:
    world, _ = await opened()
    approval = await asked(world)
    browser = world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    await browser.submit(page, form(page, "/more"), most="2", hours="24")
    listed = await browser.open("/connections")
    ended = await browser.submit(listed, form(listed, "/mandates/end"), mandate=mandate)
    assert ended.status == 200 and len(await world.deputy.mandates("alice")) == 1


async def test_another_user_can_neither_create_nor_end_a_mandate() -> None:
    world, _ = await opened()
    approval = await asked(world)
    browser = world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    await browser.submit(page, form(page, "/more"), most="2", hours="24")
    [mandate] = await world.deputy.mandates("alice")
    for path, fields in (
        (f"/approve/{approval.id}/more", {"most": "2", "hours": "24"}),
        ("/connections/mandates/end", {}),
    ):
        data = {"form": "0" * 64, "mandate": mandate.id} | fields
        assert (await world.send("POST", path, user="bob", data=data)).status_code == 403
    assert [one.id for one in await world.deputy.mandates("alice")] == [mandate.id]
    assert await world.deputy.mandates("bob") == []
