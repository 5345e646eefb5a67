"""``users.*``, ``usergroups.*`` and ``dnd.*``: people, groups, presence and do-not-disturb."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.http_types import Reply
from deputize.sandbox.slack.call import Call, Json, failed
from deputize.sandbox.slack.seed import BOT, TEAM, user_id
from deputize.sandbox.world import World


def users_by_id(world: World) -> dict[str, Json]:
    """Return all people of the workspace by id."""
    kept: dict[str, Json] = world.services["slack"].get("profiles", {})
    found: dict[str, Json] = {}
    for person in world.people:
        identity = user_id(person.email)
        profile = {"real_name": person.name, "display_name": "", "email": person.email, "title": ""}
        handle = person.email.partition("@")[0]
        found[identity] = {"id": identity, "name": handle, "is_bot": False, "profile": profile | kept.get(identity, {})}
    bot = {"real_name": BOT["name"], "display_name": "", "title": "", "email": ""}
    return found | {BOT["id"]: {"id": BOT["id"], "name": BOT["handle"], "is_bot": True, "profile": bot}}


def format_user(call: Call, user: Json) -> Json:
    """Return a user in Slack's format; the address only with its scope."""
    profile: dict[str, Any] = {"status_text": "", "status_emoji": "", "status_expiration": 0} | user["profile"]
    if not call.may("users:read.email") or not profile.get("email"):
        profile.pop("email", None)
    return {
        "id": user["id"],
        "team_id": TEAM["id"],
        "name": user["name"],
        "deleted": False,
        "real_name": profile["real_name"],
        "tz": "Europe/Berlin",
        "is_admin": False,
        "is_bot": user["is_bot"],
        "profile": profile,
    }


def _find_user(call: Call, field: str = "user") -> Json:
    found = users_by_id(call.world).get(call.text(field))
    if found is None:
        raise failed("user_not_found")
    return found


def listing(call: Call) -> Reply:
    call.needs("users:read")
    page, after = call.page(list(users_by_id(call.world).values()), 100)
    content = {"members": [format_user(call, one) for one in page], "response_metadata": {"next_cursor": after}}
    return call.good(content, "users:read")


def info(call: Call) -> Reply:
    call.needs("users:read")
    return call.good({"user": format_user(call, _find_user(call))}, "users:read")


def lookup_by_email(call: Call) -> Reply:
    call.needs("users:read.email")
    known = users_by_id(call.world).values()
    found = next((one for one in known if one["profile"]["email"] == call.text("email").lower() != ""), None)
    if found is None:
        raise failed("users_not_found")
    return call.good({"user": format_user(call, found)}, "users:read.email")


def presence(call: Call) -> Reply:
    """Run ``users.getPresence``: active or away."""
    call.needs("users:read")
    user = _find_user(call) if call.text("user") else {"id": call.user}
    return call.good({"presence": call.store.get("presence", {}).get(user["id"], "active")}, "users:read")


def set_presence(call: Call) -> Reply:
    """Run ``users.setPresence`` for the caller."""
    call.needs("users:write")
    wanted = call.text("presence")
    if wanted not in ("auto", "away"):
        raise failed("invalid_presence")
    call.store.setdefault("presence", {})[call.user] = "away" if wanted == "away" else "active"
    return call.good({}, "users:write", changes=True)


def set_profile(call: Call) -> Reply:
    """Run ``users.profile.set``: change the given fields of the caller's status."""
    call.needs("users.profile:write")
    wanted = call.parse_json("profile")
    if not isinstance(wanted, dict):
        raise failed("invalid_profile")
    if len(str(wanted.get("status_text", ""))) > 100:
        raise failed("too_long")
    kept = call.store.setdefault("profiles", {}).setdefault(call.user, {})
    kept |= {name: value for name, value in wanted.items() if name.startswith("status_")}
    return call.good(
        {"profile": format_user(call, users_by_id(call.world)[call.user])["profile"]},
        "users.profile:write",
        changes=True,
    )


# ------------------------------------------------------------------ groups


def groups(call: Call) -> Reply:
    call.needs("usergroups:read")
    rows = [
        {name: value for name, value in row.items() if name != "users"}
        | ({"user_count": len(row["users"])} if call.flag("include_count") else {})
        for row in call.store.get("usergroups", [])
    ]
    return call.good({"usergroups": rows}, "usergroups:read")


def group_users(call: Call) -> Reply:
    call.needs("usergroups:read")
    found = next((row for row in call.store.get("usergroups", []) if row["id"] == call.text("usergroup")), None)
    if found is None:
        raise failed("no_such_subteam")
    return call.good({"users": list(found["users"])}, "usergroups:read")


# ------------------------------------------------------------------ do not disturb


def snooze(call: Call) -> Reply:
    """Run ``dnd.setSnooze``: no notifications for some minutes."""
    call.needs("dnd:write")
    minutes = call.number("num_minutes", 0, 10_080)
    ends = call.now + minutes * 60
    call.store.setdefault("snoozed", {})[call.user] = ends
    told = {"snooze_enabled": True, "snooze_endtime": ends, "snooze_remaining": minutes * 60}
    return call.good(told, "dnd:write", changes=True)


def end_snooze(call: Call) -> Reply:
    call.needs("dnd:write")
    if call.store.setdefault("snoozed", {}).pop(call.user, 0) <= call.now:
        raise failed("snooze_not_active")
    return call.good({"snooze_enabled": False}, "dnd:write", changes=True)
