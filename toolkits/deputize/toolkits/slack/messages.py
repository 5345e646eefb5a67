"""Slack: reading the messages of a conversation or a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Need, Request, Run, Steps
from deputize.core.errors import InvalidInput, NotFound, RateLimited
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.slack import api, refs, rows, zone
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import (
    PEOPLE,
    SLACK,
    After,
    Asks,
    Before,
    Caller,
    Conversation,
    Json,
    Row,
    Ts,
    need_for,
)
from deputize.toolkits.slack.conversations import Spot

_PAGE_OF_THE_LIMITED: Final = 15  # messages per request for an app outside the marketplace
NO_MESSAGE: Final = ("thread_not_found", "message_not_found")
"""Slack's error codes for a missing message."""
_WINDOW: Final[Mapping[str, str]] = {
    "oldest_datetime": "after",
    "oldest_relative": "after",
    "latest_datetime": "before",
    "latest_relative": "before",
}


def _message_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    threaded = arguments["thread_ts"] or arguments["ts"] or ref.ts or ref.thread_ts
    method = "conversations.replies" if threaded else "conversations.history"
    return [*refs.needs_of(ref), need_for(method, "history", *ref.kinds)]


@SLACK.tool(
    needs=_message_needs,
    aliases=[
        Alias("Slack.GetMessages", {**PEOPLE, **_WINDOW}),
        Alias("Slack.GetThreadMessages", {**PEOPLE, **_WINDOW}),
    ],
)
def get_messages(
    conversation: Conversation,
    thread_ts: Annotated[Ts | None, Field(description="read this thread")] = None,
    ts: Annotated[Ts | None, Field(description="only this message, whole")] = None,
    offset: Annotated[Offset, Field(description="of its text, with ts")] = 0,
    after: After = None,
    before: Before = None,
    limit: Limit = 15,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Read messages of a conversation or thread, newest last. Prefer search for old ones."""
    caller = Caller.of(run)
    if ts and (thread_ts or after or before or cursor):
        raise InvalidInput("ts: reads one message alone.", hint="Leave out thread_ts, after, before and cursor, or ts.")
    bound_to = ("slack_get_messages", run.account.subject, conversation, thread_ts, after, before)
    place = Place.of(bound_to, cursor, limit, run.now)
    oldest, latest = yield from zone.window(run, after, before, place.since)
    spot = yield from places.find(conversation, caller)
    thread = "" if ts else thread_ts or spot.thread_ts
    alone = ts or ("" if thread or after or before or cursor else spot.ts)
    if offset and not alone:
        raise InvalidInput("offset: only with ts, of one message.", hint="Lists go on by cursor.")
    bounds = {"oldest": _as_ts(oldest), "latest": _as_ts(latest), "limit": place.size, "cursor": place.token or None}
    if alone:
        asked = one_message(spot.id, alone)
    elif thread:
        asked = api.call("conversations.replies", {"channel": spot.id, "ts": thread, **bounds})
    else:
        asked = api.call("conversations.history", {"channel": spot.id, **bounds})
    try:
        answer = yield asked
    except NotFound as missed:
        raise _no_such_message(missed, alone) from None
    except RateLimited as limited:
        raise _with_hint(limited) from None
    if alone:
        return (yield from _one_message(answer, alone, offset, spot, caller))
    page = _filter_window(answer, oldest, latest)
    talk = [one for one in page if not rows.is_noise(one)]
    result = yield from _result(talk, api.next_cursor(answer), place, limit, spot, caller, up=bool(thread))
    return result | ({"joins_and_renames_left_out": len(page) - len(talk)} if len(page) > len(talk) else {})


def _one_message(answer: Row, ts: str, offset: int, spot: Spot, caller: Caller) -> Asks[Json]:
    """Return one message, whole or in part. Raises `NotFound`."""
    found = [one for one in answer.get("messages") or () if isinstance(one, dict) and one.get("ts") == ts]
    if not found:
        raise _no_such_message(NotFound("", reason="message_not_found"), ts)
    names = yield from rows.load_names(found, caller)
    row = rows.message_row(found[0], spot.id, names, offset=offset)
    return {**spot.shown, "items": [row], "next": None, "truncated": False, "time_zone": times.ZONE}


def _no_such_message(missed: NotFound, ts: str | None) -> NotFound:
    """Return the error for a missing message, or ``missed`` itself if the conversation is missing."""
    if missed.reason not in NO_MESSAGE:
        return missed
    return NotFound(
        f"{'ts' if ts else 'thread_ts'}: no message has this ts in this conversation.",
        reason=missed.reason,
        hint="Copy ts from a row, and conversation from the same result.",
    )


def _as_ts(seconds: int | None) -> str | None:
    return None if seconds is None else f"{seconds}.000000"


def one_message(conversation: str, ts: str) -> Request:
    """Return the request for one message. Unlike history, conversations.replies also finds replies in threads."""
    point = {"oldest": ts, "latest": ts, "inclusive": True, "limit": 1}
    return api.call("conversations.replies", {"channel": conversation, "ts": ts, **point})


def _with_hint(limited: RateLimited) -> RateLimited:
    hint = "Apps outside Slack's marketplace may read once a minute. Use slack_search, or wait."
    return RateLimited(limited.message, retry_after=limited.retry_after, hint=hint)


def _filter_window(answer: Row, oldest: int | None, latest: int | None) -> list[Row]:
    """Return the messages inside the window, because Slack adds the first message of a thread."""
    found = [one for one in answer.get("messages") or () if isinstance(one, dict)]
    return [one for one in found if _is_within(one, oldest, latest)]


def _is_within(message: Row, oldest: int | None, latest: int | None) -> bool:
    """True if a message's whole seconds are in [oldest, latest). A ``ts`` is never converted to a float."""
    seconds = str(message.get("ts", "")).partition(".")[0]
    at = int(seconds) if seconds.isdigit() else 0
    return (oldest is None or at >= oldest) and (latest is None or at < latest)


def _result(
    page: Sequence[Row], token: str, place: Place, limit: int, spot: Spot, caller: Caller, *, up: bool
) -> Asks[Json]:
    """Return the rows, newest last. ``up``: the page is oldest first, as in threads, and the next page is newer."""
    here = page[place.skip :][:limit]
    names = yield from rows.load_names(here, caller)
    found = Rows()
    done = next((n for n, one in enumerate(here) if not found.add(rows.message_row(one, spot.id, names))), len(here))
    result: dict[str, Any] = {
        **spot.shown,
        "items": found.items if up else found.items[::-1],
        "next": place.after(done, len(page), token, limit),
        "truncated": done < len(here),
        "time_zone": times.ZONE,
    }
    if limit > _PAGE_OF_THE_LIMITED and len(page) == _PAGE_OF_THE_LIMITED and token:
        result["wait_s"] = 60
    return result
