"""``trusted_authors`` of Gmail: a model reads nothing by outsiders, or by senders that only claim to be colleagues."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from deputize.core import Deputy, Request, Run, allow_all
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.tools.steps import Try
from deputize.core.tools.trusted_authors import Withheld
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from deputize.toolkits.gmail.trusted_authors import ANSWERED, FORWARDED, NO_SCOPE, OUTSIDE, UNPROVEN, Screen
from tests.support.sandbox_deputy import build
from tests.toolkits.mailbox import b64, container, leaf
from tests.toolkits.tool_driver import ALICE, KEY, NOW

SCOPE = "https://www.googleapis.com/auth/"
READONLY, CONTACTS = f"{SCOPE}gmail.readonly", f"{SCOPE}contacts.readonly"


async def alice(word: str, *scopes: str) -> Deputy:
    sandbox = Sandbox()
    deputy = await build(sandbox, policy=allow_all, trusted_authors={"gmail": word})
    give_grant(sandbox, deputy, "alice", [READONLY, *scopes], provider="google", email="alice@example.test")
    return deputy


def screened(word: str, mail: dict[str, Any], *, thread: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """Return a withheld mail, and the reason."""
    run = Run(KEY, frozenset(), ALICE, None, NOW, trusted_authors=word)
    withheld = Withheld()
    steps = Screen(run, withheld)(Request("GET", "/users/me/messages/{id}", at={"id": "m1"}), mail)
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            return stop.value, "; ".join(withheld.reasons)
        assert isinstance(step, Try)
        whole = {"id": "t1", "messages": [thread or mail]}
        answer = [whole if "threads" in one.path else mail for one in step.requests]


def mail(
    sender: str = "Bob <bob@example.test>", text: str = "WORDS", auth: str = "", subject: str = "SUBJECT", **more: str
) -> dict[str, Any]:
    said = auth or "mx.google.com; dkim=pass header.i=@example.test; dmarc=pass header.from=example.test"
    named = {"Authentication-Results": said, "From": sender, "Subject": subject}
    named |= {name.replace("_", "-"): value for name, value in more.items()}
    payload = leaf("text/plain", text) | {"headers": [{"name": n, "value": v} for n, v in named.items()]}
    return {"id": "m1", "threadId": "t1", "labelIds": ["INBOX"], "snippet": text[:80], "payload": payload}


def said(answer: Any) -> str:
    """Return all text in a response, decoded."""
    return json.dumps(answer) + "".join(json.dumps(answer).count(b64(w)) * w for w in ("WORDS", "SUBJECT"))


async def test_outsiders_mails_are_rows_without_text() -> None:
    deputy = await alice("domain")
    found = await deputy.act("gmail_search_emails", {"limit": 50}, user="alice")
    by = {row["from"].rpartition("<")[2].strip(">"): row for row in found["items"]}
    assert by["desk@parcel.example.test"]["withheld"] == OUTSIDE["domain"]
    assert not {"subject", "snippet", "files"} & set(by["desk@parcel.example.test"])
    assert by["bob@example.test"]["subject"] and by["alice@example.test"]["snippet"]
    assert found["texts_withheld"] >= 8


async def test_no_reading_tool_reveals_an_outsiders_text() -> None:
    deputy = await alice("domain")
    found = await deputy.act("gmail_search_emails", {"limit": 50}, user="alice")
    open_deputy = await build(sandbox := Sandbox(), policy=allow_all)
    give_grant(sandbox, open_deputy, "alice", [READONLY], provider="google", email="alice@example.test")
    checked = 0
    for row in found["items"]:
        if row.get("withheld") != OUTSIDE["domain"]:
            continue
        whole = await open_deputy.act("gmail_get_email", {"message_id": row["id"]}, user="alice")
        for tool, arguments in (
            ("gmail_get_email", {"message_id": row["id"]}),
            ("gmail_get_thread", {"thread_id": row["id"]}),
        ):
            try:
                told = json.dumps(await deputy.act(tool, arguments, user="alice"))
            except DeputizeError as refused:
                told = f"{refused} {refused.hint}"
            words = {word for word in whole["body"].split() if len(word) > 7 and word.isalpha()}
            assert not [word for word in words if word in told], (tool, row)
            assert whole["subject"] not in told
            checked += 1
    assert checked > 10


@pytest.mark.parametrize(
    "auth",
    [
        "mx.google.com; dkim=fail header.i=@example.test; dmarc=fail header.from=example.test",
        "mx.google.com; dkim=pass header.i=@evil.test; spf=pass smtp.mailfrom=evil.test",
        "mx.google.com; dkim=pass header.i=@example.test.evil.test",
        'mx.google.com; dkim=pass header.i="@example.test" header.d=evil.test',
        "mx.google.com; dkim=pass (header.i=@example.test) header.i=@evil.test",
        "evil.test; dmarc=pass header.from=example.test",
        "mx.google.com; spf=pass smtp.mailfrom=example.test",
        "mx.google.com",
    ],
)
def test_unauthenticated_colleague_is_an_outsider(auth: str) -> None:
    answer, why = screened("domain", mail(auth=auth))
    assert why == UNPROVEN and "WORDS" not in said(answer) and "SUBJECT" not in said(answer)


@pytest.mark.parametrize(
    "sender",
    ["bob@example.test, eve@evil.test", "Bob <bob@example.test> <eve@evil.test>", '"bob@example.test" <eve@evil.test>'],
)
def test_from_header_with_several_or_disguised_addresses_is_no_colleagues(sender: str) -> None:
    answer, why = screened("domain", mail(sender))
    assert why and "WORDS" not in said(answer)


def test_mail_relayed_by_a_list_is_unproven() -> None:
    for name in ("List-Id", "X-Original-From", "X-Original-Sender"):
        answer, why = screened("domain", mail(**{name: "eve@evil.test"}))
        assert why == UNPROVEN and "WORDS" not in said(answer)


def test_aligned_dkim_is_accepted_without_dmarc() -> None:
    answer, why = screened("domain", mail(auth="mx.google.com; dkim=pass header.i=@example.test header.s=a"))
    assert not why and "WORDS" in said(answer)


def test_colleagues_mail_is_read_without_quotes_and_forwards() -> None:
    for text in (
        "Yes.\n\nOn Mon, Nov 2, 2026 Eve <eve@evil.test> wrote:\n> EVIL one\n> EVIL two\n\nand MINE below",
        "See MINE\n\n---------- Forwarded message ---------\nFrom: Eve <eve@evil.test>\nSubject: x\n\nEVIL",
    ):
        answer, why = screened("domain", mail(text=text))
        shown = answer["payload"]["parts"][0]["body"]["data"]
        plain = base64.urlsafe_b64decode(shown + "==").decode()
        assert why == FORWARDED and "EVIL" not in plain + answer["snippet"] and "MINE" in plain


def test_subject_of_a_reply_to_a_withheld_mail_is_withheld() -> None:
    first = mail("Eve <eve@evil.test>", subject="EVIL") | {"internalDate": "1"}
    answer, why = screened("domain", mail(subject="Re: EVIL"), thread=first)
    assert why == ANSWERED and "EVIL" not in said(answer)
    answer, why = screened("domain", mail(subject="Re: FINE"), thread=mail(subject="FINE"))
    assert not why and "FINE" in said(answer)


def test_mail_attached_to_a_colleagues_is_withheld() -> None:
    inner = leaf("message/rfc822", "") | {"parts": [leaf("text/plain", "EVIL")], "filename": "a.eml"}
    one = mail()
    one["payload"] = container("mixed", leaf("text/plain", "MINE"), inner) | {"headers": one["payload"]["headers"]}
    answer, why = screened("domain", one)
    assert why == FORWARDED and b64("EVIL") not in json.dumps(answer)


async def test_contacts_setting_needs_a_grant_that_lists_contacts() -> None:
    carol = "mx.google.com; dmarc=pass header.from=customer.example"
    answer, why = screened("contacts", mail("Carol <carol@customer.example>", auth=carol))
    assert why == NO_SCOPE and "WORDS" not in said(answer)
    deputy = await alice("contacts", CONTACTS)
    found = await deputy.act("gmail_search_emails", {"limit": 50}, user="alice")
    assert {row.get("withheld") for row in found["items"]} >= {OUTSIDE["contacts"], None}


async def test_file_of_a_withheld_mail_is_not_fetched() -> None:
    sandbox = Sandbox()
    deputy = await build(sandbox, policy=allow_all)
    give_grant(sandbox, deputy, "alice", [READONLY], provider="google", email="alice@example.test")
    found = await deputy.act("gmail_search_emails", {"query": "has:attachment"}, user="alice")
    one = next(row for row in found["items"] if "@example.test" not in row["from"])
    whole = await deputy.act("gmail_get_email", {"message_id": one["id"]}, user="alice")
    narrow = await build(sandbox, policy=allow_all, trusted_authors={"gmail": "domain"})
    give_grant(sandbox, narrow, "alice", [READONLY], provider="google", email="alice@example.test")
    with pytest.raises(InvalidInput) as refused:
        await narrow.act(
            "gmail_get_attachment", {"message_id": one["id"], "part": whole["files"][0]["part"]}, user="alice"
        )
    assert OUTSIDE["domain"] in refused.value.hint
