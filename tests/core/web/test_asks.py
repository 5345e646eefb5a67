"""One page for all requests of a model's message: consents and approvals, each ticked once it is answered."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Audience,
    Call,
    ConsentRequired,
    Danger,
    Effect,
    Preview,
    Request,
    Steps,
    Toolkit,
    User,
    any_of,
)
from deputize.core.errors import DeputizeError
from deputize.core.tools.first_contact import FirstContact
from deputize.core.web.app import pages_app
from deputize.core.web.pages.local_links import step_link
from deputize.sandbox import Page
from tests.core.web.web_application import LOCAL, SEND, World, hidden, make, words_of

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


# ------------------------------------------------------------- answered together

team = Toolkit("team", provider="google", api="gmail", shows=True)
MORE: dict[str, dict[str, Any]] = {}


@team.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
def tell(name: str, text: str = "Hello") -> Steps:
    """Tell a colleague something."""
    given: dict[str, Any] = {"audience": Audience.ORGANISATION, "people": [name], **MORE.get(name, {})}
    yield Preview("Tell a colleague", text=text, to=[name], **given)
    mail = f"To: {name}@example.test\r\n\r\n{text}"
    yield Request("POST", "/users/me/messages/send", json={"raw": base64.urlsafe_b64encode(mail.encode()).decode()})
    return "told"


async def team_world(*names: str, **more: Mapping[str, Any]) -> tuple[World, str]:
    """Return a world in which calls of one message wait, one for each name, and the path of their page."""
    MORE.clear()
    MORE.update({name: dict(facts) for name, facts in more.items()})
    world = await make(toolkits=[team])
    world.deputy.previewer.search = _find_nobody
    await world.connected("send")
    return world, await ask_team(world, *names)


async def _find_nobody(act: Act) -> tuple[FirstContact, ...]:
    """Find that the user has never written to anybody."""
    return act.first_contacts


async def ask_team(world: World, *names: str) -> str:
    calls = [("team_tell", {"name": name}, Call("t", "m", name)) for name in names]
    blockers = await world.deputy.check_calls(calls, user="alice")
    found = [one.approval for one in blockers if isinstance(one, ApprovalRequired)]
    assert len(found) == len(names)
    return f"/asks/{found[0].request_id}"


async def waiting(world: World) -> list[str]:
    """Return the names in the approvals that wait."""
    return sorted(one.preview["to"] for one in await world.deputy.approvals.list_pending(User("alice")))


def together(page: Page) -> Any:
    """Return the form that answers several requests."""
    (form,) = [one for one in page.forms if "shown" in dict(one.data())]
    return form


async def test_writes_of_one_message_are_shown_in_full_and_approved_together() -> None:
    world, path = await team_world("ann", "bea", "cem")
    browser = world.browser()
    page = await browser.open(path)
    text = words_of(page)
    assert "3 that belong together Mail helper wants to do these at Google as alice@example.test" in text
    assert "Approve all 3" in text
    assert page.text.count('<pre dir="auto">Hello</pre>') == 3 and page.text.count("Decide this one alone") == 3
    page = await browser.submit(page, together(page), decision="approve")
    assert "3 of 3 done" in words_of(page) and await waiting(world) == []
    for name in ("ann", "bea", "cem"):
        act = world.deputy.act("team_tell", {"name": name}, user="alice", call=Call("t", "m", name))
        assert await act == "told"
    approved = [row for row in world.deputy.audit.rows() if row["event"] == "approval.approved"]
    assert len({row["approval_id"] for row in approved}) == 3 and len({row["show"] for row in approved}) == 3


async def test_every_line_of_a_write_is_shown_even_if_a_tool_names_it_like_a_warning() -> None:
    lines = {"warning": "Line one", "comes_from": "Line two", "first_contact": "Line three", "where": "Place four"}
    world, path = await team_world("ann", "bea", ann=lines)
    text = words_of(await world.browser().open(path))
    assert "Approve all 2" in text
    for line in lines.values():
        assert line in text


async def test_writes_of_one_message_are_rejected_together() -> None:
    world, path = await team_world("ann", "bea")
    browser = world.browser()
    page = await browser.open(path)
    page = await browser.submit(page, together(page), decision="reject")
    assert marks(page) == ["declined", "declined"] and await waiting(world) == []


async def test_one_of_several_writes_can_be_decided_alone() -> None:
    world, path = await team_world("ann", "bea", "cem")
    browser = world.browser()
    page = await browser.open(path)
    one, *_ = re.findall(r'href="(/approve/[^"]+)"', page.text)
    alone = await browser.open(one)
    page = await browser.submit(alone, alone.forms[0], decision="reject")
    assert "1 of 3 done" in words_of(page) and "Approve all 2" in words_of(page)


async def test_writes_are_approved_together_in_local_mode() -> None:
    world = await make(local=True, toolkits=[team])
    await world.connected("send")
    path = await ask_team(world, "ann", "bea")
    browser = world.browser("")
    page = await browser.open(await step_link(world.deputy, "alice", path.removeprefix("/asks/")))
    page = await browser.submit(page, together(page), decision="approve")
    assert "2 of 2 done" in words_of(page) and await waiting(world) == []


async def test_writes_of_different_agents_do_not_belong_together() -> None:
    world, path = await team_world("ann", "bea")
    call = ("team_tell", {"name": "cem"}, Call("t", "m", "cem"))
    await world.deputy.check_calls([call], user="alice", agent="Other helper")
    page = await world.browser().open(path)
    assert "Approve all 2" in words_of(page) and "cem" not in dict(together(page).data())["shown"]
    assert len(re.findall("Decide this one alone", page.text)) == 2 and len(await waiting(world)) == 3


async def test_nothing_is_approved_if_a_write_joined_meanwhile() -> None:
    world, path = await team_world("ann", "bea")
    browser = world.browser()
    page = await browser.open(path)
    await ask_team(world, "mallory")
    after = await browser.submit(page, together(page), decision="approve")
    assert after.status == 409 and "Nothing was decided." in words_of(after) and "Approve all 3" in words_of(after)
    assert await waiting(world) == ["ann", "bea", "mallory"]
    await browser.submit(after, together(after), decision="approve")
    assert await waiting(world) == []


async def test_nothing_is_approved_if_a_write_changed_meanwhile() -> None:
    world, path = await team_world("ann", "bea")
    browser = world.browser()
    page = await browser.open(path)
    MORE["ann"] = {"where": "another place"}
    world.clock.now += 60
    await ask_team(world, "ann", "bea")
    after = await browser.submit(page, together(page), decision="approve")
    assert "Nothing was decided." in words_of(after) and await waiting(world) == ["ann", "bea"]
    assert "another place" in words_of(after)


async def test_joint_approval_is_refused_if_one_approval_was_decided_elsewhere() -> None:
    world, path = await team_world("ann", "bea", "cem")
    browser = world.browser()
    page = await browser.open(path)
    first = (await world.deputy.approvals.list_pending(User("alice")))[0]
    await world.deputy.decide(first, "reject", by="alice")
    after = await browser.submit(page, together(page), decision="approve")
    assert "Nothing was decided." in words_of(after) and len(await waiting(world)) == 2


async def test_repeated_answer_decides_nothing_more() -> None:
    world, path = await team_world("ann", "bea")
    browser = world.browser()
    page = await browser.open(path)
    form = together(page)
    await browser.submit(page, form, decision="reject")
    again = await browser.submit(page, form, decision="approve")
    assert again.status == 409 and await waiting(world) == []
    assert {row["event"] for row in world.deputy.audit.rows()} & {"approval.approved"} == set()


@pytest.mark.parametrize("shown", ["", "x", "part", "swapped"])
async def test_answer_to_another_set_approves_nothing(shown: str) -> None:
    world, path = await team_world("ann", "bea")
    browser = world.browser()
    page = await browser.open(path)
    form = together(page)
    one, other = dict(form.data())["shown"].split(" ")
    forged = {"part": one, "swapped": f"{one.split(':')[0]}:{other.split(':')[1]} {other}"}.get(shown, shown)
    after = await browser.submit(page, form, decision="approve", shown=forged)
    assert after.status == 409 and await waiting(world) == ["ann", "bea"]


async def test_other_user_cannot_answer_a_set() -> None:
    world, path = await team_world("ann", "bea")
    page = await world.browser().open(path)
    form = together(page)
    answer = await world.send("POST", path, user="bob", data={**dict(form.data()), "decision": "approve"})
    assert answer.status_code == 403 and await waiting(world) == ["ann", "bea"]


async def test_form_without_a_valid_decision_approves_nothing() -> None:
    world, path = await team_world("ann", "bea")
    browser = world.browser()
    page = await browser.open(path)
    after = await browser.submit(page, together(page), decision="approve all")
    assert after.status in (400, 403) and await waiting(world) == ["ann", "bea"]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"destroys": True}, "Something would be lost."),
        ({"dangers": [Danger.RUNS_CODE]}, "This changes code that runs by itself."),
        ({"audience": Audience.PUBLIC}, "Everybody will see it."),
        ({"audience": Audience.UNKNOWN}, "It is not known who will see it."),
        ({"people": ["eve@evil.test"]}, "It reaches somebody to whom you have never written"),
    ],
)
async def test_dangerous_write_is_asked_about_alone(facts: Mapping[str, Any], reason: str) -> None:
    world, path = await team_world("ann", "bea", "eve", eve=facts)
    browser = world.browser()
    page = await browser.open(path)
    assert reason in words_of(page) and "Decide this one alone" in words_of(page)
    page = await browser.submit(page, together(page), decision="approve")
    assert await waiting(world) == ["eve"] and "2 of 3 done" in words_of(page)
