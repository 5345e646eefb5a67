"""GitHub: gists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from deputize.core.act.toolkit import Arguments, Effect, Need, Steps
from deputize.core.errors import InvalidInput
from deputize.core.vault.grant import Account
from deputize.toolkits._arguments import Cursor, Limit
from deputize.toolkits._github import api
from deputize.toolkits._github.api import Json, List, pages, rest
from deputize.toolkits._github.base import GITHUB, SENDS, Asks, needs, optional
from deputize.toolkits._github.once import Noted, once
from deputize.toolkits._github.places import Gist, Login
from deputize.toolkits._github.prose import Body, Content, Prose, code
from deputize.toolkits._github.rows import ZONED, full, login, outer, short

_TEXT: Final = 8_000  # bytes of all files


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["gist_id"]:
        return [optional("GET /gists/{gist_id}", "gist")]
    return [optional("GET U/gists" if arguments["owner"] else "GET /gists", "gist")]


@GITHUB.tool(needs=_list_needs, toolset="gists")
def list_gists(
    gist_id: Gist | None = None,
    owner: Login | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    account: Account,
) -> Steps:
    """My gists, a user's gists, or one gist with its files."""
    if gist_id and owner:
        raise InvalidInput("Give gist_id or owner, not both.")
    if gist_id:
        return _one((yield from api.get("/gists/{gist_id}", at={"gist_id": gist_id})))
    bound = ("github_list_gists", account.subject, owner)
    read = pages("U/gists", at={"username": owner}) if owner else pages("/gists")
    return (yield from List(bound, read, _row, more=ZONED).show(limit, cursor))


def _row(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    files = list((row.get("files") or {}).values())
    shown: Json = {
        "gist_id": row.get("id"),
        "description": outside.line(str(row.get("description") or ""), 100),
        "public": bool(row.get("public")),
        "files": [outside.line(str(one.get("filename", "")), 60) for one in files[:5]],
        "updated": short(row.get("updated_at")),
    }
    return outer(shown, outside)


def _one(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    left, files = _TEXT, []
    for one in list((row.get("files") or {}).values())[:20]:
        text, _ = code(str(one.get("content") or ""))
        shown = text.encode()[: max(left, 0)].decode(errors="ignore")
        left -= len(shown.encode())
        told: Json = {"name": outside.line(str(one.get("filename", "")), 120), "size": one.get("size"), "text": shown}
        if len(shown) < len(text) or one.get("truncated"):
            told["truncated"] = True
        files.append(told)
    detail: Json = {
        "gist_id": row.get("id"),
        "description": outside.line(str(row.get("description") or ""), 300),
        "public": bool(row.get("public")),
        "owner": login(row.get("owner")),
        "updated": full(row.get("updated_at")),
        "url": row.get("html_url"),
        "files": files,
        "truncated": any(one.get("truncated") for one in files),
    }
    return outer(detail, outside)


# ----------------------------------------------------------------- create or change


def _names(files: dict[str, str]) -> dict[str, str]:
    if not 1 <= len(files) <= 50:
        raise ValueError("1 to 50 files")
    if any(
        not name.strip() or "/" in name or "\\" in name or len(name) > 255 or not name.isprintable() for name in files
    ):
        raise ValueError("a file's name has no slashes and no controls")
    return files


def _save_needs(arguments: Arguments) -> Sequence[Need]:
    method = "PATCH /gists/{gist_id}" if arguments["gist_id"] else "POST /gists"
    return [needs(method, "gist", app=("gists:write",))]


def _save_effect(arguments: Arguments) -> Effect:
    """One that is changed may be public, and a file without text is deleted."""
    effect = SENDS if arguments["public"] or arguments["gist_id"] else Effect.WRITES
    return effect if all((arguments["files"] or {}).values()) else effect | Effect.DESTRUCTIVE


@GITHUB.tool(
    needs=_save_needs,
    effect=_save_effect,
    gravest=SENDS | Effect.DESTRUCTIVE,
    toolset="gists",
)
def save_gist(
    files: Annotated[dict[str, Body], AfterValidator(_names)],
    gist_id: Gist | None = None,
    description: Content | None = None,
    public: bool = False,
    *,
    account: Account,
    noted: Noted,
    now: float,
) -> Steps:
    """Create a gist (secret unless public) or change its files: name to content, empty deletes."""
    if gist_id and public:
        raise InvalidInput("public: only of a new gist.")
    given: Json = {"description": " ".join(description.split())} if description is not None else {}
    if gist_id:
        given["files"] = {name: {"content": text} if text else None for name, text in files.items()}
        request = rest("PATCH /gists/{gist_id}", at={"gist_id": gist_id}, json=given, repeat="idem")
        return _receipt((yield from api.send(request)).data, "Changed.")
    if not all(files.values()):
        raise InvalidInput("files: a new gist's files are not empty.")
    given |= {"files": {name: {"content": text} for name, text in files.items()}, "public": public}
    look = lambda: _made(given, now)  # noqa: E731
    row = yield from once(noted, api.sent(rest("POST /gists", json=given)), look, "gist")
    return _receipt(row, "Created.")


def _made(given: Mapping[str, Any], now: float) -> Asks[Json | None]:
    """A gist of the last minutes with this description and these files, if there is just one."""
    since = datetime.fromtimestamp(now - 300, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = yield from api.get("/gists", params={"since": since, "per_page": 30})
    same = [
        row
        for row in rows
        if (row.get("description") or "") == given.get("description", "")
        and set(row.get("files") or ()) == set(given["files"])
        and bool(row.get("public")) == given["public"]
        and str(row.get("created_at", "")) >= since
    ]
    return dict(same[0]) if len(same) == 1 else None


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    names = [name for name in row.get("files") or ()]
    return {"gist_id": row.get("id"), "url": row.get("html_url"), "files": names[:20], "summary": summary}
