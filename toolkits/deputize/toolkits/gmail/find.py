"""Gmail: find emails and conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Alias, Need, Request, Run, Steps
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks, ListPosition, ask_zone
from deputize.toolkits.gmail.base import GMAIL, KNOWS_LABELS, reads
from deputize.toolkits.gmail.excerpt import EXCERPT
from deputize.toolkits.gmail.label_lookup import Label, own_names, parse_labels, require_label
from deputize.toolkits.gmail.query import build_query, includes_hidden
from deputize.toolkits.gmail.rows import SUBJECT, email_row, row_body, writers_of

_COUNT = 500  # the largest page Gmail gives

Group = Literal["message", "thread"]
Detail = Literal["count", "summary", "full"]


_SKIPPING: Final = {
    "exclude_automated": "skip_automated",
    "include_body": "detail",
    "include_spam_trash": "spam_trash",
}
_BY_HEADER: Final = {"sender": "from[]", "recipient": "to[]", "body": "text"}
_PEOPLES_MAIL: Final = {"skip_automated": True}
"""Another toolkit's names for the search arguments, and its defaults."""


def _search_needs(arguments: Arguments) -> Sequence[Need]:
    kind = "threads" if arguments["group"] == "thread" else "messages"
    if arguments["detail"] == "count":
        return [reads(f"{kind}.list"), *([KNOWS_LABELS] if arguments["label"] else [])]
    return [reads(f"{kind}.list"), reads(f"{kind}.get"), KNOWS_LABELS]


@GMAIL.tool(
    needs=_search_needs,
    aliases=[
        Alias("Gmail.ListEmails", _SKIPPING, _PEOPLES_MAIL, values={"detail": {True: "full", False: "summary"}}),
        Alias(
            "Gmail.ListEmailsByHeader",
            {**_SKIPPING, **_BY_HEADER},
            _PEOPLES_MAIL,
            values={"detail": {True: "full", False: "summary"}},
        ),
        Alias(
            "Gmail.SearchEmailsByQuery",
            {"result_detail": "detail", "include_spam_trash": "spam_trash"},
            values={"detail": {"count_only": "count", "lightweight": "summary"}},
        ),
        Alias("Gmail.ListThreads", _SKIPPING, {"group": "thread", **_PEOPLES_MAIL}),
        Alias("Gmail.SearchThreads", {**_SKIPPING, **_BY_HEADER}, {"group": "thread", **_PEOPLES_MAIL}),
    ],
)
def search_emails(
    query: Annotated[str, Field(description="Gmail search syntax, e.g. has:attachment newer_than:7d")] = "",
    from_: Annotated[list[str] | None, Field(description="names or addresses, any of them")] = None,
    to: list[str] | None = None,
    subject: Annotated[str, Field(description='words, or "a phrase"')] = "",
    text: Annotated[str, Field(description="words in the body")] = "",
    label: Annotated[str | None, Field(description="its name")] = None,
    after: Annotated[str | None, Field(description="ISO date/time or -7d")] = None,
    before: Annotated[str | None, Field(description="the same, exclusive")] = None,
    unread: bool | None = None,
    group: Group = "message",
    detail: Annotated[Detail, Field(description="full: with their text")] = "summary",
    skip_automated: Annotated[bool, Field(description="hide newsletters and no-reply mail")] = False,
    spam_trash: Annotated[bool, Field(description="look there, too")] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Find or list emails, newest first. Filters are combined."""
    filters = (query, from_, to, subject, text, label, after, before, unread, group, skip_automated, spam_trash)
    place = ListPosition.of(("gmail_search_emails", run.account.subject, *filters), cursor, limit, run.now)
    run = yield from in_zone(run, ask_zone, after=after, before=before)
    start, end = times.window(after, before, place.since, run.zone)
    labels: Sequence[Label] = parse_labels((yield api.LIST_LABELS)) if label else ()
    chosen = str(require_label(labels, label, "label")["id"]) if label else ""
    q = build_query(
        query,
        sender=from_ or (),
        to=to or (),
        subject=subject,
        text=text,
        after=start,
        before=end,
        unread=unread,
        skip_automated=skip_automated,
    )
    params = _params(q, chosen, everywhere=spam_trash or includes_hidden(query))
    kind = "threads" if group == "thread" else "messages"
    if detail == "count":
        counted = yield _list_request(kind, {"maxResults": _COUNT, **params})
        return {"estimate": _estimate(counted, kind)}
    page, labels = yield from _with_labels(_list_request(kind, place.params | params), labels)
    wanted = [str(one["id"]) for one in page.get(kind) or ()][place.skip :][:limit]
    rows = Rows()
    done = yield from api.fill(rows, wanted, *_shapes(group, detail, own_names(labels)))
    return {
        "items": rows.items,
        "next": place.next_cursor(done, len(page.get(kind) or ()), page.get("nextPageToken"), limit),
        "truncated": done < len(wanted),
        "estimate": _estimate(page, kind),
        "time_zone": times.ZONE,
    }


def _params(q: str, label: str, *, everywhere: bool) -> dict[str, Any]:
    """Return list parameters without empty ones, because an empty ``q`` differs from a missing one."""
    params: dict[str, Any] = {"q": q} if q else {}
    if label:
        params["labelIds"] = [label]
    if everywhere or label in ("SPAM", "TRASH"):
        params["includeSpamTrash"] = True
    return params


def _list_request(kind: str, params: Mapping[str, Any]) -> Request:
    return Request("GET", f"/users/me/{kind}", params=params)


def _with_labels(request: Request, labels: Sequence[Label]) -> Asks[tuple[Any, Sequence[Label]]]:
    """Return a response and the labels, which are fetched at the same time if they are not known."""
    if labels:
        return (yield request), labels
    answer, listing = yield [request, api.LIST_LABELS]
    return answer, parse_labels(listing)


def _estimate(page: Mapping[str, Any], kind: str) -> int:
    """Return the number of results: exact if one page has all of them, else Gmail's estimate."""
    here = len(page.get(kind) or ())
    return max(int(page.get("resultSizeEstimate") or 0), here) if page.get("nextPageToken") else here


Shapes = tuple[Callable[[str], Request], Callable[[Any], dict[str, Any]]]


def _shapes(group: Group, detail: Detail, names: Mapping[str, str]) -> Shapes:
    """Return a function that requests a row and a function that builds it."""
    form = "full" if detail == "full" else "metadata"
    if group == "thread":
        return lambda one: api.get_thread(one, form), lambda thread: _thread_row(thread, detail)
    return lambda one: api.get_message(one, form), lambda message: _message_row(message, names, detail)


def _message_row(message: Mapping[str, Any], names: Mapping[str, str], detail: Detail) -> dict[str, Any]:
    mail = Mail(message)
    body = row_body(mail) if detail == "full" else {}
    row = email_row(mail, names)
    return ({name: value for name, value in row.items() if name != "snippet"} if body.get("body") else row) | body


def _thread_row(thread: Mapping[str, Any], detail: Detail) -> dict[str, Any]:
    """Return a conversation as a row: its first subject and its latest state."""
    mails = [Mail(message) for message in thread.get("messages") or ()] or [Mail({})]
    last = mails[-1]
    row: dict[str, Any] = {
        "thread": str(thread.get("id", "")),
        "subject": mails[0].subject(SUBJECT),
        "people": writers_of(mails, 3),
        "count": len(mails),
        "last": times.short(last.date),
        "unread": any("UNREAD" in mail.labels for mail in mails),
        "snippet": last.snippet(EXCERPT),
    }
    last.outside.hidden += sum(mail.outside.hidden for mail in mails[:-1])
    last.outside.mark(row)
    return row | (row_body(last) if detail == "full" else {})
