"""People of the user's organizations, for searches across all accounts.

Anybody can take any name at GitHub, and display any address. So only members of the user's organizations are read, and
only those of their addresses that are in domains verified by the organization.
"""

from __future__ import annotations

from typing import Final

from deputize.core import Run, Steps
from deputize.core.visible_text import as_read
from deputize.toolkits.github import api
from deputize.toolkits.github.base import GITHUB, Asks, needs
from deputize.toolkits.github.documents import MEMBERS, query
from deputize.toolkits.github.rows import Json

_ORGS: Final = 3
_PAGES: Final = 3  # of a hundred members
_MAX_PEOPLE: Final = 20


@GITHUB.people(needs=[needs("GET O/members", "read:org", "write:org", "admin:org", app=("members:read",))])
def people(who: str, *, run: Run) -> Steps:
    """Members of the user's organizations."""
    orgs = [str(one["login"]) for one in (yield from api.list_rows("/user/orgs", "", 1))]
    found: dict[str, Json] = {}
    whole = len(orgs) <= _ORGS
    for org in orgs[:_ORGS]:
        members, all_of_them = yield from _members(org)
        whole = whole and all_of_them
        for one in members:
            row = _as_found(one)
            if _comes_near(row, who):
                known = found.setdefault(row["id"], row)
                found[row["id"]] = row if row["verified"] and not known["verified"] else known
    rows = list(found.values())
    return {"people": rows[:_MAX_PEOPLE], "whole": whole and len(rows) <= _MAX_PEOPLE}


def _members(org: str) -> Asks[tuple[list[Json], bool]]:
    """Return members of an organization, and whether they are all."""
    rows: list[Json] = []
    after: str | None = None
    for _ in range(_PAGES):
        data = yield from query(MEMBERS, org=org, after=after)
        page = (data.get("organization") or {}).get("membersWithRole") or {}
        rows += [one for one in page.get("nodes") or () if one]
        info = page.get("pageInfo") or {}
        if not info.get("hasNextPage"):
            return rows, True
        after = info.get("endCursor")
    return rows, False


def _as_found(member: Json) -> Json:
    checked = [str(one) for one in member.get("organizationVerifiedDomainEmails") or ()]
    return {
        "id": str(member.get("login") or ""),
        "handle": str(member.get("login") or ""),
        "name": str(member.get("name") or member.get("login") or ""),
        "addresses": checked,
        "where": "member",
        "known": True,
        "verified": bool(checked),
    }


def _comes_near(row: Json, who: str) -> bool:
    word = as_read(who)
    return any(word in as_read(text) for text in (row["id"], row["name"], *row["addresses"]))
