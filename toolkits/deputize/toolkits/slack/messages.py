"""Slack: messages, of a conversation or a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Need, Request, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import RateLimited
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.slack import api, places, refs, rows
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import PEOPLE, SLACK, After, Asks, Caller, Conversation, Json, Row, Ts, for_kinds
from deputize.toolkits.slack.places import Spot

_PAGE_OF_THE_LIMITED: Final = 15  # messages that an app outside the marketplace gets at once
_WINDOW: Final[Mapping[str, str]] = {
    "oldest_datetime": "after",
    "oldest_relative": "after",
    "latest_datetime": "before",
    "latest_relative": "before",
}


def _message_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.safely(arguments["conversation"])
    threaded = arguments["thread_ts"] or ref.ts or ref.thread_ts
    method = "conversations.replies" if threaded else "conversations.history"
    return [*refs.naming(ref), for_kinds(method, "history", *ref.kinds)]


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
    after: After = None,
    before: str | None = None,
    limit: Limit = 15,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Read messages of a conversation or thread, newest last. Prefer search for old ones."""
    caller = Caller.of(run)
    bound_to = ("slack_get_messages", run.account.subject, conversation, thread_ts, after, before)
    place = Place.of(bound_to, cursor, limit, run.now)
    oldest, latest = times.window(after, before, place.since)
    spot = yield from places.find(conversation, caller)
    thread = thread_ts or spot.thread_ts
    alone = bool(spot.ts and not thread and not (after or before or cursor))
    bounds = {"oldest": _bound(oldest), "latest": _bound(latest), "limit": place.size, "cursor": place.token or None}
    if alone:
        asked = one_message(spot.id, spot.ts)
    elif thread:
        asked = api.call("conversations.replies", {"channel": spot.id, "ts": thread, **bounds})
    else:
        asked = api.call("conversations.history", {"channel": spot.id, **bounds})
    try:
        answer = yield asked
    except RateLimited as limited:
        raise _slowly(limited) from None
    page = _shown(answer, oldest, latest, [spot.ts] if alone else None)
    return (yield from _result(page, api.following(answer), place, limit, spot, caller, whole=alone, up=bool(thread)))


def _bound(seconds: int | None) -> str | None:
    return None if seconds is None else f"{seconds}.000000"


def one_message(conversation: str, ts: str) -> Request:
    """conversations.replies of one message alone: unlike history it finds answers in threads, too."""
    point = {"oldest": ts, "latest": ts, "inclusive": True, "limit": 1}
    return api.call("conversations.replies", {"channel": conversation, "ts": ts, **point})


def _slowly(limited: RateLimited) -> RateLimited:
    hint = "Apps outside Slack's marketplace may read once a minute. Use slack_search, or wait."
    return RateLimited(limited.message, retry_after=limited.retry_after, hint=hint)


def _shown(answer: Row, oldest: int | None, latest: int | None, only: Sequence[str] | None) -> list[Row]:
    """The messages worth a row; those of a thread lie in no window by themselves."""
    found = [one for one in answer.get("messages") or () if isinstance(one, dict)]
    if only is not None:
        return [one for one in found if one.get("ts") in only]
    return [one for one in found if not rows.is_noise(one) and _within(one, oldest, latest)]


def _within(message: Row, oldest: int | None, latest: int | None) -> bool:
    """Whether a message lies in [oldest, latest); by its whole seconds, so that no ``ts`` becomes a float."""
    seconds = str(message.get("ts", "")).partition(".")[0]
    at = int(seconds) if seconds.isdigit() else 0
    return (oldest is None or at >= oldest) and (latest is None or at < latest)


def _result(
    page: Sequence[Row], token: str, place: Place, limit: int, spot: Spot, caller: Caller, *, whole: bool, up: bool
) -> Asks[Json]:
    """The rows, newest last. ``up``: the page comes oldest first, as threads do, and goes on to the newer."""
    here = page[place.skip :][:limit]
    names = yield from rows.names_in(here, caller)
    found = Rows()
    most = rows.WHOLE if whole else rows.TEXT
    done = next((n for n, one in enumerate(here) if not found.add(rows.message_row(one, names, most))), len(here))
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
