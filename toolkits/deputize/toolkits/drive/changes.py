"""Drive: rename, move, throw away and restore files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Audience, Change, Danger, Effect, Preview, Request, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.core.tools.steps import Try
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive import base
from deputize.toolkits.drive.access import ROLES, access_lines, audience, is_inherited, load_permissions, people_of
from deputize.toolkits.drive.base import DRIVE, METADATA, Asks, FileRef, Json, Row, changes, sees
from deputize.toolkits.drive.rows import folder_ids, is_folder, person
from deputize.toolkits.drive.target import check_may, file_words, load_target, seen_by, undo_call

_IN_USE, _TRASHED = "in use", "in the trash"
_COUNTED: Final = 1000
_NEEDS: Final = [sees("files.get", METADATA), sees("permissions.list", METADATA), changes("files.update")]


def _patch(id: str, body: Json, **params: Any) -> Request:
    asked = {"supportsAllDrives": True, "fields": "id,name,parents,trashed", **params}
    return Request("PATCH", "/files/{id}", at={"id": id}, json=body, params=asked, repeat="idem")


# ------------------------------------------------------------------- trash


def _trash_effect(arguments: Arguments) -> Effect:
    return Effect.WRITES if arguments["restore"] else Effect.WRITES | Effect.DESTRUCTIVE


@DRIVE.tool(needs=_NEEDS, effect=_trash_effect, gravest=Effect.WRITES | Effect.DESTRUCTIVE, aliases=["delete_file"])
def trash_file(
    file: FileRef,
    restore: Annotated[bool, Field(description="out of the trash")] = False,
    *,
    run: Run,
) -> Steps:
    """Move a file or folder to the trash, or restore it. Google empties the trash after 30 days."""
    found = yield from load_target(file, run)
    result: Json = {"id": found.get("id")}
    if bool(found.get("trashed")) is not restore:
        return result | {"summary": "It is so already."}
    check_may(found, "canUntrash" if restore else "canTrash", "restore" if restore else "trash")
    permissions = yield from load_permissions(found)
    folder = yield from _folder_name(found)
    inside = (yield from _count(str(found["id"]))) if is_folder(found) and not restore else None
    states = (_TRASHED, _IN_USE) if restore else (_IN_USE, _TRASHED)
    kind = "folder" if is_folder(found) else "file"
    yield Preview(
        f"Restore this {kind}" if restore else f"Move this {kind} to the trash",
        audience=audience(permissions, run.account),
        people=people_of(permissions, run.account),
        where=file_words(found),
        folder=folder,
        state=Change(*states),
        can_see=seen_by(permissions, found),
        beside={"files": inside},
        own_words=["state"],
        pins={"file": found.get("id")},
        targets={"file": str(found.get("name") or "")},
    )
    yield _patch(str(found["id"]), {"trashed": not restore})
    undo = Undo("drive_trash_file", {"file": str(found["id"]), "restore": not restore}, {"state": states[1]})
    yield undo
    return result | {"undo": undo_call(undo), "summary": "Restored." if restore else "In the trash."}


def _folder_name(file: Row) -> Asks[str | None]:
    ids = folder_ids([file])
    [found] = (yield Try([base.get_file(ids[0])])) if ids else [None]
    return str(found["name"]) if found else None


def _count(id: str) -> Asks[int | None]:
    """Return how many files are directly in a folder, at most a thousand."""
    params = {
        **{"q": f"'{id}' in parents and trashed = false", "pageSize": _COUNTED, "fields": "files(id)"},
        **{"corpora": "allDrives", "supportsAllDrives": True, "includeItemsFromAllDrives": True},
    }
    [page] = yield Try([Request("GET", "/files", params=params)])
    return len(page.get("files") or ()) if page is not None else None


# --------------------------------------------------------- rename and move


def _update_effect(arguments: Arguments) -> Effect:
    return Effect.WRITES | Effect.SENDS if arguments["folder"] else Effect.WRITES


@DRIVE.tool(needs=_NEEDS, effect=_update_effect, gravest=Effect.WRITES | Effect.SENDS, aliases=["move_file"])
def update_file(
    file: FileRef,
    name: Annotated[str | None, Field(min_length=1, max_length=250)] = None,
    folder: Annotated[str | None, Field(description="to move it to: id, link or root")] = None,
    *,
    run: Run,
) -> Steps:
    """Rename a file or folder, or move it. A move changes who can see it."""
    if name is None and folder is None:
        raise InvalidInput("name, folder: one of them is needed.", hint="Pass name to rename, folder to move.")
    found = yield from load_target(file, run)
    new = name.strip() if name and name.strip() != found.get("name") else None
    target = (yield from load_folder(folder, run)) if folder else None
    old = next(iter(found.get("parents") or ()), "")
    into = target if target and target["id"] != old else None
    if not new and not into:
        return {"id": found.get("id"), "summary": "It is so already."}
    check_may(found, "canRename", "change")
    before = yield from load_permissions(found)
    after = (yield from _access_in(into, found, before)) if into else before
    was = yield from _folder_name(found)
    yield _preview(found, new, was, into, before, after, run)
    moved = {"addParents": str(into["id"]), "removeParents": old or None} if into else {}
    yield _patch(str(found["id"]), {"name": new} if new else {}, **moved)
    result: Json = lean({"id": found.get("id"), "name": new, "folder_id": into["id"] if into else ""})
    if into and (not was or into.get("driveId") != found.get("driveId")):
        return result | {"summary": "Moved. It may be impossible to move it back."}  # drives have rules of their own
    back: Json = {"file": str(found["id"])}
    back |= {"name": str(found.get("name"))} if new else {}
    back |= {"folder": old} if into else {}
    holds = ({"name": new} if new else {}) | ({"folder": str(into["name"])} if into else {})
    undo = Undo("drive_update_file", back, holds)
    yield undo
    return result | {"undo": undo_call(undo)}


def load_folder(named: str, run: Run) -> Asks[Row]:
    found = yield from load_target(named, run, "folder")
    if not is_folder(found):
        raise InvalidInput("folder: this is a file.", hint="drive_search_files with kind=folder finds folders.")
    check_may(found, "canAddChildren", "add files to")
    return found


def _access_in(folder: Row, file: Row, before: Sequence[Row] | None) -> Asks[list[Row] | None]:
    """Return who will see a file in this folder: those of the folder, and those who were given the file itself."""
    there = yield from load_permissions(folder)
    if there is None or before is None:
        return None
    found = {
        str(one.get("id")): dict(one)
        for one in before
        if not is_inherited(one) and not (folder.get("driveId") and one.get("role") == "owner")
    }
    for one in there:
        given = {**one, "role": "writer"} if one.get("role") == "owner" else one  # of the folder, not of the file
        known = found.get(str(one.get("id")))
        if known is None:
            found[str(one.get("id"))] = _by_folder(given)
        elif _rank(given) > _rank(known):
            known["role"] = given["role"]
    return list(found.values())


def _rank(permission: Row) -> int:
    return list(ROLES).index(str(permission.get("role"))) if permission.get("role") in ROLES else -1


def _by_folder(permission: Row) -> Json:
    details = permission.get("permissionDetails") or [{}]
    return {**permission, "permissionDetails": [{**one, "inherited": True} for one in details]}


def _preview(
    file: Row,
    name: str | None,
    was: str | None,
    into: Row | None,
    before: Sequence[Row] | None,
    after: Sequence[Row] | None,
    run: Run,
) -> Preview:
    """Return the preview: names and folders, and who can see the file before and after."""
    seen = max(audience(before, run.account), audience(after, run.account))
    lines = [sorted(access_lines(one or (), file, {}, Outside())) for one in (before, after)]
    wider = bool({*lines[1]} - {*lines[0]}) and audience(after, run.account) > Audience.SELF
    kind = "folder" if is_folder(file) else "file"
    return Preview(
        f"Move this {kind}" if into else f"Rename this {kind}",
        audience=seen,
        people=people_of([*(before or ()), *(after or ())], run.account),
        dangers=[Danger.GIVES_ACCESS] if into and wider else (),
        where=file_words(file),
        name=Change(file.get("name"), name) if name else None,
        folder=Change(was or "a folder that you cannot see", into.get("name")) if into else None,
        owner=_new_owner(file, into) if into else None,
        can_see=Change(*lines) if into else seen_by(before, file),
        pins={"file": file.get("id"), "folder": into.get("id") if into else None, "from": file.get("parents")},
        targets={"file": str(file.get("name") or "")},
    )


def _new_owner(file: Row, into: Row) -> Change | None:
    """Return the change of ownership by a move between My Drive and a shared drive, or between two of these."""
    if file.get("driveId") == into.get("driveId"):
        return None
    owner = person(next(iter(file.get("owners") or ()), None), Outside()) or "a shared drive"
    return Change(owner, "a shared drive" if into.get("driveId") else "you")
