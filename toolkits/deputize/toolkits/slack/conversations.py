"""Conversations: which one is meant, and what is shown of it. Only an exact name is one; nothing is guessed."""

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
from deputize.toolkits.slack.excerpts import about
from deputize.toolkits.slack.refs import Ref
from deputize.toolkits.slack.text import Reader

_NAME: Final = 60  # bytes
_LOOKED_THROUGH: Final = 50  # group DMs


@dataclass(frozen=True, slots=True)
class Spot:
    """A conversation that was found. ``kinds``: what it may be, one where that is known; ``name``: as it is shown.

    ``people``: who else is in a direct message, ids with names; ``opens``: it has no id yet, see `opened`; ``row``: how
    Slack describes it, as far as it did.
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
        """What a result says of it."""
        kind = self.kinds[0] if len(self.kinds) == 1 else None
        said = {"conversation": self.id, "name": self.name, "type": kind, "members": self.members}
        return {name: value for name, value in (said | {"external": self.external}).items() if value}

    @property
    def noted(self) -> Json:
        """What a later run needs to know of it."""
        return {"conversation": self.id, "name": self.name, "kinds": list(self.kinds)}

    @classmethod
    def of_note(cls, note: Row) -> Spot:
        """The conversation that an earlier run has noted."""
        return cls(str(note["conversation"]), tuple(note["kinds"]), str(note["name"]))


def kind_of(channel: Row) -> Kind:
    """The kind of a conversation that Slack describes."""
    if channel.get("is_im"):
        return "dm"
    if channel.get("is_mpim"):
        return "group_dm"
    return "private" if channel.get("is_private") or channel.get("is_group") else "public"


def url_of(caller: Caller, conversation: str) -> str:
    """Where a person opens a conversation."""
    return f"https://app.slack.com/client/{caller.account.subject.partition(':')[0]}/{conversation}"


def row(channel: Row, names: dict[str, str]) -> Json:
    """A conversation in a list; a DM carries the person's name."""
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
        **about(reader, 60, channel.get("id"), topic=topic.get("value") if isinstance(topic, dict) else ""),
        "archived": bool(channel.get("is_archived")),
        "external": _is_external(channel),
    }
    reader.mark(found)
    return {name: value for name, value in found.items() if value}


def _is_external(channel: Row) -> bool:
    """Whether people of other workspaces are in it, or are about to be."""
    return bool(channel.get("is_ext_shared") or channel.get("is_pending_ext_shared"))


# ----------------------------------------------------------------- which one is meant


def find(conversation: str, caller: Caller, *, sends: bool = False) -> Asks[Spot]:
    """The conversation that is meant. ``sends``: a DM may be opened for it.

    Raises `InvalidInput` for what names none, `NotFound` with what comes near for a name that is not exactly one's.
    """
    ref = refs.read(conversation)
    if ref.how == "id":
        return Spot(ref.id, ref.kinds, ts=ref.ts, thread_ts=ref.thread_ts)
    if ref.how == "people":
        users = yield from people.find(ref.people, "conversation", caller)
        return (yield from _with(users, caller, sends=sends))
    return (yield from _called(ref, caller, sends=sends))


def _called(ref: Ref, caller: Caller, *, sends: bool) -> Asks[Spot]:
    """The one channel, or the one person, of exactly this name."""
    wanted = refs.channel_name(ref.name)
    channels = yield from _channels(wanted, caller)
    hits = [spot_of(one) for one in _named(channels, wanted)]
    everybody = (yield from _everybody(ref, caller)) if ref.how == "word" else api.Listed([], True)
    persons = people.exact(everybody, ref.name)
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
        return (yield from _with(persons, caller, sends=sends))
    raise _miss(ref, hits, persons, channels, everybody.rows, _unseen(caller))


def _everybody(ref: Ref, caller: Caller) -> Asks[api.Listed]:
    if "users:read" not in caller.granted:
        return api.Listed([], False)
    return (yield from people.everyone(caller, [ref.name]))


def _may_be_somebody(ref: Ref, everybody: api.Listed, caller: Caller) -> bool:
    """Whether a word may mean a person who was not looked at: anybody can make a public channel of that name.

    Where nobody may be looked at, a word that is spelled as channels are is one.
    """
    unseen = ref.how == "word" and not everybody.whole
    return unseen and ("users:read" in caller.granted or ref.name != refs.channel_name(ref.name))


def _named(channels: Sequence[Json], wanted: str) -> list[Json]:
    """The channels of this name, which Slack gives once; else those for which it is another spelling.

    Open ones stand before closed ones. Letters of other alphabets may be there to deceive: then so do look-alikes.
    """
    for spelling in ("name", "name_normalized"):
        if hits := [one for one in channels if str(one.get(spelling) or "").lower() == wanted]:
            hits += [one for one in channels if one not in hits and not wanted.isascii() and _alike(one, wanted)]
            return [one for one in hits if not one.get("is_archived")] or hits
    return []


def _alike(channel: Row, wanted: str) -> bool:
    return people.folded(str(channel.get("name") or "")) == people.folded(wanted)


def spot_of(channel: Row) -> Spot:
    """A channel that Slack describes."""
    name = Outside().line(str(channel.get("name") or ""), _NAME)
    external, members = _is_external(channel), channel.get("num_members")
    return Spot(str(channel["id"]), (kind_of(channel),), f"#{name}", members, external=external, row=channel)


def _channels(wanted: str, caller: Caller) -> Asks[list[Json]]:
    """Channels in which the user is, and if none has the name, all public ones."""
    if not wanted:
        raise InvalidInput("conversation: not a conversation.", hint="Use an id, #channel, @user, email or link.")
    kinds = caller.kinds_with("read", *CHANNELS)
    if not kinds:
        return []

    def there(rows: Sequence[Json]) -> bool:
        return wanted.isascii() and any(one.get("name") == wanted and not one.get("is_archived") for one in rows)

    rows = (yield from joined(kinds, caller, there)).rows
    if there(rows) or "public" not in kinds:
        return rows
    more = yield from api.every(
        lambda cursor: api.conversations(caller, ["public"], cursor, api.PAGE, joined=False, archived=True),
        "channels",
        there,
    )
    return [*rows, *(one for one in more.rows if one.get("id") not in {row.get("id") for row in rows})]


def joined(
    kinds: Sequence[Kind], caller: Caller, enough: api.Enough = lambda rows: False, *, archived: bool = True
) -> Asks[api.Listed]:
    """The user's own conversations of these kinds."""
    return (
        yield from api.every(
            lambda cursor: api.conversations(caller, kinds, cursor, api.PAGE, joined=True, archived=archived),
            "channels",
            enough,
        )
    )


def _unseen(caller: Caller) -> str:
    """What was not looked through, because it may not be."""
    kinds = [kind for kind in CHANNELS if kind not in caller.kinds_with("read", *CHANNELS)]
    return f" Not looked through: {' and '.join(kinds)} channels." if kinds else ""


def _miss(
    ref: Ref,
    hits: Sequence[Spot],
    persons: Sequence[Row],
    channels: Sequence[Row],
    everybody: Iterable[Row],
    unseen: str,
) -> NotFound:
    """Why a name is not exactly one conversation's, and what comes near."""
    if hits or persons:
        several = [*(f"{spot.name} = {spot.id}" for spot in hits), *(f"{people.with_id(one)}" for one in persons)]
        return NotFound("conversation: several have this name.", hint=f"Name one by its id: {', '.join(several[:5])}.")
    near = [*_near(channels, refs.channel_name(ref.name)), *people.near(everybody, ref.name)][:5]
    hint = f"Near: {', '.join(near)}." if near else "List the conversations, or write @name for a person."
    return NotFound("conversation: no conversation has this name.", hint=hint + unseen)


def _near(channels: Sequence[Row], wanted: str) -> list[str]:
    known = {str(one.get("name") or "").casefold(): one for one in channels}
    parts = [name for name in known if name and (wanted in name or name in wanted)]
    close = list(dict.fromkeys([*parts, *get_close_matches(wanted[:100], list(known), 5, 0.5)]))
    return [f"{spot_of(known[name]).name} = {known[name]['id']}" for name in close[:5]]


# ----------------------------------------------------------------- direct messages


def _with(users: Sequence[Row], caller: Caller, *, sends: bool) -> Asks[Spot]:
    """The DM, or the group DM, with these people; one that `opened` will open, if need be and allowed."""
    users = [user for user in users if user["id"] != caller.user] or users[:1]  # oneself is in it anyway
    ids = list(dict.fromkeys(str(user["id"]) for user in users))
    kind: Kind = "group_dm" if len(ids) > 1 else "dm"
    name = ", ".join(people.with_id(user) for user in users)
    told = tuple((str(user["id"]), people.with_handle(user)) for user in users)
    spot = Spot("", (kind,), name, len(ids) + 1 if kind == "group_dm" else None, people=told)
    if not sends or not caller.may("write", kind):
        if found := (yield from _existing(users, kind, caller)):
            return replace(spot, id=found)
        if not sends:
            raise NotFound(
                "conversation: there is no direct message with them yet, so nothing to read.",
                hint="It begins with a message.",
            )
    return replace(spot, opens=True)


def opened(spot: Spot) -> Asks[Spot]:
    """The conversation itself, after it was shown with whom it is: only then it may be opened."""
    if not spot.opens:
        return spot
    users = ",".join(dict.fromkeys(user for user, _ in spot.people))
    answer = yield api.call("conversations.open", {"users": users}, repeat="idem", prepares=True)
    return replace(spot, id=str(answer["channel"]["id"]), opens=False)


def _existing(users: Sequence[Row], kind: Kind, caller: Caller) -> Asks[str]:
    """The id of the conversation with exactly these people, "" for none."""
    ids = [str(user["id"]) for user in users]
    if not caller.may("read", kind):
        return ""
    if kind == "dm":
        listed = yield from joined(["dm"], caller, lambda rows: any(one.get("user") == ids[0] for one in rows))
        return next((str(one["id"]) for one in listed.rows if one.get("user") == ids[0]), "")
    listed = yield from joined(["group_dm"], caller)
    near = [one for one in listed.rows if _may_be(one, users)][:_LOOKED_THROUGH]
    answers = yield from api.many([members(str(one["id"]), None, api.PAGE) for one in near])
    wanted = {*ids, caller.user}
    return next((str(one["id"]) for one, found in zip(near, answers, strict=True) if _are(found, wanted)), "")


def _may_be(channel: Row, users: Sequence[Row]) -> bool:
    """Whether a group DM may be with these people: its name is made of their handles."""
    name = str(channel.get("name") or "")
    return not name or all(str(user.get("name") or "") in name for user in users)


def _are(answer: object, wanted: set[str]) -> bool:
    return isinstance(answer, dict) and set(answer.get("members") or ()) == wanted


def members(conversation: str, cursor: str | None, limit: int) -> Request:
    """conversations.members"""
    return api.call("conversations.members", {"channel": conversation, "cursor": cursor, "limit": limit})
