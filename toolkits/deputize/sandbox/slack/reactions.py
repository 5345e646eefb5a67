"""``reactions.*``, ``pins.*`` and ``bookmarks.*``."""

from __future__ import annotations

from deputize.sandbox.http_types import Reply
from deputize.sandbox.slack import history
from deputize.sandbox.slack.call import Call, Json, failed, new_id
from deputize.sandbox.slack.chat import link


def add_reaction(call: Call) -> Reply:
    call.needs("reactions:write")
    message = call.message(call.joined_channel(), call.text("timestamp"))
    reaction = _reaction(message, call.text("name"))
    if call.user in reaction["users"]:
        raise failed("already_reacted")
    reaction["users"].append(call.user)
    _count(message)
    return call.good({}, "reactions:write", changes=True)


def remove_reaction(call: Call) -> Reply:
    call.needs("reactions:write")
    message = call.message(call.joined_channel(), call.text("timestamp"))
    name = call.text("name")
    reaction = next((row for row in message.get("reactions", []) if row["name"] == name), None)
    if reaction is None or call.user not in reaction["users"]:
        raise failed("no_reaction")
    reaction["users"].remove(call.user)
    _count(message)
    return call.good({}, "reactions:write", changes=True)


def _reaction(message: Json, name: str) -> Json:
    if not name or not name.replace("_", "").replace("-", "").replace("+", "").replace(":", "").isalnum():
        raise failed("invalid_name")
    rows: list[Json] = message.setdefault("reactions", [])
    found = next((row for row in rows if row["name"] == name), None)
    if found is None:
        found = {"name": name, "users": [], "count": 0}
        rows.append(found)
    return found


def _count(message: Json) -> None:
    rows = [row | {"count": len(row["users"])} for row in message["reactions"] if row["users"]]
    message["reactions"] = rows


# ------------------------------------------------------------------ pins


def pin(call: Call) -> Reply:
    call.needs("pins:write")
    channel = call.joined_channel()
    message = call.message(channel, call.text("timestamp"))
    if message["ts"] in channel.setdefault("pins", []):
        raise failed("already_pinned")
    channel["pins"].append(message["ts"])
    return call.good({}, "pins:write", changes=True)


def unpin(call: Call) -> Reply:
    call.needs("pins:write")
    channel = call.joined_channel()
    ts = call.text("timestamp")
    if ts not in channel.setdefault("pins", []):
        raise failed("no_pin")
    channel["pins"].remove(ts)
    return call.good({}, "pins:write", changes=True)


def list_pins(call: Call) -> Reply:
    call.needs("pins:read")
    channel = call.channel()
    items = [
        {
            "type": "message",
            "channel": channel["id"],
            "created": call.now,
            "created_by": row["user"],
            "message": history.format_message(call, channel, row) | {"permalink": link(channel, row)},
        }
        for row in history.pins(channel)
    ]
    return call.good({"items": items}, "pins:read")


# ------------------------------------------------------------------ bookmarks


def bookmark(call: Call) -> Reply:
    call.needs("bookmarks:write")
    channel = call.joined_channel("channel_id")
    if call.text("type") != "link":
        raise failed("invalid_bookmark_type")
    if not call.text("link").startswith(("http://", "https://")):
        raise failed("invalid_link")
    row = {
        "id": new_id(call.store, "Bk"),
        "channel_id": channel["id"],
        "title": call.text("title"),
        "link": call.text("link"),
        "type": "link",
        "date_created": call.now,
    }
    channel.setdefault("bookmarks", []).append(row)
    return call.good({"bookmark": row}, "bookmarks:write", changes=True)


def bookmarks(call: Call) -> Reply:
    call.needs("bookmarks:read")
    return call.good({"bookmarks": call.channel("channel_id").get("bookmarks", [])}, "bookmarks:read")


def unbookmark(call: Call) -> Reply:
    call.needs("bookmarks:write")
    channel = call.joined_channel("channel_id")
    rows = channel.get("bookmarks", [])
    found = next((row for row in rows if row["id"] == call.text("bookmark_id")), None)
    if found is None:
        raise failed("not_found")
    rows.remove(found)
    return call.good({}, "bookmarks:write", changes=True)
