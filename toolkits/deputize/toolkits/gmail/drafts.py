"""Gmail: drafts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import (
    Account,
    ActKey,
    Alias,
    Audience,
    Effect,
    Need,
    Preview,
    Request,
    Run,
    SaveNote,
    Steps,
    Undo,
    any_of,
)
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, IfText, Limit
from deputize.toolkits._shared.mail.compose import BodyFormat, File, Letter, Recipients, Text, deduplicate, render_body
from deputize.toolkits._shared.mail.edit import edit, raw_header
from deputize.toolkits._shared.mail.headers import (
    Encoded,
    Person,
    decode_words,
    parse_people,
    people_value,
    single_line,
    text_value,
)
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.parts import decode_base64
from deputize.toolkits._shared.mail.quotes import history_of
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside, clip, newlined
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks, ListPosition
from deputize.toolkits.gmail.base import COMPOSE, GMAIL, MAIL, MODIFY, READONLY, drafts, reads_drafts
from deputize.toolkits.gmail.deliver import Outgoing, commit, create_draft, key_header, make_note
from deputize.toolkits.gmail.excerpt import EXCERPT
from deputize.toolkits.gmail.files import Handles, take_files, with_texts
from deputize.toolkits.gmail.html_settings import check_draft
from deputize.toolkits.gmail.preview import changed_fields, letter_fields, loses, raw_fields
from deputize.toolkits.gmail.reply_headers import ReplyFrame, prepare_reply
from deputize.toolkits.gmail.rows import SUBJECT, people_text, thread_url
from deputize.toolkits.gmail.send import (
    WHOM,
    WHOM_VALUES,
    Addresses,
    To,
    receipt,
    reply_needs,
    reply_warning,
    resolve_recipients,
)
from deputize.toolkits.gmail.senders import SendAs, choose_sender

_QUOTE: Final = re.compile(r"(<div class=\"gmail_quote\b.*?)\s*(?:</body>\s*(?:</html>)?\s*)?$", re.DOTALL)
_EDITS = any_of(COMPOSE, READONLY, MODIFY, MAIL, method="gmail.users.drafts.get")


def _save_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["draft_id"]:
        return [_EDITS, drafts("drafts.update")]
    return [*(reply_needs() if arguments["reply_to"] else []), drafts("drafts.create")]


@GMAIL.tool(
    needs=_save_needs,
    effect=Effect.WRITES,
    aliases=[
        Alias("Gmail.WriteDraftEmail", {"recipient": "to[]"}),
        Alias("Gmail.WriteDraftReplyEmail", {"reply_to_message_id": "reply_to", **WHOM}, values=WHOM_VALUES),
        Alias("Gmail.UpdateDraftEmail", {"draft_email_id": "draft_id", "recipient": "to[]"}),
    ],
)
def save_draft(
    draft_id: Annotated[str | None, Field(description="change this draft")] = None,
    reply_to: Annotated[str | None, Field(description="message id: draft a reply")] = None,
    all_: Annotated[bool, Field(description="reply to everybody")] = False,
    to: To | None = None,
    subject: str | None = None,
    body: Annotated[str | None, Field(description="of a reply: above its quote, which stays")] = None,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    body_format: BodyFormat = "auto",
    attachments: Handles = None,
    send_as: SendAs = None,
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Create a draft, or change one: only the fields given are replaced. Body is Markdown."""
    if draft_id and reply_to:
        raise InvalidInput("Give draft_id or reply_to, not both.", hint="Leave out draft_id or reply_to.")
    if if_text is not None and (not draft_id or body is None):
        raise InvalidInput(
            "if_text: only together with draft_id and body.", hint="Add draft_id and body, or leave out if_text."
        )
    if all(value is None for value in (reply_to, to, subject, body, cc, bcc, attachments, send_as)):
        raise InvalidInput(
            "Nothing to save: give at least one of to, subject, body, cc, bcc, attachments, send_as, reply_to.",
            hint="Add a body, or who gets it.",
        )
    people = yield from resolve_recipients(to, cc, bcc, run.account, least=0)
    title = None if subject is None else single_line(subject, "subject")
    text = None if body is None else render_body(body, body_format)
    files = yield from take_files(attachments)
    if draft_id:
        given = {"To": (to, people.to), "Cc": (cc, people.cc), "Bcc": (bcc, people.bcc)}
        headers = {name: people_value(kept) for name, (field, kept) in given.items() if field is not None}
        headers |= {} if title is None else {"Subject": text_value(title)}
        writer = yield from choose_sender(send_as, run.granted, signature=False)
        headers |= {"From": people_value([writer.person])} if writer else {}
        return (yield from _change_draft(draft_id, headers, text, files, run.key, run.account, if_text))
    frame: ReplyFrame | None = (yield from prepare_reply(reply_to, run, everybody=all_)) if reply_to else None
    writer = frame.writer(send_as) if frame else (yield from choose_sender(send_as, run.granted, signature=False))
    sender = writer.person if writer else None
    letter = replace(_letter(frame, people, title, text or Text(""), run.key), sender=sender, files=files)
    later = frame.enclosed.preview_rows() if frame and letter.text.html else ()
    fields = letter_fields(letter, html=body_format == "html", later=later)
    pins = {"message": reply_to} if reply_to else None
    yield Preview(
        "Save this draft", audience=Audience.SELF, note=reply_warning(frame) if frame else None, pins=pins, **fields
    )
    letter = (yield from frame.enclosed.attach_to(letter)) if frame else letter
    made = yield from create_draft(Outgoing(letter.content(), run.key, frame.thread if frame else ""))
    args = {"draft_id": str(made.get("id"))}
    yield Undo("gmail_delete_draft", args, {"message": (made.get("message") or {}).get("id")})
    return _result(made, letter.people.to, letter.subject, letter.text.plain, run.account)


def _letter(frame: ReplyFrame | None, people: Recipients, subject: str | None, text: Text, key: ActKey) -> Letter:
    """Return the draft as a letter. A reply is addressed to the original's sender unless other recipients are given."""
    if frame is None:
        return Letter(subject or "", text, people, extra=key_header(key))
    people = deduplicate(people.to or frame.to, [*frame.cc, *people.cc], people.bcc)
    title = frame.subject if subject is None else subject
    return Letter(title, text.followed_by(frame.quote), people, answers=frame.answers, extra=key_header(key))


def _change_draft(
    draft_id: str,
    headers: Mapping[str, Encoded],
    text: Text | None,
    files: Sequence[File],
    key: ActKey,
    account: Account,
    if_text: str | None,
) -> Asks[dict[str, Any]]:
    """Replace the given parts of a draft and keep all others."""
    draft = yield api.get_draft(draft_id, "raw")
    before = decode_base64(str(draft["message"].get("raw", "")))
    if text is not None:
        old = RawMail.of(before)
        check_draft(old, _own_text(old), if_text)
        text = _above_quote(text, old)
    message = edit(before, headers, text, files)
    fields = changed_fields(*(raw_fields(RawMail.of(raw)) for raw in (before, message.as_bytes())))
    pins = {"draft": draft_id, "message": draft["message"].get("id")}
    yield Preview("Change this draft", audience=Audience.SELF, destroys=loses(fields), pins=pins, **fields)
    mail = Outgoing(message.as_bytes(), key, str(draft["message"].get("threadId", "")))
    request = mail.request_to("/users/me/drafts/{id}", draft=True)
    saved = yield replace(request, method="PUT", at={"id": draft_id}, repeat="idem")
    outside = Outside()
    to = [Person(outside.line(one.name), outside.line(one.address)) for one in parse_people(raw_header(message, "To"))]
    subject = outside.line(decode_words(raw_header(message, "Subject")))
    return _result(saved, to, subject, text.plain if text else "", account)


def _above_quote(text: Text, draft: RawMail) -> Text:
    """Return the new text above the quote of its draft, unless the text has a quote itself."""
    plain = "" if history_of(text.plain) else history_of(draft.plain)
    found = _QUOTE.search(draft.html) if plain else None
    return text.followed_by(Text(plain, found[1] if found else "")) if plain else text


def _own_text(draft: RawMail) -> Text:
    """Return the text that a new body replaces: all except the quote that `_above_quote` keeps."""
    plain = newlined(draft.plain).rstrip()
    quote = history_of(plain)
    return Text(plain.removesuffix(quote), _QUOTE.sub("", draft.html)) if quote else Text(plain, draft.html)


def _result(draft: Mapping[str, Any], to: Sequence[Person], title: str, text: str, account: Account) -> dict[str, Any]:
    message = draft.get("message") or {}
    thread = str(message.get("threadId", ""))
    result = {
        "draft_id": draft.get("id"),
        "id": message.get("id"),
        "thread": thread,
        "to": people_text(to, 3),
        "subject": clip(title, 60),
        "preview": clip(text, 60),
        "url": thread_url(account, thread) if thread else None,
        "summary": "Saved as a draft; nothing was sent.",
    }
    return {name: value for name, value in result.items() if value}


@GMAIL.tool(
    needs=[reads_drafts("drafts.list"), reads_drafts("drafts.get")], aliases=["Gmail.ListDraftEmails"], toolset="more"
)
def list_drafts(
    query: Annotated[str, Field(description="Gmail search syntax")] = "",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List drafts."""
    place = ListPosition.of(("gmail_list_drafts", run.account.subject, query), cursor, limit, run.now)
    params = place.params | ({"q": query} if query.strip() else {})
    page = yield Request("GET", "/users/me/drafts", params=params)
    wanted = [str(one["id"]) for one in page.get("drafts") or ()][place.skip :][:limit]
    rows = Rows()
    done = yield from api.fill(rows, wanted, lambda one: api.get_draft(one, "metadata"), _row)
    return {
        "items": rows.items,
        "next": place.next_cursor(done, len(page.get("drafts") or ()), page.get("nextPageToken"), limit),
        "truncated": done < len(wanted),
        "time_zone": times.ZONE,
    }


def _row(draft: Mapping[str, Any]) -> dict[str, Any]:
    mail = Mail(draft.get("message") or {})
    row: dict[str, Any] = {
        "draft_id": str(draft.get("id", "")),
        "id": mail.id,
        "thread": mail.thread,
        "to": people_text(mail.people("To"), 1),
        "subject": mail.subject(SUBJECT),
        "date": times.short(mail.date),
        "snippet": mail.snippet(EXCERPT),
    }
    mail.outside.mark(row)
    return row


@GMAIL.tool(
    needs=[_EDITS, drafts("drafts.send")],
    effect=Effect.SENDS,
    aliases=[Alias("Gmail.SendDraftEmail", {"email_id": "draft_id"})],
)
def send_draft(draft_id: str, *, run: Run) -> Steps:
    """Send an existing draft."""
    content, noted = None, run.noted
    if not noted:
        draft = yield api.get_draft(draft_id, "raw")
        content = decode_base64(str(draft["message"].get("raw", "")))
        mail = RawMail.of(content)
        if not mail.all_recipients:
            raise InvalidInput("draft_id: this draft has no recipients.", hint="Add `to` with gmail_save_draft.")
        mail.files = yield from with_texts(mail.files)
        pins = {"draft": draft_id, "message": draft["message"].get("id")}
        fields = raw_fields(mail)
        audience = Audience.UNKNOWN if mail.is_doubtful else Audience.PEOPLE
        yield Preview("Send this draft", audience=audience, people=mail.all_recipients, pins=pins, **fields)
        noted = make_note(draft | {"id": draft_id}, run.now) | _header_fields(mail)
        yield SaveNote(noted)
    sent = yield from commit(noted, run.granted, content)
    people = Recipients(*([Person(*one) for one in noted.get(field, ())] for field in ("to", "cc", "bcc")))
    return receipt(sent, people, noted["subject"], run.account)


def _header_fields(mail: RawMail) -> dict[str, Any]:
    """Return recipients and subject, each on one line and cleaned for models."""
    outside = Outside()
    people = {
        name.lower(): [Person(outside.line(one.name), outside.line(one.address)) for one in mail.people[name]]
        for name in ("To", "Cc", "Bcc")
    }
    return {**people, "subject": outside.line(mail.subject)}


@GMAIL.tool(
    needs=[_EDITS, drafts("drafts.delete")],
    effect=Effect.DESTRUCTIVE,
    aliases=[Alias("Gmail.DeleteDraftEmail", {"draft_email_id": "draft_id"})],
    toolset="more",
)
def delete_draft(draft_id: str) -> Steps:
    """Discard a draft for good."""
    try:
        draft = yield api.get_draft(draft_id, "raw")
        fields = raw_fields(RawMail.of(decode_base64(str(draft["message"].get("raw", "")))))
        pins = {"draft": draft_id, "message": draft["message"].get("id")}
        yield Preview("Delete this draft", audience=Audience.SELF, destroys=True, pins=pins, **fields)
        yield Request("DELETE", "/users/me/drafts/{id}", at={"id": draft_id}, repeat="idem")
    except NotFound:
        return {"draft_id": draft_id, "deleted": True, "summary": "There is no such draft, or no longer."}
    return {"draft_id": draft_id, "deleted": True}
