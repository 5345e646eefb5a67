"""GitHub: reading files and directories, searching code."""

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
from deputize.toolkits.github.diffs import fitting_length
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, code, mask_secrets, write_out_hidden
from deputize.toolkits.github.rows import outer
from deputize.toolkits.github.search import MAX_RESULTS, add_qualifiers, check_query, is_elsewhere

_ENTRIES: Final = 3_000  # tokens of a directory
_LARGEST: Final = 50 * MIB

Part = Callable[[str, Continuation], Json]
"""Returns a part of a text; the call reads the next one."""


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
    """Return all files below a folder."""
    tree = yield from api.get("R/git/trees/{tree_sha}", repo, wide={"tree_sha": ref}, params={"recursive": 1})
    kinds = {"blob": "file", "commit": "submodule"}
    rows = [
        {"path": one.get("path"), "type": kinds[one["type"]], "size": one.get("size")}
        for one in tree.get("tree") or ()
        if one.get("type") in kinds and (not path or str(one.get("path")).startswith(f"{path}/"))
    ]
    if not rows and path:
        raise NotFound(
            f"GitHub: {repo} was read, and the folder is not found.",
            hint="github_get_file without path lists the top folder.",
        )
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
        raise InvalidInput("offset: cannot be combined with start_line or end_line.", hint="Leave out offset.")
    return _characters(text, more, offset) if offset else _lines(text, more, start, end)


def _file(repo: str, found: Mapping[str, Any], ref: str | None, part: Part) -> Asks[Json]:
    """Return a part of a text file. Other files are stored for the user."""
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
    return shown | part(text, read_call(repo, str(found.get("path", "")), ref))


def read_call(repo: str, path: str, ref: str | None) -> Continuation:
    """Return the call that reads a file by its characters."""
    return Continuation("github_get_file", repo=repo, path=path, **({"ref": ref} if ref else {}))


def bytes_of(repo: str, found: Mapping[str, Any], ref: str | None) -> Asks[bytes]:
    """Return a file's bytes: from the response up to a megabyte, else downloaded raw."""
    if found.get("encoding") == "base64" and (found.get("content") or not found.get("size")):
        try:
            return base64.b64decode(str(found.get("content") or ""))
        except binascii.Error:
            raise NotFound(
                "GitHub: the file could not be read.", hint="github_get_file on its folder lists what is there."
            ) from None
    if int(found.get("size") or 0) > _LARGEST:
        raise InvalidInput(
            f"path: the file is too large to read here ({found.get('size')} bytes).",
            hint="github_search_code finds lines of it.",
        )
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
    """Return the file as text with LF line ends, or None if it is not a text."""
    if not is_text(data):
        return None
    try:
        return with_lf(data).decode()
    except UnicodeDecodeError:
        return None


def _lines(text: str, more: Continuation, start: int | None, end: int | None) -> Json:
    """Return the lines of a file that fit. A line that is too long by itself is read by character offset."""
    text = mask_secrets(text)  # before it is split: half a key would not be recognized
    lines, ended = text.split("\n"), text.endswith("\n")
    if lines[-1:] == [""]:
        lines.pop()
    first = max(start or 1, 1)
    last = min(end or len(lines), len(lines))
    if lines and (first > len(lines) or first > last):
        raise InvalidInput(f"start_line: the file has {len(lines)} lines.", hint="Begin at an earlier line.")
    size, stop = 0, last
    for n in range(first, last + 1):
        size += text_tokens(lines[n - 1][: 6 * ALONE]) + 1
        if size > ALONE:
            stop = n - 1
            break
    if stop < first and lines:
        return _characters(text, more, _line_offset(lines, first))
    shown, unseen = write_out_hidden("\n".join(lines[first - 1 : stop]) + "\n" * (ended and stop == len(lines)))
    told: Json = {"lines": f"{first if lines else 0}-{stop} of {len(lines)}", "text": shown}
    if stop < last:
        told |= {"truncated": True, "next": {"start_line": stop + 1}, "more": more.at(_line_offset(lines, stop + 1))}
    return told | _hidden_warning(unseen)


def _line_offset(lines: Sequence[str], number: int) -> int:
    """Return the character offset at which a line begins."""
    return sum(len(line) + 1 for line in lines[: number - 1])


def _characters(text: str, more: Continuation, offset: int) -> Json:
    """Return a part of a file from a character on, for files with too long lines."""
    text = mask_secrets(text)
    if offset > len(text):
        raise InvalidInput("offset: beyond the end of the file.", hint=f"The file has {len(text)} characters.")
    end = offset + fitting_length(text, offset, ALONE)
    shown, unseen = write_out_hidden(text[offset:end])
    told: Json = {"offset": offset, "total_chars": len(text), "text": shown}
    if end < len(text):
        told |= {"truncated": True, "next": {"offset": end}, "more": more.at(end)}
    return told | _hidden_warning(unseen)


def _hidden_warning(unseen: int) -> Json:
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
    words = check_query(query, fixed=bool(repo or org))
    if not words:
        raise InvalidInput("query: needed.", hint="Add query.")
    q = add_qualifiers(words, {"repo": repo, "org": org, "language": language, "path": path})
    listing = List(
        ("github_search_code", run.account.subject, q),
        pages("/search/code", rows="items", accept=MATCHES, params={"q": q}),
        lambda row: None if is_elsewhere(repo, org, row["repository"]["full_name"]) else _hit(row),
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
