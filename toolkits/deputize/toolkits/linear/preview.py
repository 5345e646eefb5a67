"""What a person is shown before Linear is changed: where it stands, who sees it, and what is replaced by what.

Who sees a thing follows from its teams: all of the organisation, or a private team's members, who are named then. A
team that is restricted lies within a private one, whose members nothing here can read, so it counts as the wider one.
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
_TEAMS = 8  # that a project shows at least: where there are so many there may be more
_MEMBERS = 50  # of a team that are read
_WORDS = {"public": "", "private": ", a private team", "restricted": ", a restricted team"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. ``members``: the people of the private teams that alone see it, by name; ``shared``: the
    people outside of its team who were let in on it."""

    where: str
    audience: Audience
    members: Sequence[str] | None = None
    shared: Sequence[str] = ()

    def synced(self, services: Sequence[str]) -> Place:
        """What is copied to other services is seen by whoever sees it there, which nobody here can read."""
        if not services:
            return self
        return replace(self, where=f"{self.where}, copied to {', '.join(services)}", audience=Audience.UNKNOWN)

    def inside(self, what: str) -> Place:
        """A thing that stands here, which more is put into."""
        return replace(self, where=f"{what}, {self.where}" if self.where else what)

    def to(self, other: Place) -> Place:
        """What stands here and will stand there, or on both, is seen by the people of both."""
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
        """What is about to happen here."""
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
    """Where every member of the workspace may look."""
    return Place(where, Audience.ORGANISATION)


def place(teams: Iterable[Any], where: str = "") -> Asks[Place]:
    """Where the things of these teams stand; ``where``: in front of the teams' names."""
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


def of_issues(issues: Sequence[Json], to: Json | None = None) -> Asks[Place]:
    """Where issues stand, with the services that they are kept in step with and the people who were let in on them.

    ``to``: the team that they are moved to.
    """
    found = yield from place([*(one.get("team") for one in issues), to])
    services = {str(one.get("service")) for issue in issues for one in issue.get("syncedWith") or ()}
    people = [one for issue in issues for one in (issue.get("sharedAccess") or {}).get("sharedWithUsers") or ()]
    return replace(found, shared=sorted(set(map(person, people)))).synced(sorted(services))


def of_project(project: Json) -> Asks[Place]:
    """Where a project stands, with what hangs on it."""
    return place(nodes(project.get("teams")), f"project {project.get('name')}")


def team_words(team: Json) -> str:
    """A team as a person knows it."""
    return f"{team.get('name')} ({team.get('key')}{_WORDS.get(str(team.get('visibility')), '')})"


def issue_words(issue: Json) -> str:
    """An issue as a person knows it."""
    return f"{issue.get('identifier')} {issue.get('title')}"


def person(user: Json) -> str:
    """Somebody as a person knows them."""
    email = user.get("email")
    return f"{name(user)} ({email})" if email and email != name(user) else name(user)


def replaced(now: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """What will be, beside what is there now where that differs; what is there as it is wanted is said as it is."""
    return {
        field: value if now.get(field) == value else Change("" if now.get(field) is None else now[field], value)
        for field, value in after.items()
        if value is not None
    }


def loses(fields: Mapping[str, Any], *texts: str) -> bool:
    """Whether any of these texts is there now and will not be: as it is, or as a part of what will be."""
    changes = [one for one in (fields.get(text) for text in texts) if isinstance(one, Change)]
    return any(one.before and str(one.before) not in str(one.after) for one in changes)


def undo(call: Json, **holds: Any) -> Undo:
    """What a result calls ``undo``, as the step. ``holds``: see `Undo`; what was left out is not compared."""
    return Undo(call["tool"], call["args"], {what: value for what, value in holds.items() if value is not None})


def version_of(text: Any) -> str:
    """What stands for a text that is not shown: what was read is what is put away."""
    return digest(str(text or ""))
