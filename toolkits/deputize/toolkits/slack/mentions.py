"""Whom a text names: people, user groups, all of a conversation, and channels. Only what is exactly one is linked.

What is not linked stays text and reaches nobody; so it is told, before the yes and in the result. Calls to many stand
among whom a yes reaches: one for a channel is none for everybody's telephone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.core import Request
from deputize.core.errors import DeputizeError
from deputize.toolkits._shared.steps import T
from deputize.toolkits.slack import api, refs, users
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import CHANNELS, Asks, Caller, Json, Row
from deputize.toolkits.slack.block_text import lines
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.mrkdwn import names_in, shown_in
from deputize.toolkits.slack.text import mentioned

_LOOKED_UP: Final = 50  # people whom blocks mention
_ALL: Final[Mapping[str, str]] = {
    "@here": "everybody here who is active",
    "@channel": "everybody here",
    "@everyone": "everybody of the workspace, in #general; elsewhere everybody here",
}


@dataclass(slots=True)
class Named:
    """What was made of the names in a text.

    ``tokens``: Slack's, by the words that stand for them. ``told``: who that is, as a person is told. ``many``: the
    calls to more than one, and ``sizes`` how many these reach, as far as that is known. ``nobody``: what stays text.
    """

    tokens: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    many: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    nobody: list[str] = field(default_factory=list)

    def shown_in(self, place: Json) -> Json:
        """The place of a `Preview`, with whom the text names: `preview.there`, and these fields."""
        return place | {
            "people": [*place["people"], *self.many],
            "pins": place["pins"] | {"mentions": self.tokens or None},
            "beside": place["beside"] | {"mentions_reach": self.sizes or None},
            "mentions": self.told or None,
            "reaches_nobody": self.nobody or None,
        }

    def is_(self, name: str, token: str, who: str = "") -> None:
        """A name is linked."""
        self.tokens[name] = token
        if who:
            self.told.append(f"{name} is {who}")

    def calls(self, name: str, token: str, who: str, reached: str, size: object) -> None:
        """A name calls many."""
        self.is_(name, token, who)
        self.many.append(reached)
        if isinstance(size, int):
            self.sizes.append(f"{name}: {size} people")


def mentions(body: str, spot: Spot, caller: Caller) -> Asks[Named]:
    """Whom and what a text names exactly, as far as that may be looked up without asking."""
    found = Named()
    yield from _people_as_shown(body, caller, found)
    wanted = sorted(names_in(body, found.tokens))
    if everybody := [one for one in wanted if one in _ALL]:
        size = yield from _size(spot, caller)
        for name in everybody:
            found.calls(name, f"<!{name[1:]}>", _ALL[name], name, size)
    if handles := [one for one in wanted if one.startswith("@") and one not in _ALL]:
        yield from _people_and_groups(handles, caller, found)
    if channels := [one for one in wanted if one.startswith("#")]:
        yield from _channels(channels, caller, found)
    return found


def _people_as_shown(body: str, caller: Caller, found: Named) -> Asks[None]:
    """People as results show them, ``@Bob Brown (U0BOB000000)``, where the id is of somebody who is called so."""
    shown = dict(list(shown_in(body).items())[:_LOOKED_UP])
    if not shown or "users:read" not in caller.granted:
        return
    ids = list(dict.fromkeys(id for _, id in shown.values()))
    answers = yield from api.many([users.info(one) for one in ids])
    known = {one: got["user"] for one, got in zip(ids, answers, strict=True) if isinstance(got, dict)}
    for words, (name, id) in shown.items():
        if id in known and name in (users.shown_name(known[id]), *users.names_of(known[id])):
            found.is_(words, f"<@{id}>", users.with_handle(known[id]))


def _size(spot: Spot, caller: Caller) -> Asks[int | None]:
    """How many are in the conversation, where that may be read."""
    if spot.members is not None or spot.opens or not caller.may("read", *spot.kinds):
        return spot.members
    answer = yield from api.optional(api.call("conversations.info", {"channel": spot.id, "include_num_members": True}))
    size = ((answer or {}).get("channel") or {}).get("num_members")
    return size if isinstance(size, int) else None


def _people_and_groups(handles: Sequence[str], caller: Caller, found: Named) -> Asks[None]:
    everybody = (yield from _tried(users.everyone(caller, handles))) if "users:read" in caller.granted else None
    persons = {one: users.exact(everybody, one) if everybody else [] for one in handles}
    for one in handles:
        persons[one] = persons[one] or (yield from _by_id(one, caller))
    rest = [one for one in handles if not any(_handle(user) == one for user in persons[one])]
    groups = (yield from _tried(_groups(caller))) if rest and "usergroups:read" in caller.granted else None
    for one in handles:
        hits = [*persons[one], *(_called(groups or (), one) if one in rest else ())]
        if len(hits) == 1:
            _link(one, hits[0], found)
        else:
            found.nobody.append(_missed(one, hits, everybody, groups))


def _tried(asks: Asks[T]) -> Asks[T | None]:
    """What was found, or None where it could not be looked for."""
    try:
        return (yield from asks)
    except DeputizeError:
        return None


def _handle(user: Row) -> str:
    return f"@{users.names_of(user)[0]}".casefold()


def _by_id(name: str, caller: Caller) -> Asks[list[Json]]:
    """The person of this id: names in texts have lost their case."""
    user = refs.user_id(name.upper()) if any(one.isdigit() for one in name) else ""
    if not user or "users:read" not in caller.granted:
        return []
    answer = yield from api.optional(users.info(user))
    return [dict(answer["user"])] if answer else []


def _groups(caller: Caller) -> Asks[list[Row]]:
    answer = yield api.call("usergroups.list", {"include_count": True, "team_id": caller.team})
    return [one for one in answer.get("usergroups") or () if isinstance(one, dict) and not one.get("date_delete")]


def _called(groups: Iterable[Row], name: str) -> list[Row]:
    return [one for one in groups if name[1:] in (str(one.get(key)).casefold() for key in ("handle", "id"))]


def _link(name: str, hit: Row, found: Named) -> None:
    """A person; or a group, which has a number of members."""
    if "handle" not in hit:
        return found.is_(name, f"<@{hit['id']}>", users.with_handle(hit))
    group, handle = str(hit["id"]), str(hit.get("handle") or "")
    who = f"the user group {hit.get('name') or handle} (@{handle}, {group})"
    found.calls(name, f"<!subteam^{group}>", who, group, hit.get("user_count"))


def _missed(name: str, hits: Sequence[Row], everybody: api.Listed | None, groups: Sequence[Row] | None) -> str:
    """What stays text, and why where that is not because there is nobody of this name."""
    if hits:
        return f"{name} (several are called so: {', '.join(users.with_id(one) for one in hits[:5])})"
    unseen = [] if everybody and everybody.whole else ["not all people were looked through"]
    unseen += [] if groups is not None else ["user groups could not be looked up"]
    return f"{name} ({', '.join(unseen)})" if unseen else name


def _channels(names: Sequence[str], caller: Caller, found: Named) -> Asks[None]:
    """Channels are linked, which tells nobody. A number after # is seldom one."""
    wanted = {one[1:] for one in names}
    kinds = caller.kinds_with("read", *CHANNELS)

    def all_of(rows: Sequence[Json]) -> bool:
        return wanted <= {str(one.get("name") or "") for one in rows}

    listed = (yield from _tried(places.joined(kinds, caller, all_of))) if kinds else None
    rows = listed.rows if listed else []
    if "public" in kinds and not all_of(rows):
        asked = _tried(api.every(lambda cursor: _public(caller, cursor), "channels", all_of))
        rows = [*rows, *((yield from asked) or api.Listed([], False)).rows]
    for one in rows:
        if one.get("name") in wanted:
            found.is_(f"#{one['name']}", f"<#{one['id']}>")
    found.nobody += [one for one in names if one not in found.tokens and not one[1:].isdigit()]


def _public(caller: Caller, cursor: str | None) -> Request:
    return api.conversations(caller, ["public"], cursor, api.PAGE, joined=False, archived=True)


def in_blocks(blocks: Sequence[Json], caller: Caller) -> Asks[Named]:
    """Whom blocks mention, which have ids of people where a text has names."""
    ids = sorted(set(mentioned(lines(list(blocks)))))
    if "users:read" not in caller.granted:
        return Named(told=ids)
    answers = yield from api.many([users.info(one) for one in ids[:_LOOKED_UP]])
    found = {one: got["user"] for one, got in zip(ids, answers, strict=False) if isinstance(got, dict)}
    return Named(told=[f"{one} is {users.with_handle(found[one])}" if one in found else one for one in ids])
