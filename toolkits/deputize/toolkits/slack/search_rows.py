"""Rows for search results. Field names vary, so each field is read under all its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from deputize.toolkits.slack import rows
from deputize.toolkits.slack.base import Json, Row
from deputize.toolkits.slack.excerpts import excerpt, one_line, read_call
from deputize.toolkits.slack.text import Reader

_TEXT: Final = 300  # characters of a message that was found


def _message(found: Row) -> Json:
    """Return a row for a message that the newer method found."""
    reader = Reader()
    notation = reader.notation({**found, "text": found.get("content") or found.get("text")})
    ts = str(found.get("message_ts") or found.get("ts") or "")
    return _mark_row(
        {
            "conversation": found.get("channel_id"),
            "channel": reader.line(str(found.get("channel_name") or ""), 60),
            "ts": ts,
            "at": rows.stamp(ts),
            "from": _author(reader, found.get("author_name"), found.get("author_user_id")),
            **excerpt(reader, notation, _TEXT, read_call(found.get("channel_id"), ts)),
            "url": _link(reader, found),
        },
        reader,
    )


def _older_message(found: Row) -> Json:
    reader = Reader()
    channel = found.get("channel") if isinstance(found.get("channel"), dict) else {}
    return _mark_row(
        {
            "conversation": (channel or {}).get("id"),
            "channel": reader.line(str((channel or {}).get("name") or ""), 60),
            "ts": str(found.get("ts") or ""),
            "at": rows.stamp(found.get("ts")),
            "from": _author(reader, found.get("username"), found.get("user")),
            **excerpt(reader, reader.notation(found), _TEXT, read_call((channel or {}).get("id"), found.get("ts"))),
            "url": _link(reader, found),
        },
        reader,
    )


def _file(found: Row) -> Json:
    reader = Reader()
    return _mark_row(
        {
            "id": found.get("file_id") or found.get("id"),
            "name": reader.line(str(found.get("title") or found.get("name") or ""), 80),
            "type": reader.line(str(found.get("file_type") or found.get("filetype") or ""), 40),
            "from": _author(reader, found.get("author_name"), found.get("uploader_user_id") or found.get("user")),
            "date": rows.stamp(found.get("date_created") or found.get("created")),
            "url": _link(reader, found),
        },
        reader,
    )


def _channel(found: Row) -> Json:
    reader, channel = Reader(), found.get("channel_id") or found.get("id")
    return _mark_row(
        {
            "id": channel,
            "name": reader.line(str(found.get("name") or ""), 60),
            **one_line(reader, 100, channel, topic=_flat(found.get("topic")), purpose=_flat(found.get("purpose"))),
            "url": _link(reader, found),
        },
        reader,
    )


def _user(found: Row) -> Json:
    reader = Reader()
    return _mark_row(
        {
            "id": found.get("user_id") or found.get("id"),
            "name": reader.line(str(found.get("full_name") or found.get("real_name") or ""), 60),
            "title": reader.line(str(found.get("title") or ""), 60),
            "email": reader.line(str(found.get("email") or ""), 80),
            "time_zone": reader.line(str(found.get("timezone") or ""), 40),
            "url": _link(reader, found),
        },
        reader,
    )


def _flat(said: object) -> str:
    return str(said.get("value") or "") if isinstance(said, dict) else str(said or "")


def _author(reader: Reader, name: object, user: object) -> str:
    shown = reader.line(str(name or ""), 40)
    return f"{shown} ({user or 'bot'})" if shown else str(user or "")


def _link(reader: Reader, found: Row) -> str:
    return reader.line(str(found.get("permalink") or ""), 200)


def _mark_row(row: Json, reader: Reader) -> Json:
    row["link_mismatch"] = reader.mismatch
    reader.mark(row)
    return row


SHAPES: Final[Mapping[str, Callable[[Row], Json]]] = {
    "messages": _message,
    "files": _file,
    "channels": _channel,
    "users": _user,
}
OLDER: Final[Mapping[str, Callable[[Row], Json]]] = {"messages": _older_message, "files": _file}
