"""GitHub: creating and changing milestones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Need, Run, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits._shared.zone import days_in_zone, nobody
from deputize.toolkits.github import api
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Repo, Word
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.labels import ABOUT, due, with_body
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Title, check_edit, new_body
from deputize.toolkits.github.show_fields import HOME, Home, change_of, home_of, loses, restorable_text


def _needs(arguments: Mapping[str, Any]) -> Sequence[Need]:
    change = "PATCH R/milestones/{milestone_number}" if arguments["milestone"] else "POST R/milestones"
    return [*changes(change, "issues:write"), reads("GET R/milestones", "issues:read", "pull_requests:read"), HOME]


@GITHUB.tool(needs=_needs, effect=SENDS, toolset="repos")
@in_repo()
def save_milestone(
    repo: Repo,
    milestone: Annotated[Word | None, Field(description="one to change, by title or number; else a new one")] = None,
    title: Title | None = None,
    body: Annotated[Body | None, Field(description="its description")] = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    due_on: Annotated[str | None, Field(description="a date, or a distance such as +2w")] = None,
    state: Literal["open", "closed"] | None = None,
    *,
    run: Run,
) -> Steps:
    """Create a milestone, or change one: title, description, due date, open or closed."""
    edit = Edit(append, replaces, if_text)
    check_edit(edit, body)
    given: Json = {"title": title, "state": state}
    if due_on is not None:
        run = yield from days_in_zone(run, nobody, due_on=due_on)
        day = times.day(due_on, run.now, "due_on", run.zone)
        given["due_on"] = f"{day}T12:00:00Z"  # noon UTC is that day everywhere
    given = {name: value for name, value in given.items() if value is not None}
    home = yield from home_of(repo)
    if not milestone:
        if not title or edit != Edit():
            raise InvalidInput(
                "title: needed for a new milestone, and append, replaces and if_text only for an old one.",
                hint="Add title.",
            )
        return (yield from _create(home, given | ({"description": body} if body else {})))
    there = yield from names.milestone_row(home.name, milestone)
    if body is not None:
        told = new_body(with_body(there), body, edit, run.key, limit=ABOUT)
        given |= {"description": told["body"]} if told else {}
    return (yield from _change(home, there, given))


def _create(home: Home, given: Json) -> Asks[Json]:
    """Create a milestone. Titles are unique at GitHub, so a second attempt finds the milestone of the first."""
    if there := (yield from _find_by_title(home.name, given["title"])):
        raise Conflict(
            "title: conflict (exists): there is a milestone of this title.",
            reason="exists",
            hint=f"milestone={there['number']} changes it.",
        )
    yield home.shows(
        "Create this milestone",
        title=given["title"],
        text=given.get("description"),
        due=given.get("due_on", "")[:10] or None,
        state=given.get("state"),
        pins={"due_on": given.get("due_on")},
    )
    try:
        row = yield from api.write(rest("POST R/milestones", home.name, json=given, repeat="idem"))
    except (Conflict, InvalidInput) as refused:
        row = (yield from _find_by_title(home.name, given["title"])) or {}
        if not row:
            raise refused from None
        if any(_value(row, field) != _value(given, field) for field in given):
            raise Conflict(
                "title: conflict (exists): somebody has made it meanwhile.",
                reason="exists",
                hint="Call again with its number to change it.",
            ) from None
        return _receipt(row, "It was there already.") | {"existed": True}
    back = {"kind": "milestone", "repo": home.name, "id": str(row.get("number"))}
    holds = {"milestone": row.get("title"), "about": row.get("description"), "due": due(row)}
    yield Undo("github_delete", back, holds=holds)
    return _receipt(row, "Created.")


def _value(row: Mapping[str, Any], field: str) -> str:
    """Return the text of a field; for a time, its day."""
    return due(row) if field == "due_on" else str(row.get(field) or "")


def _find_by_title(repo: str, title: str) -> Asks[Json | None]:
    rows = yield from api.list_rows("R/milestones", repo, 10, params={"state": "all"})
    return next((dict(row) for row in rows if str(row["title"]) == title), None)


_SHOWN = {"title": "title", "description": "text", "due_on": "due", "state": "state"}


def _change(home: Home, there: Mapping[str, Any], given: Json) -> Asks[Json]:
    """Write the fields that differ."""
    fields = {_SHOWN[name]: change_of(_value(there, name), _value(given, name)) for name in given}
    sent = {name: value for name, value in given.items() if fields[_SHOWN[name]] is not None}
    if not sent:
        return _receipt(there, "It was so already.")
    yield home.shows(
        "Change this milestone",
        milestone=there.get("title"),
        **dict[str, Any](fields),
        pins={"number": there["number"], "due_on": sent.get("due_on")},
        destroys=loses(there.get("description"), sent.get("description")),
    )
    method, at = "PATCH R/milestones/{milestone_number}", {"milestone_number": there["number"]}
    row = dict((yield from api.send(rest(method, home.name, at=at, json=sent, repeat="idem"))).data)
    if undo := _undo(home.name, there, sent):
        yield undo
    return _receipt(row, "Changed.")


def _undo(repo: str, there: Mapping[str, Any], sent: Mapping[str, Any]) -> Undo | None:
    """Return the call that restores the milestone, or None if GitHub or a tool cannot write an old value."""
    old = {name: _value(there, name) for name in sent}
    if ("due_on" in sent and not old["due_on"]) or any(restorable_text(value) is None for value in old.values()):
        return None
    back: Json = {"repo": repo, "milestone": str(there["number"])}
    back |= {"body" if name == "description" else name: value for name, value in old.items()}
    back |= {"if_text": digest(sent["description"])} if "description" in sent else {}
    return Undo("github_save_milestone", back, holds={_SHOWN[name]: _value(sent, name) for name in sent})


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    told = {"number": row.get("number"), "title": row.get("title"), "state": row.get("state"), "due": due(row) or None}
    return {**told, "url": row.get("html_url"), "summary": summary}
