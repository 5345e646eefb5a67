"""Writing methods of Drive: create, upload, convert, change, copy, share and comment."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from typing import Final

from deputize.sandbox.google.drive.call import (
    ROLES,
    Call,
    Json,
    check_body,
    forbidden,
    invalid,
    lacks_rights,
)
from deputize.sandbox.google.drive.methods import UPLOAD
from deputize.sandbox.google.drive.records import APPS, FOLDER, SHORTCUT, content_of, permission
from deputize.sandbox.google.errors import api_error
from deputize.sandbox.http_types import Refused, Reply

_USUAL: Final = "kind,id,name,mimeType,resourceKey"
_SETTABLE: Final = ("name", "mimeType", "description", "appProperties", "modifiedTime", "createdTime")


def generate_ids(call: Call) -> Json:
    """Return ids for `create`. They are not noted, as a create checks only that an id is free."""
    count = int(call.ask.one("count") or 10)
    call.store["ids"] += count
    ids = [f"made{call.store['ids'] - n:08}" for n in range(count)]
    return {"kind": "drive#generatedIds", "space": "drive", "ids": ids}


def create(call: Call) -> Json | Reply:
    """Create a folder, an empty file, or a file from uploaded bytes."""
    if call.ask.path.startswith(UPLOAD):
        return _uploaded(call, None)
    return call.masked(call.view(_make(call, call.body(), None, "")), _USUAL)


def _make(call: Call, given: Json, data: bytes | None, sent_as: str) -> Json:
    kind = given.get("mimeType") or sent_as or "application/octet-stream"
    (parent,) = given.get("parents") or [call.root]
    folder = call.file("writer", parent)
    if folder["mimeType"] != FOLDER:
        raise forbidden("The specified parent is not a folder.", "parentNotAFolder")
    id = given.get("id")
    if id and kind.startswith(APPS) and kind != FOLDER:
        raise invalid("Generated IDs are not supported for Docs Editors formats.")
    if id and id in call.store["files"]:
        raise Refused(api_error(409, "A file already exists with the provided ID.", "fileIdInUse", "ALREADY_EXISTS"))
    if id is None:
        call.store["ids"] += 1
        id = f"made{call.store['ids']:08}"
    who = call.person.email
    drive = folder.get("driveId")
    owner = [] if drive else [permission("user", "owner", who)]
    file = {
        **{"id": id, "name": given.get("name", "Untitled"), "mimeType": kind, "parents": [folder["id"]]},
        **{"driveId": drive, "owner": "" if drive else who, "by": who, "opened": [who], "starred": []},
        **{"createdTime": call.now, "modifiedTime": call.now, "version": 1, "trashed": "", "capabilities": {}},
        **{"permissions": owner, "comments": [], "revisions": [], "description": given.get("description", "")},
        **{"appProperties": given.get("appProperties") or {}},
    }
    if kind == SHORTCUT:
        file["target"] = call.file("reader", given["shortcutDetails"]["targetId"])["id"]
    _fill(call, file, data or b"", sent_as)
    call.store["files"][id] = file
    return file


def _fill(call: Call, file: Json, data: bytes, sent_as: str) -> None:
    """Set a file's content from bytes; those of Docs and Sheets are converted."""
    match file["mimeType"].removeprefix(APPS):
        case "document" | "presentation":
            file["text"] = data.decode(errors="replace")
        case "spreadsheet":
            rows = list(csv.reader(io.StringIO(data.decode(errors="replace"))))
            file["sheets"] = [{"title": "Sheet1", "rows": rows}]
        case "folder" | "shortcut":
            return
        case _:
            file["content"] = base64.b64encode(data).decode()
    file["revisions"].append({"id": f"rev{len(file['revisions']) + 1}", "by": call.person.email})
    file["revisions"][-1] |= {"modifiedTime": call.now, "mimeType": sent_as or file["mimeType"]}
    if "content" in file:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        file["revisions"][-1] |= {"md5Checksum": digest, "size": str(len(data))}


def _uploaded(call: Call, file: Json | None) -> Json | Reply:
    """Answer one request of an upload: everything at once, or the steps of a resumable one."""
    kind = call.ask.one("uploadType")
    if kind == "multipart":
        given, data, sent_as = _parts(call)
    elif kind == "resumable":
        if not call.ask.headers.get("x-upload-content-type"):
            raise invalid("Bad Request", "badRequest")
        call.store["ids"] += 1
        session = f"session{call.store['ids']:08}"
        given = check_body(call.ask.body or b"{}", "File")
        kept = {"given": given, "file": file["id"] if file else "", "by": call.person.email}
        call.store["sessions"][session] = kept | {"type": call.ask.headers["x-upload-content-type"]}
        at = f"https://{call.ask.host}{call.ask.path}?uploadType=resumable&upload_id={session}"
        return Reply(200, (("location", at),), b"")
    else:
        raise invalid("Bad Request", "badRequest")
    return _write(call, file, given, data, sent_as)


def upload_rest(call: Call) -> Json | Reply:
    """Take all bytes of a resumable upload."""
    session = call.store["sessions"].pop(call.ask.one("upload_id"), None)
    if session is None or session["by"] != call.person.email:
        raise Refused(api_error(404, "Not Found", "notFound", "NOT_FOUND"))
    file = call.file("writer", session["file"]) if session["file"] else None
    return _write(call, file, session["given"], call.ask.body, session["type"])


def _write(call: Call, file: Json | None, given: Json, data: bytes, sent_as: str) -> Json:
    if file is None:
        return call.masked(call.view(_make(call, given, data, sent_as)), _USUAL)
    _set(call, file, given)
    _fill(call, file, data, sent_as)
    return call.masked(call.view(file), _USUAL)


def _parts(call: Call) -> tuple[Json, bytes, str]:
    """Return the metadata, the bytes and their type of a multipart/related body."""
    kind = call.ask.headers.get("content-type", "")
    found = re.fullmatch(r'multipart/related; boundary="?([\w\-]+)"?', kind)
    if not found:
        raise invalid("Missing end boundary in multipart body.", "badContent")
    pieces = call.ask.body.split(b"--" + found[1].encode())
    if len(pieces) != 4 or pieces[3].strip() != b"--":
        raise invalid("Missing end boundary in multipart body.", "badContent")
    (_, given), (head, data) = (one.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for one in pieces[1:3])
    sent_as = re.search(rb"(?i)content-type:\s*([^\r\n;]+)", head)
    return check_body(given, "File"), data.removesuffix(b"\r\n"), sent_as[1].decode() if sent_as else ""


def update(call: Call) -> Json | Reply:
    """Change metadata, the folder or the content of a file."""
    file = call.file("commenter" if call.ask.path.startswith(UPLOAD) else "reader")
    if ROLES.index(call.role(file)) < ROLES.index("writer"):
        raise lacks_rights()
    if call.ask.path.startswith(UPLOAD):
        return _uploaded(call, file)
    _set(call, file, call.body())
    return call.masked(call.view(file), _USUAL)


def _set(call: Call, file: Json, given: Json) -> None:
    if "trashed" in given:
        if not call.view(file)["capabilities"]["canTrash"]:
            raise lacks_rights()
        file["trashed"] = call.now if given["trashed"] else ""
    if into := call.ask.one("addParents"):
        folder = call.file("writer", into)
        if file["mimeType"] == FOLDER and folder.get("driveId") and not file.get("driveId"):
            raise forbidden("Moving folders into shared drives is not supported.", "teamDrivesFolderMoveInNotSupported")
        file["parents"], file["driveId"] = [folder["id"]], folder.get("driveId")
        if file["driveId"]:
            file["owner"], file["permissions"] = "", [one for one in file["permissions"] if one["role"] != "owner"]
    for name in _SETTABLE:
        if name in given:
            file[name] = given[name]
    if "starred" in given:
        others = [one for one in file["starred"] if one != call.person.email]
        file["starred"] = [*others, call.person.email] if given["starred"] else others
    if {*given} - {"trashed", "starred"}:
        file["by"], file["modifiedTime"] = call.person.email, call.now
    file["version"] += 1


def copy(call: Call) -> Json:
    """Copy a file, without its sharing and comments."""
    file, given = call.file(), call.body()
    if file["mimeType"] == FOLDER:
        raise forbidden("This file cannot be copied by the user.", "cannotCopyFile")
    wanted = {"name": f"Copy of {file['name']}", "parents": file["parents"], "mimeType": file["mimeType"], **given}
    made = _make(call, wanted, content_of(file), file["mimeType"])
    made |= {name: file[name] for name in ("text", "sheets") if name in file}
    return call.masked(call.view(made), _USUAL)


# ------------------------------------------------------------------- sharing


def share(call: Call) -> Json:
    """Give access to a person, group, domain or everybody. Mail goes out unless it is turned off."""
    file, given = _shared(call), call.body()
    kind, role = given.get("type"), given.get("role")
    if kind not in ("user", "group", "domain", "anyone") or role not in ROLES[1:]:
        raise invalid("The permission type field is required.", "required")
    value = str(given.get("domain") if kind == "domain" else given.get("emailAddress", "")).lower()
    if (kind == "anyone") == bool(value) or (
        "sendNotificationEmail" in call.ask.query and kind in ("domain", "anyone")
    ):
        raise invalid("Bad Request", "badRequest")
    if role == "owner" and not call.flag("transferOwnership"):
        raise forbidden("The transferOwnership parameter must be enabled.", "forbidden")
    if call.store["no_outside"] and kind == "anyone":
        raise forbidden("The domain administrators have not allowed publishing.", "publishOutNotPermitted")
    more = {"allowFileDiscovery": bool(given.get("allowFileDiscovery"))} if kind in ("domain", "anyone") else {}
    if kind in ("user", "group"):
        more = {"deleted": False}
    if given.get("expirationTime"):
        more["expirationTime"] = given["expirationTime"]
    made = permission(kind, role, value, **more)
    file["permissions"] = [one for one in file["permissions"] if one["id"] != made["id"]] + [made]
    if kind in ("user", "group") and call.ask.one("sendNotificationEmail") != "false":
        call.store["mails"].append({"to": value, "file": file["id"], "text": call.ask.one("emailMessage")})
    return call.masked(made, "kind,id,type,role")


def _shared(call: Call) -> Json:
    """Return the file if the caller may share it."""
    file = call.file("writer")
    if not call.view(file)["capabilities"]["canShare"]:
        raise lacks_rights()
    return file


def change_permission(call: Call) -> Json:
    found = _direct(call, _shared(call))
    given = call.body()
    if found["role"] == "owner" or given.get("role") not in ROLES[1:-1]:
        raise forbidden("Insufficient permissions for this permission.", "forbidden")
    found["role"] = given["role"]
    if given.get("expirationTime"):
        found["expirationTime"] = given["expirationTime"]
    if call.flag("removeExpiration"):
        found.pop("expirationTime", None)
    return call.masked(found, "kind,id,type,role")


def unshare(call: Call) -> None:
    file = _shared(call)
    found = _direct(call, file)
    if found["role"] == "owner":
        raise forbidden("Insufficient permissions for this permission.", "forbidden")
    file["permissions"].remove(found)


def _direct(call: Call, file: Json) -> Json:
    """Return a permission on the file itself. Raise 403 for an inherited one."""
    id = call.ids["permissionId"]
    for one in file["permissions"]:
        if one["id"] == id:
            found: Json = one
            return found
    if any(one["id"] == id for one in call.permissions(file)):
        raise forbidden("Cannot modify an inherited permission.", "cannotModifyInheritedPermission")
    raise Refused(api_error(404, f"Permission not found: {id}.", "notFound", "NOT_FOUND"))


# ------------------------------------------------------------------ comments


def comments(call: Call) -> Json:
    since = call.ask.one("startModifiedTime")
    found = [one for one in call.file()["comments"] if not since or one["modifiedTime"] >= since]
    rows, more = call.page([_comment(call, one) for one in found])
    return call.masked({"kind": "drive#commentList", **more, "comments": rows})


def get_comment(call: Call) -> Json:
    return call.masked(_comment(call, _found(call)))


def _found(call: Call) -> Json:
    for one in call.file()["comments"]:
        if one["id"] == call.ids["commentId"]:
            found: Json = one
            return found
    raise Refused(api_error(404, f"Comment not found: {call.ids['commentId']}.", "notFound", "NOT_FOUND"))


def _comment(call: Call, one: Json) -> Json:
    """Return a comment as Drive shows it: authors without addresses."""
    shown = {name: value for name, value in one.items() if name not in ("by", "replies")}
    shown |= {"kind": "drive#comment", "author": _author(call, one["by"]), "deleted": False}
    return shown | {"replies": [_reply(call, reply) for reply in one["replies"]]}


def _reply(call: Call, one: Json) -> Json:
    shown = {name: value for name, value in one.items() if name != "by"}
    return shown | {"kind": "drive#reply", "author": _author(call, one["by"]), "deleted": False}


def _author(call: Call, email: str) -> Json:
    shown = call.user(email)
    return {name: shown[name] for name in ("kind", "displayName", "me")}


def comment(call: Call) -> Json:
    file, given = call.file("commenter"), call.body()
    if not given.get("content"):
        raise invalid("The content field is required.", "required")
    made: Json = {"id": f"comment{len(file['comments']) + 1}", "by": call.person.email, "replies": []}
    made |= {"content": given["content"], "htmlContent": given["content"], "resolved": False}
    made |= {name: given[name] for name in ("quotedFileContent", "anchor") if name in given}
    made |= {"createdTime": call.now, "modifiedTime": call.now}
    if named := re.findall(r"[+@]([\w.+-]+@[\w.-]+\w)", given["content"]):
        made["mentionedEmailAddresses"] = named
        call.store["mails"] += [{"to": one, "file": file["id"], "text": given["content"]} for one in named]
    file["comments"].append(made)
    return call.masked(_comment(call, made))


def delete_comment(call: Call) -> None:
    found = _found(call)
    if found["by"] != call.person.email:
        raise lacks_rights()
    call.file()["comments"].remove(found)


def reply(call: Call) -> Json:
    call.file("commenter")
    found, given = _found(call), call.body()
    action = given.get("action")
    if (not given.get("content") and not action) or action not in (None, "resolve", "reopen"):
        raise invalid("The content field is required.", "required")
    made: Json = {"id": f"reply{len(found['replies']) + 1}", "by": call.person.email}
    made |= {"createdTime": call.now, "modifiedTime": call.now, "content": given.get("content", "")}
    made |= {"action": action} if action else {}
    found["replies"].append(made)
    found["modifiedTime"] = call.now
    if action:
        found["resolved"] = action == "resolve"
    return call.masked(_reply(call, made))
