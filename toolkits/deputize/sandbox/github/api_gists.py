"""Gists: public ones of all people, and the caller's own."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote, unquote

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Ask, Refused, Reply
from deputize.sandbox.world import World

_SCOPES = ("gist",)
RAW = "gist.githubusercontent.com"
MEGABYTE = 1_048_576


def _show(call: Call, id: str, row: Json, *, whole: bool = False) -> Json:
    files: dict[str, Any] = {
        name: {
            "filename": name,
            "size": len(text),
            "type": "text/plain",
            "raw_url": f"https://{RAW}/{row['owner']}/{id}/raw/{quote(name)}",
            **({"content": text[:MEGABYTE], "truncated": len(text) > MEGABYTE} if whole else {}),
        }
        for name, text in row["files"].items()
    }
    return {
        "id": id,
        "node_id": f"G_{id}",
        "description": row["description"],
        "public": row["public"],
        "files": files,
        "owner": call.user(row["owner"]),
        "html_url": f"https://gist.github.com/{row['owner']}/{id}",
        "created_at": row["at"],
        "updated_at": row["updated"],
        **({"history": [{"version": _version(row)}]} if whole else {}),
    }


def _version(row: Json) -> str:
    return hashlib.sha1(repr((row["files"], row["description"])).encode()).hexdigest()  # noqa: S324 - a name


def raw(ask: Ask, world: World) -> Reply:
    """Return a file at its raw URL, to callers without a token."""
    _, _, id, _, name = (*ask.path.split("/", 4), "", "", "", "")[:5]
    gist = world.services["github"]["gists"].get(id, {"files": {}})
    if unquote(name) not in gist["files"] or "authorization" in ask.headers:
        return Reply(404, (("content-type", "text/plain"),), b"404: Not Found")
    return Reply(200, (("content-type", "text/plain"),), gist["files"][unquote(name)].encode())


@route("GET", "/gists")
def own_gists(call: Call) -> Reply:
    """Return the caller's gists; secret ones only with the scope."""
    shown = call.permissions or "gist" in call.token.scopes
    rows = [
        (id, row) for id, row in call.store["gists"].items() if row["owner"] == call.me and (row["public"] or shown)
    ]
    rows.sort(key=lambda one: str(one[1]["updated"]), reverse=True)
    return call.page([_show(call, id, row) for id, row in rows if row["updated"] >= call.ask.one("since")])


@route("GET", "/users/{username}/gists")
def user_gists(call: Call, username: str) -> Reply:
    rows = [(id, row) for id, row in call.store["gists"].items() if row["owner"] == username and row["public"]]
    return call.page([_show(call, id, row) for id, row in rows])


@route("GET", "/gists/{gist_id}")
def gist(call: Call, gist_id: str) -> Reply:
    """Return a public gist, or an own secret one."""
    row = call.store["gists"].get(gist_id)
    if row is None or (not row["public"] and row["owner"] != call.me):
        raise call.not_found()
    return call.reply(_show(call, gist_id, row, whole=True))


@route("POST", "/gists", "gists:write", scopes=_SCOPES)
def create(call: Call) -> Reply:
    given = call.body()
    if not given.get("files"):
        raise call.invalid("Gist", "files", "missing_field")
    id = hashlib.sha1(str(call.next_id()).encode()).hexdigest()[:32]  # noqa: S324 - a name
    row: Json = {"owner": call.me, "description": given.get("description") or "", "public": bool(given.get("public"))}
    row |= {
        "files": {name: file["content"] for name, file in given["files"].items()},
        "at": call.now,
        "updated": call.now,
    }
    call.store["gists"][id] = row
    return call.reply(_show(call, id, row, whole=True), 201)


def _find_own(call: Call, id: str) -> Json:
    row: Json | None = call.store["gists"].get(id)
    if row is None or row["owner"] != call.me:
        raise call.not_found()
    return row


@route("PATCH", "/gists/{gist_id}", "gists:write", scopes=_SCOPES)
def change(call: Call, gist_id: str) -> Reply:
    """Change files by name; null deletes one."""
    row, given = _find_own(call, gist_id), call.body()
    for name, file in (given.get("files") or {}).items():
        if file is None:
            row["files"].pop(name, None)
        else:
            row["files"][name] = file["content"]
    if not row["files"]:
        raise Refused(call.refusal(422, "contents can't be empty"))
    row |= {"description": given.get("description", row["description"]), "updated": call.now}
    return call.reply(_show(call, gist_id, row, whole=True))


@route("DELETE", "/gists/{gist_id}", "gists:write", scopes=_SCOPES)
def delete(call: Call, gist_id: str) -> Reply:
    _find_own(call, gist_id)
    del call.store["gists"][gist_id]
    return call.empty_reply()
