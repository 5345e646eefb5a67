"""``chat.*``: messages, sent now or later. They are the user's, not the app's."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.http_types import Reply
from deputize.sandbox.slack.call import Call, Json, failed, new_id, new_ts
from deputize.sandbox.slack.seed import TEAM

MAX_TEXT = 40000
_STRUCTURED = ("metadata", "blocks")
_FARTHEST = 120 * 86400


def post(call: Call) -> Reply:
    call.needs("chat:write")
    channel = _writable(call)
    message = _message(call)
    channel["messages"].append(message)
    shown = {name: value for name, value in message.items() if name != "broadcast"}
    return call.good({"channel": channel["id"], "ts": message["ts"], "message": shown}, "chat:write", changes=True)


def _writable(call: Call) -> Json:
    channel = call.joined_channel()
    if channel["is_archived"]:
        raise failed("is_archived")
    text = call.text("text")
    if not text and not call.arguments.get("blocks"):
        raise failed("no_text")
    if len(text) > MAX_TEXT:
        raise failed("msg_too_long")
    if thread := call.text("thread_ts"):
        call.message(channel, thread, "thread_not_found")
    return channel


def _message(call: Call) -> Json:
    message: Json = {
        "type": "message",
        "user": call.user,
        "text": call.text("text"),
        "ts": new_ts(call),
        "team": TEAM["id"],
    }
    if thread := call.text("thread_ts"):
        message["thread_ts"] = thread
        if call.flag("reply_broadcast"):
            message["broadcast"] = True
    for name in _STRUCTURED:
        if value := call.parse_json(name):
            message[name] = value
    return message


def update(call: Call) -> Reply:
    """Run ``chat.update``: replace the text of an own message."""
    call.needs("chat:write")
    channel = call.channel()
    message = _own_message(call, channel, "cant_update_message")
    if not call.text("text"):
        raise failed("no_text")
    message |= {"text": call.text("text"), "edited": {"user": call.user, "ts": f"{call.now}.000000"}}
    message.pop("blocks", None)
    shown = {name: message[name] for name in ("type", "user", "text", "edited")}
    told = {"channel": channel["id"], "ts": message["ts"], "text": message["text"], "message": shown}
    return call.good(told, "chat:write", changes=True)


def delete(call: Call) -> Reply:
    """Run ``chat.delete``: delete an own message."""
    call.needs("chat:write")
    channel = call.channel()
    message = _own_message(call, channel, "cant_delete_message")
    channel["messages"].remove(message)
    return call.good({"channel": channel["id"], "ts": message["ts"]}, "chat:write", changes=True)


def _own_message(call: Call, channel: Json, otherwise: str) -> Json:
    message = call.message(channel, call.text("ts"))
    if message["user"] != call.user:
        raise failed(otherwise)
    return message


def permalink(call: Call) -> Reply:
    """Run ``chat.getPermalink``: the URL of a message; no scope is needed."""
    channel = call.channel()
    message = call.message(channel, call.text("message_ts"))
    return call.good({"channel": channel["id"], "permalink": link(channel, message)})


def link(channel: Json, message: Json) -> str:
    """Return a message's URL."""
    plain = f"https://{TEAM['domain']}.slack.com/archives/{channel['id']}/p{message['ts'].replace('.', '')}"
    thread: Any = message.get("thread_ts")
    return plain if not thread else f"{plain}?thread_ts={thread}&cid={channel['id']}"


# ------------------------------------------------------------------ scheduled messages


def schedule(call: Call) -> Reply:
    """Run ``chat.scheduleMessage``. The message is never sent: the sandbox's clock stands still."""
    call.needs("chat:write")
    channel = _writable(call)
    try:
        at = int(call.text("post_at"))
    except ValueError:
        raise failed("invalid_time") from None
    if at <= call.now:
        raise failed("time_in_past")
    if at > call.now + _FARTHEST:
        raise failed("time_too_far")
    entry = {
        "id": new_id(call.store, "Q"),
        "channel_id": channel["id"],
        "post_at": at,
        "date_created": call.now,
        "text": call.text("text"),
        "user": call.user,
    }
    call.store.setdefault("scheduled", []).append(entry)
    told = {"channel": channel["id"], "scheduled_message_id": entry["id"], "post_at": at}
    return call.good(told | {"message": {"text": entry["text"]}}, "chat:write", changes=True)


def list_scheduled(call: Call) -> Reply:
    """Run ``chat.scheduledMessages.list``: the caller's scheduled messages; no scope is needed."""
    rows = [row for row in call.store.get("scheduled", []) if row["user"] == call.user]
    if call.text("channel"):
        channel = call.channel()["id"]
        rows = [row for row in rows if row["channel_id"] == channel]
    start, end = float(call.text("oldest") or 0), float(call.text("latest") or "inf")
    rows = [row for row in rows if start <= row["post_at"] <= end]
    page, after = call.page(sorted(rows, key=lambda row: (row["post_at"], row["id"])), 100)
    shown = [{name: value for name, value in row.items() if name != "user"} for row in page]
    return call.good({"scheduled_messages": shown, "response_metadata": {"next_cursor": after}})


def unschedule(call: Call) -> Reply:
    call.needs("chat:write")
    channel = call.channel()["id"]
    rows = call.store.get("scheduled", [])
    wanted = call.text("scheduled_message_id")
    found = next((r for r in rows if (r["id"], r["channel_id"], r["user"]) == (wanted, channel, call.user)), None)
    if found is None:
        raise failed("invalid_scheduled_message_id")
    rows.remove(found)
    return call.good({}, "chat:write", changes=True)
