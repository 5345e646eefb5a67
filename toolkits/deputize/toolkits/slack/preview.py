"""What a person is shown of a conversation, and of a message in it, before something is done there.

A channel's type says who reads what is in it: everybody of the workspace in a public one, its members in a private
one. Who is on the other side of a channel that companies share, nobody can read. Numbers of members are shown beside
and not compared. A message that is answered, marked or pinned is compared: its writer can edit it after the question.
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
from deputize.toolkits.slack.message_text import all_said
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


def found(conversation: str, caller: Caller, *, sends: bool = False) -> Asks[Spot]:
    """The conversation that is meant, as `places.find` does, with all that may be known of it without asking."""
    return (yield from described((yield from places.find(conversation, caller, sends=sends)), caller))


def described(spot: Spot, caller: Caller) -> Asks[Spot]:
    """A conversation that was named by its id, with its name, kind and people. Raises `NotFound`."""
    if spot.row or spot.people:
        return spot
    channel = yield from _channel(spot, caller)
    if channel is None:
        return spot
    known = replace(places.spot_of(channel), id=spot.id, ts=spot.ts, thread_ts=spot.thread_ts)
    if known.kinds[0] in ("dm", "group_dm"):
        others = yield from _others(channel, known, caller)
        name = ", ".join(users.with_id(user) for user in others)
        return replace(known, name=name, people=tuple((str(user["id"]), users.with_handle(user)) for user in others))
    return known


def _channel(spot: Spot, caller: Caller) -> Asks[Row | None]:
    """How Slack describes it, where that may be read: alone if its kind is sure to be granted, else among others."""
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
        listed = yield from places.joined(kinds, caller, lambda rows: any(one.get("id") == spot.id for one in rows))
    except DeputizeError:
        return None
    return next((one for one in listed.rows if one.get("id") == spot.id), None)


def _others(channel: Row, spot: Spot, caller: Caller) -> Asks[list[Row]]:
    """Who else is in a direct message."""
    ids = [str(channel["user"])] if channel.get("user") else []
    if spot.kinds == ("group_dm",):
        answer = yield from api.optional(places.members(spot.id, None, api.PAGE))
        ids = sorted(str(one) for one in (answer or {}).get("members") or () if one != caller.user)
    if "users:read" not in caller.granted:
        return [{"id": one} for one in ids]
    answers = yield from api.many([users.info(one) for one in ids])
    return [got["user"] if isinstance(got, dict) else {"id": one} for one, got in zip(ids, answers, strict=True)]


# ----------------------------------------------------------------- parts of a Preview


def there(spot: Spot, caller: Caller, *, pins: Mapping[str, Any] | None = None, **context: Any) -> Json:
    """Where something happens, who sees it and to whom it goes. ``pins`` and ``context``: what else belongs there."""
    return {
        "where": where(spot),
        "audience": seen_by(spot, caller),
        "people": [user for user, _ in spot.people],
        "to": [told for _, told in spot.people] or None,
        "pins": {"conversation": spot.id or [user for user, _ in spot.people], **(pins or {})},
        "context": context,
        "beside": {"members": None if spot.people else spot.members},
    }


def where(spot: Spot) -> str:
    """The place in words, with the id: another channel may have the name later, and a mandate is for this one."""
    if len(spot.kinds) != 1:
        return f"{spot.id} (not known which kind of conversation: that may not be read)"
    kind = _KINDS[spot.kinds[0]]
    if spot.kinds[0] in ("dm", "group_dm"):
        return kind if spot.people else f"{kind} {spot.id}"
    name = f"#{spot.row['name']}" if spot.row.get("name") else spot.name or spot.id
    return f"{name} ({kind} {spot.id}{', shared with other companies' if spot.external else ''})"


def seen_by(spot: Spot, caller: Caller) -> Audience:
    """Who reads what is said there. Notes to oneself nobody else does."""
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
    """The same as `there`, in the thread of a message, or in none."""
    if not ts:
        return there(spot, caller, pins=pins)
    text = yield from _read(spot, caller, ts)
    return there(spot, caller, pins={"thread": ts, **pins}, in_reply_to=text) | {"in_the_thread_of": at(ts)}


def message(spot: Spot, caller: Caller, ts: str) -> Asks[Json]:
    """The same as `there`, about a message, which is pinned by its ``ts``."""
    text = yield from _read(spot, caller, ts)
    return there(spot, caller, pins={"message": ts}, message=text) | {"written_at": at(ts)}


def _read(spot: Spot, caller: Caller, ts: str) -> Asks[str | None]:
    """A message's text, as far as it may be read without asking."""
    if not caller.may("history", *spot.kinds):
        return None
    said = _of((yield from api.optional(one_message(spot.id, ts))), ts)
    return as_written(said) if said else None


def at(ts: object) -> Instant | None:
    """The moment that a ``ts`` or seconds stand for; None for none."""
    seconds = str(ts or "").partition(".")[0]
    try:
        return Instant(float(seconds)) if seconds.isdigit() else None
    except (ValueError, OverflowError, OSError):  # of no year that there is
        return None


def own_message(spot: Spot, ts: str, caller: Caller) -> Asks[tuple[Row | None, bool]]:
    """One of the user's own messages that is about to be lost, and whether it could be looked for.

    What may not be read is not asked for. Raises `RateLimited`: what is lost must not be shown once and once not.
    """
    if not caller.may("history", *spot.kinds):
        return None, False
    try:
        answer = yield one_message(spot.id, ts)
    except RateLimited:
        raise
    except DeputizeError as refused:
        return None, isinstance(refused, NotFound) and refused.reason in NO_MESSAGE
    return _of(answer, ts), True


def _of(answer: Any, ts: str) -> Row | None:
    return next((one for one in (answer or {}).get("messages") or () if one.get("ts") == ts), None)


def as_written(message: Row) -> str:
    """A message's text, nothing of it cleaned."""
    return Reader().as_written(all_said(message))


def edited(message: Row) -> str:
    """Which version of a message this is: when it was edited last, "" for never."""
    last = message.get("edited")
    return str(last.get("ts") or "") if isinstance(last, dict) else ""


def unless_edited(spot: Spot, caller: Caller, edited: str = "") -> Json:
    """What must still be so of a message for it to be put back, where that may be read."""
    return {"edited": edited} if caller.may("history", *spot.kinds) else {}
