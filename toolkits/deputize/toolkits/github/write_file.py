"""GitHub: writing one file, as a commit of its own."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import Field

from deputize.core import Change, Need, Preview, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.steps import MIB
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.line_ends import (
    append_lines,
    count_lines,
    form_change,
    replace_all,
    replace_range,
    with_lf,
)
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Branch, NewPath, Repo, Unmoved
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, needs, reads
from deputize.toolkits.github.files import bytes_of
from deputize.toolkits.github.idempotent_create import retry_once
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Content, Title, mask_secrets, write_out_hidden
from deputize.toolkits.github.self_running_files import code_warning
from deputize.toolkits.github.show_fields import HOME, Home, file_shown, home_of, undo_message, writable

Mode = Literal["create", "overwrite", "replace_lines", "append"]
Exact = Annotated[bool, Field(description="byte for byte; else line ends, BOM and final newline stay")]
Old = tuple[str, bytes] | None
"""The sha and the bytes of the existing file, or None."""


def workflow_need(method: str, paths: Sequence[str | None]) -> list[Need]:
    """Return the additional need for files of GitHub Actions."""
    if any(path and path.lower().startswith(".github/workflows") for path in paths):
        return [needs(method, "workflow", app=("workflows:write",))]
    return []


def _write_needs(arguments: Arguments) -> Sequence[Need]:
    method = "PUT R/contents/{path}"
    return [
        *changes(method, "contents:write"),
        reads("GET R/contents/{path}", "contents:read"),
        HOME,
        *workflow_need(method, [arguments["path"]]),
    ]


@GITHUB.tool(needs=_write_needs, effect=SENDS)
@in_repo("this branch or path")
def write_file(
    repo: Repo,
    path: NewPath,
    message: Title,
    content: Content,
    branch: Branch | None = None,
    mode: Mode = "create",
    start_line: int | None = None,
    end_line: int | None = None,
    expected_sha: Annotated[Unmoved | None, Field(description="of the file as read; overwrite needs it")] = None,
    exact: Exact = False,
) -> Steps:
    """Create a file or change one: replace it, replace a line range, or append."""
    if (mode == "replace_lines") != bool(start_line):
        raise InvalidInput(
            "start_line: needed for mode=replace_lines, and only there.",
            hint="Add start_line for that, or leave it out.",
        )
    if exact and mode not in ("create", "overwrite"):
        raise InvalidInput("exact: only with mode=create or overwrite.", hint="Leave exact out, or replace the file.")
    if len(content.encode(errors="replace")) > MIB:
        raise InvalidInput("content: longer than a megabyte.", hint="Write it in parts with mode=replace_lines.")
    home = yield from home_of(repo)
    repo, branch = home.name, branch or home.default_branch
    old = yield from _load_file(repo, path, branch)
    if old is None and (mode in ("replace_lines", "append") or expected_sha):
        raise NotFound(f"GitHub: {repo} has no such file to change.", hint="Create it: mode=create.")
    if old is not None and mode == "create":
        raise Conflict(
            "path: conflict (exists): there is a file at this path.",
            reason="exists",
            hint="Read it with github_get_file; to replace it, mode=overwrite with its sha as expected_sha.",
        )
    if old is not None and expected_sha and old[0] != expected_sha:
        raise Conflict(
            "path: conflict (stale): the file changed since it was read.", reason="stale", hint="Read it again."
        )
    check_stand_ins("content", path, old[1] if old else b"", content, exact=exact)
    data = _edit_bytes(old[1] if old else b"", content, mode, start_line, end_line, exact=exact)
    if old is not None and mode == "overwrite" and not expected_sha and old[1] != data:
        raise unread_error("path", path, "expected_sha")
    lines = f"{start_line}-{end_line or start_line}" if start_line else None
    yield _show(home, branch, path, message, old, data, lines=lines, added=content)
    body: Json = {"message": message, "content": base64.b64encode(data).decode(), "branch": branch}
    body |= {"sha": old[0]} if old else {}
    made = yield from retry_once(lambda: _put(repo, path, body), lambda: _find_put(repo, path, branch, data))
    commit = made.get("commit") or {}
    if undo := _undo(repo, branch, path, message, old, str((made.get("content") or {}).get("sha"))):
        yield undo
    return {
        "path": path,
        "branch": branch,
        "sha": (made.get("content") or {}).get("sha"),
        "commit": {"sha": commit.get("sha"), "url": commit.get("html_url")},
        "lines": count_lines(data),
        "existed": old is not None,
        "summary": "Changed." if old else "Created.",
    }


def unread_error(field: str, path: str, sha: str) -> InvalidInput:
    """Return the error for replacing a file that was not read whole. ``sha``: the argument that proves the reading."""
    return InvalidInput(
        f"{field}: this would replace all of {path}, and nothing says that it was read.",
        reason="unread",
        hint=f"Read it to its end with github_get_file and pass its sha as {sha}; or change lines of it: "
        "github_write_file with mode=replace_lines or append.",
    )


def check_stand_ins(field: str, path: str, old: bytes, new: str, *, exact: bool) -> None:
    """Raise `InvalidInput` for text with a placeholder for a secret or an invisible character.

    ``exact``: allow placeholders at line ends, for the undo of a file whose text really contains them.
    """
    was = with_lf(old).decode(errors="replace")
    if not exact and len(_RETURN.findall(new)) > len(_RETURN.findall(was)):
        raise InvalidInput(
            f"{field}: a line of {path} ends with \\u{{000D}}, which stands for a character and is not one.",
            hint="Leave it out: the file keeps its line ends.",
        )
    stand_ins = set(_STAND_IN.findall(write_out_hidden(mask_secrets(was))[0]))
    there, given = Counter(_STAND_IN.findall(was)), Counter(_STAND_IN.findall(new))
    if lost := next((one for one in sorted(stand_ins) if given[one] > there[one]), ""):
        raise InvalidInput(
            f"{field}: {lost} stands for what {path} has and nobody is shown; written back, it would be lost.",
            hint="Change the lines beside it: github_write_file with mode=replace_lines.",
        )


_STAND_IN: Final = re.compile(r"\[redacted\]|\\u\{[0-9A-F]{4,6}\}")
_RETURN: Final = re.compile(r"\\u\{000D\}(?=\r?$)", re.MULTILINE)


def _show(
    home: Home, branch: str, path: str, message: str, old: Old, data: bytes, *, lines: str | None, added: str
) -> Preview:
    """Preview the whole file before and after, or only the new text if the old one cannot be displayed."""
    after = file_shown(path, data)
    return home.shows(
        "Change this file" if old else "Create this file",
        branch=branch,
        path=path,
        content=Change(file_shown(path, old[1]), after) if old else after,
        lines=lines,
        new_text=added if not isinstance(after, str) else None,
        line_ends=line_ends_shown(old[1] if old else None, data),
        message=message,
        pins={"sha": old[0] if old else None},
        **code_warning([path]),
    )


def line_ends_shown(old: bytes | None, new: bytes) -> Any:
    """Return a change of form, which is invisible in the text."""
    changed = form_change(old, new)
    return Change(*changed) if changed and changed[0] else changed and changed[1]


def _undo(repo: str, branch: str, path: str, message: str, old: Old, sha: str) -> Undo | None:
    """Return the call that restores the file, or None if no argument can contain it."""
    about = {"repo": repo, "branch": branch, "message": undo_message(message)}
    if old is None:
        return Undo("github_commit_files", about | {"delete_paths": [path]}, holds={"files": {path: sha}})
    text = writable(old[1])
    if text is None:
        return None
    given = about | {"path": path, "content": text, "mode": "overwrite", "expected_sha": sha, "exact": True}
    return Undo("github_write_file", given, holds={"sha": sha})


def _put(repo: str, path: str, body: Json) -> Asks[Json]:
    try:
        return (yield from api.write(rest("PUT R/contents/{path}", repo, wide={"path": path}, json=body)))
    except Conflict as moved:
        if moved.reason == "stale":
            raise Conflict(
                "path: conflict (stale): the file changed while this act was under way.",
                reason="stale",
                hint="Read it again.",
            ) from None
        raise


def _find_put(repo: str, path: str, branch: str, data: bytes) -> Asks[Json | None]:
    """Return the file if it has the new content already, or None."""
    now = yield from _load_file(repo, path, branch)
    return {"content": {"sha": now[0]}} if now is not None and now[1] == data else None


def _load_file(repo: str, path: str, branch: str) -> Asks[Old]:
    """Return the sha and the bytes of a file, or None."""
    try:
        found = yield from api.get("R/contents/{path}", repo, wide={"path": path}, params={"ref": branch})
    except NotFound:
        return None
    if isinstance(found, list) or found.get("type") != "file":
        raise InvalidInput("path: not a file.", hint=f"Look at it: github_get_file with path {quote(path)}.")
    return str(found["sha"]), (yield from bytes_of(repo, found, branch))


def _edit_bytes(data: bytes, content: str, mode: Mode, start: int | None, end: int | None, *, exact: bool) -> bytes:
    """Return the bytes with lines replaced or added, in the file's form. All other bytes stay."""
    new = content.encode()
    if mode in ("create", "overwrite"):
        return new if exact else replace_all(data, new)
    if mode == "append":
        return append_lines(data, new)
    count, first, last = count_lines(data), start or 1, end or start or 1
    if not 1 <= first <= last <= max(count, 1):
        raise InvalidInput(
            f"start_line, end_line: the file has {count} lines.", hint="Read it again with github_get_file."
        )
    return replace_range(data, first - 1, last, new)
