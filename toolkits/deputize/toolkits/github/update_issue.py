"""GitHub: changing an issue or a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Need, Preview, Run, Steps, Undo
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api, documents
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Assignees, Label, Number, Person, Repo, Word, is_awkward
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.create_issue import name_needs
from deputize.toolkits.github.issue_changes import Wanted, type_of
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Prose, Title, check_edit, new_body
from deputize.toolkits.github.rows import labels as label_list
from deputize.toolkits.github.rows import logins, repo_of
from deputize.toolkits.github.show_fields import HOME, Home, home_of, issue_of, loses, restorable_text, title_of

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
    if arguments["parent"] is not None:
        methods += [f"POST {_ISSUE}/sub_issues", f"DELETE {_ISSUE}/sub_issue"]
    methods += ["GRAPHQL Unlabel"] if any(map(is_awkward, arguments["remove_labels"] or ())) else []
    found = [need for method in methods for need in changes(method, *write)]
    found += [reads(f"GET {_ISSUE}", "issues:read", "pull_requests:read"), HOME]
    found += [reads(f"GET {_ISSUE}/parent", "issues:read")] if arguments["parent"] is not None else []
    found += [reads("GET R/issue-types", "issues:read")] if arguments["type"] else []
    return found + name_needs(arguments, "add_labels", "remove_labels", "milestone", "add_assignees")


@GITHUB.tool(needs=_update_needs, effect=SENDS)
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
    reason: Annotated[
        Literal["completed", "not_planned", "duplicate", "reopened"] | None, Field(description="of the new state")
    ] = None,
    add_labels: list[Label] | None = None,
    remove_labels: list[Label] | None = None,
    add_assignees: Assignees | None = None,
    remove_assignees: list[Person] | None = None,
    milestone: Annotated[Word | None, Field(description='title or number; "" clears')] = None,
    type: Annotated[Word | None, Field(description='issue type; "" clears')] = None,
    parent: Annotated[int | None, Field(ge=0, description="number of the issue above; 0 takes it out")] = None,
    locked: bool | None = None,
    *,
    run: Run,
) -> Steps:
    """Change an issue or pull request: text, state, labels, assignees, milestone, type, parent, lock."""
    if reason and not state:
        raise InvalidInput("reason: only together with state.", hint="Add state, or leave out reason.")
    edit = Edit(append, replaces, if_text)
    check_edit(edit, body)
    given = (title, body, state, milestone, type, parent, locked)
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
    if type is not None:
        patch["type"] = (yield from names.issue_type(repo, type)) if type else None
    above = (yield from _load_parent(repo, number)) if parent is not None else None
    wanted = Wanted(
        row,
        patch,
        due,
        (yield from names.label_names(repo, add_labels or [], "add_labels")),
        (yield from names.label_rows(repo, remove_labels or [], "remove_labels")),
        (yield from names.assignees(repo, add_assignees or [], "add_assignees", run.account)),
        [names.resolve_me(one, run.account) for one in remove_assignees or ()],
        locked,
        above,
        None if parent is None else (yield from issue_of(home, parent)) if parent else {},
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
    now = yield from api.get(_ISSUE, repo, at={"issue_number": number})
    if "type" in wanted.sent and type_of(now) != (wanted.sent["type"] or ""):
        warnings.append("GitHub left the type as it was. Setting it needs push access.")
    return _receipt(now, done, warnings)


def _load_parent(repo: str, number: int) -> Asks[Mapping[str, Any]]:
    """Return the parent issue, empty for none."""
    try:
        return dict((yield from api.get(f"{_ISSUE}/parent", repo, at={"issue_number": number})))
    except NotFound:
        return {}


def _show(home: Home, wanted: Wanted) -> Preview:
    """Preview all changes, before and after."""
    row, new = wanted.row, wanted.patch.get("body")
    pull = bool(row.get("pull_request"))
    fields: dict[str, Any] = {"pull_request" if pull else "issue": title_of(row), **wanted.fields}
    return home.shows(
        "Change this pull request" if pull else "Change this issue",
        **fields,
        context={"link": row.get("html_url")},
        pins={
            "issue": row.get("node_id"),
            "number": row.get("number"),
            "milestone": wanted.patch.get("milestone"),
            "taken_off": [str(one.get("node_id")) for one in wanted.taken_off] or None,
            "below": (wanted.beneath or {}).get("number"),
            "below_before": (wanted.above or {}).get("number"),
            "id": row.get("id"),
        },
        destroys=loses(row.get("body"), new),
    )


def _writes(repo: str, number: int, wanted: Wanted) -> list[tuple[str, Asks[Any]]]:
    """Return the writes, each with its name in the result."""
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
    if wanted.fields["below"] is not None:
        found.append(("parent", _move_issue(repo, wanted)))
    if wanted.fields["conversation"] is not None:
        method = f"{'PUT' if wanted.locked else 'DELETE'} {_ISSUE}/lock"
        found.append(("locked", change(method, {} if wanted.locked else None)))
    return found


def _move_issue(repo: str, wanted: Wanted) -> Asks[None]:
    """Move the issue below another issue, or out of its parent."""
    body: Json = {"sub_issue_id": wanted.row["id"]}
    if wanted.beneath:
        at, body = {"issue_number": wanted.beneath["number"]}, body | {"replace_parent": True}
        yield from api.send(rest(f"POST {_ISSUE}/sub_issues", repo, at=at, json=body, repeat="idem"))
    elif wanted.above:
        at, home = {"issue_number": wanted.above["number"]}, repo_of(wanted.above) or repo
        try:
            yield from api.send(rest(f"DELETE {_ISSUE}/sub_issue", home, at=at, json=body, repeat="idem"))
        except NotFound as missing:  # it existed before: an answer was lost, and it is removed
            if "right" in missing.message:
                raise


def _unlabel(repo: str, issue: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Asks[None]:
    """Remove labels one by one; a missing one counts as removed. GraphQL removes names that no path can contain."""
    for row in rows:
        if is_awkward(str(row["name"])):
            continue
        at = {"issue_number": issue["number"], "name": str(row["name"])}
        try:
            yield from api.send(rest(f"DELETE {_ISSUE}/labels/{{name}}", repo, at=at, repeat="idem"))
        except NotFound:
            continue
    if ids := [str(row["node_id"]) for row in rows if is_awkward(str(row["name"]))]:
        yield from documents.query(documents.UNLABEL, "idem", id=str(issue["node_id"]), labels=ids)


def _undo(repo: str, number: int, wanted: Wanted, warnings: Sequence[str]) -> Undo | None:
    """Return the call that restores the issue, or None if a write failed, or no tool may write an old text."""
    row, shown = wanted.row, {name: one for name, one in wanted.fields.items() if one is not None}
    title, body = restorable_text(row.get("title")), restorable_text(row.get("body"))
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
    back |= {"type": type_of(row)} if "type" in shown else {}
    if "below" in shown:
        above = wanted.above or {}
        if above and repo_of(above).lower() != repo.lower():
            return None
        back["parent"] = above.get("number") or 0
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
        "type": outside.line(type_of(row), 60) or None,
        "changed": list(dict.fromkeys(", ".join(done).split(", "))) if done else [],
        **({"warnings": list(warnings)} if warnings else {}),
    }
