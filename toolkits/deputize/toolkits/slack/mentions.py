"""Mentions in a text: people, user groups, everybody in a conversation, and channels. Only an exact match is linked.

A name that is not linked stays text and notifies nobody, and the preview and the result list it. The user approves
mentions of many people separately: approval for a channel does not include notifying everybody in the channel.
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
from deputize.toolkits.slack.mrkdwn import names_in, shown_mentions
from deputize.toolkits.slack.text import mentioned_ids

_LOOKED_UP: Final = 50  # people whom blocks mention
_ALL: Final[Mapping[str, str]] = {
    "@here": "everybody here who is active",
    "@channel": "everybody here",
    "@everyone": "everybody of the workspace, in #general; elsewhere everybody here",
}


@dataclass(slots=True)
class Mentions:
    """The mentions found in a text.

    ``tokens``: Slack's tokens by the words that they replace. ``told``: the people whom the tokens mention. ``many``:
    mentions of many people. ``sizes``: the number of people whom each of these reaches, if known. ``nobody``: names
    that mention nobody and remain text.
    """

    tokens: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    many: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    nobody: list[str] = field(default_factory=list)

    def add_to(self, place: Json) -> Json:
        """Add the mentions to the fields of a `Preview` that `preview.location` returns."""
        return place | {
            "people": [*place["people"], *self.many],
            "pins": place["pins"] | {"mentions": self.tokens or None},
            "beside": place["beside"] | {"mentions_reach": self.sizes or None},
            "mentions": self.told or None,
            "note": f"These names reach nobody: {'; '.join(self.nobody)}" if self.nobody else None,
        }

    def add_link(self, name: str, token: str, who: str = "") -> None:
        self.tokens[name] = token
        if who:
            self.told.append(f"{name} is {who}")

    def add_many(self, name: str, token: str, who: str, reached: str, size: object) -> None:
        self.add_link(name, token, who)
        self.many.append(reached)
        if isinstance(size, int):
            self.sizes.append(f"{name}: {size} people")


def mentions(body: str, spot: Spot, caller: Caller) -> Asks[Mentions]:
    """Return the exact mentions in a text, as far as the grant allows looking them up."""
    found = Mentions()
    yield from _link_shown_people(body, caller, found)
    wanted = sorted(names_in(body, found.tokens))
    if everybody := [one for one in wanted if one in _ALL]:
        size = yield from _size(spot, caller)
        for name in everybody:
            found.add_many(name, f"<!{name[1:]}>", _ALL[name], name, size)
    if handles := [one for one in wanted if one.startswith("@") and one not in _ALL]:
        yield from _link_people_and_groups(handles, caller, found)
    if channels := [one for one in wanted if one.startswith("#")]:
        yield from _link_channels(channels, caller, found)
    return found


def _link_shown_people(body: str, caller: Caller, found: Mentions) -> Asks[None]:
    """Link people in the form of results, ``@Bob Brown (U0BOB000000)``, if the user with this id has this name."""
    shown = dict(list(shown_mentions(body).items())[:_LOOKED_UP])
    if not shown or "users:read" not in caller.granted:
        return
    ids = list(dict.fromkeys(id for _, id in shown.values()))
    answers = yield from api.many([users.info(one) for one in ids])
    known = {one: got["user"] for one, got in zip(ids, answers, strict=True) if isinstance(got, dict)}
    for words, (name, id) in shown.items():
        if id in known and name in (users.shown_name(known[id]), *users.names_of(known[id])):
            found.add_link(words, f"<@{id}>", users.with_handle(known[id]))


def _size(spot: Spot, caller: Caller) -> Asks[int | None]:
    """Return the number of the conversation's members, if it may be read."""
    if spot.members is not None or spot.opens or not caller.may("read", *spot.kinds):
        return spot.members
    answer = yield from api.optional(api.call("conversations.info", {"channel": spot.id, "include_num_members": True}))
    size = ((answer or {}).get("channel") or {}).get("num_members")
    return size if isinstance(size, int) else None


def _link_people_and_groups(handles: Sequence[str], caller: Caller, found: Mentions) -> Asks[None]:
    everybody = (yield from _try(users.list_everyone(caller, handles))) if "users:read" in caller.granted else None
    persons = {one: users.exact_matches(everybody, one) if everybody else [] for one in handles}
    for one in handles:
        persons[one] = persons[one] or (yield from _find_by_id(one, caller))
    rest = [one for one in handles if not any(_handle(user) == one for user in persons[one])]
    groups = (yield from _try(_groups(caller))) if rest and "usergroups:read" in caller.granted else None
    for one in handles:
        hits = [*persons[one], *(_groups_named(groups or (), one) if one in rest else ())]
        if len(hits) == 1:
            _link_hit(one, hits[0], found)
        else:
            found.nobody.append(_miss_reason(one, hits, everybody, groups))


def _try(asks: Asks[T]) -> Asks[T | None]:
    try:
        return (yield from asks)
    except DeputizeError:
        return None


def _handle(user: Row) -> str:
    return f"@{users.names_of(user)[0]}".casefold()


def _find_by_id(name: str, caller: Caller) -> Asks[list[Json]]:
    """Return the person with this id. The id is in lower case, because names in texts are read without case."""
    user = refs.user_id(name.upper()) if any(one.isdigit() for one in name) else ""
    if not user or "users:read" not in caller.granted:
        return []
    answer = yield from api.optional(users.info(user))
    return [dict(answer["user"])] if answer else []


def _groups(caller: Caller) -> Asks[list[Row]]:
    answer = yield api.call("usergroups.list", {"include_count": True, "team_id": caller.team})
    return [one for one in answer.get("usergroups") or () if isinstance(one, dict) and not one.get("date_delete")]


def _groups_named(groups: Iterable[Row], name: str) -> list[Row]:
    return [one for one in groups if name[1:] in (str(one.get(key)).casefold() for key in ("handle", "id"))]


def _link_hit(name: str, hit: Row, found: Mentions) -> None:
    """Add a person, or a group, which has a number of members."""
    if "handle" not in hit:
        return found.add_link(name, f"<@{hit['id']}>", users.with_handle(hit))
    group, handle = str(hit["id"]), str(hit.get("handle") or "")
    who = f"the user group {hit.get('name') or handle} (@{handle}, {group})"
    found.add_many(name, f"<!subteam^{group}>", who, group, hit.get("user_count"))


def _miss_reason(name: str, hits: Sequence[Row], everybody: api.Listed | None, groups: Sequence[Row] | None) -> str:
    """Return a name that mentions nobody, with the reason. No reason is added if nobody has this name."""
    if hits:
        return f"{name} (several are called so: {', '.join(users.with_id(one) for one in hits[:5])})"
    unseen = [] if everybody and everybody.whole else ["not all people were looked through"]
    unseen += [] if groups is not None else ["user groups could not be looked up"]
    return f"{name} ({', '.join(unseen)})" if unseen else name


def _link_channels(names: Sequence[str], caller: Caller, found: Mentions) -> Asks[None]:
    """Link channels, which notifies nobody. A number after # is seldom a channel."""
    wanted = {one[1:] for one in names}
    kinds = caller.kinds_with("read", *CHANNELS)

    def has_all(rows: Sequence[Json]) -> bool:
        return wanted <= {str(one.get("name") or "") for one in rows}

    listed = (yield from _try(places.list_joined(kinds, caller, has_all))) if kinds else None
    rows = listed.rows if listed else []
    if "public" in kinds and not has_all(rows):
        asked = _try(api.list_pages(lambda cursor: _public(caller, cursor), "channels", has_all))
        rows = [*rows, *((yield from asked) or api.Listed([], False)).rows]
    for one in rows:
        if one.get("name") in wanted:
            found.add_link(f"#{one['name']}", f"<#{one['id']}>")
    found.nobody += [one for one in names if one not in found.tokens and not one[1:].isdigit()]


def _public(caller: Caller, cursor: str | None) -> Request:
    return api.conversations_page(caller, ["public"], cursor, api.PAGE, joined=False, archived=True)


def block_mentions(blocks: Sequence[Json], caller: Caller) -> Asks[Mentions]:
    """Return the mentions in blocks, which name people by id."""
    ids = sorted(set(mentioned_ids(lines(list(blocks)))))
    if "users:read" not in caller.granted:
        return Mentions(told=ids)
    answers = yield from api.many([users.info(one) for one in ids[:_LOOKED_UP]])
    found = {one: got["user"] for one, got in zip(ids, answers, strict=False) if isinstance(got, dict)}
    return Mentions(told=[f"{one} is {users.with_handle(found[one])}" if one in found else one for one in ids])
