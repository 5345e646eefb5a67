"""GitHub: change an issue or a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Change, Need, Run, Show, Steps, Undo
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api, documents, names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Assignee, Label, Number, Person, Repo, Word, awkward
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.create_issue import name_needs
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Prose, Title, checked_edit, new_body
from deputize.toolkits.github.rows import labels as label_list
from deputize.toolkits.github.rows import logins
from deputize.toolkits.github.show_fields import HOME, Home, change_of, home_of, issue_of, loses, restored, titled

_ISSUE = "R/issues/{issue_number}"


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    write = ("issues:write", "pull_requests:write")
    methods = [f"PATCH {_ISSUE}"]
    methods += [f"POST {_ISSUE}/labels"] if arguments["add_labels"] else []
    methods += [f"DELETE {_ISSUE}/labels/{{name}}"] if arguments["remove_labels"] else []
    methods += [f"POST {_ISSUE}/assignees"] if arguments["add_assignees"] else []
    methods += [f"DELETE {_ISSUE}/assignees"] if arguments["remove_assignees"] else []
    if arguments["locked"] is not None:
        methods.append(f"{'PUT' if arguments['locked'] else 'DELETE'} {_ISSUE}/lock")
    methods += ["GRAPHQL Unlabel"] if any(map(awkward, arguments["remove_labels"] or ())) else []
    found = [need for method in methods for need in changes(method, *write)]
    found += [reads(f"GET {_ISSUE}", "issues:read", "pull_requests:read"), HOME]
    return found + name_needs(arguments, "add_labels", "remove_labels", "milestone", "add_assignees")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an issue is to be, beside what it is: ``row``. None, or an empty list, leaves a thing alone.

    ``milestone``: an empty row takes it off; ``taken_off``: labels, as GitHub has them.
    """

    row: Mapping[str, Any]
    patch: Json
    milestone: Mapping[str, Any] | None
    labels: Sequence[str]
    taken_off: Sequence[Mapping[str, Any]]
    people: Sequence[str]
    sent_away: Sequence[str]
    locked: bool | None

    @property
    def labels_before(self) -> list[str]:
        """By their names."""
        return sorted(str(one.get("name")) for one in self.row.get("labels") or ())

    @property
    def labels_after(self) -> list[str]:
        """By their names."""
        gone = {str(one["name"]) for one in self.taken_off}
        return sorted({*self.labels_before, *self.labels} - gone)

    @property
    def people_before(self) -> list[str]:
        """Who is assigned, by their logins."""
        return sorted(logins(self.row.get("assignees"), 100))

    @property
    def people_after(self) -> list[str]:
        """Who will be, by their logins."""
        there, gone = {one.lower() for one in self.people_before}, {one.lower() for one in self.sent_away}
        new = [one for one in self.people if one.lower() not in there]
        return sorted(one for one in [*self.people_before, *new] if one.lower() not in gone)

    @property
    def fields(self) -> dict[str, Change | None]:
        """What changes, as it is shown."""
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
            "conversation": change_of(_LOCKED[was], _LOCKED[was if self.locked is None else self.locked]),
        }

    @property
    def _state_after(self) -> str:
        state, reason = self.patch.get("state"), self.patch.get("state_reason")
        if state is None or (state == self.row.get("state") and not reason):
            return _state(self.row)
        return _state({**self.row, "state": state, "state_reason": reason or "completed"})  # as GitHub takes it

    @property
    def sent(self) -> Json:
        """What of the patch changes anything."""
        shown = self.fields
        names = {"title": "title", "body": "text", "state": "state", "state_reason": "state", "milestone": "milestone"}
        return {name: value for name, value in self.patch.items() if shown[names[name]] is not None}


_LOCKED = {True: "locked", False: "open"}


def _state(row: Mapping[str, Any]) -> str:
    """Open, or closed and why; nobody closes a pull request for a reason."""
    told = row.get("state") == "closed" and not row.get("pull_request") and row.get("state_reason")
    return f"closed ({str(told).replace('_', ' ')})" if told else str(row.get("state"))


@GITHUB.tool(
    needs=_update_needs,
    effect=SENDS,
    aliases=["GitHub.UpdateIssue", "GitHub.ManageLabels", "GitHub.AssignPullRequestUser"],
)
@in_repo("this issue or pull request")
def update_issue(
    repo: Repo,
    number: Number,
    title: Title | None = None,
    body: Body | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    state: Literal["open", "closed"] | None = None,
    reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None,
    add_labels: list[Label] | None = None,
    remove_labels: list[Label] | None = None,
    add_assignees: list[Assignee] | None = None,
    remove_assignees: list[Person] | None = None,
    milestone: Annotated[Word | None, Field(description='"" clears')] = None,
    locked: bool | None = None,
    *,
    run: Run,
) -> Steps:
    """Change an issue or pull request: text, state, labels, assignees, milestone, lock."""
    if reason and not state:
        raise InvalidInput("reason: only together with state.")
    edit = Edit(append, replaces, if_text)
    checked_edit(edit, body)
    given = (title, body, state, milestone, locked)
    if all(one is None for one in given) and not (add_labels or remove_labels or add_assignees or remove_assignees):
        raise InvalidInput("Nothing to change.", hint="Give at least one thing to change.")
    home = yield from home_of(repo)
    repo = home.name
    row = yield from issue_of(home, number)
    patch: Json = {"title": title, "body": body, "state": state, "state_reason": reason}
    patch = {name: value for name, value in patch.items() if value is not None}
    if body is not None:
        patch.pop("body")
        patch |= new_body(row, body, edit, run.key)
    due: Mapping[str, Any] | None = None
    if milestone is not None:
        due = (yield from names.milestone_row(repo, milestone)) if milestone else {}
        patch["milestone"] = due.get("number")
    wanted = Wanted(
        row,
        patch,
        due,
        (yield from names.label_names(repo, add_labels or [], "add_labels")),
        (yield from names.label_rows(repo, remove_labels or [], "remove_labels")),
        (yield from names.assignees(repo, add_assignees or [], "add_assignees", run.account)),
        [names.me(one, run.account) for one in remove_assignees or ()],
        locked,
    )
    if not any(wanted.fields.values()):
        return _receipt(row, [], [])
    yield _show(home, wanted)
    done: list[str] = []
    warnings: list[str] = []
    for name, change in _writes(repo, number, wanted):
        yield from api.attempt(change, name, done, warnings)
    if undo := _undo(repo, number, wanted, warnings):
        yield undo
    return _receipt((yield from api.get(_ISSUE, repo, at={"issue_number": number})), done, warnings)


def _show(home: Home, wanted: Wanted) -> Show:
    """All that changes, as it is and as it will be."""
    row, new = wanted.row, wanted.patch.get("body")
    fields: dict[str, Any] = dict(wanted.fields)
    return home.shows(
        "Change this pull request" if row.get("pull_request") else "Change this issue",
        issue=titled(row),
        **fields,
        pins={
            "issue": row.get("node_id"),
            "number": row.get("number"),
            "milestone": wanted.patch.get("milestone"),
            "taken_off": [str(one.get("node_id")) for one in wanted.taken_off] or None,
        },
        destroys=loses(row.get("body"), new),
    )


def _writes(repo: str, number: int, wanted: Wanted) -> list[tuple[str, Asks[Any]]]:
    """What is to be sent, each part with the name that it is told by."""
    at = {"issue_number": number}

    def change(method: str, json: Any) -> Asks[Any]:
        return api.send(rest(method, repo, at=at, json=json, repeat="idem"))

    found = list[tuple[str, Asks[Any]]]()
    there, patch = wanted.labels_before, wanted.sent
    if patch:
        found.append((", ".join(patch), change(f"PATCH {_ISSUE}", patch)))
    if added := [one for one in wanted.labels_after if one not in there]:
        found.append(("labels", change(f"POST {_ISSUE}/labels", {"labels": added})))
    if added := [one for one in wanted.people_after if one not in wanted.people_before]:
        found.append(("assignees", change(f"POST {_ISSUE}/assignees", {"assignees": added})))
    if gone := [one for one in wanted.people_before if one not in wanted.people_after]:
        found.append(("assignees", change(f"DELETE {_ISSUE}/assignees", {"assignees": gone})))
    if off := [one for one in wanted.taken_off if str(one["name"]) in there]:
        found.append(("labels", _unlabel(repo, wanted.row, off)))
    if wanted.fields["conversation"] is not None:
        method = f"{'PUT' if wanted.locked else 'DELETE'} {_ISSUE}/lock"
        found.append(("locked", change(method, {} if wanted.locked else None)))
    return found


def _unlabel(repo: str, issue: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Asks[None]:
    """Take labels off, one by one; one that is not there is off. What no path can hold goes through GraphQL."""
    for row in rows:
        if awkward(str(row["name"])):
            continue
        at = {"issue_number": issue["number"], "name": str(row["name"])}
        try:
            yield from api.send(rest(f"DELETE {_ISSUE}/labels/{{name}}", repo, at=at, repeat="idem"))
        except NotFound:
            continue
    if ids := [str(row["node_id"]) for row in rows if awkward(str(row["name"]))]:
        yield from documents.query(documents.UNLABEL, "idem", id=str(issue["node_id"]), labels=ids)


def _undo(repo: str, number: int, wanted: Wanted, warnings: Sequence[str]) -> Undo | None:
    """What puts all of it back; None where a part of it failed, or holds what no tool may write."""
    row, shown = wanted.row, {name: one for name, one in wanted.fields.items() if one is not None}
    title, body = restored(row.get("title")), restored(row.get("body"))
    if warnings or title is None or body is None:
        return None
    back: Json = {"repo": repo, "number": number}
    back |= {"title": title} if "title" in shown else {}
    back |= {"body": body, "if_text": digest(wanted.patch["body"])} if "text" in shown else {}
    back |= {"state": row.get("state")} if "state" in shown else {}
    if "state" in shown and row.get("state") == "closed" and row.get("state_reason"):
        back["reason"] = row["state_reason"]
    for name, before, after in (
        ("labels", wanted.labels_before, wanted.labels_after),
        ("assignees", wanted.people_before, wanted.people_after),
    ):
        back |= {f"add_{name}": gone} if (gone := [one for one in before if one not in after]) else {}
        back |= {f"remove_{name}": new} if (new := [one for one in after if one not in before]) else {}
    if "milestone" in shown:
        back["milestone"] = str((row.get("milestone") or {}).get("number") or "")
    back |= {"locked": not wanted.locked} if "conversation" in shown else {}
    return Undo("github_update_issue", back, holds={name: one.after for name, one in shown.items()})


def _receipt(row: Mapping[str, Any], done: Sequence[str], warnings: Sequence[str]) -> Json:
    outside = Prose()
    return {
        "number": row.get("number"),
        "url": row.get("html_url"),
        "state": row.get("state"),
        "labels": label_list(row, outside),
        "assignees": logins(row.get("assignees")),
        "milestone": outside.title((row.get("milestone") or {}).get("title")) or None,
        "changed": list(dict.fromkeys(", ".join(done).split(", "))) if done else [],
        **({"warnings": list(warnings)} if warnings else {}),
    }
