"""The page on which the signed-in user answers a foreign server: a full link, a validated form, three replies."""

from __future__ import annotations

import httpx
import pytest

from deputize.core import ApprovalRequired, Deputy, User, allow_all
from deputize.core.web.app import pages_app
from deputize.sandbox import Browser, Page
from tests.core.mcp_client.test_asking_the_user import ADDRESS, FORM, LINK, SEND, act, asked, asks, form, replies
from tests.core.web.web_application import sign_in, signed_in, words_of
from tests.support.foreign_mcp import Foreign, foreign_deputy, text
from tests.support.sandbox_deputy import PAGES

ALICE = User("alice")


def browser_of(deputy: Deputy, user: str = "alice") -> Browser:
    """Return a browser in which this user is signed in."""
    transport = httpx.ASGITransport(pages_app(deputy, verifier=signed_in))
    browser = Browser(transport, base_url=PAGES)
    sign_in(browser, user, PAGES)
    return browser


async def submitted(browser: Browser, page: Page, decision: str, **fields: str) -> Page:
    return await browser.submit(page, page.forms[0], decision=decision, **fields)


async def test_elicitation_link_is_shown_in_full_and_needs_a_button_press() -> None:
    foreign = Foreign([SEND], reply=replies(asks(LINK), text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        browser = browser_of(deputy)
        question = await asked(deputy)
        page = await browser.open(question.link)
        assert "Other asks you something" in words_of(page)
        assert f"<pre>{ADDRESS}</pre>" in page.text and "<strong>accounts.other.example</strong>" in page.text
        assert f'href="{ADDRESS}" target="_blank" rel="noopener noreferrer"' in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        with pytest.raises(ApprovalRequired):
            await act(deputy)  # looking changes nothing
        after = await submitted(browser, page, "accept")
        assert "You answered" in words_of(after) and ADDRESS not in after.text
        assert (await act(deputy))["text"] == "did it"
        assert "mcp.other.example has your answer" in words_of(await browser.open(question.link))


async def test_elicitation_form_is_validated_and_only_filled_fields_are_sent() -> None:
    foreign = Foreign([SEND], reply=replies(asks(FORM), text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        browser, question = browser_of(deputy), await asked(deputy)
        page = await browser.open(question.link)
        assert "How urgent is it?" in page.text and '<option value="high">High</option>' in page.text
        for fields, fault in (
            ({"0.0": ""}, "urgency: required."),
            ({"0.0": "medium"}, "urgency: not valid"),
            ({"0.0": "low", "0.1": "soon"}, "days: not a number."),
            ({"0.0": "low", "0.1": "99"}, "days: not valid (at least 1, at most 9)."),
        ):
            page = await submitted(browser, page, "accept", **fields)
            assert fault in words_of(page), words_of(page)
        assert 'value="99"' in page.text and '<option value="low" selected>' in page.text
        assert foreign.count("tools/call") == 1
        await submitted(browser, page, "accept", **{"0.0": "high", "0.1": "3", "0.2": "on"})
        await act(deputy)
    content = {"urgency": "high", "days": 3, "tell": True}
    assert foreign.asked[-1][1]["inputResponses"] == {"q": {"action": "accept", "content": content}}


@pytest.mark.parametrize(("pressed", "sent"), [("decline", "decline"), ("cancel", "cancel")])
async def test_elicitation_can_be_declined_or_cancelled_without_input(pressed: str, sent: str) -> None:
    foreign = Foreign([SEND], reply=replies(asks(FORM), text("not done", isError=True)))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        browser, question = browser_of(deputy), await asked(deputy)
        after = await submitted(browser, await browser.open(question.link), pressed)
        assert "You declined" in words_of(after)
        await act(deputy)
    assert foreign.asked[-1][1]["inputResponses"] == {"q": {"action": sent}}


async def test_elicitation_answer_can_be_withdrawn_until_it_is_sent() -> None:
    foreign = Foreign([SEND], reply=replies(asks(LINK), text("no", isError=True)))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        browser, question = browser_of(deputy), await asked(deputy)
        page = await submitted(browser, await browser.open(question.link), "accept")
        assert "You declined" in words_of(await submitted(browser, page, "reject"))
        await act(deputy)
    assert foreign.asked[-1][1]["inputResponses"] == {"q": {"action": "decline"}}


async def test_elicitation_is_hidden_from_other_users_and_malformed_forms() -> None:
    async with foreign_deputy(Foreign([SEND], reply=replies(asks(LINK))), policy=allow_all) as deputy:
        question, alice = await asked(deputy), browser_of(deputy)
        page = await alice.open(question.link)
        for user, status in (("bob", 403), ("", 401)):
            stranger = browser_of(deputy, user)
            seen = await stranger.open(question.link)
            assert seen.status == status and "other.example" not in seen.text
            sent = await submitted(stranger, page, "accept")
            assert sent.status == status and "other.example" not in sent.text
        assert (await submitted(alice, page, "approve")).status == 403
        now = await deputy.get_approval(question, by="alice")
        assert now is not None and now.status == "pending"


async def test_elicitation_text_is_escaped() -> None:
    evil = '"><script>alert(1)</script>\u202e<b>Approve</b>'
    fields = form(a={"type": "string", "title": evil, "description": evil, "default": evil, "enum": [evil]})
    both = asks(LINK | {"message": evil, "url": "https://x.example/'\"><script>"})
    both["inputRequests"]["r"] = {"method": "elicitation/create", "params": fields | {"message": evil}}
    async with foreign_deputy(Foreign([SEND], reply=lambda *_: both), policy=allow_all) as deputy:
        question, browser = await asked(deputy), browser_of(deputy)
        page = await browser.open(question.link)
        assert (
            page.status == 200 and "<script" not in page.text and "<b>" not in page.text and "\u202e" not in page.text
        )
        for path in ("/connections", f"/asks/{question.request_id}"):
            listed = await browser.open(PAGES + path)
            assert listed.status == 200 and "<script" not in listed.text and f"/approve/{question.id}" in listed.text


async def test_elicitation_link_with_lookalike_characters_is_marked() -> None:
    link = LINK | {"url": "https://xn--ggle-0nda.example/"}
    async with foreign_deputy(Foreign([SEND], reply=lambda *_: asks(link)), policy=allow_all) as deputy:
        page = await browser_of(deputy).open((await asked(deputy)).link)
    assert "written in other letters than it seems" in words_of(page)


async def test_request_summary_marks_an_answered_elicitation() -> None:
    async with foreign_deputy(Foreign([SEND], reply=lambda *_: asks(LINK)), policy=allow_all) as deputy:
        question, browser = await asked(deputy), browser_of(deputy)
        await deputy.questions.reply(question.id, "accept", by=ALICE)
        listed = words_of(await browser.open(f"{PAGES}/asks/{question.request_id}"))
    assert "Answer a question of another server" in listed and "Answered" in listed and "Approved" not in listed
