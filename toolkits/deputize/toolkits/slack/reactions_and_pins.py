"""Slack: reactions, pins, bookmarks and read marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Audience, Effect, Need, Preview, Request, Run, Steps, Undo, any_of
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.tool import Arguments
from deputize.toolkits.slack import api, preview, refs, rows
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.base import EMOJI, SLACK, Asks, Caller, Conversation, Json, OfMessage, Row, Ts, need_for
from deputize.toolkits.slack.conversations import Spot
from deputize.toolkits.slack.text import Reader

_LINK = re.compile(r"https?://[^\s<>|]{3,2000}")
_TITLE: Final = 150  # characters

Emoji = Annotated[str, Field(description="name without colons")]


def _change(request: Request) -> Asks[bool]:
    """Send a change. True if it changed anything: a reaction may be there or gone already."""
    try:
        yield request
    except Conflict as already:
        if already.reason != "already_done":
            raise
        return False
    return True


# ----------------------------------------------------------------- reactions


def _react_needs(arguments: Arguments) -> Sequence[Need]:
    method = "reactions.remove" if arguments["remove"] else "reactions.add"
    return [*refs.needs_of(refs.try_read(arguments["conversation"])), any_of("reactions:write", method=method)]


@SLACK.tool(needs=_react_needs, effect=Effect.WRITES | Effect.SENDS)
def react(
    conversation: Conversation,
    ts: OfMessage,
    emoji: Emoji,
    remove: bool = False,
    *,
    run: Run,
) -> Steps:
    """Add or remove an emoji reaction."""
    name = emoji.strip().strip(":")
    if not EMOJI.fullmatch(name):
        raise InvalidInput(
            f'emoji: "{Reader().line(emoji, 40)}" is no name of an emoji.', hint="Such as thumbsup or white_check_mark."
        )
    caller = Caller.of(run)
    spot = yield from preview.find(conversation, caller)
    what = "Remove this reaction" if remove else "React with this emoji"
    yield Preview(what, **(yield from preview.message(spot, caller, ts)), emoji=f":{name}:")
    method = "reactions.remove" if remove else "reactions.add"
    changed = yield from _change(api.call(method, {"channel": spot.id, "timestamp": ts, "name": name}, repeat="idem"))
    undo = {"conversation": spot.id, "ts": ts, "emoji": name, **({} if remove else {"remove": True})}
    if changed:
        yield Undo("slack_react", undo)
    return rows.lean(
        {
            **spot.shown,
            "ts": ts,
            "emoji": name,
            "state": "removed" if remove else "added",
            "undo": {"tool": "slack_react", "args": undo} if changed else None,
        }
    )


# ----------------------------------------------------------------- pins and bookmarks


def _pin_needs(arguments: Arguments) -> Sequence[Need]:
    found = refs.needs_of(refs.try_read(arguments["conversation"]))
    if arguments["url"]:
        method = "bookmarks.remove" if arguments["remove"] else "bookmarks.add"
        return [
            *found,
            any_of("bookmarks:write", method=method),
            *([any_of("bookmarks:read", method="bookmarks.list")] if arguments["remove"] else []),
        ]
    return [*found, any_of("pins:write", method="pins.remove" if arguments["remove"] else "pins.add")]


@SLACK.tool(needs=_pin_needs, effect=Effect.WRITES | Effect.SENDS, toolset="more")
def pin(
    conversation: Conversation,
    ts: Annotated[Ts | None, Field(description="of a message")] = None,
    url: Annotated[str | None, Field(description="link instead")] = None,
    title: Annotated[str | None, Field(max_length=_TITLE, description="of the link")] = None,
    remove: bool = False,
    *,
    run: Run,
) -> Steps:
    """Pin a message, or bookmark a link, in a channel; or undo it."""
    if bool(ts) == bool(url):
        raise InvalidInput("Give exactly one of ts and url.", hint="ts pins a message, url bookmarks a link.")
    if url and not _LINK.fullmatch(url):
        raise InvalidInput("url: must be an http or https address.", hint="Begin it with https://.")
    caller = Caller.of(run)
    spot = yield from preview.find(conversation, caller)
    if url:
        return (yield from _change_bookmark(spot, url, title, caller, remove=remove))
    what = "Unpin this message" if remove else "Pin this message"
    yield Preview(what, **(yield from preview.message(spot, caller, ts or "")))
    method = "pins.remove" if remove else "pins.add"
    changed = yield from _change(api.call(method, {"channel": spot.id, "timestamp": ts}, repeat="idem"))
    undo = {"conversation": spot.id, "ts": ts, **({} if remove else {"remove": True})}
    if changed:
        yield Undo("slack_pin", undo)
    return rows.lean(
        {
            "id": ts,
            "conversation": spot.id,
            "state": "unpinned" if remove else "pinned",
            "undo": {"tool": "slack_pin", "args": undo} if changed else None,
        }
    )


def _change_bookmark(spot: Spot, url: str, title: str | None, caller: Caller, *, remove: bool) -> Asks[Json]:
    """Add or remove a bookmark. A bookmark is identified by its link, so it exists at most once."""
    there = (yield from _find_bookmarks(spot.id, url)) if remove or "bookmarks:read" in caller.granted else []
    if remove:
        return (yield from _remove_bookmarks(spot, url, there, caller))
    undo = {"conversation": spot.id, "url": url, "remove": True}
    adds = not there
    if adds:
        named = Reader().line(title or url, _TITLE)
        yield Preview("Add this bookmark", **preview.location(spot, caller), title=named, link=url)
        there = [(yield from _add_bookmark(spot.id, url, named, caller))]
        yield Undo("slack_pin", undo)
    done = {"id": there[0].get("id"), "conversation": spot.id}
    if adds:
        return done | {"state": "bookmarked", "undo": {"tool": "slack_pin", "args": undo}}
    kept = Reader().line(str(there[0].get("title") or ""), _TITLE)
    return done | {"state": "was there already, and stays as it is", "title": kept, "untrusted": True}


def _remove_bookmarks(spot: Spot, url: str, there: Sequence[Row], caller: Caller) -> Asks[Json]:
    ids = sorted(str(one["id"]) for one in there)
    titles = sorted(str(one.get("title") or "") for one in there)
    if ids:
        place = preview.location(spot, caller, pins={"bookmarks": ids})
        yield Preview("Remove this bookmark", **place, title=", ".join(titles), link=url)
    for one in ids:
        try:
            yield api.call("bookmarks.remove", {"channel_id": spot.id, "bookmark_id": one}, repeat="idem")
        except NotFound:
            continue
    if len(titles) == 1:
        yield Undo("slack_pin", {"conversation": spot.id, "url": url, "title": titles[0][:_TITLE] or url})
    return {"conversation": spot.id, "state": "removed", "removed": len(ids)}


def _find_bookmarks(conversation: str, url: str) -> Asks[list[Row]]:
    answer = yield api.call("bookmarks.list", {"channel_id": conversation})
    return [one for one in answer.get("bookmarks") or () if isinstance(one, dict) and one.get("link") == url]


def _add_bookmark(conversation: str, url: str, title: str, caller: Caller) -> Asks[Row]:
    """Add a bookmark once. After a lost response, look for it in the list if the list may be read."""
    asked = {"channel_id": conversation, "title": title, "type": "link", "link": url}
    try:
        return dict((yield api.call("bookmarks.add", asked, repeat="write"))["bookmark"])
    except (OutcomeUnknown, ProviderUnavailable) as lost:
        if not getattr(lost, "sent", True) or "bookmarks:read" not in caller.granted:
            raise
        unsure = lost
    there = yield from _find_bookmarks(conversation, url)
    if not there:
        raise unsure
    return there[0]


# ----------------------------------------------------------------- read marks


def _mark_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    found = [*refs.needs_of(ref), need_for("conversations.mark", "write", *ref.kinds)]
    return found if arguments["ts"] or ref.ts else [*found, need_for("conversations.history", "history", *ref.kinds)]


@SLACK.tool(needs=_mark_needs, effect=Effect.WRITES, toolset="more")
def mark_read(
    conversation: Conversation,
    ts: Annotated[Ts | None, Field(description="default latest")] = None,
    *,
    run: Run,
) -> Steps:
    """Mark a conversation read up to a message."""
    spot = yield from places.find(conversation, Caller.of(run))  # only the user sees it: no details needed
    point = ts or spot.ts
    if not point:
        answer = yield api.call("conversations.history", {"channel": spot.id, "limit": 1})
        newest: Row = next(iter(answer.get("messages") or ()), {})
        point = str(newest.get("ts") or "")
    if not point:
        return {**spot.shown, "summary": "There is nothing to read."}
    place = ", ".join(told for _, told in spot.people) or spot.name or preview.location_text(spot)
    pins = {"conversation": spot.id, "message": point}
    until = preview.instant(point)
    yield Preview("Mark this conversation as read", audience=Audience.SELF, where=place, pins=pins, up_to=until)
    yield api.call("conversations.mark", {"channel": spot.id, "ts": point}, repeat="idem")
    return {**spot.shown, "ts": point, "summary": "Marked read."}
