"""The Web API's methods, each with the scopes any one of which it accepts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deputize.sandbox.oauth import Token
from deputize.sandbox.people import Person
from deputize.sandbox.slack.replies import good, refused
from deputize.sandbox.slack.scopes import KINDS
from deputize.sandbox.slack.seed import TEAM, user_id
from deputize.sandbox.wire import Ask, Reply
from deputize.sandbox.world import World

Json = dict[str, Any]
MAX_TEXT = 40000


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

    def good(self, content: Json, *accepted: str, changes: bool = False) -> Reply:
        """An answer with the headers that tell scopes."""
        return good(content, self._scopes(accepted), changes=changes)

    def needs(self, *accepted: str) -> None:
        """``missing_scope`` unless one of these was granted."""
        if not set(accepted) & set(self.token.scopes):
            given = ",".join(self.token.scopes)
            raise refused("missing_scope", self._scopes(accepted), needed=",".join(accepted), provided=given)

    def channel(self) -> Json:
        """The channel that is meant; a private one exists for its members only."""
        found: Json | None = self.store["channels"].get(str(self.arguments.get("channel", "")))
        if found is None or (found["is_private"] and self.user not in found["members"]):
            raise refused("channel_not_found")
        return found

    def number(self, name: str, default: int) -> int:
        """An argument that counts; ``invalid_limit`` for what does not."""
        try:
            return max(1, min(int(self.arguments.get(name) or default), 1000))
        except (TypeError, ValueError):
            raise refused("invalid_limit") from None

    def _scopes(self, accepted: tuple[str, ...]) -> list[tuple[str, str]]:
        held = ("x-oauth-scopes", ",".join(self.token.scopes))
        return [held, *([("x-accepted-oauth-scopes", ",".join(accepted))] if accepted else [])]


def answer(ask: Ask, world: World) -> Reply:
    """``/api/{method}``: arguments in the query, a form or JSON; who calls is looked at before what."""
    method = METHODS.get(ask.path.removeprefix("/api/"))
    if method is None:
        raise refused("unknown_method", req_method=ask.path.removeprefix("/api/"))
    return method(_call(ask, world))


def _call(ask: Ask, world: World) -> Call:
    if not ask.bearer():
        raise refused("not_authed")
    token = world.access(ask.bearer(), "slack")
    if token is None:
        old = world.authority.find(ask.bearer())
        raise refused("token_expired" if old is not None and old.kind == "access" else "invalid_auth")
    person = world.person(world.address_of(token.sub))
    if person is None:
        raise refused("account_inactive")
    query = {name: values[-1] for name, values in ask.query.items()}
    return Call(world, person, token, query | ask.single() | ask.content())


def auth_test(call: Call) -> Reply:
    """Who the token speaks for; no scope is needed."""
    return call.good(
        {
            "url": f"https://{TEAM['domain']}.slack.com/",
            "team": TEAM["name"],
            "user": call.person.email.partition("@")[0],
            "team_id": TEAM["id"],
            "user_id": call.user,
            "is_enterprise_install": False,
        }
    )


def auth_revoke(call: Call) -> Reply:
    """The token ends, and with it what could replace it."""
    if str(call.arguments.get("test", "")).lower() in ("1", "true"):
        return call.good({"revoked": False})
    call.world.authority.end_grant(call.token.app, call.token.sub)
    return call.good({"revoked": True}, changes=True)


def conversations_list(call: Call) -> Reply:
    """Public channels unless ``types`` says more; of private ones the caller's own."""
    kinds = [kind.strip() for kind in str(call.arguments.get("types") or "public_channel").split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise refused("invalid_types", arg=",".join(unknown))
    for kind in kinds:
        call.needs(f"{KINDS[kind]}:read")
    rows = [row for row in call.store["channels"].values() if _listed(call, row, kinds)]
    if str(call.arguments.get("exclude_archived", "")).lower() in ("1", "true"):
        rows = [row for row in rows if not row["is_archived"]]
    page, after = _page(call, rows, 100)
    shown = [_channel(call, row) for row in page]
    return call.good({"channels": shown, "response_metadata": {"next_cursor": after}}, "channels:read", "groups:read")


def _listed(call: Call, row: Json, kinds: list[str]) -> bool:
    if row["is_private"]:
        return "private_channel" in kinds and call.user in row["members"]
    return "public_channel" in kinds


def _channel(call: Call, row: Json) -> Json:
    return {
        "id": row["id"],
        "name": row["name"],
        "name_normalized": row["name"],
        "is_channel": not row["is_private"],
        "is_group": row["is_private"],
        "is_im": False,
        "is_mpim": False,
        "is_private": row["is_private"],
        "is_archived": row["is_archived"],
        "is_general": row["name"] == "general",
        "is_member": call.user in row["members"],
        "created": row["created"],
        "creator": row["creator"],
        "context_team_id": TEAM["id"],
        "topic": {"value": row["topic"], "creator": row["creator"], "last_set": row["created"]},
        "purpose": {"value": "", "creator": "", "last_set": 0},
        "num_members": len(row["members"]),
    }


def conversations_history(call: Call) -> Reply:
    """The newest first; metadata only when it is asked for."""
    channel = call.channel()
    kind = "groups:history" if channel["is_private"] else "channels:history"
    call.needs(kind)
    rows = [row for row in reversed(channel["messages"]) if _within(call, row["ts"]) and not row.get("thread_ts")]
    page, after = _page(call, rows, 100)
    with_metadata = str(call.arguments.get("include_all_metadata", "")).lower() in ("1", "true")
    shown = [row if with_metadata else {k: v for k, v in row.items() if k != "metadata"} for row in page]
    more: Json = {"response_metadata": {"next_cursor": after}} if after else {}
    return call.good({"messages": shown, "has_more": bool(after), "pin_count": 0} | more, kind)


def _within(call: Call, ts: str) -> bool:
    try:
        oldest, latest = float(call.arguments.get("oldest") or 0), float(call.arguments.get("latest") or "inf")
    except ValueError:
        raise refused("invalid_ts_oldest") from None
    inclusive = str(call.arguments.get("inclusive", "")).lower() in ("1", "true")
    return oldest <= float(ts) <= latest if inclusive else oldest < float(ts) < latest


def chat_post_message(call: Call) -> Reply:
    """A message from the user, not from the app."""
    call.needs("chat:write")
    channel, text = call.channel(), str(call.arguments.get("text") or "")
    if call.user not in channel["members"]:
        raise refused("not_in_channel")
    if channel["is_archived"]:
        raise refused("is_archived")
    if not text and not call.arguments.get("blocks"):
        raise refused("no_text")
    if len(text) > MAX_TEXT:
        raise refused("msg_too_long")
    message = _message(call, text)
    channel["messages"].append(message)
    return call.good({"channel": channel["id"], "ts": message["ts"], "message": message}, "chat:write", changes=True)


def _message(call: Call, text: str) -> Json:
    call.store["posted"] += 1
    ts = f"{int(call.world.clock())}.{call.store['posted'] % 1000000:06d}"
    message: Json = {"type": "message", "user": call.user, "text": text, "ts": ts, "team": TEAM["id"]}
    for name in ("thread_ts", "metadata", "blocks"):
        if value := call.arguments.get(name):
            message[name] = _parsed(value) if name != "thread_ts" else value
    return message


def _parsed(value: Any) -> Any:
    """In a form, structured arguments come as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise refused("invalid_arguments") from None


def _page(call: Call, rows: list[Json], usual: int) -> tuple[list[Json], str]:
    start, limit = _start(str(call.arguments.get("cursor") or "")), call.number("limit", usual)
    more = start + limit < len(rows)
    return rows[start : start + limit], base64.b64encode(f"next:{start + limit}".encode()).decode() if more else ""


def _start(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor).decode().removeprefix("next:")) if cursor else 0
    except ValueError:
        raise refused("invalid_cursor") from None


METHODS: dict[str, Callable[[Call], Reply]] = {
    "auth.test": auth_test,
    "auth.revoke": auth_revoke,
    "conversations.list": conversations_list,
    "conversations.history": conversations_history,
    "chat.postMessage": chat_post_message,
}
