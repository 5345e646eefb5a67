"""Conversations: lookup by a reference, and display. Only an exact name matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from deputize.core import Request
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.slack import api, refs
from deputize.toolkits.slack import users as people
from deputize.toolkits.slack.base import CHANNELS, Asks, Caller, Json, Kind, Row
from deputize.toolkits.slack.excerpts import one_line
from deputize.toolkits.slack.refs import Ref
from deputize.toolkits.slack.text import Reader

_NAME: Final = 60  # bytes
_LOOKED_THROUGH: Final = 50  # group DMs


@dataclass(frozen=True, slots=True)
class Spot:
    """A conversation that was found. ``kinds``: its possible kinds (one if known). ``name``: as displayed.

    ``people``: ids and names of the others in a direct message. ``opens``: the conversation has no id yet, see
    `open_direct_message`. ``row``: Slack's description, if read.
    """

    id: str
    kinds: tuple[Kind, ...]
    name: str = ""
    members: int | None = None
    ts: str = ""
    thread_ts: str = ""
    external: bool = False
    people: tuple[tuple[str, str], ...] = ()
    opens: bool = False
    row: Row = field(default_factory=dict, compare=False, repr=False)

    @property
    def shown(self) -> Json:
        """The fields that describe the conversation in a result."""
        kind = self.kinds[0] if len(self.kinds) == 1 else None
        said = {"conversation": self.id, "name": self.name, "type": kind, "members": self.members}
        return {name: value for name, value in (said | {"external": self.external}).items() if value}

    @property
    def noted(self) -> Json:
        """The fields that a later run needs."""
        return {"conversation": self.id, "name": self.name, "kinds": list(self.kinds)}

    @classmethod
    def from_note(cls, note: Row) -> Spot:
        """Create the conversation from an earlier run's note."""
        return cls(str(note["conversation"]), tuple(note["kinds"]), str(note["name"]))


def kind_of(channel: Row) -> Kind:
    """Return the kind of a conversation, from Slack's description."""
    if channel.get("is_im"):
        return "dm"
    if channel.get("is_mpim"):
        return "group_dm"
    return "private" if channel.get("is_private") or channel.get("is_group") else "public"


def url_of(caller: Caller, conversation: str) -> str:
    """Return the address at which a person opens a conversation."""
    return f"https://app.slack.com/client/{caller.account.subject.partition(':')[0]}/{conversation}"


def row(channel: Row, names: dict[str, str]) -> Json:
    """Return a list item for a conversation. A DM is named after the person."""
    reader = Reader()
    topic = channel.get("topic")
    person = str(channel.get("user") or "")
    named = names.get(person) or person if channel.get("is_im") else str(channel.get("name") or "")
    found: Json = {
        "id": channel.get("id"),
        "name": reader.line(named, _NAME),
        "type": kind_of(channel),
        "user": person if channel.get("is_im") else None,
        "members": channel.get("num_members"),
        **one_line(reader, 60, channel.get("id"), topic=topic.get("value") if isinstance(topic, dict) else ""),
        "archived": bool(channel.get("is_archived")),
        "external": _is_external(channel),
    }
    reader.mark(found)
    return {name: value for name, value in found.items() if value}


def _is_external(channel: Row) -> bool:
    """True if people of other workspaces are members or are invited."""
    return bool(channel.get("is_ext_shared") or channel.get("is_pending_ext_shared"))


# ----------------------------------------------------------------- lookup


def find(conversation: str, caller: Caller, *, sends: bool = False) -> Asks[Spot]:
    """Find the conversation that a reference means. ``sends``: a missing DM may be opened.

    Raises `InvalidInput` if it is no reference, and `NotFound` with near names unless exactly one name matches.
    """
    ref = refs.read(conversation)
    if ref.how == "id":
        return Spot(ref.id, ref.kinds, ts=ref.ts, thread_ts=ref.thread_ts)
    if ref.how == "people":
        users = yield from people.find(ref.people, "conversation", caller)
        return (yield from _direct_message(users, caller, sends=sends))
    return (yield from _find_by_name(ref, caller, sends=sends))


def _find_by_name(ref: Ref, caller: Caller, *, sends: bool) -> Asks[Spot]:
    """Find the only channel, or the only person, with exactly this name."""
    wanted = refs.channel_name(ref.name)
    channels = yield from _channels(wanted, caller)
    hits = [spot_of(one) for one in _match_name(channels, wanted)]
    everybody = (yield from _list_people(ref, caller)) if ref.how == "word" else api.Listed([], True)
    persons = people.exact_matches(everybody, ref.name)
    if len(hits) == 1 and not persons:
        if sends and _may_be_somebody(ref, everybody, caller):
            hint = f"Write {hits[0].name} for the channel, @handle for a person."
            raise NotFound(
                "conversation: may be this channel or a person, and the people cannot be looked up.", hint=hint
            )
        return hits[0]
    if len(persons) == 1 and not hits:
        if not (caller.may("read", "dm") or (sends and caller.may("write", "dm"))):
            hint = f"Write @{people.names_of(persons[0])[0]}."
            raise NotFound(f"conversation: this is a person: {people.with_id(persons[0])}.", hint=hint)
        return (yield from _direct_message(persons, caller, sends=sends))
    raise _not_found(ref, hits, persons, channels, everybody.rows, _unread_kinds(caller))


def _list_people(ref: Ref, caller: Caller) -> Asks[api.Listed]:
    if "users:read" not in caller.granted:
        return api.Listed([], False)
    return (yield from people.list_everyone(caller, [ref.name]))


def _may_be_somebody(ref: Ref, everybody: api.Listed, caller: Caller) -> bool:
    """True if a word may also mean a person who was not read: anybody can make a public channel of that name.

    If people may not be read at all, a word that is spelled like a channel means the channel.
    """
    unseen = ref.how == "word" and not everybody.whole
    return unseen and ("users:read" in caller.granted or ref.name != refs.channel_name(ref.name))


def _match_name(channels: Sequence[Json], wanted: str) -> list[Json]:
    """Return the channels with this name, which is unique at Slack, or else those with another spelling of it.

    Archived channels count only if no open one matches. A non-ASCII name also matches look-alikes, which may deceive.
    """
    for spelling in ("name", "name_normalized"):
        if hits := [one for one in channels if str(one.get(spelling) or "").lower() == wanted]:
            hits += [one for one in channels if one not in hits and not wanted.isascii() and _looks_alike(one, wanted)]
            return [one for one in hits if not one.get("is_archived")] or hits
    return []


def _looks_alike(channel: Row, wanted: str) -> bool:
    return people.fold_name(str(channel.get("name") or "")) == people.fold_name(wanted)


def spot_of(channel: Row) -> Spot:
    """Return the conversation for a channel that Slack describes."""
    name = Outside().line(str(channel.get("name") or ""), _NAME)
    external, members = _is_external(channel), channel.get("num_members")
    return Spot(str(channel["id"]), (kind_of(channel),), f"#{name}", members, external=external, row=channel)


def _channels(wanted: str, caller: Caller) -> Asks[list[Json]]:
    """Return the user's channels and, if none of them has the name, all public channels."""
    if not wanted:
        raise InvalidInput("conversation: not a conversation.", hint="Use an id, #channel, @user, email or link.")
    kinds = caller.kinds_with("read", *CHANNELS)
    if not kinds:
        return []

    def has_name(rows: Sequence[Json]) -> bool:
        return wanted.isascii() and any(one.get("name") == wanted and not one.get("is_archived") for one in rows)

    rows = (yield from list_joined(kinds, caller, has_name)).rows
    if has_name(rows) or "public" not in kinds:
        return rows
    more = yield from api.list_pages(
        lambda cursor: api.conversations_page(caller, ["public"], cursor, api.PAGE, joined=False, archived=True),
        "channels",
        has_name,
    )
    return [*rows, *(one for one in more.rows if one.get("id") not in {row.get("id") for row in rows})]


def list_joined(
    kinds: Sequence[Kind], caller: Caller, enough: api.Enough = lambda rows: False, *, archived: bool = True
) -> Asks[api.Listed]:
    """Return the user's own conversations of these kinds."""
    return (
        yield from api.list_pages(
            lambda cursor: api.conversations_page(caller, kinds, cursor, api.PAGE, joined=True, archived=archived),
            "channels",
            enough,
        )
    )


def _unread_kinds(caller: Caller) -> str:
    """Return a sentence about the kinds of channels that may not be read."""
    kinds = [kind for kind in CHANNELS if kind not in caller.kinds_with("read", *CHANNELS)]
    return f" Not looked through: {' and '.join(kinds)} channels." if kinds else ""


def _not_found(
    ref: Ref,
    hits: Sequence[Spot],
    persons: Sequence[Row],
    channels: Sequence[Row],
    everybody: Iterable[Row],
    unseen: str,
) -> NotFound:
    """Return the error for a name that does not belong to exactly one conversation, with near names."""
    if hits or persons:
        several = [*(f"{spot.name} = {spot.id}" for spot in hits), *(f"{people.with_id(one)}" for one in persons)]
        return NotFound("conversation: several have this name.", hint=f"Name one by its id: {', '.join(several[:5])}.")
    near = [*_near_names(channels, refs.channel_name(ref.name)), *people.near_names(everybody, ref.name)][:5]
    hint = f"Near: {', '.join(near)}." if near else "List the conversations, or write @name for a person."
    return NotFound("conversation: no conversation has this name.", hint=hint + unseen)


def _near_names(channels: Sequence[Row], wanted: str) -> list[str]:
    known = {str(one.get("name") or "").casefold(): one for one in channels}
    parts = [name for name in known if name and (wanted in name or name in wanted)]
    close = list(dict.fromkeys([*parts, *get_close_matches(wanted[:100], list(known), 5, 0.5)]))
    return [f"{spot_of(known[name]).name} = {known[name]['id']}" for name in close[:5]]


# ----------------------------------------------------------------- direct messages


def _direct_message(users: Sequence[Row], caller: Caller, *, sends: bool) -> Asks[Spot]:
    """Return the DM or group DM with these people. If it is missing and ``sends``, `open_direct_message` creates it."""
    users = [user for user in users if user["id"] != caller.user] or users[:1]  # the user is a member anyway
    ids = list(dict.fromkeys(str(user["id"]) for user in users))
    kind: Kind = "group_dm" if len(ids) > 1 else "dm"
    name = ", ".join(people.with_id(user) for user in users)
    told = tuple((str(user["id"]), people.with_handle(user)) for user in users)
    spot = Spot("", (kind,), name, len(ids) + 1 if kind == "group_dm" else None, people=told)
    if not sends or not caller.may("write", kind):
        if found := (yield from _find_existing(users, kind, caller)):
            return replace(spot, id=found)
        if not sends:
            raise NotFound(
                "conversation: there is no direct message with them yet, so nothing to read.",
                hint="It begins with a message.",
            )
    return replace(spot, opens=True)


def open_direct_message(spot: Spot) -> Asks[Spot]:
    """Open the conversation. Called only after its people were displayed to the user."""
    if not spot.opens:
        return spot
    users = ",".join(dict.fromkeys(user for user, _ in spot.people))
    answer = yield api.call("conversations.open", {"users": users}, repeat="idem", prepares=True)
    return replace(spot, id=str(answer["channel"]["id"]), opens=False)


def _find_existing(users: Sequence[Row], kind: Kind, caller: Caller) -> Asks[str]:
    """Return the id of the conversation with exactly these people, or ""."""
    ids = [str(user["id"]) for user in users]
    if not caller.may("read", kind):
        return ""
    if kind == "dm":
        listed = yield from list_joined(["dm"], caller, lambda rows: any(one.get("user") == ids[0] for one in rows))
        return next((str(one["id"]) for one in listed.rows if one.get("user") == ids[0]), "")
    listed = yield from list_joined(["group_dm"], caller)
    near = [one for one in listed.rows if _may_have_members(one, users)][:_LOOKED_THROUGH]
    answers = yield from api.many([members(str(one["id"]), None, api.PAGE) for one in near])
    wanted = {*ids, caller.user}
    return next((str(one["id"]) for one, found in zip(near, answers, strict=True) if _has_members(found, wanted)), "")


def _may_have_members(channel: Row, users: Sequence[Row]) -> bool:
    """True if a group DM may be with these people, because its name consists of the members' handles."""
    name = str(channel.get("name") or "")
    return not name or all(str(user.get("name") or "") in name for user in users)


def _has_members(answer: object, wanted: set[str]) -> bool:
    return isinstance(answer, dict) and set(answer.get("members") or ()) == wanted


def members(conversation: str, cursor: str | None, limit: int) -> Request:
    return api.call("conversations.members", {"channel": conversation, "cursor": cursor, "limit": limit})
