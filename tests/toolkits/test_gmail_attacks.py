"""Attacks on the newer Gmail tools: unsubscribe requests, filters that hide, dying runs, and odd arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core import Effect
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits.gmail import TOOLKIT
from tests.support.lanes import examples, sample
from tests.toolkits.google_driver import ALICE, Desk, Lacking
from tests.toolkits.mailbox import COMPOSE, MODIFY, READONLY, SEND, SETTINGS
from tests.toolkits.test_calendar_attacks import calls
from tests.toolkits.test_gmail_more import ONE_CLICK, lay_in, new_desk, newsletter

NEW = (
    "get_attachment",
    "unsubscribe",
    "list_changes",
    "get_settings",
    "set_vacation",
    "manage_filter",
    "set_signature",
)


def effect(tool: str, arguments: dict[str, Any]) -> Effect:
    found = TOOLKIT.tools[f"gmail_{tool}"]
    return found.effect_of(found.validate(arguments))


@pytest.mark.parametrize(
    "hides",
    [{"archive": True}, {"mark_read": True}, {"never_spam": True}]
    + [{"add_labels": [name]} for name in ("TRASH", " trash ", "Spam", "CATEGORY_PROMOTIONS")]
    + [{"star": True, "add_labels": ["Work", "Trash"]}],
)
def test_filter_that_hides_mail_or_allows_spam_is_destructive(hides: dict[str, Any]) -> None:
    assert Effect.DESTRUCTIVE in effect("manage_filter", {"action": "create", "query": "x", **hides})


def test_filter_that_only_marks_is_an_ordinary_write() -> None:
    marks = {"action": "create", "query": "x", "star": True, "add_labels": ["Work"]}
    assert effect("manage_filter", marks) is Effect.WRITES


@pytest.mark.parametrize(
    "wish",
    [
        "<https://[x>",
        "<https://a\u2100b.test/>",
        "<http://[::1>",
        "<mailto:a@x.test?" + "&".join(f"subject={n}" for n in range(40)) + ">",
        "<mailto:[x@x.test>",
        "<mailto://[x>",
    ],
)
@pytest.mark.parametrize("post", [{}, {"List_Unsubscribe_Post": "List-Unsubscribe=One-Click"}])
def test_unreadable_unsubscribe_header_is_refused_with_a_message(wish: str, post: dict[str, str]) -> None:
    desk = new_desk()
    id = newsletter(desk, List_Unsubscribe=wish, **post)
    try:
        done = desk.run("unsubscribe", {"message_id": id, "by_email": True})
    except InvalidInput:
        assert not desk.public
    else:
        assert done["how"] == "mailto" or not desk.public
    assert len(desk.sandbox.sent(ALICE)) <= 1


def test_plus_in_an_unsubscribe_address_is_a_plus() -> None:
    desk = new_desk()
    id = newsletter(desk, List_Unsubscribe="<mailto:leave+42@list.test?subject=u%2B1+2&body=a+b>")
    desk.run("unsubscribe", {"message_id": id, "by_email": True})
    (sent,) = desk.sandbox.sent(ALICE)
    assert (sent.to, sent.subject, sent.text.strip()) == ("leave+42@list.test", "u+1+2", "a+b")


@pytest.mark.parametrize("scopes", [(MODIFY,), (READONLY, SEND)])
@pytest.mark.parametrize("stop", range(1, 9))
def test_list_is_unsubscribed_once_wherever_the_run_dies(stop: int, scopes: tuple[str, ...]) -> None:
    desk = new_desk(*scopes)
    id = newsletter(desk, List_Unsubscribe="<mailto:leave@list.test>")
    wish = {"message_id": id, "by_email": True, "trash": MODIFY in scopes}
    noted = next(iter(desk.ran("unsubscribe", wish, stop=stop).notes), None)
    if noted:
        assert desk.run("unsubscribe", wish, noted=noted)["status"] == "requested"
    assert len(desk.sandbox.sent(ALICE)) <= 1


@pytest.mark.sweep
@pytest.mark.parametrize("losses", sample([1, 2, 3]))
@pytest.mark.parametrize("scopes", sample([(MODIFY,), (READONLY, SEND), (COMPOSE,)]))
def test_large_mail_is_sent_once_after_any_lost_answers(losses: int, scopes: tuple[str, ...]) -> None:
    desk = new_desk(*scopes)
    desk.files["file_cccccccccc"] = type(desk.files["file_aaaaaaaaaa"])("b.bin", "message/rfc822", b"\x00" * 3_000_000)
    for path in ("/users/me/drafts", "/users/me/drafts/send", "/users/me/messages/send"):
        desk.lose[path] = losses
    letter = {"to": ["bob@example.test"], "subject": "Large", "body": "b", "attachments": ["file_cccccccccc"]}
    try:
        desk.run("send_email", letter)
    except DeputizeError:
        pass
    assert len(desk.sandbox.sent(ALICE)) <= 1


def test_attachment_names_are_one_path_segment() -> None:
    desk = new_desk()
    desk.files["file_dddddddddd"] = type(desk.files["file_aaaaaaaaaa"])(
        "../../.ssh/\u202eauthorized", "text/plain", b"x"
    )
    letter = {"to": ["bob@example.test"], "subject": "N", "body": "b", "attachments": ["file_dddddddddd"]}
    desk.run("send_email", letter)
    (sent,) = desk.sandbox.sent(ALICE)
    assert "../" not in str(sent.raw) and "authorized" in str(sent.raw)


def test_changes_are_listed_once_across_page_sizes() -> None:
    desk = new_desk()
    since = desk.run("list_changes", {"kinds": ["added"]})["next"]
    ids = [lay_in(desk, (f"{n}.txt", "text/plain", b"x")) for n in range(9)]
    seen = list[str]()
    for limit in (5, 1, 2, 4, 3, 9, 9):
        page = desk.run("list_changes", {"since": since, "kinds": ["added"], "limit": limit})
        seen, since = seen + [row["id"] for row in page["items"]], page["next"]
        if not page["truncated"]:
            break
    assert seen == ids


@pytest.mark.parametrize("name", sample(NEW))
@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_arguments_give_a_result_or_a_deputize_error_at_the_same_host(name: str, data: st.DataObject) -> None:
    desk = Desk(TOOLKIT, frozenset({MODIFY, SETTINGS}), SHARED.sandbox)
    arguments = data.draw(calls(TOOLKIT.tools[f"gmail_{name}"]))
    if "message_id" in arguments and data.draw(st.booleans()):
        arguments["message_id"] = MAIL
    try:
        json.dumps(desk.run(name, arguments))
    except (DeputizeError, Lacking):
        pass
    for one in desk.sent:
        assert one.url.host == "gmail.googleapis.com" and one.url.path.startswith(("/gmail/v1/", "/upload/gmail/v1/"))


SHARED = new_desk()
MAIL = newsletter(SHARED, **ONE_CLICK)
