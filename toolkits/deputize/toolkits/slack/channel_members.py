"""Slack: who is in a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Alias, Effect, Need, Run, Steps, any_of
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound
from deputize.toolkits.slack import api, places, refs
from deputize.toolkits.slack import users as people
from deputize.toolkits.slack.base import CHANNELS, SLACK, Asks, Caller, Conversation, Json, Row, for_kinds, narrower
from deputize.toolkits.slack.text import Reader

Names = Annotated[list[str], Field(max_length=100)]
Action = Literal["invite", "remove", "join", "leave"]

_OF_THE_PLACE: Final = ("channel_not_found", "user_lacks_rights")

_EFFECTS: Final = {
    "invite": Effect.SENDS,
    "remove": Effect.DESTRUCTIVE,
    "leave": Effect.DESTRUCTIVE,
    "join": Effect.SENDS,
}


def _member_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.safely(arguments["conversation"])
    action = arguments["action"] or "invite"
    kinds = [kind for kind in ref.kinds if kind in CHANNELS] or list(CHANNELS)
    method = {"invite": "invite", "remove": "kick", "join": "join", "leave": "leave"}[action]
    if action == "invite":
        need = narrower("conversations.invite", "write.invites", *kinds)
    elif action == "join":
        need = any_of("channels:write", method="conversations.join")
    else:
        need = for_kinds(f"conversations.{method}", "write", *kinds)
    return [*refs.naming(ref), *refs.naming_people(arguments["users"] or ()), need]


@SLACK.tool(
    needs=_member_needs,
    effect=lambda arguments: _EFFECTS[arguments["action"]],
    gravest=Effect.WRITES | Effect.DESTRUCTIVE | Effect.SENDS,
    aliases=[Alias("Slack.InviteUsersToChannel", {"user_ids": "users"}, sets={"action": "invite"})],
    toolset="more",
)
def manage_members(
    conversation: Conversation,
    action: Action,
    users: Names | None = None,
    *,
    run: Run,
) -> Steps:
    """Invite or remove people, or join or leave a channel."""
    if bool(users) != (action in ("invite", "remove")):
        raise InvalidInput("users: needed for action=invite and remove, and only there.")
    caller = Caller.of(run)
    spot = yield from places.find(conversation, caller)
    chosen = (yield from people.find(users, "users", caller)) if users else []
    if action == "invite":
        done, failed = yield from invited(spot.id, chosen, caller)
    elif action == "remove":
        done, failed = yield from _removed(spot, chosen, caller)
    else:
        yield api.call(f"conversations.{action}", {"channel": spot.id}, repeat="idem")
        done, failed = [caller.user], []
    return {"id": spot.id, "action": action, "done": done, **({"failed": failed} if failed else {})}


def invited(conversation: str, users: Sequence[Row], caller: Caller) -> Asks[tuple[list[str], list[Json]]]:
    """Whom it worked for, and whom it did not. Those who are there already are done.

    All at once, so that one letter tells them; after a refusal one by one, to learn whose it was.
    """
    ids = [str(user["id"]) for user in users if user["id"] != caller.user]
    if not ids:
        return [], []
    everybody = {"channel": conversation, "users": ",".join(ids), "force": len(ids) > 1 or None}
    try:
        answer = yield api.call("conversations.invite", everybody, repeat="idem")
        failed = _refused_of(answer)
    except (Conflict, NotFound, InvalidInput) as refused:
        if len(ids) == 1:
            return _one(ids[0], refused)
        return (yield from _invited_singly(conversation, ids))
    return [one for one in ids if one not in {row["user"] for row in failed}], failed


def _refused_of(answer: Row) -> list[Json]:
    """What an answer says of people whom it left out."""
    errors = [one for one in answer.get("errors") or () if isinstance(one, dict)]
    return [
        {"user": str(one.get("user", "")), "error": Reader().line(str(one.get("error", "")), 60)}
        for one in errors
        if one.get("error") != "already_in_channel"
    ]


def _one(user: str, refused: DeputizeError, *, begun: bool = False) -> tuple[list[str], list[Json]]:
    """How it stands with one person after a refusal. Raises it where it is not about the person, unless the act has
    ``begun``: then what was done has to be told."""
    if isinstance(refused, Conflict) and refused.reason == "already_done":
        return [user], []
    about = isinstance(refused, Conflict | NotFound | InvalidInput) and refused.reason not in _OF_THE_PLACE
    if not begun and not about:
        raise refused
    return [], [{"user": user, "error": refused.message}]


def _invited_singly(conversation: str, ids: Sequence[str]) -> Asks[tuple[list[str], list[Json]]]:
    done: list[str] = []
    failed: list[Json] = []
    for user in ids:
        try:
            yield api.call("conversations.invite", {"channel": conversation, "users": user}, repeat="idem")
            done.append(user)
        except DeputizeError as refused:
            fine, not_fine = _one(user, refused, begun=bool(done))
            done, failed = done + fine, failed + not_fine
    return done, failed


def _removed(spot: places.Spot, users: Sequence[Row], caller: Caller) -> Asks[tuple[list[str], list[Json]]]:
    done: list[str] = []
    failed: list[Json] = []
    for user in (str(one["id"]) for one in users):
        try:
            yield api.call("conversations.kick", {"channel": spot.id, "user": user}, repeat="idem")
            done.append(user)
        except DeputizeError as refused:
            fine, not_fine = yield from _absent(spot, user, caller, refused, begun=bool(done))
            done, failed = done + fine, failed + not_fine
    return done, failed


def _absent(
    spot: places.Spot, user: str, caller: Caller, refused: DeputizeError, *, begun: bool
) -> Asks[tuple[list[str], list[Json]]]:
    """Slack's not_in_channel may be said of either: only the list of members tells."""
    lacks = isinstance(refused, NotFound) and refused.reason == "user_lacks_rights"
    if lacks and caller.may("read", *(kind for kind in spot.kinds if kind in CHANNELS)):
        answer = yield from api.optional(places.members(spot.id, None, api.PAGE))
        members = (answer or {}).get("members") or ()
        if caller.user in members and user not in members and not api.following(answer):
            return [user], []
    return _one(user, refused, begun=begun)
