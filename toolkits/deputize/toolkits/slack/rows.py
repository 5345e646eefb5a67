"""Rows for messages and files, and the times in Slack's timestamps. A ``ts`` is an id: a text, never a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from deputize.toolkits._shared import times
from deputize.toolkits._shared.page import lean as lean
from deputize.toolkits.slack import excerpts, users
from deputize.toolkits.slack.base import Asks, Caller, Json, Row
from deputize.toolkits.slack.message_text import full_text
from deputize.toolkits.slack.text import Reader, mentioned_ids

TEXT: Final = 500  # characters of a message in a list
_FILES: Final = 10  # of a message, by name
_EMOJI: Final = 12  # that people reacted with
_NOISE: Final = frozenset(
    f"{prefix}_{what}"
    for prefix in ("channel", "group")
    for what in ("join", "leave", "topic", "purpose", "name", "archive", "unarchive", "convert_to_private")
) | {"pinned_item", "unpinned_item", "bot_add", "bot_remove", "tombstone"}


def stamp(ts: object) -> str:
    """Return the time of a ``ts``, or of Unix seconds, in the form of rows, or ""."""
    seconds = str(ts or "").partition(".")[0]
    return times.short(int(seconds) * 1000) if seconds.isdigit() and int(seconds) else ""


def is_noise(message: Row) -> bool:
    """True if a message only reports that somebody joined, left or renamed something."""
    return message.get("subtype") in _NOISE


def load_names(messages: Sequence[Row], caller: Caller) -> Asks[dict[str, str]]:
    """Return the names of writers and mentioned people, as far as the names may be read."""
    told = {str(one.get("user")): _own_name(one) for one in messages if one.get("user") and _own_name(one)}
    writers = [str(one.get("user") or "") for one in messages]
    ids = [one for one in (*writers, *mentioned_ids(full_text(message) for message in messages)) if one not in told]
    return told | (yield from users.names(ids, caller))


def _own_name(message: Row) -> str:
    """Return the writer's name that the message itself contains, or ""."""
    profile = message.get("user_profile")
    return users.shown_name({"profile": profile}) if isinstance(profile, dict) else ""


def message_row(
    message: Row, place: str, names: Mapping[str, str], most: int = TEXT, *, offset: int | None = None
) -> Json:
    """Return a list item for a message, with the first ``most`` characters, or a part from ``offset`` on."""
    reader = Reader(names)
    notation = reader.notation(message)
    more = excerpts.read_call(place, message.get("ts"))
    if offset is None or more is None:
        text = excerpts.excerpt(reader, notation, most, more)
    else:
        text = excerpts.read_part(reader, notation, offset, more, TEXT)
    row: Json = {
        "ts": str(message.get("ts", "")),
        "at": stamp(message.get("ts")),
        "from": writer(message, names, reader),
        **text,
        "thread_ts": _thread(message),
        "replies": message.get("reply_count"),
        "reactions": _reactions(message, reader),
        "files": _file_names(_files(message), reader),
        "edited": bool(message.get("edited")),
        "link_mismatch": reader.mismatch,
    }
    reader.mark(row)
    return {name: value for name, value in row.items() if value}


def writer(message: Row, names: Mapping[str, str], reader: Reader) -> str:
    """Return a message's writer: the name beside the id."""
    user = str(message.get("user") or "")
    if user and not message.get("bot_id"):
        return f"{names[user]} ({user})" if names.get(user) else user
    profile = message.get("bot_profile")
    named = profile.get("name") if isinstance(profile, dict) else message.get("username")
    return f"{reader.line(str(named or 'bot'), 40)} (bot {user or message.get('bot_id') or ''})".replace(" )", ")")


def _thread(message: Row) -> str | None:
    """Return the thread to which a reply belongs, or None for other messages and a thread's first message."""
    thread = message.get("thread_ts")
    return str(thread) if thread and thread != message.get("ts") else None


def _reactions(message: Row, reader: Reader) -> str:
    found = [one for one in message.get("reactions") or () if isinstance(one, dict)]
    shown = " ".join(f"{one.get('name')}:{one.get('count')}" for one in found[:_EMOJI])
    return reader.line(shown + (f" and {len(found) - _EMOJI} more" if len(found) > _EMOJI else ""), 600)


def _files(message: Row) -> list[Row]:
    return [one for one in message.get("files") or () if isinstance(one, dict)]


def _file_names(files: Sequence[Row], reader: Reader) -> list[str]:
    shown = [_file_name(one, reader) for one in files[:_FILES]]
    return [*shown, f"and {len(files) - _FILES} more"] if len(files) > _FILES else shown


def _file_name(file: Row, reader: Reader) -> str:
    return f"{reader.line(str(file.get('title') or file.get('name') or ''), 40)} ({file.get('id')})"


def file_row(file: Row, names: Mapping[str, str]) -> Json:
    reader = Reader(names)
    user = str(file.get("user") or "")
    row: Json = {
        "id": file.get("id"),
        "name": reader.line(str(file.get("name") or file.get("title") or ""), 60),
        "title": reader.line(str(file.get("title") or ""), 40) if file.get("title") != file.get("name") else None,
        "type": reader.line(str(file.get("mimetype") or file.get("filetype") or ""), 60),
        "size": file.get("size"),
        "from": f"{names[user]} ({user})" if names.get(user) else user,
        "date": stamp(file.get("created") or file.get("timestamp")),
    }
    reader.mark(row)
    return {name: value for name, value in row.items() if value}


def writers_of(files: Iterable[Row]) -> list[str]:
    return [str(one.get("user") or "") for one in files]
