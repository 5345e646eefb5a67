"""Slack: the connected user, and the user's conversations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from deputize.core import Alias, Need, Run, Steps, any_of
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.slack import api, refs, rows, users, zone
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import (
    CHANNELS,
    PEOPLE,
    SLACK,
    TYPES,
    Asks,
    Caller,
    Conversation,
    Json,
    Kind,
    Page,
    Row,
    need_for,
)
from deputize.toolkits.slack.text import Reader

_PARTS: Mapping[str, Need] = {
    "pins": any_of("pins:read", method="pins.list"),
    "bookmarks": any_of("bookmarks:read", method="bookmarks.list"),
}

_FOR_MEMBERS, _FOR_PINS, _FOR_BOOKMARKS = 2_200, 900, 750  # tokens of a result

Include = Literal["members", "pins", "bookmarks"]


@SLACK.tool(aliases=["Slack.WhoAmI"])
def whoami(*, run: Run) -> Steps:
    """Connected Slack user and workspace."""
    who = yield api.call("auth.test", {})
    outside = Reader()
    found: Json = {
        "user_id": who.get("user_id"),
        "handle": outside.line(str(who.get("user") or ""), 80),
        "team": outside.line(str(who.get("team") or ""), 80),
        "team_id": who.get("team_id"),
        "url": outside.line(str(who.get("url") or ""), 120),
    }
    if "users:read" in run.granted and (answer := (yield from api.optional(users.info(str(who.get("user_id")))))):
        shown = users.row(answer["user"])
        yield from zone.save_zone(answer["user"])
        found |= {name: shown[name] for name in ("name", "email", "time_zone") if name in shown}
    return found


# ----------------------------------------------------------------- conversations


_THEIR_TYPES: Mapping[str | bool, Kind] = {
    "public_channel": "public",
    "private_channel": "private",
    **dict.fromkeys(("mpim", "multi_person_direct_message"), "group_dm"),
    **dict.fromkeys(("im", "direct_message"), "dm"),
}
_LISTED_ELSEWHERE = Alias(
    "Slack.ListConversations",
    {"conversation_types": "types"},
    sets={"types": list(TYPES)},
    values={"types": _THEIR_TYPES},
)


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    kinds = arguments["types"] or list(CHANNELS)
    if not arguments["joined"]:
        kinds = [kind for kind in kinds if kind in CHANNELS] or ["public"]
    return [need_for("users.conversations" if arguments["joined"] else "conversations.list", "read", *kinds)]


@SLACK.tool(
    needs=_list_needs,
    aliases=[_LISTED_ELSEWHERE],
)
def list_conversations(
    query: Annotated[str, Field(description="part of the name")] = "",
    types: Annotated[list[Kind] | None, Field(description="default public, private")] = None,
    joined: Annotated[bool, Field(description="false: browse all public channels")] = True,
    archived: Annotated[bool, Field(description="these too")] = False,
    limit: Page = 50,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List the user's channels and DMs, or browse public channels."""
    caller = Caller.of(run)
    wanted: list[Kind] = types or list(CHANNELS)
    kinds: list[Kind] = caller.kinds_with("read", *wanted)
    left_out = [kind for kind in wanted if kind not in kinds]
    if not joined:
        kinds = [kind for kind in caller.kinds_with("read", *CHANNELS) if kind in wanted]
    if not kinds:
        raise InvalidInput(
            "types: joined=false only lists channels.", hint="Use types public or private, or joined=true."
        )
    bound_to = ("slack_list_conversations", run.account.subject, query, types, joined, archived)
    place = Place.of(bound_to, cursor, limit, run.now)
    page, token = yield from _list_matching(query, kinds, place, caller, joined=joined, archived=archived)
    here = page[place.skip :][:limit]
    names = yield from users.names([str(one.get("user") or "") for one in here], caller)
    found = Rows()
    done = next((n for n, one in enumerate(here) if not found.add(places.row(one, names))), len(here))
    result = {
        "items": found.items,
        "next": place.after(done, len(page), token, limit),
        "truncated": done < len(here),
        "left_out": left_out,
    }
    return result if left_out else {name: value for name, value in result.items() if name != "left_out"}


def _list_matching(
    query: str, kinds: Sequence[Kind], place: Place, caller: Caller, *, joined: bool, archived: bool
) -> Asks[tuple[list[Json], str]]:
    """Return a page of conversations whose names contain the query, and the next cursor. A query reads five pages."""
    wanted = refs.channel_name(query) if query.strip() else ""
    size = api.PAGE if wanted else place.size
    token, rows_ = place.token or None, list[Json]()
    for _ in range(api.MAX_PAGES if wanted else 1):
        answer = yield api.conversations_page(caller, kinds, token, size, joined=joined, archived=archived)
        rows_ += [one for one in answer.get("channels") or () if wanted in str(one.get("name") or "").lower()]
        token = api.next_cursor(answer) or None
        if token is None:
            break
    return rows_, token or ""


# ----------------------------------------------------------------- one conversation


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    found = [*refs.needs_of(ref), need_for("conversations.info", "read", *ref.kinds)]
    return [*found, *(_PARTS[part] for part in arguments["include"] or () if part in _PARTS)]


@SLACK.tool(
    needs=_get_needs,
    aliases=[
        Alias("Slack.GetConversationMetadata", PEOPLE),
        Alias("Slack.GetUsersInConversation", PEOPLE, sets={"include": ["members"]}),
    ],
)
def get_conversation(
    conversation: Conversation,
    include: Annotated[list[Include] | None, Field(description="these too")] = None,
    limit: Page = 50,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Details of a channel or DM: topic, purpose, and members, pins, bookmarks if asked."""
    caller = Caller.of(run)
    parts = dict.fromkeys(include or ())
    place = Place.of(("slack_get_conversation", run.account.subject, conversation, list(parts)), cursor, limit, run.now)
    spot = yield from places.find(conversation, caller)
    channel = (yield api.call("conversations.info", {"channel": spot.id, "include_num_members": True}))["channel"]
    names = yield from users.names([str(channel.get("user") or ""), str(channel.get("creator") or "")], caller)
    found, cut = _conversation_fields(channel, names, caller), False
    if "members" in parts:
        members, cut = yield from _members(spot.id, place, limit, caller)
        found |= members
    if "pins" in parts:
        found["pins"], more = yield from _pins(spot.id, caller)
        cut |= more
    if "bookmarks" in parts:
        answer = yield api.call("bookmarks.list", {"channel_id": spot.id})
        found["bookmarks"], more = _fit_rows(map(_bookmark, answer.get("bookmarks") or ()), _FOR_BOOKMARKS)
        cut |= more
    return found | ({"truncated": True} if cut else {})


def _conversation_fields(channel: Row, names: dict[str, str], caller: Caller) -> Json:
    reader = Reader(names)
    row = places.row(channel, names)
    creator = str(channel.get("creator") or "")
    found: Json = {name: row[name] for name in ("id", "name", "type", "user", "archived", "external") if name in row}
    found |= {
        "topic": _as_shown(channel.get("topic"), reader),
        "purpose": _as_shown(channel.get("purpose"), reader),
        "created": rows.stamp(channel.get("created")),
        "creator": f"{names[creator]} ({creator})" if names.get(creator) else creator,
        "members_total": channel.get("num_members"),
        "url": places.url_of(caller, str(channel.get("id"))),
    }
    reader.mark(found)
    return found


def _as_shown(said: object, reader: Reader) -> str:
    """Return a whole topic or purpose. Slack limits it to 250 characters, and names and links have bounded lengths."""
    return reader.mrkdwn(str(said.get("value") or ""), marks=False) if isinstance(said, dict) else ""


def _fit_rows(rows_: Iterable[Json], budget: int) -> tuple[list[Json], bool]:
    """Return the rows that fit the budget, and True if there were more."""
    kept = Rows(budget)
    cut = not all(kept.add(row) for row in rows_)
    return kept.items, cut


def _members(conversation: str, place: Place, limit: int, caller: Caller) -> Asks[tuple[Json, bool]]:
    answer = yield places.members(conversation, place.token or None, place.size)
    ids = [str(one) for one in answer.get("members") or ()]
    here = ids[place.skip :][:limit]
    known = (yield from _users(here)) if "users:read" in caller.granted else {}
    found, cut = _fit_rows([_member(one, known.get(one, {})) for one in here], _FOR_MEMBERS)
    return {"members": found, "next": place.after(len(found), len(ids), api.next_cursor(answer), limit)}, cut


def _users(ids: Sequence[str]) -> Asks[dict[str, Row]]:
    answers = yield from api.many([users.info(one) for one in ids])
    pairs = zip(ids, answers, strict=True)
    return {one: answer["user"] for one, answer in pairs if not isinstance(answer, DeputizeError)}


def _member(user: str, known: Row) -> Json:
    row = users.row(known) if known else {}
    return {"id": user} | {name: row[name] for name in ("name", "title", "bot", "deleted") if name in row}


def _pins(conversation: str, caller: Caller) -> Asks[tuple[list[Json], bool]]:
    answer = yield api.call("pins.list", {"channel": conversation})
    pinned = [one["message"] for one in answer.get("items") or () if isinstance(one.get("message"), dict)]
    names = yield from rows.load_names(pinned, caller)
    return _fit_rows((rows.message_row(one, conversation, names, 200) for one in pinned), _FOR_PINS)


def _bookmark(bookmark: Row) -> Json:
    outside = Reader()
    row: Json = {
        "id": bookmark.get("id"),
        "title": outside.line(str(bookmark.get("title") or ""), 60),
        "link": outside.line(str(bookmark.get("link") or ""), 200),
    }
    outside.mark(row)
    return row
