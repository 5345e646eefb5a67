"""Drive: share a file or folder, change access, stop sharing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Change, Danger, Effect, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.mail.headers import person
from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.people import address_of
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive.access import ROLES, access_lines, audience, is_inherited, load_permissions, who
from deputize.toolkits.drive.base import ALL, DRIVE, Asks, FileRef, Json, Row, sees, shares
from deputize.toolkits.drive.rows import is_folder
from deputize.toolkits.drive.target import check_may, file_words, load_target, undo_call

_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_ANYONE: Final = "anyone"
_NONE: Final = "no access"
Role = Literal["reader", "commenter", "writer", "none"]


def _needs(arguments: Arguments) -> Sequence[Need]:
    methods = ("delete",) if arguments["role"] == "none" else ("create", "update")
    return [sees("files.get", ALL), sees("permissions.list", ALL), *map(shares, methods)]


def _effect(arguments: Arguments) -> Effect:
    many = arguments["who"].strip().lower() == _ANYONE or bool(_DOMAIN.fullmatch(arguments["who"].strip().lower()))
    return Effect.SENDS | Effect.DESTRUCTIVE if many or arguments["role"] == "none" else Effect.SENDS


@DRIVE.tool(needs=_needs, effect=_effect, gravest=Effect.SENDS | Effect.DESTRUCTIVE)
def share_file(
    file: FileRef,
    who: Annotated[str, Field(description="person, group, domain, or anyone (with the link)")],
    role: Role,
    notify: Annotated[bool, Field(description="mail them")] = False,
    message: Annotated[str | None, Field(description="in that mail", max_length=2_000)] = None,
    *,
    run: Run,
) -> Steps:
    """Share a file or folder, or change or end (role none) somebody's access."""
    to = yield from _principal(who, run)
    if message and not (notify and to["type"] == "user" and role != "none"):
        raise InvalidInput("message: only in the mail to a person.", hint="Set notify, or leave message out.")
    found = yield from load_target(file, run)
    before = yield from load_permissions(found)
    if before is None:
        raise NotFound(
            "Who has access to this file is not visible to the user, so it cannot be changed.",
            hint="Its owner, or somebody who may edit it, can share it.",
        )
    known = _find(before, to)
    was = str(known["role"]) if known else "none"
    result: Json = {"id": found.get("id"), "who": _label(to), "role": role, "was": was}
    if was == role:
        return result | {"summary": "It is so already."}
    _check(found, known, role)
    changed: Json = {**(known or to), "role": role, "permissionDetails": []}
    after = [one for one in before if one is not known] + ([changed] if role != "none" else [])
    yield _preview(found, before, after, known, to, (was, role), notify, message, run)
    mailed = notify and role != "none" and to["type"] == "user" and not known
    try:
        yield from _write(str(found["id"]), known, to, role, message if mailed else None, notify=mailed)
    except Conflict:
        result["summary"] = "Shared. Google could not send the mail."
    if known and (known.get("expirationTime") or was not in _OFFERED):
        return result  # no call of this tool restores the earlier access
    undo = Undo(
        "drive_share_file",
        {"file": str(found["id"]), "who": _label(to), "role": was},
        {"access": ROLES.get(role, _NONE)},
    )
    yield undo
    return lean(result) | {"undo": undo_call(undo)}


_OFFERED: Final = ("none", "reader", "commenter", "writer")


def _principal(named: str, run: Run) -> Asks[Json]:
    """Return whom an argument means, as a permission without a role."""
    text = named.strip().lower()
    if text in (_ANYONE, "public", "anyone with the link"):
        return {"type": _ANYONE, "allowFileDiscovery": False}
    if _DOMAIN.fullmatch(text):
        return {"type": "domain", "domain": text, "allowFileDiscovery": False}
    address = yield from address_of(named, "who", run.account)
    return {"type": "user", "emailAddress": person(address, "who").address.lower()}


def _label(to: Row) -> str:
    return str(to.get("emailAddress") or to.get("domain") or _ANYONE)


def _find(permissions: Sequence[Row], to: Row) -> Row | None:
    """Return the permission of this person, group, domain or everybody. Groups have addresses like people."""
    for one in permissions:
        kinds = ("user", "group") if to["type"] == "user" else (to["type"],)
        same = all(str(one.get(name) or "").lower() == to.get(name, "") for name in ("emailAddress", "domain"))
        if one.get("type") in kinds and (to["type"] == _ANYONE or same):
            return one
    return None


def _check(file: Row, known: Row | None, role: str) -> None:
    """Raise `InvalidInput` if this access cannot be changed here, `NotFound` if the user may not share the file."""
    check_may(file, "canShare", "share")
    if not known:
        return
    if known.get("role") not in _OFFERED:
        word = ROLES.get(str(known.get("role")), "a role")
        raise InvalidInput(f"who: this is {word}; that is not changed here.", hint="Change it in Google Drive.")
    details = known.get("permissionDetails") or ()
    if (
        details
        and all(one.get("inherited") for one in details)
        and _OFFERED.index(role) < _OFFERED.index(known["role"])
    ):
        raise InvalidInput(
            "who: this access comes from a folder above or the shared drive.", hint="Change it there, or move the file."
        )


def _preview(
    file: Row,
    before: Sequence[Row],
    after: Sequence[Row],
    known: Row | None,
    to: Row,
    roles: tuple[str, str],
    notify: bool,
    message: str | None,
    run: Run,
) -> Preview:
    """Return the preview: who can see the file before and after, and the mail that goes out."""
    was, role = roles
    new = was == "none"
    what = "Share this" if new else "Stop sharing this" if role == "none" else "Change access to this"
    mail = "to them" if notify and new else "to nobody"
    address = str(to.get("emailAddress") or "")
    return Preview(
        f"{what} {'folder' if is_folder(file) else 'file'}",
        audience=audience([to], run.account),
        dangers=[Danger.GIVES_ACCESS] if _OFFERED.index(role) > _OFFERED.index(was) else (),
        people=[address] if address else [],
        where=file_words(file),
        who=who(to, Outside()),
        access=Change(ROLES.get(was, _NONE), ROLES.get(role, _NONE)),
        includes="everything in it, now and later" if is_folder(file) else None,
        mail=mail if to["type"] == "user" and role != "none" else None,
        message=message,
        can_see=Change(access_lines(before, file, {}, Outside()), sorted(access_lines(after, file, {}, Outside()))),
        own_words=["includes", "mail"],
        pins={"file": file.get("id"), "permission": (known or {}).get("id"), "to": to, "role": role},
        targets={"file": str(file.get("name") or "")},
    )


def _write(id: str, known: Row | None, to: Row, role: str, message: str | None, *, notify: bool) -> Asks[None]:
    """Write the permission. A lost answer to one that sends mail is looked up, because a repeat would mail again."""
    params: dict[str, Any] = {"supportsAllDrives": True}
    if known and not is_inherited(known):
        at = {"id": id, "permission": str(known["id"])}
        path = "/files/{id}/permissions/{permission}"
        if role != "none":
            yield Request("PATCH", path, at=at, params=params, json={"role": role}, repeat="idem")
            return
        try:
            yield Request("DELETE", path, at=at, params=params, repeat="idem")
        except NotFound:
            return
        return
    params |= {"sendNotificationEmail": notify} if to["type"] == "user" else {}
    params |= {"emailMessage": message} if message else {}
    path = "/files/{id}/permissions"
    body = {**to, "role": role}
    try:
        yield Request("POST", path, at={"id": id}, params=params, json=body, repeat="write" if notify else "idem")
    except OutcomeUnknown:
        now = yield from load_permissions({"id": id})
        there = _find(now or (), to)
        if there is None or there.get("role") != role:
            raise
