"""The workspace's people, for searches across all accounts."""

from __future__ import annotations

from deputize.core import Steps
from deputize.toolkits.linear import matching
from deputize.toolkits.linear.api import nodes
from deputize.toolkits.linear.base import LINEAR, READ, Json

_MAX_PEOPLE = 20


@LINEAR.people(needs=[READ])
def people(who: str) -> Steps:
    """Users of the workspace."""
    word = who.strip().removeprefix("@")
    if matching.is_id(word):
        narrow: Json = {"id": {"eq": word}}
    elif "@" in word:
        narrow = {"email": {"eqIgnoreCase": word}}
    else:
        narrow = matching.part_filter(word, "displayName", "name")
    found = yield from nodes("LookupUsers", first=_MAX_PEOPLE, filter=narrow)
    return {
        "people": [_as_found(one) for one in found if one.get("active") is not False],
        "whole": len(found) < _MAX_PEOPLE,
    }


def _as_found(user: Json) -> Json:
    """Return a person's fields. Linear verifies the address of the sign-in. A guest is outside the organization."""
    guest = bool(user.get("guest"))
    return {
        "id": str(user.get("id") or ""),
        "name": str(user.get("name") or ""),
        "names": [str(user.get("displayName") or "")],
        "handle": str(user.get("displayName") or ""),
        "addresses": [str(user.get("email") or "")],
        "where": "guest" if guest else "user",
        "known": not guest,
        "verified": True,
        **({"untrusted": True} if guest else {}),
    }
