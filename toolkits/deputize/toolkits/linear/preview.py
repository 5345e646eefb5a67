"""Preview of a change at Linear: its place, its audience, and the old values beside the new ones.

An object's teams decide who sees the object: the whole organization, or a private team's members, who are then named. A
restricted team is inside a private team. Its members cannot be read, so it counts as the private team.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deputize.core import Audience, Change, Preview, Undo
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits.linear.api import Asks, get
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.rows import name, nodes

WORKSPACE = "the whole workspace"
ONLY_BY_HAND = "only by hand, in Linear"
_TEAMS = 8  # of a project that are read: with so many there may be more
_MEMBERS = 50  # of a team that are read
_WORDS = {"public": "", "private": ", a private team", "restricted": ", a restricted team"}


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an object. ``members``: names of the private teams' members, who alone see it. ``shared``: people
    outside the team who have access."""

    where: str
    audience: Audience
    members: Sequence[str] | None = None
    shared: Sequence[str] = ()

    def synced(self, services: Sequence[str]) -> Place:
        """Return the place with copies at other services, whose audience cannot be read."""
        if not services:
            return self
        return replace(self, where=f"{self.where}, copied to {', '.join(services)}", audience=Audience.UNKNOWN)

    def inside(self, what: str) -> Place:
        """Return the place of something inside an object at this place."""
        return replace(self, where=f"{what}, {self.where}" if self.where else what)

    def to(self, other: Place) -> Place:
        """Return the place of a move: the people of both places see the object."""
        wider = max(self.audience, other.audience)
        members = sorted({*(self.members or ()), *(other.members or ())}) if wider is Audience.PEOPLE else None
        where = self.where if other.where in self.where else f"{self.where}; {other.where}"
        return Place(where, wider, members, sorted({*self.shared, *other.shared}))

    def show(
        self,
        what: str,
        /,
        *,
        pins: Mapping[str, Any] | None = None,
        beside: Mapping[str, Any] | None = None,
        destroys: bool = False,
        **fields: Any,
    ) -> Preview:
        """Return the preview of a change at this place."""
        return Preview(
            what,
            audience=self.audience,
            where=self.where,
            pins=pins,
            context={"members_of_the_team": self.members},
            beside=beside,
            destroys=destroys,
            **fields,
            shared_with=list(self.shared) or None,
        )


def workspace(where: str = WORKSPACE) -> Place:
    """Return a place that every member of the workspace sees."""
    return Place(where, Audience.ORGANISATION)


def place(teams: Iterable[Any], where: str = "") -> Asks[Place]:
    """Return the place of these teams' objects. ``where``: text in front of the teams' names."""
    known = {str(one["id"]): one for one in teams if isinstance(one, dict)}
    rows = sorted(known.values(), key=lambda one: str(one.get("key")))
    text = ", ".join([where] * bool(where) + [f"team {team_words(one)}" for one in rows])
    kinds = {one.get("visibility") for one in rows}
    if kinds != {"private"} or len(rows) >= _TEAMS:
        return Place(text, Audience.ORGANISATION if kinds & {"public", "restricted"} else Audience.UNKNOWN)
    people: set[str] = set()
    for one in rows:
        members = nodes((yield from get("Team", id=one["id"])).get("members"))
        people |= {person(member) for member in members} | ({"and others"} if len(members) >= _MEMBERS else set())
    return Place(text, Audience.PEOPLE, sorted(people))


def issue_place(issues: Sequence[Json], to: Json | None = None) -> Asks[Place]:
    """Return the place of issues, with the services that copy the issues and the people who have access.

    ``to``: the team to which the issues are moved.
    """
    found = yield from place([*(one.get("team") for one in issues), to])
    services = {str(one.get("service")) for issue in issues for one in issue.get("syncedWith") or ()}
    people = [one for issue in issues for one in (issue.get("sharedAccess") or {}).get("sharedWithUsers") or ()]
    return replace(found, shared=sorted(set(map(person, people)))).synced(sorted(services))


def project_place(project: Json) -> Asks[Place]:
    """Return the place of a project and its parts."""
    return place(nodes(project.get("teams")), f"project {project.get('name')}")


def team_words(team: Json) -> str:
    """Return a team in words."""
    return f"{team.get('name')} ({team.get('key')}{_WORDS.get(str(team.get('visibility')), '')})"


def issue_words(issue: Json) -> str:
    """Return an issue in words."""
    return f"{issue.get('identifier')} {issue.get('title')}"


def person(user: Json) -> str:
    """Return a person's name and address."""
    email = user.get("email")
    return f"{name(user)} ({email})" if email and email != name(user) else name(user)


def as_changes(now: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Return the new values. A value that differs from the old one is a `Change`."""
    return {
        field: value if now.get(field) == value else Change("" if now.get(field) is None else now[field], value)
        for field, value in after.items()
        if value is not None
    }


def loses(fields: Mapping[str, Any], *texts: str) -> bool:
    """True if any of these texts is lost: the old text is not part of the new one."""
    changes = [one for one in (fields.get(text) for text in texts) if isinstance(one, Change)]
    return any(one.before and str(one.before) not in str(one.after) for one in changes)


def undo(call: Json, **holds: Any) -> Undo:
    """Return a result's ``undo`` as a step. ``holds``: see `Undo`. A value of None is not compared."""
    return Undo(call["tool"], call["args"], {what: value for what, value in holds.items() if value is not None})


def version_of(text: Any) -> str:
    """Return the digest of a text that is not displayed. With it only the version that was read is archived."""
    return digest(str(text or ""))
