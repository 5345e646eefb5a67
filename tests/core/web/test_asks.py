"""One page for all requests of a model's message: consents and approvals, each ticked once it is answered."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from deputize.core import ApprovalRequired, Call, ConsentRequired, User
from deputize.core.errors import DeputizeError
from deputize.core.web.app import pages_app
from deputize.core.web.pages.local_links import step_link
from deputize.sandbox import Page
from tests.core.web.web_application import LOCAL, World, hidden, make, words_of

MESSAGE = Call(thread="t", message="m")
CALLS = [
    ("notes_list_notes", {}, "1"),
    ("notes_post_note", {"to": "bob@example.test", "subject": "Tonight", "text": "At 8."}, "2"),
    ("notes_post_note", {"to": "eve@example.test", "subject": "Late", "text": "At 9."}, "3"),
]


async def asked(world: World) -> list[DeputizeError | None]:
    """Return the requests of three calls of one message: a consent and two approvals."""
    calls = [(tool, given, Call("t", "m", id)) for tool, given, id in CALLS]
    return await world.deputy.check_calls(calls, user="alice")


async def begun(*, local: bool = False, return_to: tuple[str, ...] = ()) -> tuple[World, list[DeputizeError | None]]:
    world = await make(local=local, return_to=return_to)
    await world.connected("send")
    return world, await asked(world)


def link_of(blockers: list[DeputizeError | None]) -> str:
    """Return the one link to all of them."""
    consents = [b.consent for b in blockers if isinstance(b, ConsentRequired)]
    approvals = [b.approval for b in blockers if isinstance(b, ApprovalRequired)]
    assert (len(consents), len(approvals)) == (1, 2)
    asks = [one.payload() for one in consents] + [one.payload() for one in approvals]
    assert {ask["request_id"] for ask in asks} == {MESSAGE.ask}
    (link,) = {ask["request_link"] for ask in asks}
    return str(link)


def marks(page: Page) -> list[str]:
    return re.findall(r'<li(?: class="(\w+)")?>', page.text)


async def test_request_summary_links_every_request_and_ticks_decided_ones() -> None:
    world, blockers = await begun()
    browser, link = world.browser(), link_of(blockers)
    page = await browser.open(link)
    text = words_of(page)
    for part in (
        "0 of 3 done",
        "Connect Google",
        "read your email",
        "wants to post this note",
        "bob@example.test: the board",
        "Tonight",
    ):
        assert part in text
    assert marks(page) == ["", "", ""] and "also by eve@example.test" in text and "Late" in text

    approve, *_ = re.findall(r'href="(/approve/[^"]+)"', page.text)
    asks = await browser.open(approve)
    assert f'<a href="{urlsplit(link).path}">0 of 3 done' in asks.text
    page = await browser.submit(asks, asks.forms[0], decision="reject")
    assert "1 of 3 done" in words_of(page) and "Rejected" in words_of(page) and marks(page) == ["", "declined", ""]

    (connect,) = re.findall(r'href="([^"]+/connect/[^"]+)"', page.text)
    ended = await browser.allow(connect, as_="alice@example.test")
    assert "Go on: 2 of 3 done" in words_of(ended) and f'href="{link}"' in ended.text
    page = await browser.open(link)
    assert marks(page) == ["done", "declined", ""] and "Google is connected" in words_of(page)

    _, last = re.findall(r'href="(/approve/[^"]+)"', page.text)
    asks = await browser.open(last)
    page = await browser.submit(asks, asks.forms[0], decision="approve")
    assert "3 of 3 done" in words_of(page) and "Your agent goes on" in words_of(page)
    assert sorted(b.code if b else "" for b in await asked(world)) == ["", "", "declined"]


async def test_completed_request_summary_leads_back_to_the_application() -> None:
    world, blockers = await begun(return_to=("/chat",))
    for blocker in blockers:
        if isinstance(blocker, ApprovalRequired):
            await world.deputy.decide(blocker.approval.id, "reject", by="alice")
        elif isinstance(blocker, ConsentRequired):
            await world.browser().deny(blocker.consent.link)
    page = await world.browser().open(link_of(blockers))
    assert '<a class="button yes" href="/chat">' in page.text and "3 of 3 done" in words_of(page)


async def test_single_request_has_no_summary_and_ends_on_its_own_page(world: World) -> None:
    await world.connected("send")
    approval, browser = await world.approval(), world.browser()
    page = await browser.open(f"/approve/{approval.id}")
    assert "of 1 done" not in page.text
    assert "<h1>Approved</h1>" in (await browser.submit(page, page.forms[0], decision="approve")).text


@pytest.mark.parametrize("who", ["bob", ""])
async def test_request_summary_is_hidden_from_other_users(who: str) -> None:
    world, blockers = await begun()
    path = urlsplit(link_of(blockers)).path
    answer = await world.send("GET", path, user=who)
    unknown = await world.send("GET", f"/asks/{'0' * 32}", user=who)
    assert answer.status_code == (403 if who else 401) and answer.content == unknown.content
    assert "post this note" not in answer.text and "Tonight" not in answer.text


async def test_user_of_the_same_name_in_another_tenant_is_another_user() -> None:
    world, blockers = await begun()
    world.app = pages_app(world.deputy, verifier=lambda request: User("alice", "other"))
    assert (await world.send("GET", urlsplit(link_of(blockers)).path, user="alice")).status_code == 403


@pytest.mark.parametrize("name", ["0" * 31, "x" * 32, "%00", "A" * 32])
async def test_malformed_request_id_is_refused(name: str) -> None:
    world, _ = await begun()
    assert (await world.send("GET", f"/asks/{name}", user="alice")).status_code in (403, 404)


async def test_local_mode_payload_has_no_summary_link() -> None:
    world, blockers = await begun(local=True)
    assert link_of(blockers) == ""
    own, browser = await step_link(world.deputy, "alice", MESSAGE.ask), world.browser("")
    assert own.startswith(f"{LOCAL}/me/")
    page = await browser.open(own)
    assert "0 of 3 done" in words_of(page) and 'target="_blank"' in page.text and "/connect/" not in page.text
    consent = next(b.consent for b in blockers if isinstance(b, ConsentRequired))
    ended = await browser.allow(consent.link)
    assert "is connected" in words_of(ended) and "/me/" not in ended.text
    assert "1 of 3 done" in words_of(await browser.open(own))


async def test_expired_consent_gets_a_new_link_from_the_summary() -> None:
    world, blockers = await begun()
    link, browser = link_of(blockers), world.browser()
    world.clock.now += 700
    page = await browser.open(link)
    form = next(form for form in page.forms if form.action.endswith("/connections/renew"))
    assert "wants to act for you" in words_of(await browser.submit(page, form))
    assert hidden(page, "consent")
