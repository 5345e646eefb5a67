"""Slack: creating and changing channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from deputize.core import Audience, Change, Effect, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.tool import Arguments
from deputize.toolkits.slack import api, preview, refs, rows
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack import users as people
from deputize.toolkits.slack.base import (
    CHANNELS,
    SLACK,
    Asks,
    Caller,
    Conversation,
    Json,
    Kind,
    Row,
    narrow_need,
    need_for,
)
from deputize.toolkits.slack.channel_members import Names, invite_users
from deputize.toolkits.slack.text import Reader

_NAME: Final = 80  # characters
_SAID: Final = ("topic", "purpose")
_SKEW: Final = 5  # seconds by which Slack's clock and this machine's may differ
_UNFIT = re.compile(r"[^\w-]+")
_ABOUT: Final = 250  # characters
_NOTATION = re.compile(r"<(?:[!@#]|https?:|mailto:)", re.IGNORECASE)
_BARE_LINK = re.compile(r"<(https?://[^\s<>|]+)>")


def _unwrap_links(text: str | None) -> str | None:
    """Remove the brackets around links, because Slack itself links addresses in a topic."""
    return text and _BARE_LINK.sub(r"\1", text)


About = Annotated[str | None, Field(max_length=_ABOUT), AfterValidator(_unwrap_links)]


def check_about(topic: str | None, purpose: str | None) -> None:
    """Raise `InvalidInput` for Slack's own notation, because Slack reports a new topic to everybody in the channel."""
    for field, value in (("topic", topic), ("purpose", purpose)):
        if value and _NOTATION.search(value):
            raise InvalidInput(f"{field}: must be plain text.", hint="Leave out <!channel>, <@...> and <link|text>.")


def set_about(method: str, conversation: str, value: str) -> Request:
    """Return the request that sets topic or purpose. ``method``: `setTopic` or `setPurpose`."""
    field = "topic" if method == "setTopic" else "purpose"
    return api.call(f"conversations.{method}", {"channel": conversation, field: value}, repeat="idem")


def channel_name(name: str, field: str = "name") -> str:
    """Return the name in Slack's form: lower case, hyphens. Raises `InvalidInput` if no letter or digit is left."""
    made = _UNFIT.sub("-", name.strip().removeprefix("#").lower()).strip("-")[:_NAME].strip("-")
    if not re.search(r"\w", made.replace("_", "")):
        raise InvalidInput(f"{field}: a channel's name needs letters or digits.", hint="Such as launch-2026.")
    return made


# ----------------------------------------------------------------- create


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    kind = "private" if arguments["private"] else "public"
    return [
        need_for("conversations.create", "write", kind),
        *(refs.people_needs(arguments["invite"] or ())),
    ]


@SLACK.tool(
    needs=_create_needs,
    effect=Effect.WRITES | Effect.SENDS,
    toolset="more",
)
def create_channel(
    name: str,
    private: bool = False,
    topic: About = None,
    purpose: About = None,
    invite: Names | None = None,
    *,
    run: Run,
) -> Steps:
    """Create a channel and invite people."""
    caller = Caller.of(run)
    wanted = channel_name(name)
    check_about(topic, purpose)
    users = (yield from people.find(invite, "invite", caller)) if invite else []
    yield Preview(
        "Create this private channel" if private else "Create this public channel",
        audience=_audience(users, private=private),
        people=[str(user["id"]) for user in users],
        where=f"#{wanted}",
        topic=topic,
        purpose=purpose,
        invited=[people.with_handle(user) for user in users] or None,
        pins={"invited": [str(user["id"]) for user in users] or None, "workspace": caller.team},
    )
    channel = yield from _create(wanted, private, caller, run.now)
    identity = str(channel["id"])
    said = (("setTopic", topic), ("setPurpose", purpose))
    _, failed = yield from api.run_each(
        {how: set_about(how, identity, value) for how, value in said if value is not None}
    )
    done, uninvited = yield from _invite_to_new(identity, users, caller)
    yield Undo("slack_update_channel", {"conversation": identity, "archived": True})
    return rows.lean(
        {
            "id": identity,
            "name": Reader().line(str(channel.get("name") or wanted), 240),
            "url": places.url_of(caller, identity),
            "invited": done,
            "failed": [*failed, *uninvited],
            "summary": "Created.",
        }
    )


def _audience(users: Sequence[Row], *, private: bool) -> Audience:
    """Return who sees a new channel. A private channel is seen only by its members."""
    if not private:
        return Audience.ORGANISATION
    return Audience.PEOPLE if users else Audience.SELF


def _invite_to_new(identity: str, users: Sequence[Row], caller: Caller) -> Asks[tuple[list[str], list[Json]]]:
    """Invite users to the new channel; report a refusal instead of raising it, because the channel exists."""
    try:
        found = yield from invite_users(identity, users, caller)
        return found.done, found.failed
    except DeputizeError as refused:
        return [], [{"user": str(user["id"]), "error": refused.message} for user in users]


def _create(name: str, private: bool, caller: Caller, now: float) -> Asks[Row]:
    """Create the channel, whose name is unique at Slack. Raises `Conflict` if another channel has the name."""
    asked = {"name": name, "is_private": private, "team_id": caller.team}
    request = api.call("conversations.create", asked, repeat="idem")
    try:
        return dict((yield request)["channel"])
    except (OutcomeUnknown, ProviderUnavailable, Conflict) as failure:
        unsure: DeputizeError = failure
    taken = isinstance(unsure, Conflict)
    own = (yield from _find_own(name, private, caller, now)) if taken or getattr(unsure, "sent", True) else None
    if own is not None:
        return own
    if taken:
        raise Conflict(
            "name: conflict (exists): there is a channel of this name.",
            reason="exists",
            hint="Use it, or take another name.",
        )
    raise unsure


def _find_own(name: str, private: bool, caller: Caller, now: float) -> Asks[Row | None]:
    """Return the channel of this name if an earlier attempt of this act created it and the response was lost.

    Conditions: the user created it after the act began, and its topic and purpose are empty.
    """
    kinds: list[Kind] = caller.kinds_with("read", "private" if private else "public")
    if not kinds:
        return None

    def has_name(found: Sequence[Row]) -> bool:
        return any(one.get("name") == name for one in found)

    try:
        listed = yield from places.list_joined(kinds, caller, has_name)
    except DeputizeError:
        return None
    hits = [one for one in listed.rows if one.get("name") == name and one.get("creator") == caller.user]
    new = [one for one in hits if float(one.get("created") or 0) >= now - _SKEW]
    return next((one for one in new if not any(_current_fields(places.spot_of(one)).get(n) for n in _SAID)), None)


# ----------------------------------------------------------------- update


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    kinds = [kind for kind in ref.kinds if kind in CHANNELS] or list(CHANNELS)
    found = refs.needs_of(ref)
    alone = arguments["name"] is None and arguments["archived"] is None
    for name, method in (("topic", "setTopic"), ("purpose", "setPurpose")):
        if arguments[name] is not None:
            how = f"conversations.{method}"
            found.append(narrow_need(how, "write.topic", *kinds) if alone else need_for(how, "write", *kinds))
    if arguments["name"] is not None:
        found.append(need_for("conversations.rename", "write", *kinds))
    if arguments["archived"] is not None:
        method = "archive" if arguments["archived"] else "unarchive"
        found.append(need_for(f"conversations.{method}", "write", *kinds))
    return found


def _update_effect(arguments: Arguments) -> Effect:
    """Return the effect: Slack reports a change to everybody there, and an archived channel takes no messages."""
    return Effect.SENDS | (Effect.DESTRUCTIVE if arguments["archived"] else Effect.WRITES)


@SLACK.tool(
    needs=_update_needs,
    effect=_update_effect,
    gravest=Effect.WRITES | Effect.DESTRUCTIVE | Effect.SENDS,
    toolset="more",
)
def update_channel(
    conversation: Conversation,
    name: str | None = None,
    topic: About = None,
    purpose: About = None,
    archived: Annotated[bool | None, Field(description="false: open again")] = None,
    *,
    run: Run,
) -> Steps:
    """Rename a channel, set topic or purpose, archive or unarchive."""
    wanted = {"name": name, "topic": topic, "purpose": purpose, "archived": archived}
    changes = {field: value for field, value in wanted.items() if value is not None}
    if not changes:
        raise InvalidInput(
            "Give at least one of name, topic, purpose and archived.", hint="Add name, topic, purpose or archived."
        )
    caller = Caller.of(run)
    check_about(topic, purpose)
    if name is not None:
        changes["name"] = name = channel_name(name)
    spot = yield from preview.find(conversation, caller)
    before = _current_fields(spot)
    lost = [one for one in _SAID if one in changes and before.get(one, "?") not in ("", changes[one])]
    yield Preview(
        "Change this channel",
        **preview.location(spot, caller),
        destroys=bool(lost),
        **_with_state({one: Change(before[one], new) if one in before else new for one, new in changes.items()}),
    )
    done, failed = yield from api.run_all(_changes(spot.id, name, topic, purpose, archived))
    undo = {field: before[field] for field in done if field in before and before[field] != changes[field]}
    cleaned = {field: Reader().text(old) if isinstance(old, str) else old for field, old in undo.items()}
    if undo:
        yield Undo(
            "slack_update_channel",
            {"conversation": spot.id, **undo},
            _with_state({field: changes[field] for field in undo}),
        )
    return rows.lean(
        {
            "id": spot.id,
            "name": name or spot.name.removeprefix("#"),
            "changed": done,
            "failed": failed,
            "undo": {"tool": "slack_update_channel", "args": {"conversation": spot.id, **cleaned}} if undo else None,
            "summary": "Changed.",
        }
    )


def _with_state(fields: Json) -> Json:
    """Return the fields with ``archived`` as a state in words."""
    if "archived" not in fields:
        return fields
    value = fields["archived"]
    words = Change(_STATES[value.before], _STATES[value.after]) if isinstance(value, Change) else _STATES[value]
    return {name: one for name, one in fields.items() if name != "archived"} | {"state": words}


_STATES: Final = {True: "archived", False: "open"}


def _changes(
    conversation: str, name: str | None, topic: str | None, purpose: str | None, archived: bool | None
) -> dict[str, Request]:
    """Return the requests in an order in which each succeeds: an archived channel takes no other change."""
    at = {"channel": conversation}
    found: dict[str, Request] = {}
    if archived is False:
        found["archived"] = api.call("conversations.unarchive", at, repeat="idem")
    if name is not None:
        found["name"] = api.call("conversations.rename", {**at, "name": name}, repeat="idem")
    if topic is not None:
        found["topic"] = set_about("setTopic", conversation, topic)
    if purpose is not None:
        found["purpose"] = set_about("setPurpose", conversation, purpose)
    if archived:
        found["archived"] = api.call("conversations.archive", at, repeat="idem")
    return found


def _current_fields(spot: places.Spot) -> Json:
    """Return a channel's fields before a change, in the form in which undo can write them back."""
    channel = spot.row
    if not channel or not set(spot.kinds) & set(CHANNELS):
        return {}
    reader = Reader()
    about = {one: channel[one] for one in _SAID if isinstance(channel.get(one), dict)}
    return {
        "name": str(channel.get("name") or ""),
        "archived": bool(channel.get("is_archived")),
        **{one: reader.as_written(str(value.get("value") or "")) for one, value in about.items()},
    }
