"""Preview of a conversation, and of a message in it, before a tool acts there.

A channel's type decides who reads it: everybody in the workspace (public) or the members (private). In a channel that
companies share, the readers of the other company cannot be listed. Numbers of members are displayed but not compared. A
message that is answered, marked or pinned is compared, because its writer can edit it during the approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from deputize.core import Audience, Instant
from deputize.core.errors import DeputizeError, NotFound, RateLimited
from deputize.toolkits.slack import api, users
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import Asks, Caller, Json, Row
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.message_text import full_text
from deputize.toolkits.slack.messages import NO_MESSAGE, one_message
from deputize.toolkits.slack.text import Reader

CAN_BE_DELETED: Final = "it can be deleted, but people may have read it by then"
NOT_READ: Final = "(not shown: messages of this conversation may not be read)"
_KINDS: Final = {
    "public": "public channel",
    "private": "private channel",
    "group_dm": "group direct message",
    "dm": "direct message",
}


def find(conversation: str, caller: Caller, *, sends: bool = False) -> Asks[Spot]:
    """Find the conversation like `conversations.find`, with all details that the grant allows reading."""
    return (yield from describe((yield from places.find(conversation, caller, sends=sends)), caller))


def describe(spot: Spot, caller: Caller) -> Asks[Spot]:
    """Add name, kind and people to a conversation that a call named by id. Raises `NotFound`."""
    if spot.row or spot.people:
        return spot
    channel = yield from _channel(spot, caller)
    if channel is None:
        return spot
    known = replace(places.spot_of(channel), id=spot.id, ts=spot.ts, thread_ts=spot.thread_ts)
    if known.kinds[0] in ("dm", "group_dm"):
        others = yield from _load_others(channel, known, caller)
        name = ", ".join(users.with_id(user) for user in others)
        return replace(known, name=name, people=tuple((str(user["id"]), users.with_handle(user)) for user in others))
    return known


def _channel(spot: Spot, caller: Caller) -> Asks[Row | None]:
    """Return Slack's description, if readable: of this conversation if its kind is surely granted, else from a list."""
    if caller.may("read", *spot.kinds):
        try:
            answer = yield api.call("conversations.info", {"channel": spot.id, "include_num_members": True})
        except NotFound:
            raise
        except DeputizeError:
            return None
        channel = answer.get("channel")
        return channel if isinstance(channel, dict) else None
    kinds = caller.kinds_with("read", *spot.kinds)
    if not kinds:
        return None
    try:
        listed = yield from places.list_joined(
            kinds, caller, lambda rows: any(one.get("id") == spot.id for one in rows)
        )
    except DeputizeError:
        return None
    return next((one for one in listed.rows if one.get("id") == spot.id), None)


def _load_others(channel: Row, spot: Spot, caller: Caller) -> Asks[list[Row]]:
    """Return the other people in a direct message."""
    ids = [str(channel["user"])] if channel.get("user") else []
    if spot.kinds == ("group_dm",):
        answer = yield from api.optional(places.members(spot.id, None, api.PAGE))
        ids = sorted(str(one) for one in (answer or {}).get("members") or () if one != caller.user)
    if "users:read" not in caller.granted:
        return [{"id": one} for one in ids]
    answers = yield from api.many([users.info(one) for one in ids])
    return [got["user"] if isinstance(got, dict) else {"id": one} for one, got in zip(ids, answers, strict=True)]


# ----------------------------------------------------------------- parts of a Preview


def location(spot: Spot, caller: Caller, *, pins: Mapping[str, Any] | None = None, **context: Any) -> Json:
    """Return the fields of a `Preview` for a location, with ``pins`` and ``context`` added."""
    return {
        "where": location_text(spot),
        "audience": audience_of(spot, caller),
        "people": [user for user, _ in spot.people],
        "to": [told for _, told in spot.people] or None,
        "pins": {"conversation": spot.id or [user for user, _ in spot.people], **(pins or {})},
        "context": context,
        "beside": {"members": None if spot.people else spot.members},
        "targets": {"channel": spot.id or None},
    }


def location_text(spot: Spot) -> str:
    """Return the location in words with its id, because a mandate is for this id and names can move."""
    if len(spot.kinds) != 1:
        return f"{spot.id} (not known which kind of conversation: that may not be read)"
    kind = _KINDS[spot.kinds[0]]
    if spot.kinds[0] in ("dm", "group_dm"):
        return kind if spot.people else f"{kind} {spot.id}"
    name = f"#{spot.row['name']}" if spot.row.get("name") else spot.name or spot.id
    return f"{name} ({kind} {spot.id}{', shared with other companies' if spot.external else ''})"


def audience_of(spot: Spot, caller: Caller) -> Audience:
    """Return who reads messages there. A note to oneself has no other reader."""
    if len(spot.kinds) != 1 or spot.external:
        return Audience.UNKNOWN
    if spot.kinds[0] == "public":
        return Audience.ORGANISATION
    if spot.kinds[0] == "private":
        return Audience.PEOPLE
    ids = {user for user, _ in spot.people}
    return Audience.UNKNOWN if not ids else Audience.SELF if ids == {caller.user} else Audience.PEOPLE


# ----------------------------------------------------------------- a message


def thread(spot: Spot, caller: Caller, ts: str | None, **pins: Any) -> Asks[Json]:
    """Return the fields of `location`, for the thread of a message if any."""
    if not ts:
        return location(spot, caller, pins=pins)
    text = yield from _read(spot, caller, ts)
    return location(spot, caller, pins={"thread": ts, **pins}, in_reply_to=text) | {"in_the_thread_of": instant(ts)}


def message(spot: Spot, caller: Caller, ts: str) -> Asks[Json]:
    """Return the fields of `location` for a message, which is pinned by its ``ts``."""
    text = yield from _read(spot, caller, ts)
    return location(spot, caller, pins={"message": ts}, message=text) | {"written_at": instant(ts)}


def _read(spot: Spot, caller: Caller, ts: str) -> Asks[str | None]:
    """Return a message's text, if the grant allows reading it."""
    if not caller.may("history", *spot.kinds):
        return None
    said = _pick_message((yield from api.optional(one_message(spot.id, ts))), ts)
    return as_written(said) if said else None


def instant(ts: object) -> Instant | None:
    """Return the moment of a ``ts`` or of Unix seconds, or None."""
    seconds = str(ts or "").partition(".")[0]
    try:
        return Instant(float(seconds)) if seconds.isdigit() else None
    except (ValueError, OverflowError, OSError):  # outside the years of a calendar
        return None


def own_message(spot: Spot, ts: str, caller: Caller) -> Asks[tuple[Row | None, bool]]:
    """Return a message of the user that is about to be lost, and True if it could be read.

    Reads nothing without a grant. Raises `RateLimited`, because the preview must be the same each time.
    """
    if not caller.may("history", *spot.kinds):
        return None, False
    try:
        answer = yield one_message(spot.id, ts)
    except RateLimited:
        raise
    except DeputizeError as refused:
        return None, isinstance(refused, NotFound) and refused.reason in NO_MESSAGE
    return _pick_message(answer, ts), True


def _pick_message(answer: Any, ts: str) -> Row | None:
    return next((one for one in (answer or {}).get("messages") or () if one.get("ts") == ts), None)


def as_written(message: Row) -> str:
    """Return a message's text without cleaning."""
    return Reader().as_written(full_text(message))


def edit_version(message: Row) -> str:
    """Return the version of a message: the ``ts`` of its last edit, or ""."""
    last = message.get("edited")
    return str(last.get("ts") or "") if isinstance(last, dict) else ""


def restore_condition(spot: Spot, caller: Caller, edited: str = "") -> Json:
    """Return the condition under which undo restores a message, if messages may be read."""
    return {"edited": edited} if caller.may("history", *spot.kinds) else {}
