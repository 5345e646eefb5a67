"""The summaries on the activity page: what each act did, for its user alone, and without refused calls."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from typing import Any

import pytest

from deputize.core import (
    Act,
    Audience,
    Call,
    Effect,
    Preview,
    Request,
    Secret,
    Steps,
    Toolkit,
    Undo,
    User,
    Verdict,
    any_of,
)
from deputize.core.audit.events import ActResult
from deputize.core.errors import ApprovalRequired, InvalidInput, OutcomeUnknown, PolicyDenied
from deputize.core.vault.pseudonyms import Pseudonym
from deputize.core.web.pages.activity import history_of
from deputize.sandbox import Page
from tests.core.web.web_application import SEND, World, make, words_of

KIT = Toolkit("board", provider="google", api="gmail", shows=True)
MAIL = base64.urlsafe_b64encode(b"To: bob@example.test\r\nSubject: Note\r\n\r\nHello").decode()
ALICE, BOB = User("alice"), User("bob")


@KIT.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
def post(to: str, subject: str, url: str = "", fail: bool = False, empty: bool = False) -> Steps:
    """Post a note on the board; for models only."""
    if empty:
        return "nothing to do"
    yield Preview("Post this note", audience=Audience.PEOPLE, people=[to], to=[to], subject=subject, where="#general")
    yield Request("POST", "/users/me/messages/send", json={"raw": MAIL})
    if fail:
        yield Request("POST", "/users/me/messages/send", json={"raw": ""})
    yield Undo("board_post", {"to": to, "subject": f"Withdrawn: {subject}"}, holds={})
    return {"url": url}


@KIT.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def shout(to: str, title: str) -> Steps:
    """Shout at somebody."""
    yield Request("POST", "/users/me/messages/send", json={"raw": MAIL})
    return {"url": "https://evil.test/x"}


def allow(act: Act) -> Verdict:
    return Verdict.ALLOW


async def board(**more: Any) -> World:
    world = await make(**{"policy": allow, "toolkits": [KIT], **more})
    await world.connected("send")
    return world


async def post_as_alice(world: World, call: str = "1", **arguments: Any) -> Any:
    given = {"to": "Bob Brown <bob@example.test>", "subject": "Invoice 4711", **arguments}
    return await world.deputy.act("board_post", given, user="alice", call=Call("t", "m", call))


async def opened(world: World, query: str = "", user: str = "alice") -> Page:
    return await world.browser(user).open(f"/activity{query}")


def result_rows(world: World) -> list[dict[str, Any]]:
    return [row for row in world.deputy.audit.rows() if row["event"] == "act.result"]


async def test_act_without_a_question_says_whom_it_reached_what_and_where_with_a_link() -> None:
    world = await board()
    await post_as_alice(world, url="https://mail.google.com/mail/#all/17")
    page = await opened(world)
    assert "Post this note Bob Brown &lt;bob@example.test&gt; · “Invoice 4711” · #general Done" in words_of(page)
    assert (
        '<a href="https://mail.google.com/mail/#all/17" rel="noopener noreferrer">Open at mail.google.com' in page.text
    )
    assert "for models only" not in page.text


async def test_approved_act_has_its_summary() -> None:
    world = await board(policy=lambda act: Verdict.ASK)
    with pytest.raises(ApprovalRequired) as asked:
        await post_as_alice(world)
    await world.deputy.decide(asked.value.approval, "approve", by="alice")
    await post_as_alice(world)
    text = words_of(await opened(world))
    assert text.count("“Invoice 4711”") == 2  # in the row and on its button
    assert "approval_required" not in text and "sealed" not in result_rows(world)[0]


async def test_tool_without_a_preview_is_summarized_by_its_arguments_without_a_foreign_link() -> None:
    world = await board()
    await world.deputy.act("board_shout", {"to": "bob@example.test", "title": "Hear!"}, user="alice", call=Call(id="1"))
    page = await opened(world)
    assert "Shout at somebody bob@example.test · “Hear!” Done" in words_of(page) and "evil.test" not in page.text


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/mail.google.com",
        "https://mail.google.com@evil.test/",
        "https://evilgoogle.com/",
        "https://google.com.evil.test/",
        "https://google.com\\@evil.test/",
        "https://a@google.com/",
        "javascript:alert(1)//google.com",
        "http://mail.google.com/",
        'https://google.com/"onmouseover="x',
        "https://google.com/\u202ex",
        "https://google.com/" + "x" * 600,
    ],
)
async def test_link_to_another_host_than_the_providers_is_left_out(url: str) -> None:
    world = await board()
    await post_as_alice(world, url=url)
    page = await opened(world)
    assert "“Invoice 4711”" in words_of(page) and "Open at" not in page.text


async def test_hostile_subject_is_made_visible_and_cut() -> None:
    world = await board()
    await post_as_alice(world, subject="<b>Hi</b>\u202e\u200b\n\nDone\n\n" + "x" * 5000, to="\u202eeve@evil.test")
    page = await opened(world)
    assert "&lt;b&gt;Hi&lt;/b&gt;[U+202E][U+200B] Done" in page.text and "<b>Hi" not in page.text
    assert "[U+202E]eve@evil.test" in page.text and "\u202e" not in page.text and "x" * 200 not in page.text
    [entry] = (await history_of(world.deputy, ALICE)).entries
    assert len(" · ".join(entry.parts)) <= 215


async def test_audit_has_no_content_in_plain_text_and_its_listeners_get_none() -> None:
    world, events = await board(), list[Any]()
    world.deputy.audit.listeners.append(events.append)
    await post_as_alice(world)
    written = json.dumps(world.deputy.audit.rows()) + "".join(map(repr, events))
    assert any(isinstance(one, ActResult) for one in events) and result_rows(world)[0]["sealed"]
    for word in ("Invoice", "bob@example.test", "Post this note", "#general"):
        assert word not in written


async def test_length_of_a_summary_is_padded() -> None:
    world = await board()
    for number, subject in enumerate(("No", "Yes, and then the other one")):
        await post_as_alice(world, str(number), subject=subject)
    assert len({len(row["sealed"]) for row in result_rows(world)}) == 1


async def test_other_user_and_moved_or_changed_summaries_are_not_shown() -> None:
    world = await board()
    await post_as_alice(world, "1")
    await post_as_alice(world, "2", subject="Another")
    names: Any = world.deputy.audit.names
    one, two = result_rows(world)
    await names.learn("", "bob")
    assert "Invoice" in names.unseal("", "alice", one["act_id"], one["sealed"])
    assert names.unseal("", "bob", one["act_id"], one["sealed"]) == ""
    assert names.unseal("other", "alice", one["act_id"], one["sealed"]) == ""
    assert names.unseal("", "alice", two["act_id"], one["sealed"]) == ""
    for forged in ("", "A", "no base64!", "QUFBQQ==", one["sealed"][:-8] + "AAAAAAA=", one["sealed"].swapcase()):
        assert names.unseal("", "alice", one["act_id"], forged) == ""
    assert "Invoice" not in (await opened(world, user="bob")).text


@pytest.mark.parametrize("forge", ["swap", "edit", "other"])
async def test_forged_summary_leaves_the_row_without_one(forge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the audit's key can forge rows, but not summaries."""
    world = await board()
    await post_as_alice(world, "1")
    await post_as_alice(world, "2", subject="Another")
    rows = world.deputy.audit.rows()
    first, second = (row for row in rows if row["event"] == "act.result")
    stranger = Pseudonym(Secret(secrets.token_hex(32)), BOB)
    forged = {
        "swap": second["sealed"],
        "edit": first["sealed"][:40] + ("A" if first["sealed"][40] != "A" else "B") + first["sealed"][41:],
        "other": stranger.seal(first["act_id"], "https://evil.test/\nPaid\nEve"),
    }
    first["sealed"] = forged[forge]
    monkeypatch.setattr(world.deputy.audit, "rows", lambda: rows)
    newer, older = (await history_of(world.deputy, ALICE)).entries
    assert newer.parts[1] == "“Another”" and (older.what, older.parts) == ("Post a note on the board", ())
    assert "evil.test" not in (await opened(world)).text


async def test_refused_calls_and_calls_that_wrote_nothing_are_hidden_unless_ticked() -> None:
    world = await board()
    wrongs: list[dict[str, Any]] = [{"subject": 7, "to": []}, {"nonsense": True}]
    for wrong in wrongs:
        with pytest.raises(InvalidInput):
            await post_as_alice(world, **wrong)
    await post_as_alice(world, "2", empty=True)
    world.deputy.policy = lambda act: Verdict.DENY if act.show else Verdict.ALLOW
    with pytest.raises(PolicyDenied):
        await post_as_alice(world, "3")
    page = await opened(world)
    assert "Nothing was done so far." in words_of(page) and "Also what was only looked up or refused" in words_of(page)
    text = words_of(await opened(world, "?all=1"))
    assert text.count("Not done: it failed") == 2 and "the rules of this application forbid it" in text
    assert "“Invoice 4711”" in text  # the preview that the policy denied


async def test_failed_and_repeated_writes_stay_visible_with_their_summary() -> None:
    world = await board()
    await post_as_alice(world, "1")
    await post_as_alice(world, "1")  # the recorded result, without a run
    with pytest.raises(OutcomeUnknown):
        await post_as_alice(world, "2", fail=True, subject="Half done")
    assert len(result_rows(world)) == 3
    entries = (await history_of(world.deputy, ALICE)).entries
    assert [entry.parts[1] for entry in entries] == ["“Half done”", "“Invoice 4711”"]


async def test_undo_names_what_it_undoes_on_button_page_and_row() -> None:
    world = await board()
    await post_as_alice(world, url="https://mail.google.com/mail/#all/17")
    browser = world.browser()
    page = await browser.open("/activity")
    button = '<button>Undo: <bdi>“Invoice 4711”</bdi><span class="unseen">, Post this note</span></button>'
    assert button in page.text and page.text.count("Open at") == 1
    world.deputy.policy = lambda act: Verdict.ASK
    asks = await browser.submit(page, next(form for form in page.forms if form.action.endswith("/undo")))
    assert "Undo: Post this note : Bob Brown &lt;bob@example.test&gt; · “Invoice 4711” · #general" in words_of(asks)
    done = words_of(await browser.submit(asks, asks.forms[0], sure="yes"))
    assert "Undo: Post this note Bob Brown &lt;bob@example.test&gt; · “Invoice 4711” · #general Done" in done
    assert "Undone since" in done and "Open at" not in done  # the link leads to what is gone
    [again] = await world.deputy.undoable("alice")
    assert again.what == "Post this note" and again.about.endswith("“Withdrawn: Invoice 4711” · #general")


async def test_search_finds_words_of_the_summary() -> None:
    world = await board()
    await post_as_alice(world, "1")
    await post_as_alice(world, "2", subject="Lunch")
    found = words_of(await opened(world, "?q=INVOICE+brown"))
    assert "“Invoice 4711”" in found and "“Lunch”" not in found
    assert "Nothing was found." in words_of(await opened(world, "?q=invoice+lunch"))


async def test_summary_of_an_erased_user_cannot_be_read_any_more() -> None:
    world = await board()
    await post_as_alice(world)
    [row] = result_rows(world)
    await world.deputy.erase("alice")
    names: Any = world.deputy.audit.names
    await names.learn("", "alice")
    assert names.unseal("", "alice", row["act_id"], row["sealed"]) == ""
    assert row in world.deputy.audit.rows() and "Invoice" not in (await opened(world, "?all=1")).text
    kept = b"".join([r.plain.reveal() for kind in ("act", "person") for r in await world.deputy.vault.scan(kind)])
    assert b"Invoice" not in kept


async def test_user_whose_key_cannot_be_read_gets_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key derived from the vault's would survive the user's erasure."""
    world = await board()
    names: Any = world.deputy.audit.names
    names._known.clear()
    monkeypatch.setattr(names, "learn", lambda tenant, user: asyncio.sleep(0))
    await post_as_alice(world)
    assert "sealed" not in result_rows(world)[0] and "Post a note on the board Done" in words_of(await opened(world))


async def test_page_of_ten_thousand_acts_is_quick() -> None:
    """Searching decrypts every summary. The limit is generous, because machines differ."""
    world = await board()
    await post_as_alice(world)
    rows = world.deputy.audit.rows()
    last: dict[str, Any] = next(row for row in rows if row["event"] == "act.result")
    pseudonym: Any = world.deputy.audit.names
    for number in range(10_000):
        act_id = f"{number:012x}"
        sealed = pseudonym.seal("", "alice", act_id, f"\nPost this note\nbob@example.test\n“Invoice {number}”")
        rows.append(last | {"act_id": act_id, "sealed": sealed, "ts": last["ts"] + number + 1})
    world.deputy.audit.rows = lambda: rows  # type: ignore[method-assign]
    for query, found in (("", 50), ("invoice 9999", 1), ("absent", 0)):
        began = time.perf_counter()
        assert len((await history_of(world.deputy, ALICE, query=query)).entries) == found
        assert time.perf_counter() - began < 5
