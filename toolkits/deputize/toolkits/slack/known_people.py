"""The workspace's people, for searches across all accounts."""

from __future__ import annotations

from deputize.core import Run, Steps
from deputize.core.errors import NotFound
from deputize.toolkits.slack import api, refs, users
from deputize.toolkits.slack.base import KNOWS_PEOPLE, SLACK, Asks, Caller, Json, Row

_MAX_PEOPLE = 20
_UNKNOWN = "not granted: users:read.email"


@SLACK.people(needs=[KNOWS_PEOPLE])
def people(who: str, *, run: Run) -> Steps:
    """Members of the workspace."""
    caller = Caller.of(run)
    by_address = "users:read.email" in caller.granted
    missing = {} if by_address else {"email addresses": _UNKNOWN}
    if refs.email(who) == who or refs.user_id(who):
        if not by_address and not refs.user_id(who):
            return {"people": [], "not_looked": missing}
        return {"people": (yield from _find_one(who)), "not_looked": missing}
    everybody = yield from api.list_pages(lambda cursor: users.listing(caller, cursor), "members")
    wanted = users.fold_name(who.strip().removeprefix("@"))
    found = [one for one in everybody.rows if _is_somebody(one) and _comes_near(one, wanted)]
    found.sort(key=lambda one: wanted not in map(users.fold_name, users.names_of(one)))
    whole = everybody.whole and len(found) <= _MAX_PEOPLE
    return {"people": [_as_found(one) for one in found[:_MAX_PEOPLE]], "whole": whole, "not_looked": missing}


def _find_one(who: str) -> Asks[list[Json]]:
    id = refs.user_id(who)
    try:
        answer = yield users.info(id) if id else api.call("users.lookupByEmail", {"email": who})
    except NotFound:
        return []
    return [_as_found(answer["user"])] if _is_somebody(answer["user"]) else []


def _is_somebody(user: Row) -> bool:
    return not (user.get("deleted") or user.get("is_bot") or user.get("id") == "USLACKBOT")


def _comes_near(user: Row, wanted: str) -> bool:
    return bool(wanted) and any(wanted in users.fold_name(name) for name in users.names_of(user) if name)


def _as_found(user: Row) -> Json:
    """Return a person's fields. Guests and external people choose their names. External addresses are unverified."""
    handle, display, real = users.names_of(user)
    address = str(users.profile_of(user).get("email") or "")
    external = users.is_external(user)
    return {
        "id": str(user.get("id") or ""),
        "name": real or display or handle,
        "names": [one for one in (display, handle) if one],
        "handle": handle,
        "addresses": [address] if address else [],
        "where": "guest or outsider" if external else "member",
        "known": not external,
        "verified": bool(address) and not user.get("is_stranger"),
        **({"untrusted": True} if external else {}),
    }
