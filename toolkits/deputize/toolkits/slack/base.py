"""The Slack toolkit, the kinds of conversations, and the user scopes that a method accepts.

API: docs.slack.dev/reference/methods, May 2026. Most scopes exist once per kind of conversation: reading history in a
private channel takes groups:history. A conversation's id does not reveal its kind, so a need names all possible kinds,
and Slack reports the actual one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from deputize.core import Account, Need, Run, Toolkit, any_of
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.text import FACTS, WRITERS

SLACK = Toolkit(
    "slack",
    provider="slack",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows="changes",
    cuts=True,
    words=("chat", "channel", "message", "DM"),
)

Kind = Literal["public", "private", "group_dm", "dm"]
FAMILIES: Final[Mapping[str, str]] = {"public": "channels", "private": "groups", "group_dm": "mpim", "dm": "im"}
TYPES: Final[Mapping[str, str]] = {
    "public": "public_channel",
    "private": "private_channel",
    "group_dm": "mpim",
    "dm": "im",
}
CHANNELS: Final[tuple[Kind, ...]] = ("public", "private")

Json = dict[str, Any]
Row = Mapping[str, Any]
Noted = Mapping[str, Any] | None
EMOJI = re.compile(r"[\w+'-]{1,100}(?:::skin-tone-[2-6])?")


_NAME = re.compile(r"(?![CDGUW][A-Z0-9]{7,20}$)[^@#<,]+")


def join_people(value: Any) -> Any:
    """Return several people as one text, because other toolkits take lists. A bare name in a list means a person."""
    if not isinstance(value, list | tuple):
        return value
    return ",".join(f"@{one.strip()}" if _NAME.fullmatch(one.strip()) else one for one in map(str, value))


Conversation = Annotated[str, BeforeValidator(join_people), Field(description="id, #channel, @user, me, email or link")]
Person = Annotated[str | None, Field(description="id, @handle, name, email or me")]
OfMessage = Annotated[str, Field(pattern=r"^\d{1,12}\.\d{1,9}$", description="of the message, as a row has it")]
Page = Annotated[int, Field(ge=1, le=500)]
Ts = Annotated[str, Field(pattern=r"^\d{1,12}\.\d{1,9}$")]
PEOPLE: Final[Mapping[str, str]] = dict.fromkeys(("user_ids", "usernames", "emails"), "conversation")
"""Aliases: the names by which other toolkits call the people of a conversation."""
USERS: Final[Mapping[str, str]] = dict.fromkeys(PEOPLE, "users")
"""The same aliases for people who are looked up or invited."""


def convert_distance(value: Any) -> Any:
    """Convert another toolkit's distance into the past, ``DD:HH:MM``, to deputize's form."""
    found = _AGO.fullmatch(value) if isinstance(value, str) else None
    return f"-{found[1]}d{found[2]}h{found[3]}m" if found else value


_AGO = re.compile(r"([0-9]{1,3}):([0-9]{2}):([0-9]{2})")
After = Annotated[str | None, BeforeValidator(convert_distance), Field(description="ISO date/time or -7d")]
Before = Annotated[str | None, BeforeValidator(convert_distance), Field(description="like after; not included")]


@dataclass(frozen=True, slots=True)
class Caller:
    """The user for whom a tool runs, and the scopes that the user granted."""

    granted: frozenset[str]
    account: Account

    @classmethod
    def of(cls, run: Run) -> Caller:
        return cls(run.granted, run.account)

    @property
    def user(self) -> str:
        """The user's own Slack id."""
        return self.account.subject.partition(":")[2]

    @property
    def team(self) -> str | None:
        """The workspace's id, which requests with an organization's token must name. None if unknown."""
        team = self.account.subject.partition(":")[0]
        return team if team.startswith("T") else None

    def may(self, right: str, *kinds: str) -> bool:
        """True if a right is granted for all of these kinds, so that its use needs no new consent."""
        return bool(kinds) and all(f"{FAMILIES[kind]}:{right}" in self.granted for kind in kinds)

    def kinds_with(self, right: str, *among: Kind) -> list[Kind]:
        """Return the kinds for which a right is granted."""
        return [kind for kind in among if f"{FAMILIES[kind]}:{right}" in self.granted]


def need_for(method: str, right: str, *kinds: str) -> Need:
    """Return the need of a method that requires a right in a conversation of one of these kinds."""
    scopes = [f"{FAMILIES[kind]}:{right}" for kind in kinds]
    return any_of(*scopes, method=method)


def narrow_need(method: str, right: str, *kinds: str) -> Need:
    """Return the need of a method that takes X:write. For channels the narrower X:``right`` is enough."""
    asked = [f"{FAMILIES[kind]}:{right}" if kind in CHANNELS else f"{FAMILIES[kind]}:write" for kind in kinds]
    broader = [f"{FAMILIES[kind]}:write" for kind in kinds if kind in CHANNELS]
    return any_of(*asked, *broader, method=method)


POSTS: Final = any_of("chat:write", method="chat.postMessage")
KNOWS_PEOPLE: Final = any_of("users:read", method="users.list")
KNOWS_ADDRESSES: Final = any_of("users:read.email", method="users.lookupByEmail")
