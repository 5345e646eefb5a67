"""Gmail: labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Alias, Audience, Change, Effect, Need, Preview, Request, Run, SaveNote, Steps, Undo, any_of
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GMAIL, LABELS, MAIL, MODIFY, READONLY, labels
from deputize.toolkits.gmail.deliver import Noted
from deputize.toolkits.gmail.label_lookup import Label, find_label, parse_labels, require_label

_LISTS = any_of(LABELS, READONLY, MODIFY, MAIL, method="gmail.users.labels.list")
_COUNTS = any_of(LABELS, READONLY, MODIFY, MAIL, method="gmail.users.labels.get")
_NAME = 225  # characters of a label's name


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    return [_LISTS, _COUNTS] if arguments["counts"] else [_LISTS]


@GMAIL.tool(needs=_list_needs, aliases=["Gmail.ListLabels"])
def list_labels(counts: bool = False) -> Steps:
    """List labels, with message and unread counts if asked."""
    listed = sorted(parse_labels((yield api.LIST_LABELS)), key=lambda one: one.get("type") == "system")
    rows = Rows()
    if counts:
        done = yield from api.fill(rows, [str(one["id"]) for one in listed], _get_label, _row)
    else:
        done = next((n for n, one in enumerate(listed) if not rows.add(_row(one))), len(listed))
    return {"items": rows.items, "next": None, "total": len(listed), "truncated": done < len(listed)}


def _get_label(label_id: str) -> Request:
    return Request("GET", "/users/me/labels/{id}", at={"id": label_id})


def _row(label: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": label.get("name"),
        "id": label.get("id"),
        "kind": "system" if label.get("type") == "system" else "user",
        "total": label.get("messagesTotal"),
        "unread": label.get("messagesUnread"),
    }


def _manage_needs(arguments: Arguments) -> Sequence[Need]:
    method = {"rename": "labels.patch", "delete": "labels.delete"}.get(arguments["action"], "labels.create")
    return [_LISTS, labels(method), *([_COUNTS] if arguments["action"] == "delete" else [])]


def _effect(arguments: Arguments) -> Effect:
    return Effect.DESTRUCTIVE if arguments["action"] == "delete" else Effect.WRITES


@GMAIL.tool(
    needs=_manage_needs,
    effect=_effect,
    gravest=Effect.DESTRUCTIVE,
    aliases=[
        Alias(f"Gmail.{name}", {"label_name": "name", "current_name": "name"}, sets={"action": action})
        for name, action in (("CreateLabel", "create"), ("UpdateLabel", "rename"), ("DeleteLabel", "delete"))
    ],
    toolset="more",
)
def manage_label(
    action: Literal["create", "rename", "delete"],
    name: Annotated[str, Field(description="Parent/Child for a nested one")],
    new_name: Annotated[str | None, Field(description="to rename")] = None,
    *,
    run: Run,
) -> Steps:
    """Create, rename or delete a label."""
    if (action == "rename") != bool(new_name):
        raise InvalidInput(
            "new_name: needed for action=rename, and only there.", hint="Add new_name for that, or leave it out."
        )
    listed = parse_labels((yield api.LIST_LABELS))
    if action == "create":
        return (yield from _create(listed, _name(name, "name")))
    if action == "rename":
        return (yield from _rename(listed, name, _name(new_name or "", "new_name")))
    return (yield from _delete(listed, name, run.noted))


def _name(name: str, field: str) -> str:
    name = single_line(name, field)
    if not name or len(name) > _NAME or any(not part.strip() for part in name.split("/")):
        raise InvalidInput(
            f"{field}: a label's name has 1 to {_NAME} characters, and something around each slash.",
            hint="Such as Taxes/2026.",
        )
    return name


def _create(listed: Sequence[Label], name: str) -> Asks[dict[str, Any]]:
    """Create a label or return the existing one, because Gmail's label names are unique, case-insensitively."""
    if label := find_label(listed, name):
        return {"id": label["id"], "name": label["name"], "summary": "There is such a label already."}
    yield Preview("Create this label", audience=Audience.SELF, name=name)
    try:
        label = yield Request("POST", "/users/me/labels", json={"name": name}, repeat="idem")
    except (Conflict, InvalidInput) as refused:
        label = find_label(parse_labels((yield api.LIST_LABELS)), name)
        if label is None:
            raise refused from None
    args = {"action": "delete", "name": label["name"]}
    yield Undo("gmail_manage_label", args, {"label": str(label["id"]), "emails": 0})
    undo = {"tool": "gmail_manage_label", "args": args}
    return {"id": label["id"], "name": label["name"], "undo": undo, "summary": "Created."}


def _rename(listed: Sequence[Label], name: str, new_name: str) -> Asks[dict[str, Any]]:
    old, new = find_label(listed, name), find_label(listed, new_name)
    if new is not None and (old is None or old["name"] == new_name):
        return {"id": new["id"], "name": new["name"], "summary": "It has this name already."}
    label = _require_own(require_label(listed, name, "name"))
    if new is not None and new["id"] != label["id"]:
        raise Conflict(
            "new_name: conflict (exists): another label has this name.", reason="exists", hint="Use another name."
        )
    path, label_id = "/users/me/labels/{id}", str(label["id"])
    name = str(label["name"])
    yield Preview("Rename this label", audience=Audience.SELF, name=Change(name, new_name), pins={"label": label_id})
    yield Request("PATCH", path, at={"id": label_id}, json={"name": new_name}, repeat="idem")
    undo = {"action": "rename", "name": new_name, "new_name": name}
    yield Undo("gmail_manage_label", undo, {"label": label_id, "name": new_name})
    return {"id": label["id"], "name": new_name, "undo": {"tool": "gmail_manage_label", "args": undo}}


def _delete(listed: Sequence[Label], name: str, noted: Noted) -> Asks[dict[str, Any]]:
    """Delete a label. Its emails stay. ``affected``: the number of emails that had it."""
    if noted:
        label = next((one for one in listed if one.get("id") == noted["id"]), None)
        if label is None:
            return {**noted, "summary": "The label is gone already."}
    else:
        label = _require_own(require_label(listed, name, "name"))
    label_id, counted = str(label["id"]), (yield _get_label(str(label["id"])))
    emails = counted.get("messagesTotal", 0)
    yield Preview(
        "Delete this label",
        audience=Audience.SELF,
        destroys=True,
        name=str(label["name"]),
        undo="cannot be taken back: the emails stay, and lose the label",
        beside={"emails": emails},
        pins={"label": label_id},
    )
    if not noted:
        noted = {"id": label_id, "name": label["name"], "affected": emails}
        yield SaveNote(noted)
    try:
        yield Request("DELETE", "/users/me/labels/{id}", at={"id": label_id}, repeat="idem")
    except NotFound:
        return {**noted, "summary": "The label is gone already."}
    return {**noted, "summary": "Deleted; the emails stay."}


def _require_own(label: Label) -> Label:
    if label.get("type") == "system":
        raise InvalidInput(
            f"name: {label['name']} is a system label of Gmail's and cannot be changed.",
            hint="Only labels that the user made can be changed.",
        )
    return label
