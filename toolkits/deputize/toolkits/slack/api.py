"""Requests for Slack's methods, several at a time, and pages of lists.

Every method is a POST of a form. A structured value is sent as JSON in a form field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from deputize.core import Request
from deputize.core.acts.build_request import lone_surrogate
from deputize.core.errors import Conflict, DeputizeError
from deputize.core.tools.steps import Repeat
from deputize.toolkits._shared.page import read_cursor, write_cursor
from deputize.toolkits._shared.steps import many as many
from deputize.toolkits.slack.base import TYPES, Asks, Caller, Json

FORM: Final = "application/x-www-form-urlencoded"
PAGE: Final = 200  # rows
MAX_PAGES: Final = 5


def call(method: str, arguments: Mapping[str, Any], *, repeat: Repeat = "read", prepares: bool = False) -> Request:
    """Return a request. Arguments that are None are left out. Raises `InvalidInput` for a lone surrogate."""
    form = {name: _plain(value) for name, value in arguments.items() if value is not None}
    try:
        content = urlencode(form).encode()
    except UnicodeEncodeError:
        raise lone_surrogate() from None
    return Request("POST", f"/{method}", content=content, content_type=FORM, repeat=repeat, prepares=prepares)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def optional(request: Request) -> Asks[Any]:
    """Return the response, or None if Slack refuses. For details that a result can lack."""
    try:
        return (yield request)
    except DeputizeError:
        return None


def run_each(requests: Mapping[str, Request]) -> Asks[tuple[list[str], list[Json]]]:
    """Send several changes one after the other. Return the names of the successful changes, and the failures.

    A change that was made before counts as a success. Every request must be one that can be repeated without effect.
    """
    done: list[str] = []
    failed: list[Json] = []
    for name, request in requests.items():
        try:
            yield request
        except Conflict as already:
            if already.reason != "already_done":
                failed.append({"change": name, "error": already.message})
                continue
        except DeputizeError as refused:
            failed.append({"change": name, "error": refused.message})
            continue
        done.append(name)
    return done, failed


def run_all(requests: Mapping[str, Request]) -> Asks[tuple[list[str], list[Json]]]:
    """Send several changes like `run_each`, but raise a refusal of the first, before which nothing was changed."""
    first = next(iter(requests))
    try:
        yield requests[first]
    except Conflict as already:
        if already.reason != "already_done":
            raise
    done, failed = yield from run_each({name: one for name, one in requests.items() if name != first})
    return [first, *done], failed


def next_cursor(answer: Mapping[str, Any]) -> str:
    """Return Slack's cursor for the next page, or "" at the end."""
    return str((answer.get("response_metadata") or {}).get("next_cursor") or "")


@dataclass(slots=True)
class Listed:
    """Rows of several pages. ``whole``: there were no more rows."""

    rows: list[Json]
    whole: bool


Enough = Callable[[Sequence[Json]], bool]


def list_pages(ask: Callable[[str | None], Request], key: str, enough: Enough = lambda rows: False) -> Asks[Listed]:
    """Return up to five pages of a list, until ``enough`` returns True. ``key``: the response's field with the rows."""
    rows: list[Json] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        answer = yield ask(cursor)
        rows += answer.get(key) or ()
        cursor = next_cursor(answer) or None
        if cursor is None or enough(rows):
            break
    return Listed(rows, cursor is None)


def conversations_page(
    caller: Caller, kinds: Sequence[str], cursor: str | None, limit: int, *, joined: bool, archived: bool
) -> Request:
    """Return the request for users.conversations, or for conversations.list, which lists all existing conversations."""
    return call(
        "users.conversations" if joined else "conversations.list",
        {
            "types": ",".join(TYPES[kind] for kind in kinds),
            "limit": limit,
            "cursor": cursor,
            "exclude_archived": None if archived else True,
            "team_id": caller.team,
        },
    )


# ----------------------------------------------------------------- positions in lists


@dataclass(frozen=True, slots=True)
class Place:
    """The position in a list where a result starts: ``skip`` rows into the page of ``size`` rows with cursor ``token``.

    ``since``: the time from which relative times are counted, the same on all pages.
    """

    bound_to: tuple[Any, ...]
    token: str
    skip: int
    size: int
    since: int

    @classmethod
    def of(cls, bound_to: tuple[Any, ...], cursor: str | None, limit: int, now: float) -> Place:
        """Return the position in a cursor, or the start. Raises `InvalidInput` for another list's cursor."""
        if not cursor:
            return cls(bound_to, "", 0, min(limit, PAGE), int(now))
        token, skip, size, since = read_cursor(bound_to, cursor, (str, int, int, int))
        return cls(bound_to, token, skip, min(max(size, 1), PAGE), since)

    @property
    def page(self) -> int:
        """The number of the page, for methods that number pages."""
        return int(self.token) if self.token.isdigit() and len(self.token) < 6 else 1

    def after(self, done: int, rows: int, token: str, limit: int) -> str | None:
        """Return the cursor after ``done`` of this page's ``rows``. ``token``: the next page's cursor, "" for none."""
        if self.skip + done < rows:
            return write_cursor(self.bound_to, [self.token, self.skip + done, self.size, self.since])
        return write_cursor(self.bound_to, [token, 0, limit, self.since]) if token else None
