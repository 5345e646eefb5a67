"""GitHub: adding issues and pull requests to projects, setting their fields, removing them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from deputize.core import Effect, Need, Preview, Request, Steps, Undo
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import IfTexts
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Owner, Word
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, reads
from deputize.toolkits.github.name_lookup import pick
from deputize.toolkits.github.projects import (
    FIELD,
    PROJECT,
    Board,
    board_needs,
    board_of,
    reads_of,
    value_text,
    writes_of,
)
from deputize.toolkits.github.prose import WORDS, Content
from deputize.toolkits.github.rows import repo_of
from deputize.toolkits.github.show_fields import change_of, title_of

_ITEM: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63}/[A-Za-z0-9._-]{1,100})#(\d{1,15})|(\d{1,18})")
_ONE: Final = f"{PROJECT}/items/{{item_id}}"


def _item_ref(text: str) -> str:
    if not _ITEM.fullmatch(text.strip()):
        raise ValueError("owner/repo#number, or an item's id")
    return text.strip()


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    found = [*board_needs(), *reads_of(f"{PROJECT}/fields")]
    if "#" in str(arguments["item"] or "#"):
        found += reads_of(_ONE) if arguments["set"] else []
        found += [*writes_of("POST", f"{PROJECT}/items"), reads("GET R/issues/{issue_number}", "issues:read")]
    else:
        found += reads_of(_ONE)
    if arguments["remove"]:
        found += writes_of("DELETE", _ONE)
    if arguments["set"]:
        found += writes_of("PATCH", _ONE)
    return found


@GITHUB.tool(
    needs=_update_needs,
    effect=lambda arguments: SENDS | Effect.DESTRUCTIVE if arguments["remove"] else SENDS,
    gravest=SENDS | Effect.DESTRUCTIVE,
    toolset="projects",
)
def update_project_item(
    owner: Owner,
    project: Annotated[Word, Field(description="number or title")],
    item: Annotated[str, AfterValidator(_item_ref), Field(description="owner/repo#n or item id")],
    set: Annotated[dict[str, Content] | None, Field(description='field to value, "" clears')] = None,
    remove: bool = False,
    if_text: IfTexts = None,
) -> Steps:
    """Add an issue or pull request to a project, set its fields, or remove it."""
    if remove and set:
        raise InvalidInput("remove, set: give one of them, not both.", hint="Keep one of remove, set.")
    found = _ITEM.fullmatch(item)
    assert found  # noqa: S101 - validated before
    if found[3] and not (remove or set):
        raise InvalidInput(
            "set, remove: give one of them for an item that is there already.", hint="Keep one of set, remove."
        )
    board = yield from board_of(owner, project)
    known = yield from api.list_rows(f"{board.path}/fields", "", 2, at=board.at, by="after")
    values = [_value(name, value, known) for name, value in (set or {}).items()]
    read = {str(_field(name, known)["name"]): one for name, one in (if_text or {}).items()}
    if found[3]:
        there = yield from _load_item(board, int(found[3]), known)
        if there is None and remove:
            return {"item_id": int(found[3]), "removed": True, "summary": "It was not there."}
        if there is None:
            raise NotFound("GitHub: the project has no such item.", hint="github_list_project_items lists them.")
        _check_read(there, set or {}, known, read)
        yield _show(board, there.get("content") or {}, set or {}, known, there, remove=remove)
        told = yield from _change_item(board, there, values, set or {}, remove=remove)
        if set:
            yield _undo(board, there, set, known)
        return told
    issue = dict((yield from api.get("R/issues/{issue_number}", found[1], at={"issue_number": int(found[2])})))
    yield _show(board, issue, set or {}, known, None, remove=remove)
    row = yield from api.write(item_request(board.home, board.at, repo_of(issue), issue))
    kept = _unshown_losses((yield from _load_item(board, int(row["id"]), known)) or row, set, known) if set else []
    given = {name: value for name, value in (set or {}).items() if name not in kept}
    told = yield from _change_item(board, row, [_value(*one, known) for one in given.items()], given, remove=remove)
    if kept:
        told |= {
            "kept": kept,
            "summary": f"It was in the project already. To change {', '.join(kept)}: item={row['id']}.",
        }
    return told


def _load_item(board: Board, id: int, known: Sequence[Mapping[str, Any]]) -> Asks[Json | None]:
    """Return the item with all its fields, or None if it is not in the project."""
    fields = ",".join(str(one["id"]) for one in known)
    try:
        found = yield from api.get(f"{board.home}/{_ONE}", at={**board.at, "item_id": id}, params={"fields": fields})
    except NotFound:
        return None
    return dict(found)


def _check_read(
    item: Mapping[str, Any], set: Mapping[str, str], known: Sequence[Mapping[str, Any]], read: Mapping[str, str]
) -> None:
    """Raise `InvalidInput` for a text that a row had cut, and `Conflict` for a text that changed since. ``read``:
    digests of texts by field."""
    old = _values(item)
    for name, value in set.items():
        field = _field(name, known)
        if field.get("data_type") == "text" and value:
            edit = Edit(if_text=read.get(str(field["name"])))
            edit.of(WORDS, f"set.{name}", old.get(str(field["name"])), value, FIELD, _HOW)


_HOW: Final = (
    "Read it with github_list_project_items (item_id, fields: its name, raw=true), and pass its text_digest in if_text "
    "under its name."
)


def _unshown_losses(item: Mapping[str, Any], set: Mapping[str, str], known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields of an already added item with other values, which the preview did not display."""
    old = _values(item)
    fields = {name: str(_field(name, known)["name"]) for name in set}
    return [name for name, field in fields.items() if old.get(field, "") not in ("", _spelling(name, set[name], known))]


def _show(
    board: Board,
    about: Mapping[str, Any],
    set: Mapping[str, str],
    known: Sequence[Mapping[str, Any]],
    there: Json | None,
    *,
    remove: bool,
) -> Preview:
    """Preview the item and each field, before and after. ``there``: None for a new item."""
    new = {str(_field(name, known)["name"]): _spelling(name, value, known) for name, value in set.items()}
    old = _values(there or {}) if remove else {name: _values(there or {}).get(name, "") for name in new}
    what = "Remove this item from the project" if remove else "Change this item of the project"
    before, after = _value_lines(old), _value_lines(new)
    return Preview(
        what if there or remove else "Add this item to the project",
        audience=board.audience,
        where=board.named,
        item=f"{repo_of(about)} {title_of(about)}".strip() if about.get("number") else about.get("title"),
        fields_=None if remove or not set else change_of(before, after) if there else after,
        loses=before if remove and before else None,
        pins={
            "project": board.row.get("id"),
            "item": (there or about).get("id"),
            "kind": _kind(about),
            "values": [_value(name, value, known) for name, value in set.items()],
        },
        destroys=any(old.values()) if remove else any(old[name] and not value for name, value in new.items()),
    )


def _change_item(
    board: Board, row: Json, values: Sequence[Json], set: Mapping[str, str], *, remove: bool
) -> Asks[Json]:
    """Set the fields of an item, or remove it."""
    id, path = int(row["id"]), f"{board.home}/{_ONE}"
    at = {**board.at, "item_id": id}
    if remove:
        try:
            yield from api.send(rest(f"DELETE {path}", at=at, repeat="idem"))
        except NotFound:
            return {"item_id": id, "removed": True, "summary": "It was not there."}
        return {"item_id": id, "removed": True, "summary": "Removed from the project."}
    now = row
    if values:
        now = yield from api.write(rest(f"PATCH {path}", at=at, json={"fields": values}, repeat="idem"))
    return {
        "item_id": id,
        "url": now.get("item_url") and (now.get("content") or {}).get("html_url"),
        "fields": dict(set),
        "summary": "Set." if set else "It is in the project.",
    }


def _undo(board: Board, row: Json, set: Mapping[str, str], known: Sequence[Mapping[str, Any]]) -> Undo:
    """Return the call that restores the fields."""
    new = {str(_field(name, known)["name"]): _spelling(name, value, known) for name, value in set.items()}
    old = {name: _values(row).get(name, "") for name in new}
    owner = board.at.get("org") or board.at.get("username")
    texts = {name for name in new if _field(name, known).get("data_type") == "text" and new[name] and old[name]}
    given: Json = {"owner": owner, "project": str(board.row.get("number")), "item": str(row["id"]), "set": old}
    given |= {"if_text": {name: digest(new[name]) for name in sorted(texts)}} if texts else {}
    return Undo("github_update_project_item", given, holds={"fields": _value_lines(new)})


def item_request(home: str, at: Json, repo: str, issue: Mapping[str, Any]) -> Request:
    """Return the request that adds an issue or pull request. GitHub returns an item that the project has already."""
    owner, _, name = repo.partition("/")
    body = {"type": _kind(issue), "owner": owner, "repo": name, "number": issue["number"]}
    return rest(f"POST {home}/{PROJECT}/items", at=at, json=body, repeat="idem")


def _kind(row: Mapping[str, Any]) -> str:
    return "PullRequest" if row.get("pull_request") or row.get("head") else "Issue"


# ----------------------------------------------------------------- values


def _field(name: str, known: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return dict(pick(name, known, "set", lambda row: str(row["name"])))


def _options(field: Mapping[str, Any]) -> Sequence[Any]:
    return list(field.get("options") or (field.get("configuration") or {}).get("iterations") or ())


def _value(name: str, value: str, known: Sequence[Mapping[str, Any]]) -> Json:
    """Return a field's new value: an option by its name, a number as such. An empty text clears the field."""
    field = _field(name, known)
    told: Json = {"id": field["id"]}
    if not value:
        return told | {"value": None}
    if options := _options(field):
        return told | {"value": str(pick(value, options, f"set.{name}", value_text)["id"])}
    if field.get("data_type") == "number":
        try:
            return told | {"value": float(value)}
        except ValueError:
            raise InvalidInput(f"set.{name}: must be a number.", hint="Such as 3 or 2.5.") from None
    return told | {"value": value}


def _spelling(name: str, value: str, known: Sequence[Mapping[str, Any]]) -> str:
    """Return a new value as the project displays it."""
    field = _field(name, known)
    if value and (options := _options(field)):
        return value_text(pick(value, options, f"set.{name}", value_text))
    return _number(value) if value and field.get("data_type") == "number" else value


def _values(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the nonempty fields of an item, except its title."""
    told = {}
    for one in item.get("fields") or ():
        value = value_text(one.get("value"))
        if one.get("data_type") != "title" and value:
            told[str(one.get("name"))] = _number(value) if one.get("data_type") == "number" else value
    return told


def _number(value: str) -> str:
    return f"{float(value):.15g}"


def _value_lines(values: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value or '(empty)'}" for name, value in sorted(values.items())]
