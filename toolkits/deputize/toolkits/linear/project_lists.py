"""Linear: a project's teams, members and labels, which are added and removed one by one.

Linear replaces a list as a whole, so the current list is read first, and rows that the call does not name stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.core import Account
from deputize.core.errors import InvalidInput
from deputize.toolkits.linear import matching
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.preview import person, team_words
from deputize.toolkits.linear.rows import name
from deputize.toolkits.linear.rows import nodes as inner

TO: Final[Mapping[str, str]] = {"teams": "teamIds", "members": "memberIds", "labels": "labelIds"}
_MAX_ROWS: Final = {"teams": 50, "members": 250, "labels": 100}  # read per list
_CALLED: Final[Mapping[str, Callable[[Json], str]]] = {"teams": team_words, "members": person, "labels": name}
_AS_IT_IS: Final[Mapping[str, Callable[[Json], str]]] = {"teams": team_words, "members": name, "labels": name}


@dataclass(frozen=True, slots=True)
class Several:
    """One of these lists: current rows, added rows and removed rows."""

    argument: str
    now: Sequence[Json] = ()
    coming: Sequence[Json] = ()
    leaving: Sequence[Json] = ()

    @property
    def changes(self) -> bool:
        """True if the list changes."""
        return bool(self.coming or self.leaving)

    @property
    def ids(self) -> list[str]:
        """The ids of the new list."""
        gone = {one["id"] for one in self.leaving}
        return [str(one["id"]) for one in [*self.now, *self.coming] if one["id"] not in gone]

    @property
    def words(self) -> list[str]:
        """The new list in words. Members who stay are listed under their current names."""
        gone = {one["id"] for one in self.leaving}
        stay = [_AS_IT_IS[self.argument](one) for one in self.now if one["id"] not in gone]
        return sorted([*stay, *map(_CALLED[self.argument], self.coming)])

    @property
    def back(self) -> dict[str, list[str]]:
        """The arguments that undo the change."""
        args = {f"add_{self.argument}": self.leaving, f"remove_{self.argument}": self.coming}
        return {name: [str(one["id"]) for one in rows] for name, rows in args.items() if rows}


def values(node: Json) -> dict[str, list[str]]:
    """Return these lists for the preview."""
    return {argument: sorted(map(_AS_IT_IS[argument], inner(node.get(argument)))) for argument in TO}


Named = Mapping[str, Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Lists:
    """The rows that the call names for each list. ``teams``: the teams of a new project."""

    teams: Sequence[str] | None
    add: Named
    remove: Named
    account: Account = field(repr=False)

    def of_new(self) -> Asks[list[Several]]:
        """Return the lists of a new project."""
        if any(self.remove.values()):
            raise InvalidInput("remove_: only for a project that exists.", hint="Give project.")
        found = []
        for argument in TO:
            first = self.teams if argument == "teams" else None
            rows = yield from self._find_rows(argument, argument if first else f"add_{argument}", first)
            rows += yield from self._find_rows(argument, f"add_{argument}", self.add.get(argument))
            if rows:
                found.append(Several(argument, coming=list({one["id"]: one for one in rows}.values())))
        return found

    def of(self, project: Json) -> Asks[list[Several]]:
        """Return the project's lists that change. Raises `InvalidInput` if a list would be replaced."""
        if self.teams:
            raise InvalidInput(
                "teams: only for a new project, since it would replace the teams of this one.",
                hint="Give add_teams and remove_teams.",
            )
        found = []
        for argument in TO:
            coming = yield from self._find_rows(argument, f"add_{argument}", self.add.get(argument))
            leaving = yield from self._find_rows(argument, f"remove_{argument}", self.remove.get(argument))
            several = _plan(argument, inner(project.get(argument)), coming, leaving)
            if several.changes:
                found.append(several)
        return found

    def _find_rows(self, argument: str, field: str, wanted: Sequence[str] | None) -> Asks[list[Json]]:
        rows = []
        for one in wanted or ():
            if argument == "teams":
                rows.append((yield from names.team(one, field)))
            elif argument == "members":
                rows.append((yield from names.user(one, self.account, field)))
            else:
                rows.append((yield from _label(one, field)))
        return rows


def _plan(argument: str, now: Sequence[Json], coming: Sequence[Json], leaving: Sequence[Json]) -> Several:
    there = {one["id"] for one in now}
    if twice := {one["id"] for one in coming} & {one["id"] for one in leaving}:
        named = next(_CALLED[argument](one) for one in coming if one["id"] in twice)
        raise InvalidInput(f"add_{argument}, remove_{argument}: both name {named}.", hint="Name each in one of them.")
    new = {one["id"]: one for one in coming if one["id"] not in there}
    gone = {one["id"]: one for one in leaving if one["id"] in there}
    several = Several(argument, now, list(new.values()), list(gone.values()))
    if several.changes and len(now) >= _MAX_ROWS[argument]:
        raise InvalidInput(
            f"add_{argument}, remove_{argument}: this project has more than can be read, and some would be lost.",
            hint="It can be changed in Linear itself.",
        )
    if argument == "teams" and several.changes and not several.ids:
        raise InvalidInput("remove_teams: a project must keep at least one team.", hint="Add another team as well.")
    return several


def _label(wanted: str, field: str) -> Asks[Json]:
    """Return a project label by id or name. A group itself is not a label."""
    rows = yield from nodes("LookupProjectLabels", first=_MAX_ROWS["labels"])
    usable = [one for one in rows if not one.get("isGroup") and not one.get("retiredAt")]
    return matching.choose(usable, wanted, field)
