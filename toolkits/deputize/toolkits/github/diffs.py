"""Diffs within a budget: file by file, whole hunks, continued by a cursor.

A diff consists of the ``patch`` of each file in GitHub's JSON. The diff media type is never requested.
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
from deputize.toolkits.github.prose import code, mask_secrets

BUDGET: Final = 2_400  # tokens of a diff
_LEAST: Final = 400  # tokens of a piece of a patch
_MADE: Final = re.compile(
    r"(?:^|/)(?:package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum|Gemfile\.lock)$"
    r"|(?:^|/)(?:vendor|node_modules|dist|third_party)/|\.min\.(?:js|css)$|\.(?:lock|map|snap|pb\.go)$"
)

Json = dict[str, Any]
Read = Callable[[str, int], Asks[Page]]


def file_row(file: Mapping[str, Any]) -> Json:
    """Return a row for a changed file."""
    outside = Outside()
    row = {
        "path": outside.line(str(file.get("filename", "")), 300),
        "status": file.get("status"),
        "+": file.get("additions", 0),
        "-": file.get("deletions", 0),
    }
    before = file.get("previous_filename")
    return row | ({"was": outside.line(str(before), 300)} if before else {})


def filter_files(files: Sequence[Any], path: str) -> list[Any]:
    """Return the files at this path, or in the folder of this name. Source files come before generated files."""
    kept = [f for f in files if not path or f["filename"] == path or str(f["filename"]).startswith(f"{path}/")]
    return sorted(kept, key=lambda file: bool(_MADE.search(str(file["filename"]))))


def files(bound_to: tuple[Any, ...], read: Read, path: str) -> Block:
    """Return a block of the files of this path. ``read``: reads all changed files, page by page."""

    def read_filtered(token: str, size: int) -> Asks[Page]:
        page = yield from read(token, 100)
        return replace(page, rows=filter_files(page.rows, path))

    return rows("files", (*bound_to, path), read_filtered, file_row)


def diff(bound_to: tuple[Any, ...], read: Read, path: str) -> Block:
    """Return a block of the changes in the files of this path. ``read``: reads all changed files, page by page."""

    def show(budget: int, cursor: str | None) -> Asks[Json]:
        return (yield from _diff((*bound_to, path), read, path, min(budget, BUDGET), cursor))

    return show


def _diff(bound_to: tuple[Any, ...], read: Read, path: str, left: int, cursor: str | None) -> Asks[Json]:
    """Return the diff from the cursor's position: a page, a file on it, a character of the file's patch."""
    token, skip, place = read_cursor(bound_to, cursor, (str, int, int)) if cursor else ("", 0, 0)
    shown: list[Json] = []
    hidden = 0
    while True:
        page = yield from read(token, 100)
        for n, file in enumerate(filter_files(page.rows, path)[skip:], skip):
            row, further, unseen = _piece(file, place, left, first=not shown)
            if row is None:
                return _result(shown, hidden, write_cursor(bound_to, [token, n, place]))
            shown.append(row)
            left, hidden, place = left - tokens(row), hidden + unseen, 0
            if further:
                return _result(shown, hidden, write_cursor(bound_to, [token, n, further]))
        token, skip = page.following, 0
        if not token:
            return _result(shown, hidden, None)


def _result(files: list[Json], hidden: int, following: str | None) -> Json:
    told: Json = {"diff": files, "next": following, "truncated": following is not None}
    warning = f"{hidden} characters that nobody can see are written as \\u{{...}}"
    return told | ({"warning": warning} if hidden else {})


def _piece(file: Mapping[str, Any], start: int, left: int, *, first: bool) -> tuple[Json | None, int, int]:
    """Return a file's patch from a character on, the next character (0 at the end), and the count of hidden ones.

    The row is None if the budget has no room. The first file of a result always gets some.
    """
    row = file_row(file)
    patch = file.get("patch")
    if not isinstance(patch, str):
        row["reason"] = "no text: binary, renamed only, or too large for GitHub to show"
        return (row, 0, 0) if first or tokens(row) < left else (None, 0, 0)
    patch = mask_secrets(patch)  # before it is split: half a token would not be recognized
    end = _end(patch, start, max(left - tokens(row), _LEAST if first else 0))
    if end == start and patch:
        return None, start, 0
    text, unseen = code(patch[start:end].removesuffix("\n").removesuffix("\r"))
    row |= {"patch": text} | ({"from_line": patch.count("\n", 0, start)} if start else {})
    return row, end if end < len(patch) else 0, unseen


def _end(patch: str, start: int, budget: int) -> int:
    """Return the end of a piece of a patch: a hunk's border, else a line's end, else inside a too long line."""
    size, border, at = 0, start, start
    while at < len(patch):
        if at > start and patch.startswith("@@", at):
            border = at
        following = patch.find("\n", at) + 1 or len(patch)
        size += text_tokens(patch[at : min(following, at + 6 * budget)])
        if size > budget:
            inside = min(at + fitting_length(patch, at, budget), following) if at == start else at
            return border if border > start else inside if budget >= _LEAST else start
        at = following
    return at


def fitting_length(text: str, start: int, budget: int) -> int:
    """Return how many characters from ``start`` cost about ``budget`` tokens; at least one."""
    piece = text[start : start + 6 * budget].encode(errors="replace")[: room_for(text, start, budget)]
    return len(piece.decode(errors="ignore")) or 1
