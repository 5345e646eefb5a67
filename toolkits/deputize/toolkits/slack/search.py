"""Slack: search. The newer method has a scope per kind of conversation, the older method a single scope for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Need, Run, Steps, any_of
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.slack import api, refs, users, zone
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import (
    CHANNELS,
    SLACK,
    TYPES,
    After,
    Asks,
    Before,
    Caller,
    Conversation,
    Json,
    Kind,
    Person,
    Row,
)
from deputize.toolkits.slack.search_rows import OLDER, SHAPES

_SCOPES: Final[Mapping[str, str]] = {
    "public": "search:read.public",
    "private": "search:read.private",
    "group_dm": "search:read.mpim",
    "dm": "search:read.im",
    "files": "search:read.files",
    "users": "search:read.users",
}
_OLD: Final = "search:read"
_METHOD: Final = "assistant.search.context"
_OFF: Final = frozenset({"assistant_search_context_disabled", "feature_not_enabled"})

What = Literal["messages", "files", "channels", "users"]


def _needs(arguments: Arguments) -> Sequence[Need]:
    kinds, types = arguments["kinds"] or ["messages"], arguments["types"] or _implied_kinds(arguments["conversation"])
    wanted = [_SCOPES[kind] for kind in kinds if kind in _SCOPES]
    if {"messages", "channels"} & set(kinds):
        wanted += [_SCOPES[one] for one in types]
    old = [_OLD] if set(kinds) <= {"messages", "files"} else []
    found = [any_of(scope, *old, method=_METHOD) for scope in dict.fromkeys(wanted)]
    if arguments["conversation"]:
        found += refs.needs_of(refs.try_read(arguments["conversation"]))
    return [*found, *refs.people_needs([arguments["from_"]] if arguments["from_"] else [])]


def _implied_kinds(conversation: str | None) -> Sequence[Kind]:
    """Return the kinds of conversations to search if the call names none."""
    ref = refs.try_read(conversation) if conversation else None
    return ref.kinds if ref and len(ref.kinds) == 1 else ("public",)


@SLACK.tool(needs=_needs)
def search(
    query: Annotated[str, Field(description="words")],
    kinds: Annotated[list[What] | None, Field(description="default messages")] = None,
    types: Annotated[list[Kind] | None, Field(description="of conversations; default public")] = None,
    conversation: Conversation | None = None,
    from_: Person = None,
    after: After = None,
    before: Before = None,
    sort: Literal["score", "newest"] = "score",
    limit: Annotated[int, Field(ge=1, le=20)] = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Search messages, files, channels or people; in public channels, unless types says more."""
    caller = Caller.of(run)
    what = list(dict.fromkeys(kinds or ["messages"]))
    bound_to = ("slack_search", run.account.subject, query, what, types, conversation, from_, after, before, sort)
    place = Place.of(bound_to, cursor, limit, run.now)
    start, end = yield from zone.window(run, after, before, place.since)
    if not query.strip():
        raise InvalidInput("query: empty.", hint="Say what to look for; slack_get_messages lists messages.")
    spot = (yield from places.find(conversation, caller)) if conversation else None
    terms = yield from _terms(spot, from_, caller)
    known = spot.kinds if spot and len(spot.kinds) == 1 else _implied_kinds(conversation)
    where = list(dict.fromkeys(types or known))
    if not types and _OLD not in run.granted and set(known) - set(_implied_kinds(conversation)):
        _check_place(known, run.granted)
    if _OLD in run.granted and not all(_SCOPES[one] in run.granted for one in _granular(what, where)):
        return (yield from _search_older(query, what, terms, start, end, sort, place, limit, caller))
    asked = {
        "query": query,
        "content_types": ",".join(what),
        "channel_types": ",".join(TYPES[one] for one in where),
        "modifiers": " ".join(terms) or None,
        "after": start,
        "before": end,
        "sort": "timestamp" if sort == "newest" else "score",
        "limit": place.size,
        "cursor": place.token or None,
    }
    try:
        answer = yield api.call(_METHOD, asked)
    except InvalidInput as refused:
        if refused.reason not in _OFF:
            raise
        if _OLD not in run.granted:
            raise InvalidInput(
                "Slack's search is turned off in this workspace.",
                fix_by="operator",
                hint="An administrator of the workspace can turn it on; slack_get_messages reads conversations.",
            ) from None
        return (yield from _search_older(query, what, terms, start, end, sort, place, limit, caller))
    found = [row for kind in what for row in map(SHAPES[kind], (answer.get("results") or {}).get(kind) or ())]
    return _page(found, place, api.next_cursor(answer), limit) | _not_searched(what, where, spot, run.granted)


def _not_searched(
    what: Sequence[str], where: Sequence[Kind], spot: places.Spot | None, granted: frozenset[str]
) -> Json:
    """Return the types of conversations that were not searched, and those of them that are not granted."""
    if spot or set(what) == {"users"}:
        return {}
    kinds = CHANNELS if set(what) <= {"channels", "users"} else TYPES
    left = [kind for kind in kinds if kind not in where]
    told = [kind if _SCOPES[kind] in granted else f"{kind} (not granted yet)" for kind in left]
    return {"not_searched": told} if told else {}


def _check_place(kinds: Sequence[Kind], granted: frozenset[str]) -> None:
    """Raise `InvalidInput` without the right for the conversation's kind, which its name does not reveal."""
    if lacking := [kind for kind in kinds if _SCOPES[kind] not in granted]:
        raise InvalidInput("types: exclude the type of this conversation.", hint=f"Add types: {lacking}.")


def _granular(what: Sequence[str], where: Sequence[str]) -> list[str]:
    return [*(where if {"messages", "channels"} & set(what) else ()), *(one for one in what if one in _SCOPES)]


def _terms(spot: places.Spot | None, sender: str | None, caller: Caller) -> Asks[list[str]]:
    """Return the filters as search terms with ids, because a name could act as another filter."""
    terms = [f"in:<#{spot.id}>"] if spot else []
    if sender:
        [user] = yield from users.find([sender], "from", caller)
        terms.append(f"from:<@{user['id']}>")
    return terms


def _page(found: Sequence[Json], place: Place, token: str, limit: int) -> Json:
    here = found[place.skip :][:limit]
    kept = Rows()
    done = next((n for n, row in enumerate(here) if not kept.add(row)), len(here))
    return {
        "items": kept.items,
        "next": place.after(done, len(found), token, limit),
        "truncated": done < len(here),
        "time_zone": times.ZONE,
    }


# ----------------------------------------------------------------- the older methods


def _search_older(
    query: str,
    what: Sequence[str],
    terms: Sequence[str],
    start: int | None,
    end: int | None,
    sort: str,
    place: Place,
    limit: int,
    caller: Caller,
) -> Asks[Json]:
    """Search with search.messages or search.files, which number pages and filter by whole days."""
    if len(what) != 1 or what[0] not in ("messages", "files"):
        raise InvalidInput(
            "kinds: with the scope search:read alone, ask for messages or files, not both.", hint="Search twice."
        )
    days = [f"{name}:{_day(at, days)}" for name, at, days in (("after", start, -2), ("before", end, 2)) if at]
    asked = {
        "query": " ".join([query, *terms, *days]),
        "sort": "timestamp" if sort == "newest" else "score",
        "count": place.size,
        "page": place.page,
        "team_id": caller.team,
    }
    answer = (yield api.call(f"search.{what[0]}", asked)).get(what[0]) or {}
    matches = [one for one in answer.get("matches") or () if isinstance(one, dict)]
    paging = answer.get("paging") or {}
    more = str(place.page + 1) if int(paging.get("pages") or 0) > place.page else ""
    return _page([OLDER[what[0]](one) for one in matches if _is_inside(one, start, end)], place, more, limit)


def _day(seconds: int, days: int) -> str:
    """Return a day near a time. Slack excludes the named day, and uses the user's time zone."""
    return times.short((seconds + days * 86_400) * 1000)[:10]


def _is_inside(match: Row, start: int | None, end: int | None) -> bool:
    at = str(match.get("ts") or match.get("created") or "").partition(".")[0]
    return not at.isdigit() or ((start is None or int(at) >= start) and (end is None or int(at) < end))
