"""GitHub: reading gists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Answer, Continuation, Need, PublicRequest, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.steps import MAX_RESPONSE_BYTES
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.line_ends import line_ends
from deputize.toolkits._shared.long_text import PART, part, shortened
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Gist, Login
from deputize.toolkits.github.base import GITHUB, Asks, optional
from deputize.toolkits.github.name_lookup import near_names
from deputize.toolkits.github.prose import CODE, WORDS, Prose
from deputize.toolkits.github.rows import ZONED, full, login, outer, short

SHOWN: Final = 8_000
"""Bytes of all files in a gist's detail."""
_LEAST: Final = 400  # bytes of one
_FILES: Final = 20
ABOUT: Final = 1_400
"""Bytes of a description in a gist's detail."""


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["gist_id"]:
        return [optional("GET /gists/{gist_id}", "gist")]
    return [optional("GET U/gists" if arguments["owner"] else "GET /gists", "gist")]


@GITHUB.tool(needs=_list_needs, toolset="gists")
def list_gists(
    gist_id: Gist | None = None,
    file: Annotated[str | None, Field(description='this file of one alone; "": its description')] = None,
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
        raise InvalidInput("Give gist_id or owner, not both.", hint="Leave out gist_id or owner.")
    if gist_id:
        row = yield from api.get("/gists/{gist_id}", at={"gist_id": gist_id})
        return _gist(row) if file is None else (yield from _file(row, file, offset, raw))
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
        **shortened(WORDS, outside, row.get("description"), 100, "description", more=_description_call(row)),
        "public": bool(row.get("public")),
        "files": [outside.line(str(one.get("filename", "")), 60) for one in files[:5]],
        "updated": short(row.get("updated_at")),
    }
    return outer(shown, outside)


def _gist(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    left, files = SHOWN, []
    for one in list((row.get("files") or {}).values())[:_FILES]:
        told: Json = {"name": outside.line(str(one.get("filename", "")), 120), "size": one.get("size")}
        told |= (
            _part(row, one, left)
            if left > _LEAST
            else {"truncated": True, "next_offset": 0, "more": _file_call(row, one).at(0)}
        )
        left -= len(str(told.get("text", "")).encode(errors="replace"))
        files.append(told)
    detail: Json = {
        "gist_id": row.get("id"),
        **shortened(WORDS, outside, row.get("description"), ABOUT, "description", more=_description_call(row)),
        "public": bool(row.get("public")),
        "owner": login(row.get("owner")),
        "updated": full(row.get("updated_at")),
        "url": row.get("html_url"),
        "files": files,
        "truncated": any(one.get("truncated") for one in files),
    }
    names = list(row.get("files") or ())
    more = [outside.line(name, 120) for name in names[_FILES : 4 * _FILES]]
    if more:
        cut = ["description"] if detail.get("cut") else []
        detail |= {"more_files": more, "cut": [*cut, f"files: {_FILES} of {len(names)} are shown."]}
    return outer(detail, outside)


def _description_call(row: Mapping[str, Any], **how: bool) -> Continuation:
    """Return the call that reads a gist's description."""
    return Continuation("github_list_gists", gist_id=str(row.get("id")), file="", **how)


def _file_call(row: Mapping[str, Any], file: Mapping[str, Any], **how: bool) -> Continuation:
    """Return the call that reads a file of a gist."""
    return Continuation("github_list_gists", gist_id=str(row.get("id")), file=str(file.get("filename")), **how)


def _file(row: Mapping[str, Any], name: str, offset: int, raw: bool) -> Asks[Json]:
    """Return a part of one file. A file of more than a megabyte is fetched from its own address without the token,
    because anyone with that address may read it."""
    outside = Prose()
    if not name:
        more = _description_call(row, **({"raw": True} if raw else {}))
        about = part(WORDS, outside, row.get("description"), PART, offset, raw=raw, name="description", more=more)
        return outer({"gist_id": row.get("id")} | about, outside)
    one = _file_named(row, name)
    if one.get("truncated") and one.get("raw_url"):
        answer: Answer = yield PublicRequest(str(one["raw_url"]), max_bytes=MAX_RESPONSE_BYTES)
        one = {**one, "content": answer.data.decode(errors="replace"), "truncated": False}
    told = {"gist_id": row.get("id"), "name": outside.line(name, 120)} | _part(row, one, PART, offset, raw=raw)
    return outer(told, outside)


def _file_named(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    files = row.get("files") or {}
    if name not in files:
        raise InvalidInput(
            "file: the gist has no file of this name.", hint=f"There are: {', '.join(near_names(name, list(files)))}."
        )
    return dict(files[name])


def _part(
    row: Mapping[str, Any], file: Mapping[str, Any], limit: int | None, offset: int = 0, *, raw: bool = False
) -> Json:
    """Return a part of a file. GitHub cuts a file after a megabyte; then there is no digest."""
    more = _file_call(row, file, **({"raw": True} if raw else {}))
    text = str(file.get("content") or "")
    told = part(CODE, Prose(), text, limit, offset, raw=raw, more=more)
    if "\r" in text:
        told["line_ends"] = line_ends(text.encode(errors="replace"))
    if file.get("truncated"):
        told.pop("text_digest", None)
        told["truncated"] = True
        if "more" not in told and file.get("raw_url"):
            told["more"] = more.at(len(str(file.get("content") or "")))
    return told
