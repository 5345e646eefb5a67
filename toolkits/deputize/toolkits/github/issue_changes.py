"""Changes of an issue: its state before and after, and their preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deputize.core import Change
from deputize.toolkits.github.api import Json
from deputize.toolkits.github.rows import logins, repo_of
from deputize.toolkits.github.show_fields import change_of, title_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """The changes of an issue, whose current row is ``row``. None, or an empty list, leaves a field unchanged.

    ``milestone``: an empty row removes it. ``taken_off``: rows of labels to remove. ``above``: the current parent
    issue, if looked up. ``beneath``: the new parent, an empty row for none.
    """

    row: Mapping[str, Any]
    patch: Json
    milestone: Mapping[str, Any] | None
    labels: Sequence[str]
    taken_off: Sequence[Mapping[str, Any]]
    people: Sequence[str]
    sent_away: Sequence[str]
    locked: bool | None
    above: Mapping[str, Any] | None
    beneath: Mapping[str, Any] | None

    @property
    def labels_before(self) -> list[str]:
        return sorted(str(one.get("name")) for one in self.row.get("labels") or ())

    @property
    def labels_after(self) -> list[str]:
        gone = {str(one["name"]) for one in self.taken_off}
        return sorted({*self.labels_before, *self.labels} - gone)

    @property
    def people_before(self) -> list[str]:
        """The logins of the assignees."""
        return sorted(logins(self.row.get("assignees"), 100))

    @property
    def people_after(self) -> list[str]:
        """The logins of the assignees after the change."""
        there, gone = {one.lower() for one in self.people_before}, {one.lower() for one in self.sent_away}
        new = [one for one in self.people if one.lower() not in there]
        return sorted(one for one in [*self.people_before, *new] if one.lower() not in gone)

    @property
    def fields(self) -> dict[str, Change | None]:
        """The changes as the preview displays them."""
        row, patch = self.row, self.patch
        due = str((row.get("milestone") or {}).get("title") or "")
        new_due = due if self.milestone is None else str(self.milestone.get("title") or "")
        was = bool(row.get("locked"))
        return {
            "title": change_of(row.get("title"), patch.get("title", row.get("title"))),
            "text": change_of(row.get("body"), patch.get("body", row.get("body") or "")),
            "state": change_of(_state(row), self._state_after),
            "labels": change_of(self.labels_before, self.labels_after),
            "assignees": change_of(self.people_before, self.people_after),
            "milestone": change_of(due, new_due),
            "type": change_of(type_of(row), patch.get("type", type_of(row)) or ""),
            "below": None
            if self.beneath is None
            else change_of(_parent_title(self.above or {}), _parent_title(self.beneath)),
            "conversation": change_of(_LOCKED[was], _LOCKED[was if self.locked is None else self.locked]),
        }

    @property
    def _state_after(self) -> str:
        state, reason = self.patch.get("state"), self.patch.get("state_reason")
        if state is None or (state == self.row.get("state") and not reason):
            return _state(self.row)
        return _state({**self.row, "state": state, "state_reason": reason or "completed"})  # GitHub's default

    @property
    def sent(self) -> Json:
        """The fields of the patch that change something."""
        shown = self.fields
        names = {name: name for name in ("title", "state", "milestone", "type")}
        names |= {"body": "text", "state_reason": "state"}
        return {name: value for name, value in self.patch.items() if shown[names[name]] is not None}


def type_of(row: Mapping[str, Any]) -> str:
    """Return the type of an issue, "" for none."""
    return str((row.get("type") or {}).get("name") or "")


def _parent_title(row: Mapping[str, Any]) -> str:
    """Return the title of a parent issue; "" for none."""
    return f"{repo_of(row)} {title_of(row)}".strip() if row else ""


_LOCKED = {True: "locked", False: "open"}


def _state(row: Mapping[str, Any]) -> str:
    """Return open, or closed with the reason. A pull request has no reason."""
    told = row.get("state") == "closed" and not row.get("pull_request") and row.get("state_reason")
    return f"closed ({str(told).replace('_', ' ')})" if told else str(row.get("state"))
