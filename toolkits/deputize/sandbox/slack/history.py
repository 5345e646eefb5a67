"""Messages of a conversation: ``conversations.history``, ``.replies`` and ``.mark``."""

from __future__ import annotations

import re

from deputize.sandbox.http_types import Reply
from deputize.sandbox.slack.call import Call, Json, failed


def history(call: Call) -> Reply:
    """Run ``conversations.history``: newest first; metadata only on request."""
    channel = call.channel()
    scope = call.right(channel, "history")
    rows = [row for row in reversed(channel["messages"]) if is_in_window(call, row["ts"]) and _stands_alone(row)]
    page, after = call.page(rows, 100)
    shown = [format_message(call, channel, row) for row in page]
    more: Json = {"response_metadata": {"next_cursor": after}} if after else {}
    return call.good({"messages": shown, "has_more": bool(after), "pin_count": len(pins(channel))} | more, scope)


def replies(call: Call) -> Reply:
    """Run ``conversations.replies``: a message and its thread, oldest first; for a reply, the reply alone."""
    channel = call.channel()
    scope = call.right(channel, "history")
    ts = call.text("ts")
    call.message(channel, ts, "thread_not_found")
    rows = [row for row in channel["messages"] if ts in (row["ts"], row.get("thread_ts"))]
    page, after = call.page([row for row in rows if row["ts"] == ts or is_in_window(call, row["ts"])], 1000)
    page = [row for row in page if not call.text("latest") or is_in_window(call, row["ts"])]
    shown = [format_message(call, channel, row) for row in page]
    more: Json = {"response_metadata": {"next_cursor": after}} if after else {}
    return call.good({"messages": shown, "has_more": bool(after)} | more, scope)


def _stands_alone(row: Json) -> bool:
    return not row.get("thread_ts") or row["thread_ts"] == row["ts"] or bool(row.get("broadcast"))


def is_in_window(call: Call, ts: str) -> bool:
    """Return True if a timestamp is in the requested window; padded timestamps compare as strings."""
    oldest, latest = _stamp(call, "oldest", "0"), _stamp(call, "latest", "9" * 12)
    at = _sortable(ts)
    return oldest <= at <= latest if call.flag("inclusive") else oldest < at < latest


def _stamp(call: Call, name: str, default: str) -> str:
    value = call.text(name) or default
    if not re.fullmatch(r"\d{1,12}(?:\.\d{1,9})?", value):
        raise failed(f"invalid_ts_{name}")
    return _sortable(value)


def _sortable(ts: str) -> str:
    seconds, _, rest = ts.partition(".")
    return f"{seconds:0>12}.{rest:0<9}"


def format_message(call: Call, channel: Json, row: Json) -> Json:
    """Return a message in Slack's format, with its reactions and count of replies."""
    hidden = {"broadcast"} | (set() if call.flag("include_all_metadata") else {"metadata"})
    found = {name: value for name, value in row.items() if name not in hidden}
    if not found.get("reactions"):
        found.pop("reactions", None)
    answers = [one for one in channel["messages"] if one.get("thread_ts") == row["ts"] and one is not row]
    if answers:
        found |= {
            "thread_ts": row["ts"],
            "reply_count": len(answers),
            "reply_users": list(dict.fromkeys(one["user"] for one in answers)),
        }
    return found


def pins(channel: Json) -> list[Json]:
    return [row for row in channel["messages"] if row["ts"] in channel.get("pins", [])]


def mark(call: Call) -> Reply:
    """Run ``conversations.mark``: mark as read up to a message."""
    channel = call.joined_channel()
    scope = call.right(channel, "write")
    if not call.text("ts"):
        raise failed("invalid_timestamp")
    channel.setdefault("read", {})[call.user] = call.text("ts")
    return call.good({}, scope, changes=True)
