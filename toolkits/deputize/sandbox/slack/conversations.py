"""``conversations.*`` and ``users.conversations``: conversations and their members."""

from __future__ import annotations

import re

from deputize.sandbox.http_types import Reply
from deputize.sandbox.slack.call import Call, Json, channel_kind, failed, new_id, new_ts
from deputize.sandbox.slack.scopes import KINDS
from deputize.sandbox.slack.seed import TEAM, channel_row
from deputize.sandbox.slack.users import users_by_id

_NAME = re.compile(r"[a-z0-9_-]{1,80}")


def listing(call: Call) -> Reply:
    """Run ``conversations.list``: public channels, or those in ``types``; only the caller's own of the others."""
    return _list(call, joined=False)


def list_own(call: Call) -> Reply:
    """Run ``users.conversations``: the caller's conversations."""
    return _list(call, joined=True)


def _list(call: Call, *, joined: bool) -> Reply:
    kinds = call.split_list("types") or ["public_channel"]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise failed("invalid_types", arg=",".join(unknown))
    for kind in kinds:
        call.needs(f"{KINDS[kind]}:read")
    rows = [
        row for row in call.store["channels"].values() if channel_kind(row) in kinds and _is_listed(call, row, joined)
    ]
    if call.flag("exclude_archived"):
        rows = [row for row in rows if not row["is_archived"]]
    page, after = call.page(rows, 100)
    shown = [_list_entry(call, row, joined) for row in page]
    return call.good({"channels": shown, "response_metadata": {"next_cursor": after}}, "channels:read", "groups:read")


def _is_listed(call: Call, row: Json, joined: bool) -> bool:
    return call.user in row["members"] if joined or row["is_private"] else True


def _list_entry(call: Call, row: Json, joined: bool) -> Json:
    """Return a conversation; Slack gives fewer fields in the list of the caller's own."""
    found = format_channel(call, row)
    if joined:
        del found["is_member"]
        return found
    return found | {"num_members": len(row["members"])}


def format_channel(call: Call, row: Json) -> Json:
    """Return a conversation in Slack's format."""
    kind = channel_kind(row)
    found = {
        "id": row["id"],
        "name": row["name"],
        "name_normalized": row["name"],
        "is_channel": kind == "public_channel",
        "is_group": kind == "private_channel",
        "is_im": kind == "im",
        "is_mpim": kind == "mpim",
        "is_private": row["is_private"],
        "is_archived": row["is_archived"],
        "is_general": row["name"] == "general",
        "is_member": call.user in row["members"],
        "created": row["created"],
        "creator": row["creator"],
        "context_team_id": TEAM["id"],
        "topic": {"value": row["topic"], "creator": row["creator"], "last_set": row["created"]},
        "purpose": {"value": row.get("purpose", ""), "creator": "", "last_set": 0},
    }
    if kind == "im":
        found["user"] = next((one for one in row["members"] if one != call.user), call.user)
    return found


def info(call: Call) -> Reply:
    channel = call.channel()
    scope = call.right(channel, "read")
    counted = {"num_members": len(channel["members"])} if call.flag("include_num_members") else {}
    return call.good({"channel": format_channel(call, channel) | counted}, scope)


def members(call: Call) -> Reply:
    channel = call.channel()
    scope = call.right(channel, "read")
    page, after = call.page([{"id": one} for one in channel["members"]], 100)
    ids = [one["id"] for one in page]
    return call.good({"members": ids, "response_metadata": {"next_cursor": after}}, scope)


# ------------------------------------------------------------------ create and change channels


def create(call: Call) -> Reply:
    """Run ``conversations.create``: the creator is the only member."""
    private = call.flag("is_private")
    call.needs("groups:write" if private else "channels:write")
    name = call.text("name")
    _check_name(call, name)
    identity = new_id(call.store, "C")
    row = channel_row(identity, name, private, "", [call.user], call.user, call.now)
    call.store["channels"][identity] = row
    return call.good({"channel": format_channel(call, row)}, "channels:write", "groups:write", changes=True)


def _check_name(call: Call, name: str, but: str = "") -> None:
    if not _NAME.fullmatch(name):
        raise failed("invalid_name_specials" if name else "invalid_name_required")
    taken = [row for row in call.store["channels"].values() if row["name"] == name and not row.get("kind")]
    if any(row["id"] != but for row in taken):
        raise failed("name_taken")


def rename(call: Call) -> Reply:
    channel = _changeable_channel(call)
    scope = call.right(channel, "write")
    _check_name(call, call.text("name"), channel["id"])
    channel["name"] = call.text("name")
    return call.good({"channel": format_channel(call, channel)}, scope, changes=True)


def set_topic(call: Call) -> Reply:
    return _set_text(call, "topic")


def set_purpose(call: Call) -> Reply:
    return _set_text(call, "purpose")


def _set_text(call: Call, what: str) -> Reply:
    channel = _changeable_channel(call)
    scope = call.right(channel, "write.topic", "write")
    if len(call.text(what)) > 250:
        raise failed("too_long")
    if channel.get(what, "") != call.text(what):
        channel[what] = call.text(what)
        said = {"type": "message", "subtype": f"channel_{what}", "user": call.user, "ts": new_ts(call)}
        channel["messages"].append(said | {"text": f"set the channel {what}: {channel[what]}"})
    return call.good({"channel": format_channel(call, channel)}, scope, changes=True)


def _changeable_channel(call: Call) -> Json:
    """Return a channel that can be changed."""
    channel = call.joined_channel()
    if channel.get("kind"):
        raise failed("method_not_supported_for_channel_type")
    if channel["is_archived"]:
        raise failed("is_archived")
    return channel


def archive(call: Call) -> Reply:
    channel = call.joined_channel()
    scope = call.right(channel, "write")
    if channel["name"] == "general":
        raise failed("cant_archive_general")
    if channel["is_archived"]:
        raise failed("already_archived")
    channel["is_archived"] = True
    return call.good({}, scope, changes=True)


def unarchive(call: Call) -> Reply:
    channel = call.joined_channel()
    scope = call.right(channel, "write")
    if not channel["is_archived"]:
        raise failed("not_archived")
    channel["is_archived"] = False
    return call.good({}, scope, changes=True)


# ------------------------------------------------------------------ members


def join(call: Call) -> Reply:
    channel = call.channel()
    call.needs("channels:write")
    if channel.get("kind"):
        raise failed("method_not_supported_for_channel_type")
    if channel["is_archived"]:
        raise failed("is_archived")
    there = call.user in channel["members"]
    if not there:
        channel["members"].append(call.user)
    told = {"warning": "already_in_channel"} if there else {}
    return call.good({"channel": format_channel(call, channel)} | told, "channels:write", changes=not there)


def leave(call: Call) -> Reply:
    channel = call.channel()
    scope = call.right(channel, "write")
    if channel["name"] == "general":
        raise failed("cant_leave_general")
    if call.user not in channel["members"]:
        return call.good({"not_in_channel": True}, scope)
    if len(channel["members"]) == 1:
        raise failed("last_member")
    channel["members"].remove(call.user)
    return call.good({}, scope, changes=True)


def invite(call: Call) -> Reply:
    """Run ``conversations.invite``: add members. Without ``force``, one who cannot be added stops all."""
    channel = _changeable_channel(call)
    scope = call.right(channel, "write.invites", "write")
    errors, fine = [], []
    for user in call.split_list("users"):
        if why := _uninvitable(call, channel, user):
            errors.append({"user": user, "ok": False, "error": why})
        else:
            fine.append(user)
    if errors and not (fine and call.flag("force")):
        raise failed(str(errors[0]["error"]), errors=errors)
    channel["members"] += fine
    told = {"errors": errors} if errors else {}
    return call.good({"channel": format_channel(call, channel)} | told, scope, changes=bool(fine))


def _uninvitable(call: Call, channel: Json, user: str) -> str:
    if user == call.user:
        return "cant_invite_self"
    if user not in users_by_id(call.world):
        return "user_not_found"
    return "already_in_channel" if user in channel["members"] else ""


def kick(call: Call) -> Reply:
    channel = _changeable_channel(call)
    scope = call.right(channel, "write")
    user = call.text("user")
    if user == call.user:
        raise failed("cant_kick_self")
    if channel["name"] == "general":
        raise failed("cant_kick_from_general")
    if user not in users_by_id(call.world):
        raise failed("user_not_found")
    if user not in channel["members"]:
        raise failed("not_in_channel")
    channel["members"].remove(user)
    return call.good({"errors": {}}, scope, changes=True)


def open_(call: Call) -> Reply:
    """Run ``conversations.open``: the DM or group DM with these people, new if there is none; also with oneself."""
    users = call.split_list("users")
    others = list(dict.fromkeys(one for one in users if one != call.user))
    if not users:
        raise failed("users_list_not_supplied")
    if len(others) > 8:
        raise failed("too_many_users")
    if any(one not in users_by_id(call.world) for one in others):
        raise failed("user_not_found")
    kind = "mpim" if len(others) > 1 else "im"
    call.needs(f"{KINDS[kind]}:write")
    wanted = {call.user, *others}
    rows = [row for row in call.store["channels"].values() if row.get("kind") == kind]
    found = next((row for row in rows if set(row["members"]) == wanted), None)
    if found is not None:
        told = {"no_op": True, "already_open": True}
        return call.good({"channel": {"id": found["id"]}} | told, f"{KINDS[kind]}:write")
    identity = new_id(call.store, "G" if kind == "mpim" else "D")
    row = channel_row(identity, "", True, "", [call.user, *others], call.user, call.now) | {"kind": kind}
    call.store["channels"][identity] = row
    return call.good({"channel": {"id": identity}}, f"{KINDS[kind]}:write", changes=True)
