"""Which writing tools show what they will do, and that no word leaves Gmail that was not shown."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

import httpx
import pytest

from deputize.core import Act, Call, Deputy, Effect, Show, Verdict
from deputize.core.act.show import show_rows
from deputize.core.act.toolkit import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.house import Recorder, build

NOT_YET: Final = {
    "calendar": "create_event delete_event manage_calendar respond_to_event share_calendar update_event",
    "github": (
        "commit_files control_run create_branch create_issue create_pull create_repo delete merge_pull "
        "resolve_thread review_pull run_workflow save_gist save_release set_star update_issue update_notifications "
        "update_project_item update_pull write_comment write_discussion write_file"
    ),
    "gmail": "manage_filter manage_label set_signature set_vacation update_emails",
    "linear": (
        "archive create_customer_need create_issue create_project_status link_url post_update relate_issues "
        "resolve_comment save_document save_initiative save_label save_milestone save_project set_subscription "
        "update_issue update_notifications write_comment"
    ),
    "salesforce": "create_record delete_record log_activity update_record",
    "slack": (
        "create_channel delete_message manage_members mark_read pin react send_message set_status update_channel "
        "update_message upload_file write_canvas"
    ),
}
"""Writing tools that show their arguments only. A tool is taken out when it shows, and none is ever put in."""


def writing(shows: bool) -> set[str]:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    return {tool.name for tool in tools if tool.gravest is not Effect.READS and tool.shows is shows}


def test_every_writing_tool_shows_but_those_that_do_not_yet() -> None:
    listed = {f"{kit}_{name}" for kit, names in NOT_YET.items() for name in names.split()}
    assert writing(shows=False) == listed, "new tools show what they will do; those that learnt it leave the list"


def test_no_tool_that_reads_says_that_it_shows() -> None:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    assert [tool.name for tool in tools if tool.shows and tool.gravest is Effect.READS] == []


# ----------------------------------------------------------------- no word leaves that was not shown

rows_of = show_rows
OURS: Final = frozenset(
    "div class gmail quote attr blockquote style margin border left padding solid ccc 1px 1ex 8ex "
    "html body charset utf 8 0 br p strong em a href file messages drafts trash list unsubscribe one click".split()
)
"""Words of formats, which nobody has to see."""

DRAFT = {
    "to": ["Käthe Öl <kaethe@example.test>"],
    "subject": "Grüße zuvor",
    "body": "Ein *Wort*",
    "cc": ["d@example.test"],
}
HTML = DRAFT | {"body": '<p>Seen</p><p style="display:none">unseen</p>', "body_format": "html"}
Call_ = Callable[..., Any]


async def mail_of(act: Call_, **wanted: Any) -> str:
    return str((await act("gmail_search_emails", **wanted, limit=1))["items"][0]["id"])


async def a_reply(act: Call_, deputy: Deputy) -> dict[str, Any]:
    found = await mail_of(act, query="from:bob")
    return {
        "message_id": found,
        "body": "**Yes**, [here](https://x.test/a?b=1).",
        "cc": ["c@example.test"],
        "all": True,
    }


async def a_forward(act: Call_, deputy: Deputy) -> dict[str, Any]:
    return {"message_id": await mail_of(act, query="has:attachment"), "to": ["bob@example.test"], "body": "Look below"}


async def a_draft(act: Call_, deputy: Deputy) -> dict[str, Any]:
    return {"draft_id": (await act("gmail_save_draft", **HTML))["draft_id"]}


async def a_change(act: Call_, deputy: Deputy) -> dict[str, Any]:
    return await a_draft(act, deputy) | {"subject": "Andere", "bcc": ["secretly@example.test"]}


async def a_file(act: Call_, deputy: Deputy) -> dict[str, Any]:
    kept = await deputy.keep_file("alice", "offer one.pdf", "application/pdf", b"words inside")
    return DRAFT | {"attachments": [kept["file"]]}


async def a_list(act: Call_, deputy: Deputy) -> dict[str, Any]:
    return {"message_id": await mail_of(act, subject="Bulbs"), "by_email": True, "trash": True}


ROWS: Final[list[tuple[str, Any]]] = [
    ("gmail_send_email", DRAFT | {"bcc": ["secretly@example.test"]}),
    ("gmail_send_email", HTML),
    ("gmail_send_email", a_file),
    ("gmail_reply_email", a_reply),
    ("gmail_forward_email", a_forward),
    ("gmail_save_draft", DRAFT),
    ("gmail_save_draft", a_change),
    ("gmail_send_draft", a_draft),
    ("gmail_delete_draft", a_draft),
    ("gmail_unsubscribe", a_list),
]


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


def mail(raw: bytes) -> Iterator[str]:
    """All that a receiver gets."""
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    yield from (str(message[name] or "") for name in ("From", "To", "Cc", "Bcc", "Reply-To", "Subject"))
    for part in message.walk():
        content = part.get_payload(decode=True)
        if part.get_content_disposition() == "attachment":
            yield f"{part.get_filename()} {sha256(content).hexdigest() if isinstance(content, bytes) else ''}"
        elif part.get_content_maintype() == "text" and isinstance(part, EmailMessage):
            yield html.unescape(part.get_content())


def said(request: httpx.Request) -> Iterator[str]:
    """The texts of a write; but for ids, which are checked by what is at them."""
    if "json" not in request.headers.get("content-type", "json"):
        yield f"{request.url} {request.content.decode()}"
        return
    body = json.loads(request.content or b"{}")
    if raw := body.get("message", body).get("raw"):
        yield from mail(base64.urlsafe_b64decode(raw + "=="))
    elif not body:
        yield unquote(request.url.path).partition("/me/")[2]


@pytest.fixture
async def wired() -> AsyncIterator[tuple[Deputy, Recorder, list[Show]]]:
    sandbox, shown = Sandbox(), list[Show]()
    wire = Recorder(sandbox.transport())

    def policy(act: Act) -> Verdict:
        shown.extend([act.show] if act.show else [])
        return Verdict.ALLOW

    async with await build(sandbox, apps=apps(), transport=wire, policy=policy) as deputy:
        scopes = ["https://www.googleapis.com/auth/gmail.modify"]
        give_grant(sandbox, deputy, "alice", scopes, provider="google", email="alice@example.test")
        yield deputy, wire, shown


@pytest.mark.parametrize(("tool", "arguments"), ROWS, ids=[f"{n}-{row[0]}" for n, row in enumerate(ROWS)])
async def test_no_word_leaves_that_was_not_shown(wired: Any, tool: str, arguments: Any) -> None:
    deputy, wire, shown = wired

    async def act(name: str, **given: Any) -> Any:
        return await deputy.act(name, given, user="alice", call=Call("t", "m", str(len(wire.seen))))

    make: Any = arguments
    given = await make(act, deputy) if callable(arguments) else arguments
    shown.clear()
    start = len(wire.seen)
    await act(tool, **given)
    [show] = shown
    told = words(" ".join(text for row in show_rows(show) for text in row)) | words(json.dumps(show.pins))
    writes = [r for r in wire.seen[start:] if r.method != "GET" and "token" not in r.url.path]
    left = {word for request in writes for text in said(request) for word in words(text)}
    pinned = any(one.get("pin") for one in show.fields.get("files") or ())
    bytes_later = {word for word in left if pinned and len(word) == 64}
    assert writes and sorted(left - told - OURS - bytes_later) == []


async def test_a_word_that_is_kept_back_is_caught(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without the row of bcc it does."""
    monkeypatch.setitem(globals(), "show_rows", lambda show: [row for row in rows_of(show) if row[0] != "bcc"])
    with pytest.raises(AssertionError, match="secretly"):
        await test_no_word_leaves_that_was_not_shown(wired, *ROWS[0])
