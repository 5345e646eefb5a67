"""Slack: members of a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from deputize.core import Alias, Danger, Effect, Need, Preview, Run, Steps, Undo, any_of
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits.slack import api, preview, refs
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack import users as people
from deputize.toolkits.slack.base import (
    CHANNELS,
    SLACK,
    USERS,
    Asks,
    Caller,
    Conversation,
    Json,
    Row,
    narrow_need,
    need_for,
)
from deputize.toolkits.slack.text import Reader

Names = Annotated[list[str], Field(max_length=100, description="ids, @handles, names or emails")]
Action = Literal["invite", "remove", "join", "leave"]

_THERE: Final = "already_in_channel"
_OF_THE_PLACE: Final = ("channel_not_found", "user_lacks_rights")

_EFFECTS: Final = {
    "invite": Effect.SENDS,
    "remove": Effect.DESTRUCTIVE,
    "leave": Effect.DESTRUCTIVE,
    "join": Effect.SENDS,
}


def _member_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.try_read(arguments["conversation"])
    action = arguments["action"] or "invite"
    kinds = [kind for kind in ref.kinds if kind in CHANNELS] or list(CHANNELS)
    method = {"invite": "invite", "remove": "kick", "join": "join", "leave": "leave"}[action]
    if action == "invite":
        need = narrow_need("conversations.invite", "write.invites", *kinds)
    elif action == "join":
        need = any_of("channels:write", method="conversations.join")
    else:
        need = need_for(f"conversations.{method}", "write", *kinds)
    return [*refs.needs_of(ref), *refs.people_needs(arguments["users"] or ()), need]


@SLACK.tool(
    needs=_member_needs,
    effect=lambda arguments: _EFFECTS[arguments["action"]],
    gravest=Effect.WRITES | Effect.DESTRUCTIVE | Effect.SENDS,
    aliases=[Alias("Slack.InviteUsersToChannel", USERS, sets={"action": "invite"})],
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
        raise InvalidInput(
            "users: needed for action=invite and remove, and only there.",
            hint="join and leave are about the user alone.",
        )
    caller = Caller.of(run)
    spot = yield from preview.find(conversation, caller)
    chosen = (yield from people.find(users, "users", caller)) if users else []
    yield _show(action, spot, chosen, caller)
    if action == "invite":
        outcome = yield from invite_users(spot.id, chosen, caller)
    elif action == "remove":
        outcome = yield from _remove_users(spot, chosen, caller)
    else:
        answer = yield api.call(f"conversations.{action}", {"channel": spot.id}, repeat="idem")
        moved = not (answer.get("not_in_channel") or answer.get("warning"))
        outcome = Outcome([caller.user], [], [caller.user] if moved else [])
    if outcome.changed and (inverse := _inverse(action, spot)):
        whom = {"users": outcome.changed} if users else {}
        yield Undo("slack_manage_members", {"conversation": spot.id, "action": inverse, **whom})
    failed = {"failed": outcome.failed} if outcome.failed else {}
    return {"id": spot.id, "action": action, "done": outcome.done, **failed}


_WHAT: Final[Mapping[Action, str]] = {
    "invite": "Invite these people to this channel",
    "remove": "Remove these people from this channel",
    "join": "Join this channel",
    "leave": "Leave this channel",
}


def _show(action: Action, spot: places.Spot, users: Sequence[Row], caller: Caller) -> Preview:
    """Return the preview. Slack reports to everybody in a channel who joins and who leaves."""
    ids = [str(user["id"]) for user in users]
    place = preview.location(spot, caller, pins={"users": sorted(ids) or None})
    place["people"] = [*place["people"], *ids, *([spot.id] if ids else [])]  # these people in this channel only
    closed = action == "leave" and spot.kinds == ("private",)
    names = sorted(people.with_handle(user) for user in users)
    opens = action == "invite" and spot.kinds != ("public",)  # everybody in the workspace may join a public channel
    dangers = [Danger.GIVES_ACCESS] if opens else []
    return Preview(_WHAT[action], **place, dangers=dangers, users=names or None, undo=_CLOSED if closed else None)


_CLOSED: Final = "you can come back only if somebody in it invites you"


def _inverse(action: Action, spot: places.Spot) -> Action | None:
    """Return the inverse action, or None: nobody can rejoin a private channel without an invitation."""
    if action == "leave":
        return "join" if spot.kinds == ("public",) else None
    inverse: dict[Action, Action] = {"invite": "remove", "remove": "invite", "join": "leave"}
    return inverse[action]


class Outcome(NamedTuple):
    """The users who are done (with earlier members), the failures, and the users who joined or left."""

    done: list[str]
    failed: list[Json]
    changed: list[str]

    def with_user(self, user: str) -> Outcome:
        """Return the outcome with one more changed user."""
        return Outcome([*self.done, user], self.failed, [*self.changed, user])


def invite_users(conversation: str, users: Sequence[Row], caller: Caller) -> Asks[Outcome]:
    """Invite these people. Earlier members count as done.

    One request for all causes one notice. After a refusal, one request per person finds out whom the refusal concerns.
    """
    ids = [str(user["id"]) for user in users if user["id"] != caller.user]
    if not ids:
        return Outcome([], [], [])
    everybody = {"channel": conversation, "users": ",".join(ids), "force": len(ids) > 1 or None}
    try:
        answer = yield api.call("conversations.invite", everybody, repeat="idem")
        failed, there = _split_errors(answer)
    except (Conflict, NotFound, InvalidInput) as refused:
        if len(ids) == 1:
            return Outcome(*_refusal_outcome(ids[0], refused), [])
        return (yield from _invite_one_by_one(conversation, ids))
    done = [one for one in ids if one not in {row["user"] for row in failed}]
    return Outcome(done, failed, [one for one in done if one not in there])


def _split_errors(answer: Row) -> tuple[list[Json], list[str]]:
    """Return the failures in a response, and the ids of users who were already members."""
    errors = [one for one in answer.get("errors") or () if isinstance(one, dict)]
    refused = [one for one in errors if one.get("error") != _THERE]
    told = [{"user": str(e.get("user", "")), "error": Reader().line(str(e.get("error", "")), 60)} for e in refused]
    return told, [str(one.get("user", "")) for one in errors if one.get("error") == _THERE]


def _refusal_outcome(user: str, refused: DeputizeError, *, begun: bool = False) -> tuple[list[str], list[Json]]:
    """Return the users who are done despite a refusal, and the failure. Raises a refusal that does not concern the
    user, unless the act has ``begun``: the result must then list the users who are done."""
    if isinstance(refused, Conflict) and refused.reason == "already_done":
        return [user], []
    about = isinstance(refused, Conflict | NotFound | InvalidInput) and refused.reason not in _OF_THE_PLACE
    if not begun and not about:
        raise refused
    return [], [{"user": user, "error": refused.message}]


def _invite_one_by_one(conversation: str, ids: Sequence[str]) -> Asks[Outcome]:
    outcome = Outcome([], [], [])
    for user in ids:
        try:
            yield api.call("conversations.invite", {"channel": conversation, "users": user}, repeat="idem")
        except DeputizeError as refused:
            fine, not_fine = _refusal_outcome(user, refused, begun=bool(outcome.done))
            outcome = Outcome(outcome.done + fine, outcome.failed + not_fine, outcome.changed)
        else:
            outcome = outcome.with_user(user)
    return outcome


def _remove_users(spot: places.Spot, users: Sequence[Row], caller: Caller) -> Asks[Outcome]:
    outcome = Outcome([], [], [])
    for user in (str(one["id"]) for one in users):
        try:
            yield api.call("conversations.kick", {"channel": spot.id, "user": user}, repeat="idem")
        except DeputizeError as refused:
            fine, not_fine = yield from _removal_outcome(spot, user, caller, refused, begun=bool(outcome.done))
            outcome = Outcome(outcome.done + fine, outcome.failed + not_fine, outcome.changed)
        else:
            outcome = outcome.with_user(user)
    return outcome


def _removal_outcome(
    spot: places.Spot, user: str, caller: Caller, refused: DeputizeError, *, begun: bool
) -> Asks[tuple[list[str], list[Json]]]:
    """Handle a refused removal. Slack's not_in_channel may mean either user, so the list of members is read."""
    lacks = isinstance(refused, NotFound) and refused.reason == "user_lacks_rights"
    if lacks and caller.may("read", *(kind for kind in spot.kinds if kind in CHANNELS)):
        answer = yield from api.optional(places.members(spot.id, None, api.PAGE))
        members = (answer or {}).get("members") or ()
        if caller.user in members and user not in members and not api.next_cursor(answer):
            return [user], []
    return _refusal_outcome(user, refused, begun=begun)
