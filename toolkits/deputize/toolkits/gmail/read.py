"""Gmail: the connected account, one email, one conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Alias, Continuation, Need, Request, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Offset
from deputize.toolkits._shared.mail.headers import decode_words
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.parts import Part, decode_base64
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits._shared.page import BUDGET, Rows, read_cursor, room_of_rows, tokens, write_cursor
from deputize.toolkits._shared.text import clip
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GETS, GMAIL, KNOWS_LABELS, MAIL, READING, SCOPE, reads, reads_drafts
from deputize.toolkits.gmail.excerpt import ALONE, IN_ROW, fair_share, piece
from deputize.toolkits.gmail.files import fetch_texts
from deputize.toolkits.gmail.html_settings import draft_part
from deputize.toolkits.gmail.label_lookup import own_names, parse_labels
from deputize.toolkits.gmail.rows import people_text, person_text, row_body, thread_url, writers_of

_FILES = 5  # files in a detail
_FILE_NAME = 60  # bytes of a file's name in it
_ALL_FILES = 1_500  # tokens of all files, for part=headers
_AROUND = 60  # tokens of the fields that say how to continue a text
_ENVELOPE = 200  # tokens of the fields around a long text or a conversation's rows

ThreadLimit = Annotated[int, Field(ge=1, le=50)]


@GMAIL.tool(aliases=["Gmail.WhoAmI"])
def whoami(*, run: Run) -> Steps:
    """Who the connected Gmail account is, how large its mailbox is, and what was consented to."""
    found: dict[str, Any] = {
        "email": run.account.name,
        "scopes": sorted(
            scope.removeprefix(SCOPE) for scope in run.granted if scope.startswith(SCOPE) or scope == MAIL
        ),
    }
    if run.granted & READING:
        try:
            profile = yield Request("GET", "/users/me/profile")
        except NotFound:
            return found
        found |= {"messages_total": profile.get("messagesTotal", 0), "threads_total": profile.get("threadsTotal", 0)}
    return found


# ----------------------------------------------------------------- one email


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["draft_id"]:
        return [reads_drafts("drafts.get")]
    return [GETS, reads("messages.attachments.get"), KNOWS_LABELS]


@GMAIL.tool(
    needs=_get_needs, aliases=["Gmail.GetEmail", Alias("Gmail.ListEmailAttachmentMetadata", sets={"part": "headers"})]
)
def get_email(
    message_id: str | None = None,
    draft_id: Annotated[str | None, Field(description="instead of message_id")] = None,
    part: Annotated[
        Literal["text", "quoted", "links", "headers", "raw"],
        Field(
            description="quoted: with history; links: whole addresses of all links; headers: no text, all files; "
            "raw: a draft's body as stored"
        ),
    ] = "text",
    offset: Annotated[Offset, Field(description="next_offset from the previous result")] = 0,
    *,
    run: Run,
) -> Steps:
    """Read one email or draft: headers, text without quoted history, attachment list."""
    if bool(message_id) == bool(draft_id):
        raise InvalidInput("Give exactly one of message_id and draft_id.", hint="Keep one of message_id or draft_id.")
    if part == "raw":
        if not draft_id:
            raise InvalidInput("part: raw is there for drafts, which can be changed.", hint="Give draft_id.")
        draft = yield api.get_draft(draft_id, "raw")
        kept = RawMail.of(decode_base64(str(draft["message"].get("raw", ""))))
        return {"draft_id": draft_id, **draft_part(draft_id, kept, offset)}
    answer = yield (api.get_draft(draft_id) if draft_id else api.get_message(message_id or ""))
    mail = Mail(answer["message"] if draft_id else answer)
    readable = bool(run.granted & READING)
    fetched = (yield from fetch_texts(mail)) if readable and part != "headers" else {}
    names = own_names(parse_labels((yield api.LIST_LABELS))) if readable and any(map(_is_own, mail.labels)) else {}
    found = {"id": mail.id, "thread": mail.thread} | ({"draft_id": draft_id} if draft_id else {})
    found |= _head(mail, names, 100 if part == "headers" else _FILES)
    found |= {"url": thread_url(run.account, mail.thread)}
    return found | _text_fields(mail, draft_id, part, fetched, offset, min(ALONE, BUDGET - tokens(found) - _ENVELOPE))


def _is_own(label: str) -> bool:
    """True if a label id may be the user's own. Ids of Gmail's own labels are upper case."""
    return not label.isupper()


def _head(mail: Mail, names: Mapping[str, str], most_files: int) -> dict[str, Any]:
    files = mail.files()
    head: dict[str, Any] = {
        "from": person_text(mail.sender),
        "to": people_text(mail.people("To"), 4),
        "cc": people_text(mail.people("Cc"), 3),
    }
    if reply_to := mail.people("Reply-To"):
        head["reply_to"] = people_text(reply_to, 2)
    head |= {
        "date": times.full(mail.date),
        "subject": mail.subject(200),
        "labels": [clip(names.get(label, label), 40) for label in mail.labels[:12]],
        "files": _files(mail, files[:most_files], _FILE_NAME if most_files == _FILES else 400),
    }
    optional = {
        "more_files": len(files) - len(head["files"]),
        "encrypted": mail.encrypted,
        "unsubscribe": mail.unsubscribe_way(),
        "auth": mail.auth(),
    }
    return head | {name: value for name, value in optional.items() if value}


def _files(mail: Mail, files: Sequence[Part], longest: int) -> list[dict[str, Any]]:
    rows = Rows(_ALL_FILES)
    return next((rows.items for part in files if not rows.add(_file(mail, part, longest))), rows.items)


def _file(mail: Mail, part: Part, longest: int) -> dict[str, Any]:
    name, kind = clip(mail.file_name(part), longest), mail.outside.line(part.type, 60)
    size = {} if not part.size and kind.startswith("message/") else {"size": part.size}  # Gmail does not give a mail's
    return {"part": part.id, "name": name, "type": kind, **size}


def _text_fields(
    mail: Mail, draft_id: str | None, part: str, fetched: Mapping[str, str], offset: int, room: int
) -> dict[str, Any]:
    """Return as much of the text from ``offset`` as ``room`` tokens allow, and the call that continues it."""
    said: dict[str, Any] = {}
    if part == "headers":
        lines = (f"{one.get('name')}: {decode_words(str(one.get('value', '')))}" for one in mail.headers)
        name, text = "headers", "\n".join(mail.outside.line(line) for line in lines)
    elif part == "links":
        links = mail.body(fetched).links.items()
        name, text = "links", "\n".join(f"{words} <{address}>" if words else address for address, words in links)
    else:
        body = mail.body(fetched)
        name, (text, cut) = "body", body.own_text() if part == "text" else (body.text, 0)
        incomplete = any(p.attachment and not p.data and p.id not in fetched for p in mail.texts())
        said = {"quoted_cut": cut, "link_mismatch": body.mismatch, "body_omitted": incomplete}
    shown_part, following = piece(text, offset, room)
    which = {"draft_id": draft_id} if draft_id else {"message_id": mail.id}
    said |= {"next_offset": following, "total_chars": len(text) if following or offset else None}
    said |= {"more": Continuation("gmail_get_email", **which, part=part, offset=following)} if following else {}
    said = {name: shown_part} | {key: value for key, value in said.items() if value}
    mail.outside.mark(said)
    return said


# ----------------------------------------------------------------- one conversation


@GMAIL.tool(needs=[reads("threads.get"), GETS], aliases=["Gmail.GetThread"])
def get_thread(
    thread_id: Annotated[str, Field(description="or any message id in it")],
    limit: Annotated[ThreadLimit, Field(description="of the newest emails")] = 10,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Read a conversation without quoted history. The first page has the newest emails; on each the oldest is first."""
    bound_to = ("gmail_get_thread", run.account.subject, thread_id)
    oldest = read_cursor(bound_to, cursor, (str,))[0] if cursor else ""
    thread = yield from _load_thread(thread_id)
    mails = [Mail(message) for message in thread.get("messages") or ()]
    ids = [mail.id for mail in mails]
    if oldest and oldest not in ids:
        raise InvalidInput(
            "cursor: the conversation changed since the first page.", hint="Start again without a cursor."
        )
    before = mails[: ids.index(oldest)] if oldest else mails
    taken = before[-limit:][::-1]
    head = {
        "thread": str(thread.get("id", "")),
        "subject": mails[0].subject(200) if mails else "",
        "people": writers_of(mails),
    }
    rows = _items(taken, BUDGET - tokens(head))
    fitting = len(rows)
    left = len(before) - fitting
    return {
        **head,
        "items": rows[::-1],
        "next": write_cursor(bound_to, [before[left].id]) if left else None,
        "truncated": fitting < len(taken),
        "time_zone": times.ZONE,
        "untrusted": True,
        "url": thread_url(run.account, str(thread.get("id", ""))),
    }


def _load_thread(thread_id: str) -> Asks[Mapping[str, Any]]:
    """Load the conversation with this id, or the one that contains the message with this id."""
    try:
        found = yield api.get_thread(thread_id)
    except NotFound:
        message = yield api.get_message(thread_id, "minimal")
        found = yield api.get_thread(str(message["threadId"]))
    return dict(found)


def _items(mails: Sequence[Mail], budget: int) -> list[dict[str, Any]]:
    """Return rows of as many mails as fit. Long mails share the room that short mails leave. Reading stops when even
    shortened rows no longer fit."""
    room = least = room_of_rows(budget)
    whole: list[dict[str, Any]] = []
    for mail in mails:
        if least < 0:
            break
        whole.append(_item(mail, ALONE))
        least -= min(tokens(whole[-1]), IN_ROW)
    most = max(fair_share([tokens(row) for row in whole], room), IN_ROW)
    rows = Rows(budget)
    for mail, row in zip_longest(mails, whole):
        if not rows.add(row if row and tokens(row) <= most else _item(mail, most)):
            break
    return rows.items


def _item(mail: Mail, most: int) -> dict[str, Any]:
    """Return a mail of a conversation, in about ``most`` tokens at most."""
    files = [mail.file_name(part) for part in mail.files()]
    row = {"id": mail.id, "from": person_text(mail.sender), "date": times.short(mail.date), "files": files[:_FILES]}
    return row | row_body(mail, most - tokens(row) - _AROUND)
