"""What all Slack tools share: the toolkit, the kinds of conversations, and the user scopes that a method accepts.

API: docs.slack.dev/reference/methods, May 2026. Most rights exist once for each kind of conversation: to read history
in a private channel takes groups:history, whatever else is granted. What an id stands for is not in the id; so a need
names all it may be, and Slack says which it is.
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
    shows=True,
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


def joined(value: Any) -> Any:
    """Several people as one text: other toolkits take lists of them. A bare name in a list is no channel's."""
    if not isinstance(value, list | tuple):
        return value
    return ",".join(f"@{one.strip()}" if _NAME.fullmatch(one.strip()) else one for one in map(str, value))


Conversation = Annotated[str, BeforeValidator(joined), Field(description="id, #channel, @user, me, email or link")]
Person = Annotated[str | None, Field(description="id, @handle, name, email or me")]
OfMessage = Annotated[str, Field(pattern=r"^\d{1,12}\.\d{1,9}$", description="of the message, as a row has it")]
Page = Annotated[int, Field(ge=1, le=500)]
Ts = Annotated[str, Field(pattern=r"^\d{1,12}\.\d{1,9}$")]
PEOPLE: Final[Mapping[str, str]] = dict.fromkeys(("user_ids", "usernames", "emails"), "conversation")
"""What other toolkits call the people that a conversation is with: maps of aliases."""
USERS: Final[Mapping[str, str]] = dict.fromkeys(PEOPLE, "users")
"""The same where people are looked up or invited."""


def ago(value: Any) -> Any:
    """A distance into the past as another toolkit has it, ``DD:HH:MM``, as ours."""
    found = _AGO.fullmatch(value) if isinstance(value, str) else None
    return f"-{found[1]}d{found[2]}h{found[3]}m" if found else value


_AGO = re.compile(r"([0-9]{1,3}):([0-9]{2}):([0-9]{2})")
After = Annotated[str | None, BeforeValidator(ago), Field(description="ISO date/time or -7d")]
Before = Annotated[str | None, BeforeValidator(ago), Field(description="like after; not included")]


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a tool runs, and what was consented to."""

    granted: frozenset[str]
    account: Account

    @classmethod
    def of(cls, run: Run) -> Caller:
        """On whose behalf this run is."""
        return cls(run.granted, run.account)

    @property
    def user(self) -> str:
        """The user's own Slack id."""
        return self.account.subject.partition(":")[2]

    @property
    def team(self) -> str | None:
        """The workspace's id, which tokens of a whole organization have to name; None where the app has only that."""
        team = self.account.subject.partition(":")[0]
        return team if team.startswith("T") else None

    def may(self, right: str, *kinds: str) -> bool:
        """Whether a right is granted for all of these kinds, so that it can be used unasked."""
        return bool(kinds) and all(f"{FAMILIES[kind]}:{right}" in self.granted for kind in kinds)

    def kinds_with(self, right: str, *among: Kind) -> list[Kind]:
        """Those kinds for which a right is granted."""
        return [kind for kind in among if f"{FAMILIES[kind]}:{right}" in self.granted]


def for_kinds(method: str, right: str, *kinds: str) -> Need:
    """The need of a method that wants a right in a conversation of one of these kinds."""
    scopes = [f"{FAMILIES[kind]}:{right}" for kind in kinds]
    return any_of(*scopes, method=method)


def narrower(method: str, right: str, *kinds: str) -> Need:
    """The need of a method that takes X:write, or for channels the narrower X:``right``."""
    asked = [f"{FAMILIES[kind]}:{right}" if kind in CHANNELS else f"{FAMILIES[kind]}:write" for kind in kinds]
    broader = [f"{FAMILIES[kind]}:write" for kind in kinds if kind in CHANNELS]
    return any_of(*asked, *broader, method=method)


POSTS: Final = any_of("chat:write", method="chat.postMessage")
KNOWS_PEOPLE: Final = any_of("users:read", method="users.list")
KNOWS_ADDRESSES: Final = any_of("users:read.email", method="users.lookupByEmail")
