"""``assistant.search.context`` and ``search.*``: all words must match, and the filters by ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from deputize.sandbox.http_types import Reply
from deputize.sandbox.slack import files, users
from deputize.sandbox.slack.call import Call, Json, channel_kind, failed
from deputize.sandbox.slack.chat import link

_SCOPES = {
    "public_channel": "search:read.public",
    "private_channel": "search:read.private",
    "im": "search:read.im",
    "mpim": "search:read.mpim",
}
_FILTER = re.compile(r"(in|from):<[#@](\w+)>")
_DAY = re.compile(r"\b(?:after|before):\d{4}-\d\d-\d\d")


def context(call: Call) -> Reply:
    """Run ``assistant.search.context``, the newer method: it needs a scope for each kind of channel and content."""
    what, where = (
        call.split_list("content_types") or ["messages"],
        call.split_list("channel_types") or ["public_channel"],
    )
    if unknown := [one for one in what if one not in _SHAPES]:
        raise failed("invalid_arguments", arg=",".join(unknown))
    for kind in where if {"messages", "channels"} & set(what) else []:
        call.needs(_SCOPES.get(kind, "none"))
    for one in what:
        if one in ("files", "users"):
            call.needs(f"search:read.{one}")
    if not call.text("query"):
        raise failed("no_query")
    if call.number("limit", 20) > 20:
        raise failed("invalid_limit")
    query = _Query(call, f"{call.text('query')} {call.text('modifiers')}")
    rows = [(one, row) for one in what for row in _SHAPES[one](call, query, where)]
    page, after = call.page([{"what": one, "row": row} for one, row in rows], 20)
    results = {one: [found["row"] for found in page if found["what"] == one] for one in what}
    return call.good({"results": results, "response_metadata": {"next_cursor": after}}, *_SCOPES.values())


class _Query:
    """A search's words, conversations and authors."""

    def __init__(self, call: Call, text: str) -> None:
        filters = _FILTER.findall(text)
        self.places = [one for kind, one in filters if kind == "in"]
        self.writers = [one for kind, one in filters if kind == "from"]
        self.words = _DAY.sub("", _FILTER.sub("", text)).casefold().split()
        self.start, self.end = float(call.text("after") or 0), float(call.text("before") or "inf")

    def fits(self, text: str, at: float, place: str = "", writer: str = "") -> bool:
        """Return True if a text matches."""
        there = all(word in text.casefold() for word in self.words) and self.start <= at < self.end
        return there and (not self.places or place in self.places) and (not self.writers or writer in self.writers)


def _find_messages(call: Call, query: _Query, where: list[str]) -> list[tuple[Json, Json]]:
    """Return messages with their conversations, newest first."""
    rows = [
        (channel, row)
        for channel in call.store["channels"].values()
        if channel_kind(channel) in where and (not channel["is_private"] or call.user in channel["members"])
        for row in channel["messages"]
        if query.fits(row["text"], float(row["ts"].partition(".")[0]), channel["id"], row["user"])
    ]
    return sorted(rows, key=lambda pair: pair[1]["ts"], reverse=True)


def _messages(call: Call, query: _Query, where: list[str]) -> list[Json]:
    known = users.users_by_id(call.world)
    return [
        {
            "author_name": known.get(row["user"], {"profile": {"real_name": ""}})["profile"]["real_name"],
            "author_user_id": row["user"],
            "channel_id": channel["id"],
            "channel_name": channel["name"],
            "message_ts": row["ts"],
            "content": row["text"],
            "permalink": link(channel, row),
        }
        for channel, row in _find_messages(call, query, where)
    ]


def _files(call: Call, query: _Query, where: list[str]) -> list[Json]:
    return [
        {
            "uploader_user_id": row["user"],
            "file_id": row["id"],
            "title": row["title"],
            "file_type": row["name"].rpartition(".")[2],
            "date_created": row["created"],
            "permalink": files.format_file(row)["permalink"],
        }
        for row in _own_files(call, query)
    ]


def _own_files(call: Call, query: _Query) -> list[Json]:
    rows = call.store.get("files", {}).values()
    return [
        row for row in rows if files.is_visible(call, row) and query.fits(row["title"], row["created"], "", row["user"])
    ]


def _channels(call: Call, query: _Query, where: list[str]) -> list[Json]:
    rows = [row for row in call.store["channels"].values() if channel_kind(row) in where and not row.get("kind")]
    seen = [row for row in rows if not row["is_private"] or call.user in row["members"]]
    return [
        {
            "channel_id": row["id"],
            "name": row["name"],
            "topic": row["topic"],
            "purpose": row.get("purpose", ""),
            "permalink": f"https://acme.slack.com/archives/{row['id']}",
        }
        for row in seen
        if query.fits(f"{row['name']} {row['topic']}", row["created"])
    ]


def _users(call: Call, query: _Query, where: list[str]) -> list[Json]:
    return [
        {
            "user_id": one["id"],
            "full_name": one["profile"]["real_name"],
            "title": one["profile"]["title"],
            "timezone": "Europe/Berlin",
            "permalink": f"https://acme.slack.com/team/{one['id']}",
        }
        for one in users.users_by_id(call.world).values()
        if query.fits(f"{one['name']} {one['profile']['real_name']}", query.start)
    ]


_SHAPES: Mapping[str, Callable[[Call, _Query, list[str]], list[Json]]] = {
    "messages": _messages,
    "files": _files,
    "channels": _channels,
    "users": _users,
}


def old_messages(call: Call) -> Reply:
    """Run ``search.messages``, the older method: one scope for all that the user sees."""
    call.needs("search:read")
    query = _Query(call, call.text("query"))
    matches = [
        {
            "type": "message",
            "channel": {"id": channel["id"], "name": channel["name"]},
            "user": row["user"],
            "username": users.users_by_id(call.world).get(row["user"], {"name": ""})["name"],
            "ts": row["ts"],
            "text": row["text"],
            "permalink": link(channel, row),
        }
        for channel, row in _find_messages(call, query, list(_SCOPES))
    ]
    page, paging = call.page_by_number(matches, 20)
    return call.good({"query": call.text("query"), "messages": {"matches": page, "paging": paging}}, "search:read")


def old_files(call: Call) -> Reply:
    """Run ``search.files``, the older method for files."""
    call.needs("search:read")
    rows = [files.format_file(row) for row in _own_files(call, _Query(call, call.text("query")))]
    page, paging = call.page_by_number(rows, 20)
    return call.good({"query": call.text("query"), "files": {"matches": page, "paging": paging}}, "search:read")
