"""Slack cards through the front door: signed requests of Slack, pages of a browser, and those who want past them."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from deputize.chat.slack_cards import (
    EXPIRED,
    MAX_CARD,
    MAX_LINES,
    MAX_TRIES,
    NOT_LINKED,
    NOT_YOURS,
    ON_THE_PAGE,
    PATH,
    SlackCards,
    _fitting,
)
from deputize.cli import show
from deputize.core import (
    Act,
    ApprovalRequired,
    Audience,
    Call,
    Decision,
    Deputy,
    Effect,
    Preview,
    Request,
    SettingsError,
    Steps,
    Toolkit,
    User,
    Verdict,
    any_of,
    ask_before_sending,
)
from deputize.core.user_requests import Approval
from tests.chat.slack_workspace import SECRET, TOKEN, Chat, Workspace, buttons, link_in, words
from tests.core.web.web_application import SEND, make, words_of
from tests.support.sandbox_deputy import google_app

letters = Toolkit("letters", provider="google", api="gmail", shows=True)
REWRITTEN = {"text": ""}
"""The text of a letter that somebody else has rewritten."""
HOSTILE = (
    "<!channel> <!here> <@U_BOB> <#C1> <https://evil.test|https://bank.test> *bold* _it_ `code` :skull: "
    "&lt;!everyone&gt; [x](https://evil.test)\n> quote\n\u202eevil\u202c \u2066x\u2069 a\u200bb"
)


@letters.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
def send(to: str, subject: str, text: str, destroys: bool = False, public: bool = False) -> Steps:
    """Send a letter."""
    audience = Audience.PUBLIC if public else Audience.PEOPLE
    text = REWRITTEN["text"] or text
    yield Preview(
        "Send this letter", audience=audience, people=[to], destroys=destroys, to=[to], subject=subject, text=text
    )
    yield Request("POST", "/users/me/messages/send", json={"raw": "aGk="})
    return "sent"


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with Workspace() as slack:
        yield slack


@pytest.fixture
def slack(workspace: Workspace) -> Workspace:
    workspace.calls.clear()
    workspace.error = ""
    return workspace


@pytest.fixture
async def chat(slack: Workspace) -> Chat:
    return await Chat.open(slack, toolkits=[letters])


async def ask(chat: Chat, text: str = "Hello Bob", call: str = "1", user: str = "alice", **more: Any) -> Approval:
    given = {"to": "bob@example.test", "subject": "Lunch", "text": text} | more
    try:
        await chat.world.deputy.act("letters_send", given, user=user, call=Call(id=call))
    except ApprovalRequired as e:
        await chat.settle()
        return e.approval
    raise AssertionError("nothing was asked")


async def status(chat: Chat, asked: Approval, by: str = "alice") -> str:
    now = await chat.world.deputy.get_approval(asked, by=by)
    return now.status if now else "gone"


async def pressed(chat: Chat, card: dict[str, Any], action: str, **more: Any) -> list[str]:
    """Press a button, and return what that person alone is told."""
    before = len(chat.slack.sent("chat.postEphemeral"))
    assert await chat.press(card, action, **more) == 200
    await chat.settle()
    return [given["text"] for given in chat.slack.sent("chat.postEphemeral")[before:]]


# ------------------------------------------------------------- linking


async def test_linked_user_receives_a_card_and_decides_once(chat: Chat) -> None:
    await chat.link("alice")
    asked = await ask(chat)
    [card] = chat.slack.cards
    assert card["channel"] == "U_ALICE" and buttons(card) == ["Approve", "Reject", "Open the page"]
    assert await pressed(chat, card, "approve") == []
    assert await status(chat, asked) == "approved"
    done = chat.slack.sent("chat.update")[-1]
    assert (done["channel"], words(done["blocks"])) == ("DU_ALICE", ["Approved", f"{asked.summary}."])
    for action in ("approve", "reject"):
        await pressed(chat, card, action)
    assert chat.world.events("approval") == ["approval.requested", "approval.approved", "approval.rejected"]
    letter = {"to": "bob@example.test", "subject": "Lunch", "text": "Hello Bob"}
    assert await status(chat, asked) == "rejected"  # as on the page: a rejection counts until the act begins
    with pytest.raises(Exception, match="declined"):
        await chat.world.deputy.act("letters_send", letter, user="alice", call=Call(id="1"))


async def test_nobody_receives_a_card_before_the_link_and_what_waits_comes_with_it(chat: Chat) -> None:
    asked = await ask(chat)
    assert chat.slack.calls == []
    await chat.link("alice")
    [card] = chat.slack.cards
    assert card["blocks"][0]["text"]["text"] == asked.summary


async def test_link_needs_a_sign_in_a_press_and_the_code_of_that_browser(chat: Chat) -> None:
    link = link_in(await chat.command())
    assert (await chat.world.send("GET", link)).status_code == 401
    page, jar = await chat.world.look(link, "alice")
    assert (
        "u_alice (U_ALICE)" in words_of(page) and "acme" in words_of(page) and "Enter this code" not in words_of(page)
    )
    foreign = await chat.world.send("POST", link, user="alice", data={"form": "x"}, cookies=jar)
    form = re.search('name="form" value="([^"]*)"', page.text)
    assert form
    other = await chat.world.send("POST", link, user="bob", data={"form": form[1]}, cookies=jar)
    bare = await chat.world.send("POST", link, user="alice", data={"form": form[1]})
    assert [one.status_code for one in (foreign, other, bare)] == [403, 403, 403]
    done = await chat.world.send("POST", link, user="alice", data={"form": form[1]}, cookies=jar)
    assert done.status_code == 200 and "/deputize " in words_of(done)
    again = await chat.world.send("POST", link, user="alice", data={"form": form[1]}, cookies=jar)
    seen = await chat.world.send("GET", link, user="alice")
    assert (again.status_code, seen.status_code) == (403, 403)
    assert await chat.linked("alice") == []


async def test_code_works_once_and_only_for_the_account_that_began(chat: Chat) -> None:
    code = await chat.code("alice", "U_ALICE")
    for member, team in (("U_EVE", "T1"), ("U_ALICE", "T2")):
        assert "wrong" in (await chat.command(code, member, team))["text"]
    assert await chat.linked("alice") == []
    assert (await chat.command(code.lower()))["text"] == "Linked."
    assert "wrong" in (await chat.command(code))["text"]
    assert "wrong" in (await chat.command(code, "U_EVE"))["text"]
    assert [person for _, person in await chat.linked("alice")] == ["U_ALICE"]
    [row] = [row for row in chat.world.deputy.audit.rows() if row["event"] == "chat.linked"]
    assert (row["chat"], row["linked"]) == ("slack", True)


async def test_newer_code_of_the_user_counts_only_for_its_own_account(chat: Chat) -> None:
    older = await chat.code("alice", "U_ALICE")
    newer = await chat.code("alice", "U_ALICE2")
    for code, member in ((newer, "U_ALICE"), (older, "U_ALICE"), (older, "U_ALICE2")):
        assert "wrong" in (await chat.command(code, member))["text"]
    assert (await chat.command(newer, "U_ALICE2"))["text"] == "Linked."


async def test_code_expires_and_cannot_be_guessed(chat: Chat) -> None:
    code = await chat.code("alice", "U_ALICE")
    for number in range(MAX_TRIES):
        assert "wrong" in (await chat.command(f"AAAAA-AAA{number}A"))["text"]
    assert "wrong" in (await chat.command(code))["text"]
    late = await chat.code("alice", "U_ALICE")
    chat.world.clock.now += 601
    assert "wrong" in (await chat.command(late))["text"]
    link = link_in(await chat.command())
    chat.world.clock.now += 601
    assert (await chat.world.send("GET", link, user="alice")).status_code == 403
    assert await chat.linked("alice") == []


async def test_ticket_of_another_slack_account_gives_it_nothing_without_the_code(chat: Chat) -> None:
    await chat.code("alice", "U_EVE")  # Alice opened a link that Eve had sent her, and pressed the button
    for guess in ("", "alice", "unlink"):
        await chat.command(guess, "U_EVE")
    await ask(chat)
    assert chat.slack.cards == [] and await chat.linked("alice") == []


async def test_new_link_replaces_the_old_one_on_both_sides(chat: Chat) -> None:
    await chat.link("alice")
    await chat.link("alice", "U_ALICE2")
    await ask(chat)
    assert [card["channel"] for card in chat.slack.cards] == ["U_ALICE2"]
    assert await pressed(chat, chat.slack.cards[0], "approve", member="U_ALICE") == [NOT_LINKED]
    await chat.link("bob", "U_ALICE2")
    assert await chat.linked("alice") == []
    await ask(chat, call="2")
    assert len(chat.slack.cards) == 1


@pytest.mark.parametrize("end", ["unlink", "offboard", "erase"])
async def test_link_ends(chat: Chat, end: str) -> None:
    await chat.link("alice")
    asked = await ask(chat)
    [card] = chat.slack.cards
    code = await chat.code("alice", "U_EVE")
    if end == "unlink":
        assert "Not linked" in (await chat.command("unlink"))["text"]
    else:
        await (chat.world.deputy.offboard("alice", "left") if end == "offboard" else chat.world.deputy.erase("alice"))
        assert "wrong" in (await chat.command(code, "U_EVE"))["text"]
    assert await pressed(chat, card, "approve") == [NOT_LINKED]
    assert await status(chat, asked) != "approved" and await chat.linked("alice") == []


# ------------------------------------------------------------- requests


async def test_forged_stale_changed_and_replayed_requests_are_refused(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    await chat.link("alice")
    asked = await ask(chat)
    fields = chat.press_fields(chat.slack.cards[0], "approve")
    with caplog.at_level(logging.DEBUG):
        tries: list[dict[str, Any]] = [
            {"secret": "another"},
            {"at": time.time() - 360},
            {"at": time.time() + 360},
            {"changed": "payload=%7B%7D"},
            {"signature": "v0=" + "0" * 64},
            {"signature": ""},
        ]
        for one in tries[:-1]:
            assert (await chat.request(fields, **one)).status_code == 401, one
        for headers in ({}, {"x-slack-signature": "v0=1"}, {"x-slack-request-timestamp": "1"}):
            assert (await chat.world.send("POST", PATH, data=fields, headers=headers)).status_code == 401
        nonsense = {"x-slack-request-timestamp": "soon", "x-slack-signature": "v0=1"}
        assert (await chat.world.send("POST", PATH, data=fields, headers=nonsense)).status_code in (400, 401)
        assert (await chat.world.send("POST", PATH, data={"payload": "{"})).status_code in (400, 401)
        assert await status(chat, asked) == "pending" and not chat.slack.sent("chat.postEphemeral")
        await chat.request(fields)
        sent, headers = chat.last
        assert (await chat.world.send("POST", PATH, data=sent, headers=headers)).status_code == 401
    for secret in (TOKEN, SECRET, "Hello Bob", "Lunch", asked.id):
        assert secret not in caplog.text
    await chat.settle()
    assert await status(chat, asked) == "approved"


async def test_replayed_command_reveals_no_link(chat: Chat) -> None:
    await chat.command()
    sent, headers = chat.last
    again = await chat.world.send("POST", PATH, data=sent, headers=headers)
    assert again.status_code == 401 and "link" not in again.text


async def test_press_of_another_user_is_refused_to_that_person_only(chat: Chat) -> None:
    await chat.link("alice")
    await chat.link("bob")
    asked = await ask(chat)
    [card] = chat.slack.cards
    updates = len(chat.slack.sent("chat.update"))
    assert await pressed(chat, card, "approve", member="U_BOB") == [NOT_YOURS]
    assert await pressed(chat, card, "approve", member="U_EVE") == [NOT_LINKED]
    assert await pressed(chat, card, "approve", member="U_ALICE", team="T2") == [NOT_LINKED]
    assert await pressed(chat, card, "approve", value="0" * 40 + "-" + "0" * 8) == [NOT_YOURS]
    assert {given["user"] for given in chat.slack.sent("chat.postEphemeral")} == {"U_BOB", "U_EVE", "U_ALICE"}
    assert await status(chat, asked) == "pending" and len(chat.slack.sent("chat.update")) == updates


async def test_account_of_an_enterprise_decides_from_each_of_its_workspaces(chat: Chat) -> None:
    await chat.link("alice", enterprise="E1")
    asked = await ask(chat)
    [card] = chat.slack.cards
    for others in ({"team": "T1"}, {"team": "T1", "enterprise": "E2"}, {"team": "E1", "member": "U_BOB"}):
        assert await pressed(chat, card, "approve", **others) == [NOT_LINKED]
    assert await status(chat, asked) == "pending"
    assert await pressed(chat, card, "approve", team="T2", enterprise="E1") == []
    assert await status(chat, asked) == "approved"


async def test_press_from_another_message_does_not_count(chat: Chat) -> None:
    await chat.link("alice")
    first, second = await ask(chat), await ask(chat, call="2")
    card = chat.slack.cards[0]
    assert await pressed(chat, card, "approve", value=second.id) == [NOT_YOURS]
    assert [await status(chat, one) for one in (first, second)] == ["pending", "pending"]


async def test_two_presses_at_once_decide_once(chat: Chat) -> None:
    await chat.link("alice")
    asked = await ask(chat)
    [card] = chat.slack.cards
    fields = chat.press_fields(card, "approve")
    await asyncio.gather(*(chat.request(fields) for _ in range(2)))
    await chat.settle()
    assert await status(chat, asked) == "approved"
    assert chat.world.events("approval").count("approval.approved") == 1


# ------------------------------------------------------------- what the card says


def page_words(html: str) -> list[str]:
    """Return what a person reads on the page of an act, word by word, without its controls and what only a page has."""
    main = html[html.index("<main") : html.index("</main>")]
    for gone in (r"<svg.*?</svg>", r"<form.*?</form>", r"<details.*?</details>", r'<span class="service".*?</span>'):
        main = re.sub(gone, " ", main, flags=re.DOTALL)
    main = re.sub(r'<p class="quiet">Expires in.*?</p>', " ", main)
    return [word for word in map(_bare, unescape(re.sub(r"<[^>]*>", " ", main)).split()) if word]


def card_words(card: dict[str, Any]) -> list[str]:
    return [word for word in map(_bare, " ".join(words(card["blocks"])).split()) if word]


def _bare(word: str) -> str:
    return word.strip(".,:")


async def test_card_page_payload_and_terminal_say_the_same_words_in_order(chat: Chat) -> None:
    await chat.link("alice")
    asked = await ask(chat, f"{HOSTILE}\nsecond line", subject="A <b>subject</b> & more")
    [card] = chat.slack.cards
    page = await chat.world.send("GET", f"/approve/{asked.id}", user="alice")
    assert card_words(card) == page_words(page.text) != []
    with show.err.capture() as terminal:
        show.approval(asked)
    printed = re.sub(r"[\s│]+", "", terminal.get())
    for name, text in asked.payload()["preview"].items():
        shown = asked.preview[name]
        assert text == shown and any(shown in line for line in words(card["blocks"]))
        assert re.sub(r"\s+", "", shown) in printed
    names = [line.partition("\n")[0].lower() for line in words(card["blocks"])[1:-2]]
    assert names == [name for name in names if name in asked.preview]


async def test_changed_act_gets_a_new_card_and_closes_the_old_one(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    await chat.link("alice")
    asked = await ask(chat)
    monkeypatch.setitem(REWRITTEN, "text", "Dinner?")
    again = await ask(chat)
    first, second = chat.slack.cards
    assert buttons(second)[0] == "Approve"
    [closed] = chat.slack.sent("chat.update")
    assert words(closed["blocks"])[0].startswith("This no longer waits") and closed["ts"] == "1.000100"
    [told] = await pressed(chat, first, "approve")
    assert "has changed since it was shown (text)" in told
    assert again.id != asked.id and await status(chat, again) == "pending"
    monkeypatch.setitem(REWRITTEN, "text", "")
    await ask(chat)  # the same as on the first card, on which a button still counts
    await pressed(chat, first, "approve")
    assert await status(chat, again) == "approved"


async def test_hostile_texts_are_inert(chat: Chat) -> None:
    await chat.link("alice")
    await ask(chat, HOSTILE, subject=HOSTILE.replace("\n", " "))
    [card] = chat.slack.cards
    assert card["text"] == "Your agent asks you something." and not card["unfurl_links"] and not card["unfurl_media"]
    assert "link_names" not in card and "parse" not in card
    for block in card["blocks"]:
        for part in [block.get("text"), *block.get("elements", ())]:
            if part and part.get("type") == "mrkdwn":
                assert re.fullmatch(
                    r"Expires: <!date\^\d+\^\{date_short_pretty\} \{time\}\|[\d :-]+ UTC>", part["text"]
                )
            elif part and part.get("type") == "plain_text":
                assert part["emoji"] is False and not re.search("[\u202a-\u202e\u2066-\u2069\u200b]", part["text"])
    assert "[U+202E]" in "\n".join(words(card["blocks"]))


@pytest.mark.parametrize("text", ["x" * 3000, "\U0001f600" * 1500])
async def test_long_act_is_approved_on_the_page_only(chat: Chat, text: str) -> None:
    await chat.link("alice")
    asked = await ask(chat, text)
    [card] = chat.slack.cards
    assert buttons(card) == ["Reject", "Open the page"] and "read the rest on the page" in "\n".join(
        words(card["blocks"])
    )
    sizes = [len(one.encode("utf-16-le")) // 2 for one in words(card["blocks"])]
    assert max(sizes) <= 3000 and sum(sizes) <= 13000 and len(card["blocks"]) <= 50
    assert await pressed(chat, card, "approve") == [ON_THE_PAGE]
    assert await status(chat, asked) == "pending"


def test_lines_of_a_card_fit_and_keep_their_order() -> None:
    lines = [f"{number} {'x' * 2000}" for number in range(60)]
    assert lines[:5] == _fitting(lines)[:5] and len(_fitting(lines)) == MAX_CARD // 2002
    assert len(_fitting(["x"] * 60)) == MAX_LINES


@pytest.mark.parametrize("more", [{"destroys": True}, {"public": True}])
async def test_grave_act_is_approved_on_the_page_only(chat: Chat, more: dict[str, Any]) -> None:
    await chat.link("alice")
    asked = await ask(chat, **more)
    [card] = chat.slack.cards
    assert buttons(card) == ["Reject", "Open the page"]
    urls = [one["url"] for block in card["blocks"] for one in block.get("elements", ()) if "url" in one]
    assert urls == [asked.link]
    assert await pressed(chat, card, "approve") == [ON_THE_PAGE] and await status(chat, asked) == "pending"
    assert await pressed(chat, card, "reject") == [] and await status(chat, asked) == "rejected"


async def test_consent_is_answered_on_the_page_and_its_card_closes(chat: Chat) -> None:
    await chat.link("bob")
    [consent] = await chat.world.deputy.connect("bob", "google", scopes=[SEND])
    await chat.settle()
    [card] = chat.slack.cards
    assert buttons(card) == ["Open the page"] and card["channel"] == "U_BOB"
    page = words_of(await chat.world.send("GET", consent.link, user="bob"))
    for line in words(card["blocks"]):
        assert line.removeprefix("• ") in unescape(page)
    await chat.world.deputy.revoke("bob", "google")
    await chat.settle()
    assert words(chat.slack.sent("chat.update")[-1]["blocks"])[0] == "This was cancelled"


async def test_expired_card_says_so(chat: Chat) -> None:
    await chat.link("alice")
    asked, other = await ask(chat), await ask(chat, call="2")
    chat.world.clock.now += 3601
    assert await pressed(chat, chat.slack.cards[1], "approve") == [EXPIRED]
    assert words(chat.slack.sent("chat.update")[-1]["blocks"]) == [EXPIRED]
    await chat.world.deputy.report_expired()
    await chat.settle()
    assert {tuple(words(one["blocks"])) for one in chat.slack.sent("chat.update")[1:]} == {
        (EXPIRED, f"{asked.summary}."),
        (EXPIRED, f"{other.summary}."),
    }


async def test_decision_on_the_page_closes_the_card(chat: Chat) -> None:
    await chat.link("alice")
    asked = await ask(chat)
    await chat.world.deputy.decide(asked, "reject", by="alice")
    await chat.settle()
    assert words(chat.slack.sent("chat.update")[-1]["blocks"]) == ["Rejected", f"{asked.summary}."]


def another_process(chat: Chat) -> Deputy:
    """Return a deputy of another process with the same vault."""
    world = chat.world
    return Deputy(world.deputy.vault, [google_app()], pages=world.base, clock=world.clock, toolkits=[letters])


async def test_decision_of_another_process_closes_the_card(chat: Chat) -> None:
    await chat.link("alice")
    asked, other = await ask(chat), another_process(chat)
    SlackCards(other, bot_token=TOKEN, signing_secret=SECRET, api_url=chat.slack.url)
    await other.decide(asked, "approve", by="alice")
    await other.services.question_feed.wait()
    assert words(chat.slack.sent("chat.update")[-1]["blocks"]) == ["Approved", f"{asked.summary}."]


async def test_decision_before_the_card_is_stored_closes_it(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    await chat.link("alice")
    post, other = chat.cards.slack.chat_postMessage, another_process(chat)

    async def decided_meanwhile(**card: Any) -> Any:
        sent = await post(**card)
        [waiting] = await other.pending("alice")
        await other.decide(waiting.id, "reject", by="alice")  # by a process without cards
        return sent

    monkeypatch.setattr(chat.cards.slack, "chat_postMessage", decided_meanwhile)
    asked = await ask(chat)
    assert words(chat.slack.sent("chat.update")[-1]["blocks"]) == ["Rejected", f"{asked.summary}."]


async def test_failure_of_slack_neither_fails_the_act_nor_reveals_it(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    await chat.link("alice")
    chat.slack.error = "channel_not_found"
    with caplog.at_level(logging.DEBUG):
        asked = await ask(chat)
    assert "A card was not sent to Slack: channel_not_found" in caplog.text
    for secret in (TOKEN, "Hello Bob", asked.id):
        assert secret not in caplog.text


async def test_card_is_sent_again_after_slack_has_limited_the_rate(chat: Chat) -> None:
    await chat.link("alice")
    chat.slack.limited = 1
    asked = await ask(chat)
    [card] = chat.slack.cards
    chat.slack.limited = 1
    assert await pressed(chat, card, "approve") == [] and await status(chat, asked) == "approved"
    assert words(chat.slack.sent("chat.update")[-1]["blocks"])[0] == "Approved"


# ------------------------------------------------------------- four eyes

ROLES = {"bob": ["finance"], "carol": ["finance"], "alice": ["finance"]}


def held(user: User) -> list[str]:
    return ROLES.get(user.id, [])


def finance(act: Act) -> Verdict | Decision:
    if act.tool.name == "letters_send":
        return Decision(Verdict.ASK, "big", "It costs money.", "finance")
    return ask_before_sending(act)


async def office(slack: Workspace, **more: Any) -> Chat:
    chat = await Chat.open(slack, toolkits=[letters], policy=finance, **more)
    for user in ("alice", "bob", "carol", "eve"):
        await chat.link(user)
    return chat


async def test_members_of_the_role_are_asked_and_one_decides(slack: Workspace) -> None:
    chat = await office(slack, roles=held)
    asked = await ask(chat)
    assert sorted(card["channel"] for card in slack.cards) == ["U_BOB", "U_CAROL"]
    bobs = next(card for card in slack.cards if card["channel"] == "U_BOB")
    assert words(bobs["blocks"])[0].startswith("alice asks somebody with the role finance.")
    page = await chat.world.send("GET", f"/others/{asked.id}", user="bob")
    assert card_words(bobs) == page_words(page.text) != []
    for member in ("U_ALICE", "U_EVE", "U_CAROL"):
        assert await pressed(chat, bobs, "approve", member=member) == [NOT_YOURS]
    assert await status(chat, asked) == "pending"
    assert await pressed(chat, bobs, "approve") == []
    assert await status(chat, asked) == "approved"
    closed = {one["channel"] for one in slack.sent("chat.update")}
    assert closed == {"DU_BOB", "DU_CAROL"}


async def test_large_role_is_asked_although_slack_is_slow(slack: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [f"person-{number}" for number in range(33)]
    chat = await office(slack, roles=lambda user: ["finance"] if user.id in people else [])
    for number, user in enumerate(people):
        await chat.link(user, f"U{number}")
    monkeypatch.setattr("deputize.core.question_feed.FUNCTION_SECONDS", 2.5)
    monkeypatch.setattr(slack, "seconds", 0.15)
    asked = await ask(chat)
    assert {card["channel"] for card in slack.cards} == {f"U{number}" for number in range(33)}
    assert await pressed(chat, slack.cards[0], "approve") == []
    assert await status(chat, asked) == "approved"
    assert len(slack.sent("chat.update")) == 33


async def test_member_who_lost_the_role_decides_nothing_and_closes_no_other_card(slack: Workspace) -> None:
    roles = {"bob": ["finance"], "carol": ["finance"]}
    chat = await office(slack, roles=lambda user: roles.get(user.id, []))
    asked = await ask(chat)
    bobs = next(card for card in slack.cards if card["channel"] == "U_BOB")
    roles["bob"] = []
    assert await pressed(chat, bobs, "approve") == [NOT_YOURS]
    assert await status(chat, asked) == "pending"
    assert {one["channel"] for one in slack.sent("chat.update")} == {"DU_BOB"}


async def test_role_from_a_sign_in_is_asked_in_slack_and_decides_on_the_page(slack: Workspace) -> None:
    chat = await office(slack)
    await chat.world.deputy.roles.learn(User("bob", "", frozenset({"finance"})))
    asked = await ask(chat)
    [card] = slack.cards
    assert card["channel"] == "U_BOB" and buttons(card) == ["Open the page"]
    [url] = [one["url"] for block in card["blocks"] for one in block.get("elements", ()) if "url" in one]
    assert url.endswith(f"/others/{asked.id}")
    assert await pressed(chat, card, "approve", value=asked.id) == [NOT_YOURS]
    assert await status(chat, asked) == "pending"


# ------------------------------------------------------------- set up


async def test_cards_need_a_token_a_secret_and_pages_that_sign_users_in() -> None:
    world, local = await make(), await make(local=True)
    for deputy, token, secret in (
        (world.deputy, "xoxp-1", SECRET),
        (world.deputy, TOKEN, ""),
        (local.deputy, TOKEN, SECRET),
    ):
        with pytest.raises(SettingsError):
            SlackCards(deputy, bot_token=token, signing_secret=secret)
