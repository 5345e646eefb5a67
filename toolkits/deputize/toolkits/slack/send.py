"""Slack: send, edit, delete and plan messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Effect, Need, Request, Run, Steps, any_of
from deputize.core.act.tool import Arguments
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Body, Cursor, Limit
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import clip, window
from deputize.toolkits.slack import api, places, refs, rows, users
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import (
    CHANNELS,
    PEOPLE,
    POSTS,
    SLACK,
    Asks,
    Caller,
    Conversation,
    Json,
    Row,
    Ts,
)
from deputize.toolkits.slack.blocks import checked, fallback
from deputize.toolkits.slack.messages import one_message
from deputize.toolkits.slack.mrkdwn import names_in, to_mrkdwn
from deputize.toolkits.slack.once import AS_WRITTEN, Draft, began, post, schedule
from deputize.toolkits.slack.places import Spot
from deputize.toolkits.slack.text import Reader, text_of

_LATEST: Final = 120 * 86_400  # seconds from now
_EVERYBODY: Final = frozenset({"@here", "@channel", "@everyone"})
_SENDING: Final[Mapping[str, str]] = {"reply_broadcast": "broadcast", **PEOPLE}


def _send_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.safely(arguments["conversation"])
    return [*refs.naming(ref, sends=True), POSTS]


@SLACK.tool(
    needs=_send_needs,
    effect=Effect.SENDS,
    aliases=[Alias("Slack.PostMessage", _SENDING), Alias("Slack.SendMessage", _SENDING)],
)
def send_message(
    conversation: Annotated[
        Conversation, Field(description="id, #channel, @user, email; comma-separated people = group DM")
    ],
    body: Annotated[Body | None, Field(description="Markdown")] = None,
    thread_ts: Ts | None = None,
    broadcast: Annotated[bool, Field(description="also show in channel")] = False,
    send_at: Annotated[str | None, Field(description="ISO or +2h")] = None,
    blocks: Annotated[list[dict[str, Any]] | None, Field(description="Block Kit instead of body")] = None,
    unfurl: bool = False,
    *,
    run: Run,
) -> Steps:
    """Send a message to a channel, person, group of people or thread; now or later."""
    if bool(body) == bool(blocks):
        raise InvalidInput("Give exactly one of body and blocks.")
    caller = Caller.of(run)
    at = _later(send_at, began(run)) if send_at else None
    shaped = checked(blocks) if blocks else None
    ref = refs.read(conversation)
    thread = thread_ts or ref.thread_ts or ref.ts or None
    if broadcast and not thread:
        raise InvalidInput("broadcast: only together with thread_ts.")
    text = to_mrkdwn(body) if body else fallback(shaped or ())
    if run.noted:
        spot, text = Spot.of_note(run.noted), str(run.noted["text"])
    else:
        spot = yield from places.find(conversation, caller, sends=True)
        text = to_mrkdwn(body, (yield from mentions(body, caller))) if body else text
    draft = Draft(spot, text, shaped, thread, broadcast, unfurl)
    if at is not None:
        return _planned((yield from schedule(draft, at, run)), draft, at)
    return (yield from _receipt((yield from post(draft, run)), draft))


def _later(send_at: str, now: float) -> int:
    at = int(times.moment(send_at, now, "send_at").timestamp())
    if not now < at <= now + _LATEST:
        raise InvalidInput("send_at: must be in the future, within 120 days.")
    return at


def _receipt(message: Row, draft: Draft) -> Asks[Json]:
    ts = str(message.get("ts", ""))
    url = yield from permalink(draft.spot.id, ts)
    return rows.lean({**draft.spot.shown, "ts": ts, "thread_ts": draft.thread_ts, "url": url, "summary": "Sent."})


def permalink(conversation: str, ts: str) -> Asks[str]:
    """Where a person reads a message; "" where Slack does not say."""
    request = api.call("chat.getPermalink", {"channel": conversation, "message_ts": ts})
    return Reader().line(str(((yield from api.optional(request)) or {}).get("permalink") or ""), 300)


def _planned(entry: Row, draft: Draft, at: int) -> Json:
    scheduled = str(entry.get("scheduled_message_id") or entry.get("id") or "")
    undo = {"conversation": draft.spot.id, "scheduled_id": scheduled}
    return rows.lean(
        {
            **draft.spot.shown,
            "scheduled_id": scheduled,
            "post_at": times.full(at * 1000),
            "undo": {"tool": "slack_delete_message", "args": undo} if scheduled else None,
            "summary": "Planned.",
        }
    )


def mentions(body: str, caller: Caller) -> Asks[dict[str, str]]:
    """Slack's tokens for the people and channels that a text names exactly, as far as they may be looked up."""
    wanted = names_in(body)
    handles = sorted(one for one in wanted if one.startswith("@") and one not in _EVERYBODY)
    channels = {one.removeprefix("#") for one in wanted if one.startswith("#")}
    found: dict[str, str] = {}
    try:
        if handles and "users:read" in caller.granted:
            everybody = yield from users.everyone(caller, handles)
            hits = {one: users.exact(everybody, one) for one in handles}
            found |= {one: f"<@{users[0]['id']}>" for one, users in hits.items() if len(users) == 1}
        if channels and (kinds := caller.kinds_with("read", *CHANNELS)):
            listed = yield from places.joined(kinds, caller, lambda known: channels <= _called(known))
            found |= {f"#{one['name']}": f"<#{one['id']}>" for one in listed.rows if one.get("name") in channels}
    except DeputizeError:
        return found  # they stay plain text
    return found


def _called(channels: Sequence[Row]) -> set[str]:
    return {str(one.get("name") or "") for one in channels}


# ----------------------------------------------------------------- edit, delete


def _own_needs(arguments: Arguments) -> Sequence[Need]:
    method = "chat.update" if "body" in arguments else "chat.delete"
    ref = refs.safely(arguments["conversation"])
    return [*refs.naming(ref), any_of("chat:write", method=method)]


@SLACK.tool(needs=_own_needs, effect=Effect.WRITES | Effect.SENDS, toolset="more")
def update_message(conversation: Conversation, ts: Ts, body: Body, *, run: Run) -> Steps:
    """Edit one of the user's own messages."""
    caller = Caller.of(run)
    to_mrkdwn(body)
    spot = yield from places.find(conversation, caller)
    text = to_mrkdwn(body, (yield from mentions(body, caller)))
    before = yield from _before(spot, ts, caller)
    arguments = {"channel": spot.id, "ts": ts, "text": text, **AS_WRITTEN}
    yield api.call("chat.update", arguments, repeat="idem")
    old = text_of(before) if before else ""
    undo = {"conversation": spot.id, "ts": ts, "body": old}
    return rows.lean(
        {
            **spot.shown,
            "ts": ts,
            "url": (yield from permalink(spot.id, ts)),
            "undo": {"tool": "slack_update_message", "args": undo} if _comes_back(old) else None,
            "summary": "Edited.",
        }
    )


def _comes_back(old: str) -> bool:
    """Whether writing a text again gives just that text: one without Slack's own notation."""
    return bool(old) and len(old) <= 400 and to_mrkdwn(old) == old


def _before(spot: Spot, ts: str, caller: Caller) -> Asks[Row | None]:
    """A message as it is, where that may be read without asking."""
    if not caller.may("history", *spot.kinds):
        return None
    answer = yield from api.optional(one_message(spot.id, ts))
    return next((one for one in (answer or {}).get("messages") or () if one.get("ts") == ts), None)


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
        raise InvalidInput("Give exactly one of ts and scheduled_id.")
    caller = Caller.of(run)
    spot = yield from places.find(conversation, caller)
    if scheduled_id:
        arguments = {"channel": spot.id, "scheduled_message_id": scheduled_id}
        gone = yield from _gone(api.call("chat.deleteScheduledMessage", arguments, repeat="idem"))
        said = "It is gone already." if gone else "Canceled."
        return rows.lean({**spot.shown, "scheduled_id": scheduled_id, "deleted": True, "summary": said})
    before = yield from _before(spot, ts or "", caller)
    gone = yield from _gone(api.call("chat.delete", {"channel": spot.id, "ts": ts}, repeat="idem"))
    reader = Reader()
    text = window(reader.mrkdwn(text_of(before)), 0, rows.TEXT)[0] if before else ""
    said = "It is gone already." if gone else "Deleted."
    return rows.lean({**spot.shown, "ts": ts, "deleted": True, "text": text, "summary": said})


def _gone(request: Request) -> Asks[bool]:
    """Whether what is to be deleted was gone already."""
    try:
        yield request
    except (NotFound, InvalidInput) as refused:
        if refused.reason not in ("message_not_found", "invalid_scheduled_message_id"):
            raise
        return True
    return False


# ----------------------------------------------------------------- what is planned


@SLACK.tool(
    needs=lambda arguments: refs.naming(refs.safely(arguments["conversation"])) if arguments["conversation"] else [],
    toolset="more",
)
def list_scheduled(
    conversation: Conversation | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List messages waiting to be sent."""
    caller = Caller.of(run)
    place = Place.of(("slack_list_scheduled", run.account.subject, conversation), cursor, limit, run.now)
    spot = (yield from places.find(conversation, caller)) if conversation else None
    asked = {"channel": spot.id if spot else None, "limit": place.size, "cursor": place.token or None}
    answer = yield api.call("chat.scheduledMessages.list", asked)
    listed = [one for one in answer.get("scheduled_messages") or () if isinstance(one, dict)]
    here = listed[place.skip :][:limit]
    kept = Rows()
    done = next((n for n, one in enumerate(here) if not kept.add(_scheduled(one))), len(here))
    return {
        "items": kept.items,
        "next": place.after(done, len(listed), api.following(answer), limit),
        "truncated": done < len(here),
        "time_zone": times.ZONE,
    }


def _scheduled(entry: Row) -> Json:
    reader = Reader()
    return {
        "scheduled_id": str(entry.get("id") or ""),
        "conversation": entry.get("channel_id"),
        "post_at": rows.stamp(entry.get("post_at")),
        "text": clip(reader.mrkdwn(str(entry.get("text") or "")), 200),
    }
