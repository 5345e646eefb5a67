"""GitHub: read files and directories, search code."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Continuation, File, Keep, Need, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.steps import MIB
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.line_ends import BOM, is_text, line_ends, with_lf
from deputize.toolkits._shared.long_text import ALONE
from deputize.toolkits._shared.page import text_tokens, tokens
from deputize.toolkits.github import api
from deputize.toolkits.github.api import MATCHES, RAW, Json, List, pages, rest
from deputize.toolkits.github.argument_types import At, Owner, Path, Repo, Word
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.diffs import fitting
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, code, masked, written_out
from deputize.toolkits.github.rows import outer
from deputize.toolkits.github.search import MAX_RESULTS, checked, elsewhere, qualified

_ENTRIES: Final = 3_000  # tokens of a directory
_LARGEST: Final = 50 * MIB

Part = Callable[[str, Continuation], Json]
"""Shows some of a text, which the call reads on."""


def _file_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["recursive"]:
        return [reads("GET R/git/trees/{tree_sha}", "contents:read"), reads("GET R/contents/{path}", "contents:read")]
    return [reads("GET R/contents/{path}", "contents:read")]


@GITHUB.tool(needs=_file_needs)
@in_repo("this file, folder or ref")
def get_file(
    repo: Repo,
    path: Path = "",
    ref: At | None = None,
    start_line: int | None = None,
    end_line: int | None = None,
    offset: Annotated[Offset, Field(description="characters into the file, in place of lines")] = 0,
    recursive: Annotated[bool, Field(description="all files below the folder")] = False,
) -> Steps:
    """Read a file (whole or a line range) or list a directory at a ref."""
    if recursive:
        return (yield from _tree(repo, path, ref or "HEAD"))
    found = yield from api.get("R/contents/{path}", repo, wide={"path": path}, params={"ref": ref})
    if isinstance(found, list):
        return _directory(repo, path, ref, found)
    if found.get("type") != "file":
        target = code(str(found.get("target") or found.get("submodule_git_url") or ""))[0][:500]
        shown = {"path": path, "type": found.get("type"), "sha": found.get("sha"), "target": target}
        return {**shown, "untrusted": True}
    return (yield from _file(repo, found, ref, lambda text, more: _part(text, more, start_line, end_line, offset)))


def _directory(repo: str, path: str, ref: str | None, found: Sequence[Mapping[str, Any]]) -> Json:
    rows = [{"path": one.get("path"), "type": one.get("type"), "size": one.get("size")} for one in found]
    shown, cut = _entries(rows)
    more = {"note": "GitHub lists the first 1000 entries."} if len(found) >= 1000 else {}
    return {"repo": repo, "path": path, "ref": ref, "entries": shown, "truncated": cut, "untrusted": True, **more}


def _tree(repo: str, path: str, ref: str) -> Asks[Json]:
    """All below a folder, files only."""
    tree = yield from api.get("R/git/trees/{tree_sha}", repo, wide={"tree_sha": ref}, params={"recursive": 1})
    kinds = {"blob": "file", "commit": "submodule"}
    rows = [
        {"path": one.get("path"), "type": kinds[one["type"]], "size": one.get("size")}
        for one in tree.get("tree") or ()
        if one.get("type") in kinds and (not path or str(one.get("path")).startswith(f"{path}/"))
    ]
    if not rows and path:
        raise NotFound(f"GitHub: {repo} was read, and the folder is not found.")
    shown, cut = _entries(rows)
    told: Json = {"repo": repo, "path": path, "ref": ref, "entries": shown, "total": len(rows), "truncated": cut}
    return told | {"untrusted": True} | ({"incomplete": True} if tree.get("truncated") else {})


def _entries(rows: Sequence[Json]) -> tuple[list[Json], bool]:
    shown: list[Json] = []
    left = _ENTRIES
    for row in rows:
        row = {name: value for name, value in row.items() if value not in (None, 0)}
        row["path"] = code(str(row.get("path", "")))[0]
        left -= tokens(row)
        if left < 0:
            return shown, True
        shown.append(row)
    return shown, False


def _part(text: str, more: Continuation, start: int | None, end: int | None, offset: int) -> Json:
    if offset and (start or end):
        raise InvalidInput("offset: cannot be combined with start_line or end_line.")
    return _characters(text, more, offset) if offset else _lines(text, more, start, end)


def _file(repo: str, found: Mapping[str, Any], ref: str | None, part: Part) -> Asks[Json]:
    """A file as text, a part of it; what is no text is kept aside for the user."""
    path = code(str(found.get("path", "")))[0]
    shown: Json = {"repo": repo, "path": path, "ref": ref, "sha": found.get("sha"), "size": found.get("size")}
    shown = {name: value for name, value in shown.items() if value is not None} | {"untrusted": True}
    data = yield from bytes_of(repo, found, ref)
    text = _text(data)
    if text is None:
        kept = yield Keep(File(path.rpartition("/")[2][:120], "application/octet-stream", data))
        return {**shown, "binary": True, **kept}
    ends = line_ends(data) if b"\r" in data else ""
    shown |= ({"line_ends": ends} if ends else {}) | ({"bom": True} if data.startswith(BOM) else {})
    return shown | part(text, read_on(repo, str(found.get("path", "")), ref))


def read_on(repo: str, path: str, ref: str | None) -> Continuation:
    """The call that reads a file by its characters."""
    return Continuation("github_get_file", repo=repo, path=path, **({"ref": ref} if ref else {}))


def bytes_of(repo: str, found: Mapping[str, Any], ref: str | None) -> Asks[bytes]:
    """A file's bytes: inside the answer up to a megabyte, else asked for as they are."""
    if found.get("encoding") == "base64" and (found.get("content") or not found.get("size")):
        try:
            return base64.b64decode(str(found.get("content") or ""))
        except binascii.Error:
            raise NotFound("GitHub: the file could not be read.") from None
    if int(found.get("size") or 0) > _LARGEST:
        raise InvalidInput(f"path: the file is too large to read here ({found.get('size')} bytes).")
    path = str(found.get("path", ""))
    request = rest(
        "GET R/contents/{path}",
        repo,
        wide={"path": path},
        params={"ref": ref},
        accept=RAW,
        raw=True,
        max_bytes=_LARGEST,
    )
    data = (yield from api.send(request)).data
    return data if isinstance(data, bytes) else b""


def _text(data: bytes) -> str | None:
    """The file as text with LF for its line ends, or None where it is none."""
    if not is_text(data):
        return None
    try:
        return with_lf(data).decode()
    except UnicodeDecodeError:
        return None


def _lines(text: str, more: Continuation, start: int | None, end: int | None) -> Json:
    """Lines of a file, as many as fit. One that does not fit alone is read on by its place in the file."""
    text = masked(text)  # before it is parted: no half of a key is one
    lines, ended = text.split("\n"), text.endswith("\n")
    if lines[-1:] == [""]:
        lines.pop()
    first = max(start or 1, 1)
    last = min(end or len(lines), len(lines))
    if lines and (first > len(lines) or first > last):
        raise InvalidInput(f"start_line: the file has {len(lines)} lines.")
    size, stop = 0, last
    for n in range(first, last + 1):
        size += text_tokens(lines[n - 1][: 6 * ALONE]) + 1
        if size > ALONE:
            stop = n - 1
            break
    if stop < first and lines:
        return _characters(text, more, _begins(lines, first))
    shown, unseen = written_out("\n".join(lines[first - 1 : stop]) + "\n" * (ended and stop == len(lines)))
    told: Json = {"lines": f"{first if lines else 0}-{stop} of {len(lines)}", "text": shown}
    if stop < last:
        told |= {"truncated": True, "next": {"start_line": stop + 1}, "more": more.at(_begins(lines, stop + 1))}
    return told | _warned(unseen)


def _begins(lines: Sequence[str], number: int) -> int:
    """At which character of the file a line begins."""
    return sum(len(line) + 1 for line in lines[: number - 1])


def _characters(text: str, more: Continuation, offset: int) -> Json:
    """A part of a file from a character on, where its lines are too long to be counted in."""
    text = masked(text)
    if offset > len(text):
        raise InvalidInput("offset: beyond the end of the file.", hint=f"The file has {len(text)} characters.")
    end = offset + fitting(text, offset, ALONE)
    shown, unseen = written_out(text[offset:end])
    told: Json = {"offset": offset, "total_chars": len(text), "text": shown}
    if end < len(text):
        told |= {"truncated": True, "next": {"offset": end}, "more": more.at(end)}
    return told | _warned(unseen)


def _warned(unseen: int) -> Json:
    return {"warning": f"{unseen} characters that nobody can see are written as \\u{{...}}"} if unseen else {}


# ----------------------------------------------------------------- search


@GITHUB.tool(needs=[reads("GET /search/code", "contents:read", "metadata:read")])
@in_repo()
def search_code(
    query: str,
    repo: Repo | None = None,
    org: Owner | None = None,
    language: Word | None = None,
    path: Word | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Search code, optionally within one repository or organization."""
    words = checked(query, fixed=bool(repo or org))
    if not words:
        raise InvalidInput("query: needed.")
    q = qualified(words, {"repo": repo, "org": org, "language": language, "path": path})
    listing = List(
        ("github_search_code", run.account.subject, q),
        pages("/search/code", rows="items", accept=MATCHES, params={"q": q}),
        lambda row: None if elsewhere(repo, org, row["repository"]["full_name"]) else _hit(row),
        more={"note": f"Default branches only, files below 384 kB. {MAX_RESULTS}"},
    )
    return (yield from listing.show(limit, cursor))


def _hit(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    pieces = [code(str(one.get("fragment", "")))[0][:200] for one in (row.get("text_matches") or ())[:3]]
    shown: Json = {
        "repo": row["repository"]["full_name"],
        "private": bool(row["repository"].get("private")),
        "path": code(str(row.get("path", "")))[0],
        "sha": row.get("sha"),
        "snippets": pieces,
    }
    return outer(shown, outside)
