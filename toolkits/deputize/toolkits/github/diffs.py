"""Diffs within a budget: file by file, whole hunks, and where to read on.

A diff is made of the ``patch`` of each file in GitHub's JSON; the diff media type is never asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from deputize.toolkits._shared.page import read_cursor, tokens, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.github.api import Page
from deputize.toolkits.github.base import Asks
from deputize.toolkits.github.prose import code

BUDGET: Final = 2_000  # tokens of a diff
FILES: Final = 1_200  # tokens of a list of files
_MADE: Final = re.compile(
    r"(?:^|/)(?:package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum|Gemfile\.lock)$"
    r"|(?:^|/)(?:vendor|node_modules|dist|third_party)/|\.min\.(?:js|css)$|\.(?:lock|map|snap|pb\.go)$"
)

Json = dict[str, Any]


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


def file_list(files: Sequence[Any], path: str = "") -> tuple[list[Json], bool]:
    """Rows of files, as many as there is room for; whether some were left out."""
    rows: list[Json] = []
    left = FILES
    for file in below(files, path):
        row = file_row(file)
        left -= tokens(row)
        if left < 0:
            return rows, True
        rows.append(row)
    return rows, False


def diff(
    bound_to: tuple[Any, ...], read: Callable[[str, int], Asks[Page]], path: str, cursor: str | None
) -> Asks[Json]:
    """A diff from where the cursor points. ``read``: the files that changed, page by page."""
    bound_to = (*bound_to, path)
    token, skip, line = read_cursor(bound_to, cursor, (str, int, int)) if cursor else ("", 0, 0)
    shown: list[Json] = []
    left, hidden = BUDGET, 0
    while True:
        page = yield from read(token, 100)
        for n, file in enumerate(below(page.rows, path)[skip:], skip):
            row, rest, unseen = _piece(file, line, left, first=not shown)
            if row is None:
                return _shown(shown, hidden, write_cursor(bound_to, [token, n, line]))
            shown.append(row)
            left, hidden, line = left - tokens(row), hidden + unseen, 0
            if rest:
                return _shown(shown, hidden, write_cursor(bound_to, [token, n, rest]))
        token, skip = page.following, 0
        if not token:
            return _shown(shown, hidden, None)


def _shown(files: list[Json], hidden: int, following: str | None) -> Json:
    told: Json = {"diff": files, "next": following, "truncated": following is not None}
    warning = f"{hidden} characters that nobody can see are written as \\u{{...}}"
    return told | ({"warning": warning} if hidden else {})


def _piece(file: Mapping[str, Any], start: int, left: int, *, first: bool) -> tuple[Json | None, int, int]:
    """A file's patch from a line on; the line where it goes on, 0 at its end; and what was written out in it.

    None if there is no room; the first file of a result always gets some.
    """
    row = file_row(file)
    patch = file.get("patch")
    if not isinstance(patch, str):
        row["reason"] = "no text: binary, renamed only, or too large for GitHub to show"
        return (row, 0, 0) if first or tokens(row) < left else (None, 0, 0)
    lines = patch.split("\n")
    end = _end(lines, start, max(left - tokens(row), 400 if first else 0))
    if end == start:
        return None, start, 0
    text, unseen = code("\n".join(line[:2_000] for line in lines[start:end]))
    row |= {"patch": text} | ({"from_line": start} if start else {})
    return row, end if end < len(lines) else 0, unseen


def _end(lines: list[str], start: int, budget: int) -> int:
    """Where a piece of a patch ends: at the border of a hunk where one fits, else at a line."""
    size, border = 0, start
    for n in range(start, len(lines)):
        if lines[n].startswith("@@") and n > start:
            border = n
        size += len(lines[n][:2_000].encode()) // 4 + 1
        if size > budget:
            return border if border > start else (n if budget >= 400 else start)
    return len(lines)
