"""Linear: an issue's values before and after a change, and the undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deputize.core import Preview, Undo
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits.linear.base import PRIORITIES, Json
from deputize.toolkits.linear.preview import Place, as_changes, issue_words, loses, team_words
from deputize.toolkits.linear.rows import name, nodes

NOW: Final[Mapping[str, Callable[[Json], Any]]] = {
    "title": lambda one: one.get("title"),
    "description": lambda one: one.get("description") or "",
    "team": lambda one: team_words(one.get("team") or {}),
    "state": lambda one: name(one.get("state")),
    "assignee": lambda one: name(one.get("assignee")),
    "priority": lambda one: PRIORITIES[int(one.get("priority") or 0)],
    "labels": lambda one: sorted(name(label) for label in nodes(one.get("labels"))),
    "project": lambda one: name(one.get("project")),
    "milestone": lambda one: name(one.get("projectMilestone")),
    "cycle": lambda one: str((one.get("cycle") or {}).get("number") or ""),
    "parent": lambda one: issue_words(one["parent"]) if one.get("parent") else "",
    "estimate": lambda one: one.get("estimate"),
    "due_date": lambda one: one.get("dueDate") or "",
}
"""The text of each present value of an issue, in the order of the preview."""

_THINGS: Final = {
    "state": "state",
    "assignee": "assignee",
    "project": "project",
    "milestone": "projectMilestone",
    "cycle": "cycle",
    "parent": "parent",
}
_PINNED: Final = ("Id", "Ids", "priority")
_CLEARED: Final = ("assignee", "project", "cycle", "parent", "due_date")  # by the word none


@dataclass
class Wanted:
    """The changes of an issue: for Linear, and in words by argument. ``labels``: labels that are added or removed."""

    given: dict[str, Any] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, list[Json]] = field(default_factory=dict)

    def set(self, argument: str, to: str, value: Any, words: Any = None) -> None:
        """Set one value. None clears the field."""
        self.given[to] = value
        self.words[argument] = ("" if value is None else value) if words is None else words

    def lists(self, argument: str, to: str, labels: Iterable[Json]) -> None:
        """Set the labels that are added or removed."""
        self.labels[argument] = list(labels)
        self.given[to] = [str(one["id"]) for one in self.labels[argument]]

    @property
    def pins(self) -> Json:
        """The ids and numbers of the new values."""
        return {to: value for to, value in self.given.items() if value is not None and to.endswith(_PINNED)}


def show(stands: Place, found: Sequence[Json], wanted: Wanted) -> Preview:
    """Return the preview: of one issue beside each current value; of several the new values and a line per issue."""
    pins = wanted.pins | {"issue_ids": [one["id"] for one in found]}
    moved = "A moved issue gets another number, and its state, cycle and labels may change with its team."
    note = moved if "team" in wanted.words else None
    if len(found) > 1:
        lines = [_line(one, wanted) for one in found]
        coming = {argument: sorted(map(name, labels)) for argument, labels in wanted.labels.items()}
        fields: Json = {argument: wanted.words[argument] for argument in NOW if argument in wanted.words} | coming
        return stands.show("Change these issues", pins=pins, issues=lines, **fields, note=note)
    one = found[0]
    fields = as_changes(_current(one, wanted), _after(one, wanted))
    lost = loses(fields, "description")
    return stands.show("Change this issue", pins=pins, destroys=lost, issue=issue_words(one), **fields, note=note)


def _current(one: Json, wanted: Wanted) -> Json:
    return {argument: look(one) for argument, look in NOW.items() if argument in _names(wanted)}


def _names(wanted: Wanted) -> set[str]:
    return set(wanted.words) | ({"labels"} if wanted.labels else set())


def _after(one: Json, wanted: Wanted) -> Json:
    """Return the new values. An unchanged value keeps its current words."""
    after = dict(wanted.words)
    if who := one.get("assignee"):
        after |= {"assignee": name(who)} if wanted.given.get("assigneeId") == who.get("id") else {}
    if wanted.labels:
        gone = {label["id"] for label in wanted.labels.get("remove_labels", ())}
        kept = [label for label in nodes(one.get("labels")) if label["id"] not in gone]
        come = {label["id"]: name(label) for label in [*kept, *wanted.labels.get("add_labels", ())]}
        after["labels"] = sorted(come.values())
    after |= {argument: f"{after[argument]} (another one of this name)" for argument in _namesakes(one, wanted, after)}
    return {argument: after[argument] for argument in NOW if argument in after}


def _namesakes(one: Json, wanted: Wanted, after: Json) -> list[str]:
    """Return the changed values that have the same name before and after."""
    found = [argument for argument in ("assignee", "project", "milestone") if after.get(argument)]
    return [
        argument
        for argument in found
        if after[argument] == NOW[argument](one)
        and wanted.given.get(f"{_THINGS[argument]}Id") != (one.get(_THINGS[argument]) or {}).get("id")
    ]


def _line(one: Json, wanted: Wanted) -> str:
    """Return a line for one of several issues, with the current values that are replaced."""
    now = [f"{argument.replace('_', ' ')} {value or 'none'}" for argument, value in _current(one, wanted).items()]
    now = [text for text in now if not text.startswith("labels ")]
    return f"{issue_words(one)} (now: {', '.join(now)})" if now else issue_words(one)


def undo(found: Sequence[Json], done: Sequence[Json], wanted: Wanted) -> Undo | None:
    """Return the call that restores the values, or None. No call can undo a move to another team, clear a value that
    cannot be cleared, or restore different values of several issues."""
    if "team" in wanted.words or len(done) != len(found):
        return None
    back, *others = [_restore_arguments(one, wanted) for one in found]
    if not back or any(one != back for one in others) or (others and wanted.labels):
        return None
    holds: Json = {"issues": [_line(one, wanted) for one in done]}
    if not others:
        before, now = _current(found[0], wanted), _current(done[0], wanted)
        changed = [argument for argument in now if now[argument] != before[argument]]
        holds = {argument: "" if now[argument] is None else now[argument] for argument in changed}
        if "description" in back:
            back["if_text"] = digest(str(done[0].get("description") or ""))
    return Undo("linear_update_issue", {"issues": [one["identifier"] for one in found], **back}, holds=holds)


def _restore_arguments(one: Json, wanted: Wanted) -> Json | None:
    """Return an issue's current values as arguments."""
    back: Json = {}
    arguments = _names(wanted) | ({"milestone"} if "project" in wanted.words else set())  # it changes with its project
    for argument in [one for one in NOW if one in arguments and one != "labels"]:
        value = _argument(one, argument)
        if value is None and argument == "milestone":
            if "milestone" in wanted.words and (one.get("project") or {}).get("id") == wanted.given.get("projectId"):
                return None
        elif value is None:
            return None
        else:
            back[argument] = value
    return back | _labels_back(one, wanted)


def _argument(one: Json, argument: str) -> Any:
    """Return a value of an issue as an argument. None: the value is empty, and no word clears the field."""
    value = NOW[argument](one)
    if argument in _THINGS:
        thing = one.get(_THINGS[argument]) or {}
        value = thing.get("identifier") or thing.get("id")
    return "none" if value in (None, "") and argument in _CLEARED else value


def _labels_back(one: Json, wanted: Wanted) -> Json:
    there = {label["id"] for label in nodes(one.get("labels"))}
    came = [label["id"] for label in wanted.labels.get("add_labels", ()) if label["id"] not in there]
    went = [label["id"] for label in wanted.labels.get("remove_labels", ()) if label["id"] in there]
    return ({"remove_labels": came} if came else {}) | ({"add_labels": went} if went else {})
