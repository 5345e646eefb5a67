"""Slack: editing and deleting the user's own messages, and listing scheduled messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from deputize.core import (
    Audience,
    Change,
    Continuation,
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
from deputize.toolkits._shared.arguments import Body, Cursor, IfText, Limit, Offset
from deputize.toolkits._shared.long_text import check_read, digest, note_of, written_before
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.slack import api, excerpts, preview, refs, rows
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import SLACK, Asks, Caller, Conversation, Json, Noted, OfMessage, Row, Ts
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.idempotent_post import AS_WRITTEN
from deputize.toolkits.slack.mentions import mentions
from deputize.toolkits.slack.message_text import full_text, is_plain_text, own_text
from deputize.toolkits.slack.mrkdwn import LONGEST, to_mrkdwn
from deputize.toolkits.slack.send import permalink
from deputize.toolkits.slack.text import Reader

_WHOLE: Final = "Read it: slack_get_messages with ts, by more to its end; pass text_digest as if_text."
_SECOND: Final = "Answer in its thread instead: slack_send_message with thread_ts."
_COPIED: Final = "Copy ts from a row, and conversation from the same result."


def _own_needs(arguments: Arguments) -> Sequence[Need]:
    method = "chat.update" if "body" in arguments else "chat.delete"
    ref = refs.try_read(arguments["conversation"])
    return [*refs.needs_of(ref), any_of("chat:write", method=method)]


NewText = Annotated[Body, Field(description="Markdown, in place of all of the text")]


@SLACK.tool(needs=_own_needs, effect=Effect.WRITES | Effect.SENDS, toolset="more")
def update_message(
    conversation: Conversation,
    ts: OfMessage,
    body: NewText,
    append: Annotated[bool, Field(description="behind the text, which stays as it is")] = False,
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Edit one of the user's own messages."""
    caller = Caller.of(run)
    to_mrkdwn(body)
    spot = yield from preview.find(conversation, caller)
    named = yield from mentions(body, spot, caller)
    before, looked = yield from preview.own_message(spot, ts, caller)
    if looked and before is None:
        raise NotFound("ts: no message has this ts in this conversation.", hint=_COPIED)
    new = to_mrkdwn(body, named.tokens)
    if append:
        new = _append_text(before, new, run.noted)
    elif before and own_text(before) != new:
        said = full_text(before).strip()
        check_read("body", said, if_text, _WHOLE, cut=_is_cut(said))
    now = Reader().as_written(own_text(before)) if before else ""
    yield Preview(
        "Edit this message",
        **named.add_to(preview.location(spot, caller, pins=_version(ts, before))),
        destroys=not append,
        text=Change(now, f"{now}\n\n{body}" if append else body) if before else body,
        text_now=None if before else preview.NOT_READ,
        written_at=preview.instant(ts),
    )
    if append and before:
        yield SaveNote(note_of({"body": (before.get("text"), new)}))
    arguments = {"channel": spot.id, "ts": ts, "text": new, **AS_WRITTEN}
    answer = yield api.call("chat.update", arguments, repeat="idem")
    old = own_text(before) if before and is_plain_text(before) else ""
    undo = {"conversation": spot.id, "ts": ts, "body": old}
    said = full_text(answer.get("message") or {"text": new}).strip()
    undo |= {"if_text": digest(said)} if _is_cut(said) else {}
    if _is_restorable(old):
        edited = preview.edit_version(answer.get("message") or {})
        yield Undo("slack_update_message", undo, preview.restore_condition(spot, caller, edited))
    return rows.lean(
        {
            **spot.shown,
            "ts": ts,
            "url": (yield from permalink(spot.id, ts)),
            "undo": {"tool": "slack_update_message", "args": undo} if _is_restorable(old) else None,
            "reaches_nobody": named.nobody,
            "summary": "Edited.",
        }
    )


def _append_text(before: Row | None, new: str, noted: Noted) -> str:
    """Return a message's text with ``new`` at the end, in Slack's notation; unchanged if an earlier run added ``new``.

    Raises `InvalidInput` for a message that cannot be read, or has more than a text.
    """
    if before is None or not is_plain_text(before) or not before.get("text"):
        raise InvalidInput("append: this message cannot be read, or is more than a text.", hint="Give body whole.")
    text = str(before["text"])
    if written_before(noted, "body", text):
        return text
    whole = f"{text}\n\n{new}"
    if len(whole) > LONGEST:
        raise InvalidInput(f"body: would have {len(whole)} characters; a message may have {LONGEST}.", hint=_SECOND)
    return whole


def _is_cut(said: str) -> bool:
    return excerpts.is_cut(Reader(), said, rows.TEXT)


def _version(ts: str, message: Row | None) -> Json:
    return {"message": ts, "edited": preview.edit_version(message) if message else None}


def _is_restorable(old: str) -> bool:
    """True if writing a text again restores it, which holds for short texts without Slack's own notation."""
    return bool(old) and len(old) <= 400 and to_mrkdwn(old) == old


@SLACK.tool(needs=_own_needs, effect=Effect.DESTRUCTIVE, toolset="more")
def delete_message(
    conversation: Conversation,
    ts: Ts | None = None,
    scheduled_id: Annotated[str | None, Field(description="instead of ts")] = None,
    *,
    run: Run,
) -> Steps:
    """Delete an own message, or cancel a scheduled one."""
    if bool(ts) == bool(scheduled_id):
        raise InvalidInput("Give exactly one of ts and scheduled_id.", hint="scheduled_id is of slack_list_scheduled.")
    caller = Caller.of(run)
    spot = yield from preview.find(conversation, caller)
    if scheduled_id:
        return (yield from _cancel_scheduled(spot, scheduled_id, caller))
    before, looked = yield from preview.own_message(spot, ts or "", caller)
    gone = looked and before is None
    if not gone:
        yield Preview(
            "Delete this message",
            **preview.location(spot, caller, pins=_version(ts or "", before)),
            destroys=True,
            text=preview.as_written(before) if before else None,
            text_now=None if before else preview.NOT_READ,
            written_at=preview.instant(ts),
            undo="it cannot be brought back",
        )
        gone = yield from _delete(api.call("chat.delete", {"channel": spot.id, "ts": ts}, repeat="idem"))
    reader = Reader()
    told = excerpts.excerpt(reader, full_text(before), rows.TEXT) if before else {}
    said = "It is gone already." if gone else "Deleted."
    return rows.lean({**spot.shown, "ts": ts, "deleted": True, **told, "summary": said})


def _cancel_scheduled(spot: Spot, scheduled: str, caller: Caller) -> Asks[Json]:
    """Cancel a scheduled message, which nobody except the user has seen."""
    entry, whole = yield from _find_scheduled(spot.id, scheduled)
    gone = entry is None and whole
    if not gone:
        place = preview.location(spot, caller, pins={"scheduled": scheduled})
        place["audience"] = Audience.SELF
        yield Preview(
            "Cancel this scheduled message",
            **place,
            destroys=True,
            text=preview.as_written(entry) if entry else None,
            at=preview.instant(entry.get("post_at")) if entry else None,
        )
        arguments = {"channel": spot.id, "scheduled_message_id": scheduled}
        gone = yield from _delete(api.call("chat.deleteScheduledMessage", arguments, repeat="idem"))
    said = "It is gone already." if gone else "Canceled."
    return rows.lean({**spot.shown, "scheduled_id": scheduled, "deleted": True, "summary": said})


def _find_scheduled(conversation: str | None, scheduled: str) -> Asks[tuple[Row | None, bool]]:
    """Return the scheduled message of this id, and True if all scheduled messages were read."""
    listed = yield from api.list_pages(
        lambda cursor: api.call(
            "chat.scheduledMessages.list", {"channel": conversation, "cursor": cursor, "limit": 100}
        ),
        "scheduled_messages",
        lambda rows: any(one.get("id") == scheduled for one in rows),
    )
    return next((one for one in listed.rows if one.get("id") == scheduled), None), listed.whole


def _delete(request: Request) -> Asks[bool]:
    """Send the deletion. True if the message was already gone."""
    try:
        yield request
    except (NotFound, InvalidInput) as refused:
        if refused.reason not in ("message_not_found", "invalid_scheduled_message_id"):
            raise
        return True
    return False


# ----------------------------------------------------------------- scheduled messages


@SLACK.tool(
    needs=lambda arguments: (
        refs.needs_of(refs.try_read(arguments["conversation"])) if arguments["conversation"] else []
    ),
    toolset="more",
)
def list_scheduled(
    conversation: Conversation | None = None,
    scheduled_id: Annotated[str | None, Field(description="only this one, whole")] = None,
    offset: Annotated[Offset, Field(description="of its text")] = 0,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List messages waiting to be sent."""
    caller = Caller.of(run)
    if bool(offset or cursor) and bool(offset) != bool(scheduled_id):
        raise InvalidInput("offset goes with scheduled_id, cursor without it.", hint="Leave one of them out.")
    place = Place.of(("slack_list_scheduled", run.account.subject, conversation), cursor, limit, run.now)
    spot = (yield from places.find(conversation, caller)) if conversation else None
    if scheduled_id:
        return (yield from _one_scheduled(spot, scheduled_id, offset))
    asked = {"channel": spot.id if spot else None, "limit": place.size, "cursor": place.token or None}
    answer = yield api.call("chat.scheduledMessages.list", asked)
    listed = [one for one in answer.get("scheduled_messages") or () if isinstance(one, dict)]
    here = listed[place.skip :][:limit]
    kept = Rows()
    done = next((n for n, one in enumerate(here) if not kept.add(_scheduled_row(one))), len(here))
    return {
        "items": kept.items,
        "next": place.after(done, len(listed), api.next_cursor(answer), limit),
        "truncated": done < len(here),
        "time_zone": times.ZONE,
    }


def _one_scheduled(spot: Spot | None, scheduled: str, offset: int) -> Asks[Json]:
    entry, _ = yield from _find_scheduled(spot.id if spot else None, scheduled)
    if entry is None:
        raise NotFound("scheduled_id: no message of this id waits to be sent.", hint="List them without it.")
    return {"items": [_scheduled_row(entry, offset)], "next": None, "truncated": False, "time_zone": times.ZONE}


def _scheduled_row(entry: Row, offset: int | None = None) -> Json:
    reader, text = Reader(), str(entry.get("text") or "")
    more = Continuation("slack_list_scheduled", scheduled_id=str(entry.get("id") or ""))
    told = (
        excerpts.excerpt(reader, text, 200, more) if offset is None else excerpts.read_part(reader, text, offset, more)
    )
    return {
        "scheduled_id": str(entry.get("id") or ""),
        "conversation": entry.get("channel_id"),
        "post_at": rows.stamp(entry.get("post_at")),
        **told,
    }
