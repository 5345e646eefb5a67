"""References to a conversation or a person in the forms that models write, parsed without a request to Slack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

from deputize.core import Need, any_of
from deputize.core.errors import InvalidInput
from deputize.toolkits.slack.base import KNOWS_ADDRESSES, KNOWS_PEOPLE, Kind, need_for

MAX_PEOPLE: Final = 8  # besides the user, in a group DM
_LONGEST: Final = 400
_CONVERSATION = re.compile(r"[CGD][A-Z0-9]{7,20}")
_USER = re.compile(r"[UW][A-Z0-9]{7,20}")
_TOKEN = re.compile(r"<[#@]([CGDUW][A-Z0-9]{7,20})(?:\|[^<>]*)?>")
_POINT = re.compile(r"p(\d{10})(\d{6})")
_TS = re.compile(r"\d{1,12}\.\d{1,9}")
_EMAIL = re.compile(r"[^@\s,<>]+@[^@\s,<>]+\.[^@\s,<>]+")
_ADDRESSED = re.compile(r"[^<>]*<([^<>]+)>")
_KINDS: Final[dict[str, tuple[Kind, ...]]] = {
    "C": ("public", "private", "group_dm"),
    "G": ("private", "group_dm"),
    "D": ("dm",),
}

_SELF: Final = ("me", "myself")

How = Literal["id", "channel", "people", "word"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a conversation. ``how``: by id, as a channel, by its people, or by a word that may mean either.

    ``kinds``: its possible kinds. ``ts``, ``thread_ts``: the message to which a link leads, and its thread.
    """

    how: How
    kinds: tuple[Kind, ...]
    id: str = ""
    name: str = ""
    people: tuple[str, ...] = ()
    ts: str = ""
    thread_ts: str = ""


UNKNOWN: Final = Ref("id", ("public", "private", "group_dm", "dm"))


def read(conversation: str, field: str = "conversation") -> Ref:
    """Parse a reference. Raises `InvalidInput` if the text does not name a conversation."""
    text = conversation.strip()
    if token := _TOKEN.fullmatch(text):
        text = token[1]
    if not text or len(text) > _LONGEST:
        raise InvalidInput(f"{field}: not a conversation.", hint="Use an id, #channel, @user, email or link.")
    if text.lower().startswith(("http://", "https://")):
        return _read_link(text, field)
    if _CONVERSATION.fullmatch(text):
        return Ref("id", _KINDS[text[0]], text)
    people = [one.strip() for one in text.split(",") if one.strip()]
    if len(people) > 1 or is_person(text) or is_self(text):
        return _people_ref(people, field)
    if not channel_name(text):
        raise InvalidInput(f"{field}: not a conversation.", hint="Use an id, #channel, @user, email or link.")
    if text.startswith("#") or _says_channel(text):
        return Ref("channel", ("public", "private"), name=channel_name(text))
    return Ref("word", ("public", "private"), name=text)


def _read_link(link: str, field: str) -> Ref:
    """Parse Slack's links to channels and messages: /archives/C…/p…, /client/T…/C…"""
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        raise InvalidInput(
            f"{field}: not a link.", hint="Copy the link of the message in Slack, or use a channel's name."
        ) from None
    path = [part for part in parts.path.split("/") if part]
    found = [part for part in path if _CONVERSATION.fullmatch(part)]
    known = path[:1] == ["archives"] if host != "app.slack.com" else path[:1] == ["client"]
    if not known or not (host == "slack.com" or host.endswith(".slack.com")) or len(found) != 1:
        raise InvalidInput(f"{field}: not a link to a Slack conversation.", hint="Copy the link in Slack.")
    point = next((hit for part in path if (hit := _POINT.fullmatch(part))), None)
    thread = parse_qs(parts.query).get("thread_ts", [""])[0]
    return Ref(
        "id",
        _KINDS[found[0][0]],
        found[0],
        ts=f"{point[1]}.{point[2]}" if point else "",
        thread_ts=thread if _TS.fullmatch(thread) else "",
    )


def _people_ref(people: Sequence[str], field: str) -> Ref:
    if any(one.startswith("#") or _CONVERSATION.fullmatch(one) for one in people):
        raise InvalidInput(
            f"{field}: must be one conversation, or several people.", hint="Several people make a group DM."
        )
    if len(people) > MAX_PEOPLE:
        raise InvalidInput(
            f"{field}: a group DM has at most {MAX_PEOPLE} others.", hint="Name fewer people, or use a channel."
        )
    return Ref("people", ("group_dm",) if len(people) > 1 else ("dm",), people=tuple(people))


def _says_channel(text: str) -> bool:
    """True if a text ends in the word "channel" and names a channel."""
    return text.lower().split()[-1] == "channel" and channel_name(text) not in ("", "channel")


def channel_name(text: str) -> str:
    """Return a channel's name in Slack's form: "the Design Team channel" becomes design-team."""
    words = text.strip().removeprefix("#").lower().split()
    if len(words) > 1 and words[0] == "the":
        words = words[1:]
    if len(words) > 1 and words[-1] == "channel":
        words = words[:-1]
    return "-".join(words).removeprefix("#")


# ----------------------------------------------------------------- people


def user_id(text: str) -> str:
    """Return the Slack id in a text, or ""."""
    token = _TOKEN.fullmatch(text.strip())
    text = token[1] if token else text.strip().removeprefix("@")
    return text if _USER.fullmatch(text) else ""


def email(text: str) -> str:
    """Return the address in a text (also ``Name <address>``), or ""."""
    text = text.strip().removeprefix("mailto:")
    inner = _ADDRESSED.fullmatch(text)
    text = inner[1].strip() if inner else text
    return text if _EMAIL.fullmatch(text) and not text.startswith("@") else ""


def is_self(text: str) -> bool:
    """True if a text means the user, regardless of other people's names."""
    return text.strip().removeprefix("@").casefold() in _SELF


def is_person(text: str) -> bool:
    """True if the form of a text means a person."""
    return text.startswith("@") or bool(user_id(text) or email(text))


# ----------------------------------------------------------------- needs


def try_read(conversation: str | None) -> Ref:
    """Return the reference, or `UNKNOWN` for an invalid one, which the tool refuses before any request."""
    try:
        return read(conversation) if conversation else UNKNOWN
    except InvalidInput:
        return UNKNOWN


def needs_of(ref: Ref, *, sends: bool = False) -> list[Need]:
    """Return the needs of finding the conversation. ``sends``: a missing DM may be opened."""
    if ref.how == "channel":
        return [need_for("users.conversations", "read", *ref.kinds)]
    if ref.how == "word":
        return [any_of("channels:read", "groups:read", "users:read", method="users.conversations")]
    if ref.how == "people":
        return [*people_needs(ref.people), *_direct_message_needs(ref, sends)]
    return []


def _direct_message_needs(ref: Ref, sends: bool) -> list[Need]:
    family = "mpim" if ref.kinds == ("group_dm",) else "im"
    if sends:
        return [any_of(f"{family}:write", f"{family}:read", method="conversations.open")]
    return [any_of(f"{family}:read", method="users.conversations")]


def people_needs(people: Sequence[str]) -> list[Need]:
    """Return the needs of finding these people."""
    by_address = any(email(one) for one in people)
    by_name = any(not email(one) and not user_id(one) and not is_self(one) for one in people)
    return [*([KNOWS_ADDRESSES] if by_address else []), *([KNOWS_PEOPLE] if by_name else [])]
