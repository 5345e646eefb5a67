"""Diffs within a budget: file by file, whole hunks, and where to read on.

A diff is made of the ``patch`` of each file in GitHub's JSON; the diff media type is never asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from deputize.toolkits._shared.page import read_cursor, room_for, text_tokens, tokens, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.github.api import Page
from deputize.toolkits.github.base import Asks
from deputize.toolkits.github.blocks import Block, rows
from deputize.toolkits.github.prose import code, masked

BUDGET: Final = 2_400  # tokens of a diff
_LEAST: Final = 400  # tokens of a piece of a patch
_MADE: Final = re.compile(
    r"(?:^|/)(?:package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum|Gemfile\.lock)$"
    r"|(?:^|/)(?:vendor|node_modules|dist|third_party)/|\.min\.(?:js|css)$|\.(?:lock|map|snap|pb\.go)$"
)

Json = dict[str, Any]
Read = Callable[[str, int], Asks[Page]]


def file_row(file: Mapping[str, Any]) -> Json:
    """A file in a list of what changed."""
    outside = Outside()
    row = {
        "path": outside.line(str(file.get("filename", "")), 300),
        "status": file.get("status"),
        "+": file.get("additions", 0),
        "-": file.get("deletions", 0),
    }
    before = file.get("previous_filename")
    return row | ({"was": outside.line(str(before), 300)} if before else {})


def below(files: Sequence[Any], path: str) -> list[Any]:
    """The files of this path, or in the folder of this name; source before what is generated."""
    kept = [f for f in files if not path or f["filename"] == path or str(f["filename"]).startswith(f"{path}/")]
    return sorted(kept, key=lambda file: bool(_MADE.search(str(file["filename"]))))


def files(bound_to: tuple[Any, ...], read: Read, path: str) -> Block:
    """The files of this path, as a block of a detail. ``read``: all that changed, page by page."""

    def of_path(token: str, size: int) -> Asks[Page]:
        page = yield from read(token, 100)
        return replace(page, rows=below(page.rows, path))

    return rows("files", (*bound_to, path), of_path, file_row)


def diff(bound_to: tuple[Any, ...], read: Read, path: str) -> Block:
    """What changed in the files of this path, as a block of a detail. ``read``: all that changed, page by page."""

    def show(budget: int, cursor: str | None) -> Asks[Json]:
        return (yield from _diff((*bound_to, path), read, path, min(budget, BUDGET), cursor))

    return show


def _diff(bound_to: tuple[Any, ...], read: Read, path: str, left: int, cursor: str | None) -> Asks[Json]:
    """From where the cursor points: a page, a file of it, a character of its patch."""
    token, skip, place = read_cursor(bound_to, cursor, (str, int, int)) if cursor else ("", 0, 0)
    shown: list[Json] = []
    hidden = 0
    while True:
        page = yield from read(token, 100)
        for n, file in enumerate(below(page.rows, path)[skip:], skip):
            row, further, unseen = _piece(file, place, left, first=not shown)
            if row is None:
                return _shown(shown, hidden, write_cursor(bound_to, [token, n, place]))
            shown.append(row)
            left, hidden, place = left - tokens(row), hidden + unseen, 0
            if further:
                return _shown(shown, hidden, write_cursor(bound_to, [token, n, further]))
        token, skip = page.following, 0
        if not token:
            return _shown(shown, hidden, None)


def _shown(files: list[Json], hidden: int, following: str | None) -> Json:
    told: Json = {"diff": files, "next": following, "truncated": following is not None}
    warning = f"{hidden} characters that nobody can see are written as \\u{{...}}"
    return told | ({"warning": warning} if hidden else {})


def _piece(file: Mapping[str, Any], start: int, left: int, *, first: bool) -> tuple[Json | None, int, int]:
    """A file's patch from a character on; the one where it goes on, 0 at its end; and what was written out in it.

    None if there is no room; the first file of a result always gets some.
    """
    row = file_row(file)
    patch = file.get("patch")
    if not isinstance(patch, str):
        row["reason"] = "no text: binary, renamed only, or too large for GitHub to show"
        return (row, 0, 0) if first or tokens(row) < left else (None, 0, 0)
    patch = masked(patch)  # before it is parted: no half of a token is one
    end = _end(patch, start, max(left - tokens(row), _LEAST if first else 0))
    if end == start and patch:
        return None, start, 0
    text, unseen = code(patch[start:end].removesuffix("\n").removesuffix("\r"))
    row |= {"patch": text} | ({"from_line": patch.count("\n", 0, start)} if start else {})
    return row, end if end < len(patch) else 0, unseen


def _end(patch: str, start: int, budget: int) -> int:
    """Where a piece of a patch ends: at the border of a hunk, else at a line, else inside of one that is too long."""
    size, border, at = 0, start, start
    while at < len(patch):
        if at > start and patch.startswith("@@", at):
            border = at
        following = patch.find("\n", at) + 1 or len(patch)
        size += text_tokens(patch[at : min(following, at + 6 * budget)])
        if size > budget:
            inside = min(at + fitting(patch, at, budget), following) if at == start else at
            return border if border > start else inside if budget >= _LEAST else start
        at = following
    return at


def fitting(text: str, start: int, budget: int) -> int:
    """How many characters of a text from ``start`` on cost about this many tokens; one at least."""
    piece = text[start : start + 6 * budget].encode(errors="replace")[: room_for(text, start, budget)]
    return len(piece.decode(errors="ignore")) or 1
