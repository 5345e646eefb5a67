"""One call of a method, and the parts that all methods share: caller, conversation, pages and replies."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from deputize.sandbox.http_types import Refused, Reply, in_json
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import Person
from deputize.sandbox.slack.scopes import KINDS
from deputize.sandbox.slack.seed import user_id
from deputize.sandbox.world import World

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call of a method: its sender, token and arguments."""

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
        """The workspace's stored records."""
        return self.world.services["slack"]

    @property
    def now(self) -> int:
        """The sandbox's time, Unix seconds."""
        return int(self.world.clock())

    def good(self, content: Json, *accepted: str, changes: bool = False) -> Reply:
        """Return a successful reply with the headers about scopes."""
        return good(content, self._scopes(accepted), changes=changes)

    def needs(self, *accepted: str) -> None:
        """Raise ``missing_scope`` unless one of these scopes was granted."""
        if not set(accepted) & set(self.token.scopes):
            given = ",".join(self.token.scopes)
            raise failed("missing_scope", self._scopes(accepted), needed=",".join(accepted), provided=given)

    def may(self, *accepted: str) -> bool:
        """Return True if one of these scopes was granted."""
        return bool(set(accepted) & set(self.token.scopes))

    # ------------------------------------------------------------- arguments

    def text(self, name: str) -> str:
        """Return an argument as a string, "" if it is missing."""
        return str(self.arguments.get(name) or "")

    def flag(self, name: str) -> bool:
        """Return a boolean argument."""
        return self.text(name).lower() in ("1", "true")

    def number(self, name: str, default: int, most: int = 1000) -> int:
        """Return a numeric argument. Raise ``invalid_limit`` for any other."""
        try:
            return max(1, min(int(self.arguments.get(name) or default), most))
        except (TypeError, ValueError):
            raise failed("invalid_limit") from None

    def parse_json(self, name: str) -> Any:
        """Return a structured argument, which a form contains as JSON. Raise ``invalid_arguments`` for invalid JSON."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise failed("invalid_arguments") from None

    def split_list(self, name: str) -> list[str]:
        """Return the parts of a comma-separated argument."""
        return [part.strip() for part in self.text(name).split(",") if part.strip()]

    # ------------------------------------------------------------- conversations

    def channel(self, field: str = "channel", missing: str = "channel_not_found") -> Json:
        """Return the conversation of an argument; one that is not public exists for its members only."""
        found: Json | None = self.store["channels"].get(self.text(field))
        if found is None or (found["is_private"] and self.user not in found["members"]):
            raise failed(missing)
        return found

    def joined_channel(self, field: str = "channel") -> Json:
        """Return the conversation. Raise ``not_in_channel`` unless the caller is a member."""
        channel = self.channel(field)
        if self.user not in channel["members"]:
            raise failed("not_in_channel")
        return channel

    def right(self, channel: Json, right: str, *more: str) -> str:
        """Return the scope of a right in this conversation. Raise ``missing_scope`` without it and all of ``more``."""
        scope = f"{KINDS[channel_kind(channel)]}:{right}"
        self.needs(scope, *(f"{KINDS[channel_kind(channel)]}:{one}" for one in more))
        return scope

    def message(self, channel: Json, ts: str, missing: str = "message_not_found") -> Json:
        """Return a message of the conversation."""
        found = next((row for row in channel["messages"] if row["ts"] == ts), None)
        if found is None:
            raise failed(missing)
        return cast("Json", found)

    # ------------------------------------------------------------- pages

    def page(self, rows: list[Json], usual: int) -> tuple[list[Json], str]:
        """Return the rows of the page at ``cursor`` with ``limit`` rows, and the next cursor."""
        start, limit = self._start(), self.number("limit", usual)
        more = start + limit < len(rows)
        following = base64.b64encode(f"next:{start + limit}".encode()).decode() if more else ""
        return rows[start : start + limit], following

    def _start(self) -> int:
        cursor = self.text("cursor")
        try:
            return int(base64.b64decode(cursor).decode().removeprefix("next:")) if cursor else 0
        except ValueError:
            raise failed("invalid_cursor") from None

    def page_by_number(self, rows: list[Json], usual: int = 100) -> tuple[list[Json], Json]:
        """Return the rows of the page ``page`` with ``count`` rows, and Slack's paging object."""
        count, page = self.number("count", usual), self.number("page", 1, 100_000)
        paging = {"count": count, "total": len(rows), "page": page, "pages": -(-len(rows) // count)}
        return rows[(page - 1) * count : page * count], paging

    def _scopes(self, accepted: tuple[str, ...]) -> list[tuple[str, str]]:
        held = ("x-oauth-scopes", ",".join(self.token.scopes))
        return [held, *([("x-accepted-oauth-scopes", ",".join(accepted))] if accepted else [])]


def channel_kind(channel: Json) -> str:
    """Return public_channel, private_channel, im or mpim."""
    if channel.get("kind"):
        return str(channel["kind"])
    return "private_channel" if channel["is_private"] else "public_channel"


def new_id(store: Json, letter: str) -> str:
    """Return an unused id, which depends only on the calls before."""
    store["made"] = store.get("made", 0) + 1
    return f"{letter}0NEW{store['made']:06d}"


def new_ts(call: Call) -> str:
    """Return the timestamp of a new message."""
    call.store["posted"] += 1
    return f"{call.now}.{call.store['posted'] % 1000000:06d}"


def good(content: dict[str, Any], headers: Iterable[tuple[str, str]] = (), **how: Any) -> Reply:
    """Return ``ok: true`` with this content."""
    return in_json({"ok": True} | content, headers=headers, **how)


def failed(error: str, headers: Iterable[tuple[str, str]] = (), **more: Any) -> Refused:
    """Return ``ok: false`` with Slack's error code."""
    return Refused(in_json({"ok": False, "error": error} | more, headers=headers, changes=False))
