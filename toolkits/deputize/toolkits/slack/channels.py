"""Slack: channels are made and changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

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
    for_kinds,
    narrower,
)
from deputize.toolkits.slack.channel_members import Names, invited
from deputize.toolkits.slack.text import Reader
from deputize.toolkits.slack.topics import About, check_about, set_about

_NAME: Final = 80  # characters
_SAID: Final = ("topic", "purpose")
_SKEW: Final = 5  # seconds by which Slack's clock and ours may differ
_UNFIT = re.compile(r"[^\w-]+")


def channel_name(name: str, field: str = "name") -> str:
    """A name as Slack takes it: lower case, hyphens. Raises `InvalidInput` for one of which nothing is left."""
    made = _UNFIT.sub("-", name.strip().removeprefix("#").lower()).strip("-")[:_NAME].strip("-")
    if not re.search(r"\w", made.replace("_", "")):
        raise InvalidInput(f"{field}: a channel's name needs letters or digits.")
    return made


# ----------------------------------------------------------------- create


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    kind = "private" if arguments["private"] else "public"
    return [
        for_kinds("conversations.create", "write", kind),
        *(refs.naming_people(arguments["invite"] or ())),
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
    channel = yield from _created(wanted, private, caller, run.now)
    identity = str(channel["id"])
    said = (("setTopic", topic), ("setPurpose", purpose))
    _, failed = yield from api.each({how: set_about(how, identity, value) for how, value in said if value is not None})
    done, uninvited = yield from _welcomed(identity, users, caller)
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
    """Who sees a new channel: a private one only whoever is in it."""
    if not private:
        return Audience.ORGANISATION
    return Audience.PEOPLE if users else Audience.SELF


def _welcomed(identity: str, users: Sequence[Row], caller: Caller) -> Asks[tuple[list[str], list[Json]]]:
    """The same as inviting, but whatever goes wrong, the channel is there."""
    try:
        found = yield from invited(identity, users, caller)
        return found.done, found.failed
    except DeputizeError as refused:
        return [], [{"user": str(user["id"]), "error": refused.message} for user in users]


def _created(name: str, private: bool, caller: Caller, now: float) -> Asks[Row]:
    """The new channel; its name is Slack's key. Raises `Conflict` where somebody else has the name."""
    asked = {"name": name, "is_private": private, "team_id": caller.team}
    request = api.call("conversations.create", asked, repeat="idem")
    try:
        return dict((yield request)["channel"])
    except (OutcomeUnknown, ProviderUnavailable, Conflict) as failure:
        unsure: DeputizeError = failure
    taken = isinstance(unsure, Conflict)
    own = (yield from _own(name, private, caller, now)) if taken or getattr(unsure, "sent", True) else None
    if own is not None:
        return own
    if taken:
        raise Conflict(
            "name: conflict (exists): there is a channel of this name.",
            reason="exists",
            hint="Use it, or take another name.",
        )
    raise unsure


def _own(name: str, private: bool, caller: Caller, now: float) -> Asks[Row | None]:
    """The channel of this name, if the user made it since this act was asked for, and nobody has said yet what it is
    for: then a try whose answer was lost made it."""
    kinds: list[Kind] = caller.kinds_with("read", "private" if private else "public")
    if not kinds:
        return None

    def there(found: Sequence[Row]) -> bool:
        return any(one.get("name") == name for one in found)

    try:
        listed = yield from places.joined(kinds, caller, there)
    except DeputizeError:
        return None
    hits = [one for one in listed.rows if one.get("name") == name and one.get("creator") == caller.user]
    new = [one for one in hits if float(one.get("created") or 0) >= now - _SKEW]
    return next((one for one in new if not any(_as_it_is(places.spot_of(one)).get(n) for n in _SAID)), None)


# ----------------------------------------------------------------- update


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.safely(arguments["conversation"])
    kinds = [kind for kind in ref.kinds if kind in CHANNELS] or list(CHANNELS)
    found = refs.naming(ref)
    alone = arguments["name"] is None and arguments["archived"] is None
    for name, method in (("topic", "setTopic"), ("purpose", "setPurpose")):
        if arguments[name] is not None:
            how = f"conversations.{method}"
            found.append(narrower(how, "write.topic", *kinds) if alone else for_kinds(how, "write", *kinds))
    if arguments["name"] is not None:
        found.append(for_kinds("conversations.rename", "write", *kinds))
    if arguments["archived"] is not None:
        method = "archive" if arguments["archived"] else "unarchive"
        found.append(for_kinds(f"conversations.{method}", "write", *kinds))
    return found


def _update_effect(arguments: Arguments) -> Effect:
    """Whatever changes, everybody in the channel is told; one that is archived takes no message any more."""
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
        raise InvalidInput("Give at least one of name, topic, purpose and archived.")
    caller = Caller.of(run)
    check_about(topic, purpose)
    if name is not None:
        changes["name"] = name = channel_name(name)
    spot = yield from preview.found(conversation, caller)
    before = _as_it_is(spot)
    lost = [one for one in _SAID if one in changes and before.get(one, "?") not in ("", changes[one])]
    yield Preview(
        "Change this channel",
        **preview.there(spot, caller),
        destroys=bool(lost),
        **_in_words({one: Change(before[one], new) if one in before else new for one, new in changes.items()}),
    )
    done, failed = yield from api.all_of(_changes(spot.id, name, topic, purpose, archived))
    undo = {field: before[field] for field in done if field in before and before[field] != changes[field]}
    cleaned = {field: Reader().text(old) if isinstance(old, str) else old for field, old in undo.items()}
    if undo:
        yield Undo(
            "slack_update_channel",
            {"conversation": spot.id, **undo},
            _in_words({field: changes[field] for field in undo}),
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


def _in_words(fields: Json) -> Json:
    """Whether a channel is archived, as a state that it is in."""
    if "archived" not in fields:
        return fields
    value = fields["archived"]
    words = Change(_STATES[value.before], _STATES[value.after]) if isinstance(value, Change) else _STATES[value]
    return {name: one for name, one in fields.items() if name != "archived"} | {"state": words}


_STATES: Final = {True: "archived", False: "open"}


def _changes(
    conversation: str, name: str | None, topic: str | None, purpose: str | None, archived: bool | None
) -> dict[str, Request]:
    """The calls, in an order in which each can be done: an archived channel takes no other change."""
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


def _as_it_is(spot: places.Spot) -> Json:
    """A channel before a change, as far as Slack has described it: as it was written, so that it can be put back."""
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
