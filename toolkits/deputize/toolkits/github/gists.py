"""GitHub: gists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from deputize.core import Answer, Audience, Change, Effect, More, Need, PublicRequest, Run, Show, Steps, Undo
from deputize.core.act.request import MOST_BYTES
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, IfTexts, Limit, Offset, Raw
from deputize.toolkits._shared.long_text import PART, Edit, digest, part
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages, rest
from deputize.toolkits.github.argument_types import Gist, Login
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, needs, optional
from deputize.toolkits.github.names import near_to
from deputize.toolkits.github.once import once
from deputize.toolkits.github.prose import CODE, Body, Content, Prose
from deputize.toolkits.github.rows import ZONED, full, login, outer, short
from deputize.toolkits.github.show_fields import change_of, restored

_TEXT: Final = 8_000  # bytes of all files
_LEAST: Final = 400  # bytes of one
_FILES: Final = 20


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["gist_id"]:
        return [optional("GET /gists/{gist_id}", "gist")]
    return [optional("GET U/gists" if arguments["owner"] else "GET /gists", "gist")]


@GITHUB.tool(needs=_list_needs, toolset="gists")
def list_gists(
    gist_id: Gist | None = None,
    file: Annotated[str | None, Field(description="this file of one alone")] = None,
    offset: Offset = 0,
    raw: Raw = False,
    owner: Login | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """My gists, a user's gists, or one gist with its files."""
    if gist_id and owner:
        raise InvalidInput("Give gist_id or owner, not both.")
    if gist_id:
        row = yield from api.get("/gists/{gist_id}", at={"gist_id": gist_id})
        return _one(row) if file is None else (yield from _file(row, file, offset, raw))
    if file is not None or offset or raw:
        raise InvalidInput("file, offset, raw: only when reading one gist.", hint="Give gist_id and file.")
    bound = ("github_list_gists", run.account.subject, owner)
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
    for one in list((row.get("files") or {}).values())[:_FILES]:
        told: Json = {"name": outside.line(str(one.get("filename", "")), 120), "size": one.get("size")}
        told |= (
            _part(row, one, left)
            if left > _LEAST
            else {"truncated": True, "next_offset": 0, "more": _more(row, one).at(0)}
        )
        left -= len(str(told.get("text", "")).encode(errors="replace"))
        files.append(told)
    detail: Json = {
        "gist_id": row.get("id"),
        "description": outside.text(str(row.get("description") or ""))[:1_000],
        "public": bool(row.get("public")),
        "owner": login(row.get("owner")),
        "updated": full(row.get("updated_at")),
        "url": row.get("html_url"),
        "files": files,
        "truncated": any(one.get("truncated") for one in files),
    }
    names = list(row.get("files") or ())
    more = [outside.line(name, 120) for name in names[_FILES : 4 * _FILES]]
    detail |= {"more_files": more, "cut": [f"files: {_FILES} of {len(names)} are shown."]} if more else {}
    return outer(detail, outside)


def _more(row: Mapping[str, Any], file: Mapping[str, Any], **how: bool) -> More:
    """The call that reads a file of a gist."""
    return More("github_list_gists", gist_id=str(row.get("id")), file=str(file.get("filename")), **how)


def _file(row: Mapping[str, Any], name: str, offset: int, raw: bool) -> Asks[Json]:
    """A part of one file, read by itself. One of more than a megabyte is fetched from its own address, without the
    token: whoever has that may read it."""
    outside = Prose()
    one = _called(row, name)
    if one.get("truncated") and one.get("raw_url"):
        answer: Answer = yield PublicRequest(str(one["raw_url"]), max_bytes=MOST_BYTES)
        one = {**one, "content": answer.data.decode(errors="replace"), "truncated": False}
    told = {"gist_id": row.get("id"), "name": outside.line(name, 120)} | _part(row, one, PART, offset, raw=raw)
    return outer(told, outside)


def _called(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    files = row.get("files") or {}
    if name not in files:
        raise InvalidInput(
            "file: the gist has no file of this name.", hint=f"There are: {', '.join(near_to(name, list(files)))}."
        )
    return dict(files[name])


def _part(
    row: Mapping[str, Any], file: Mapping[str, Any], limit: int | None, offset: int = 0, *, raw: bool = False
) -> Json:
    """A part of a file. GitHub itself leaves out what is beyond a megabyte: then there is no digest."""
    more = _more(row, file, **({"raw": True} if raw else {}))
    told = part(CODE, Prose(), file.get("content"), limit, offset, raw=raw, more=more)
    if file.get("truncated"):
        told.pop("text_digest", None)
        told["truncated"] = True
        if "more" not in told and file.get("raw_url"):
            told["more"] = more.at(len(str(file.get("content") or "")))
    return told


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
    if arguments["gist_id"]:
        return [needs("PATCH /gists/{gist_id}", "gist", app=("gists:write",)), optional("GET /gists/{gist_id}", "gist")]
    return [needs("POST /gists", "gist", app=("gists:write",))]


def _save_effect(arguments: Arguments) -> Effect:
    """Whoever has the address reads a secret gist, too; a file without text is deleted."""
    return SENDS if all((arguments["files"] or {}).values()) else SENDS | Effect.DESTRUCTIVE


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
    if_text: IfTexts = None,
    *,
    run: Run,
) -> Steps:
    """Create a gist (secret unless public) or change its files: name to content, empty deletes."""
    if gist_id and public:
        raise InvalidInput("public: can only be set for a new gist.")
    given: Json = {"description": " ".join(description.split())} if description is not None else {}
    if gist_id:
        return (yield from _changed(gist_id, files, given, if_text or {}))
    if not all(files.values()):
        raise InvalidInput("files: a new gist's files must not be empty.")
    given |= {"files": {name: {"content": text} for name, text in files.items()}, "public": public}
    if not run.noted:
        about = given.get("description")
        yield gist_show("Create this gist", {"public": public}, description=about, files=_listed(files))
    look = lambda: _made(given, run.now)  # noqa: E731
    row = yield from once(run.noted, api.sent(rest("POST /gists", json=given)), look, "gist")
    if not run.noted:
        yield Undo("github_delete", {"kind": "gist", "id": row.get("id")}, holds={"version": _version(row)})
    return _receipt(row, "Created.")


def _changed(gist_id: str, files: Mapping[str, str], given: Json, digests: Mapping[str, str]) -> Asks[Json]:
    """Write some files of a gist that is there, and take others out."""
    row = yield from _read_before(gist_id, files, digests)
    there = {name: one for name, one in (row.get("files") or {}).items() if name in files}
    before = {name: str(one.get("content") or "") for name, one in there.items()}
    gone = sorted(name for name, text in files.items() if not text and name in there)
    about = change_of(row.get("description"), given["description"]) if "description" in given else None
    kept = _listed({name: text for name, text in files.items() if text})
    listed = Change(_listed(before), kept) if before else kept
    yield gist_show("Change this gist", row, description=about, files=listed, deletes=gone or None, destroys=bool(gone))
    given["files"] = {name: {"content": text} if text else None for name, text in files.items()}
    request = rest("PATCH /gists/{gist_id}", at={"gist_id": gist_id}, json=given, repeat="idem")
    now = dict((yield from api.send(request)).data)
    old = {name: restored(before.get(name, "")) for name in files if name in before or files[name]}
    if None not in old.values() and not any(one.get("truncated") for one in there.values()):
        back: Json = {"gist_id": gist_id, "files": old}
        back["if_text"] = {name: digest(text) for name, text in files.items() if text and name in before} or None
        back |= {"description": row.get("description") or ""} if "description" in given else {}
        yield Undo("github_save_gist", back, holds={"version": _version(now)})
    return _receipt(now, "Changed.")


def gist_show(what: str, row: Mapping[str, Any], **more: Any) -> Show:
    """What is about to happen to a gist. ``row``: as GitHub has it."""
    public = bool(row.get("public"))
    return Show(
        what,
        audience=Audience.PUBLIC if public else Audience.UNKNOWN,
        where="a public gist" if public else "a secret gist: whoever has its address can read it",
        pins={"gist": row.get("id"), "version": _version(row)},
        **more,
    )


def _version(row: Mapping[str, Any]) -> str | None:
    """Which revision of a gist it is."""
    return next((str(one.get("version")) for one in row.get("history") or ()), None)


def _listed(files: Mapping[str, str]) -> list[str]:
    return [f"{name}:\n{text}" for name, text in files.items()]


def _read_before(gist_id: str, files: Mapping[str, str], digests: Mapping[str, str]) -> Asks[Json]:
    """The gist, if each file that gets other words was read whole. Raises `InvalidInput` or `Conflict` for another."""
    row = dict((yield from api.get("/gists/{gist_id}", at={"gist_id": gist_id})))
    there = row.get("files") or {}
    size = sum(len(str(one.get("content") or "").encode(errors="replace")) for one in there.values())
    for name, text in files.items():
        old = there.get(name) or {}
        if text and old.get("truncated"):
            raise InvalidInput(f"files: {name} is too large to be read here.", hint="Edit it on its page.")
        if text:
            Edit(if_text=digests.get(name)).of(
                CODE, f"files: {name}", old.get("content"), text, _TEXT if size <= _TEXT else 0
            )
    return row


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
