"""One call of a method, and what every method needs of it: who calls, which conversation is meant, pages."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, cast

from deputize.sandbox.http_types import Reply
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import Person
from deputize.sandbox.slack.replies import good, refused
from deputize.sandbox.slack.scopes import KINDS
from deputize.sandbox.slack.seed import user_id
from deputize.sandbox.world import World

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call of a method: by whom, with which token and arguments."""

    world: World
    person: Person
    token: Token
    arguments: Json

    @property
    def user(self) -> str:
        """The caller's Slack id."""
        return user_id(self.person.email)

    @property
    def store(self) -> Json:
        """What the workspace keeps."""
        return self.world.services["slack"]

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self.world.clock())

    def good(self, content: Json, *accepted: str, changes: bool = False) -> Reply:
        """An answer with the headers that tell scopes."""
        return good(content, self._scopes(accepted), changes=changes)

    def needs(self, *accepted: str) -> None:
        """``missing_scope`` unless one of these was granted."""
        if not set(accepted) & set(self.token.scopes):
            given = ",".join(self.token.scopes)
            raise refused("missing_scope", self._scopes(accepted), needed=",".join(accepted), provided=given)

    def may(self, *accepted: str) -> bool:
        """Whether one of these was granted."""
        return bool(set(accepted) & set(self.token.scopes))

    # ------------------------------------------------------------- arguments

    def text(self, name: str) -> str:
        """An argument as text, "" where it is not given."""
        return str(self.arguments.get(name) or "")

    def flag(self, name: str) -> bool:
        """An argument that is true or false."""
        return self.text(name).lower() in ("1", "true")

    def number(self, name: str, default: int, most: int = 1000) -> int:
        """An argument that counts; ``invalid_limit`` for what does not."""
        try:
            return max(1, min(int(self.arguments.get(name) or default), most))
        except (TypeError, ValueError):
            raise refused("invalid_limit") from None

    def parsed(self, name: str) -> Any:
        """A structured argument: in a form it comes as JSON text; ``invalid_arguments`` for what is none."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise refused("invalid_arguments") from None

    def listed(self, name: str) -> list[str]:
        """An argument with commas in it."""
        return [part.strip() for part in self.text(name).split(",") if part.strip()]

    # ------------------------------------------------------------- conversations

    def channel(self, field: str = "channel", missing: str = "channel_not_found") -> Json:
        """The conversation that is meant; one that is not public exists for its members only."""
        found: Json | None = self.store["channels"].get(self.text(field))
        if found is None or (found["is_private"] and self.user not in found["members"]):
            raise refused(missing)
        return found

    def joined(self, field: str = "channel") -> Json:
        """The conversation, of which the caller must be a member."""
        channel = self.channel(field)
        if self.user not in channel["members"]:
            raise refused("not_in_channel")
        return channel

    def right(self, channel: Json, right: str, *more: str) -> str:
        """The scope for a right in this conversation; ``missing_scope`` unless it, or one of ``more``, was granted."""
        scope = f"{KINDS[kind_of(channel)]}:{right}"
        self.needs(scope, *(f"{KINDS[kind_of(channel)]}:{one}" for one in more))
        return scope

    def message(self, channel: Json, ts: str, missing: str = "message_not_found") -> Json:
        """A message of the conversation."""
        found = next((row for row in channel["messages"] if row["ts"] == ts), None)
        if found is None:
            raise refused(missing)
        return cast("Json", found)

    # ------------------------------------------------------------- pages

    def page(self, rows: list[Json], usual: int) -> tuple[list[Json], str]:
        """The rows of the page that ``cursor`` and ``limit`` mean, and the cursor of the next."""
        start, limit = self._start(), self.number("limit", usual)
        more = start + limit < len(rows)
        following = base64.b64encode(f"next:{start + limit}".encode()).decode() if more else ""
        return rows[start : start + limit], following

    def _start(self) -> int:
        cursor = self.text("cursor")
        try:
            return int(base64.b64decode(cursor).decode().removeprefix("next:")) if cursor else 0
        except ValueError:
            raise refused("invalid_cursor") from None

    def numbered(self, rows: list[Json], usual: int = 100) -> tuple[list[Json], Json]:
        """The rows of the page that ``count`` and ``page`` mean, and what Slack says of the paging."""
        count, page = self.number("count", usual), self.number("page", 1, 100_000)
        told = {"count": count, "total": len(rows), "page": page, "pages": -(-len(rows) // count)}
        return rows[(page - 1) * count : page * count], told

    def _scopes(self, accepted: tuple[str, ...]) -> list[tuple[str, str]]:
        held = ("x-oauth-scopes", ",".join(self.token.scopes))
        return [held, *([("x-accepted-oauth-scopes", ",".join(accepted))] if accepted else [])]


def kind_of(channel: Json) -> str:
    """public_channel, private_channel, im or mpim."""
    if channel.get("kind"):
        return str(channel["kind"])
    return "private_channel" if channel["is_private"] else "public_channel"


def new_id(store: Json, letter: str) -> str:
    """An id that nothing else has: the same in every sandbox that did the same."""
    store["made"] = store.get("made", 0) + 1
    return f"{letter}0NEW{store['made']:06d}"


def new_ts(call: Call) -> str:
    """The timestamp of a new message."""
    call.store["posted"] += 1
    return f"{call.now}.{call.store['posted'] % 1000000:06d}"
