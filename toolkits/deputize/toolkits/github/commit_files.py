"""GitHub: committing several files at once."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field

from deputize.core import Account, Change, Effect, Need, Preview, Request, Run, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.preview import shown_file
from deputize.core.tools.steps import MIB
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.line_ends import form_change, form_of, replace_all
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json
from deputize.toolkits.github.argument_types import Branch, NewPath, Repo, Unmoved, inline_schema
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.branches import head_of
from deputize.toolkits.github.files import bytes_of
from deputize.toolkits.github.idempotent_create import retry_once
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Content, Title, is_own
from deputize.toolkits.github.self_running_files import code_warning
from deputize.toolkits.github.show_fields import HOME, Home, file_shown, home_of, undo_message, writable
from deputize.toolkits.github.write_file import Exact, check_stand_ins, unread_error, workflow_need

MAX_READ: Final = 20
"""Deleted files that are read to show what was in them; with those that are written, a megabyte in all. The others are
shown by name, and pinned by sha."""


class NewFile(BaseModel):
    """A file to write."""

    model_config = {"extra": "forbid", "hide_input_in_errors": True}
    path: NewPath
    content: Content
    sha: Annotated[Unmoved | None, Field(description="of the file as read; needed to replace one")] = None
    exact: Exact = False


def _check_size(files: list[NewFile]) -> list[NewFile]:
    if len(files) > 100 or sum(len(one.content.encode(errors="replace")) for one in files) > MIB:
        raise ValueError("at most 100 files, and a megabyte in all")
    return files


Files = Annotated[list[Annotated[NewFile, inline_schema(NewFile)]], AfterValidator(_check_size)]


def _paths(arguments: Arguments) -> list[str]:
    return [one.path for one in arguments["files"] or ()] + list(arguments["delete_paths"] or ())


def _commit_needs(arguments: Arguments) -> Sequence[Need]:
    method = "GRAPHQL CommitFiles"
    return [
        *changes(method, "contents:write"),
        reads("GET R/git/ref/{ref}", "contents:read"),
        reads("GET R/git/trees/{tree_sha}", "contents:read"),
        reads("GET R/contents/{path}", "contents:read"),
        HOME,
        *workflow_need(method, _paths(arguments)),
    ]


def _commit_effect(arguments: Arguments) -> Effect:
    return SENDS | Effect.DESTRUCTIVE if arguments["delete_paths"] else SENDS


@GITHUB.tool(
    needs=_commit_needs,
    effect=_commit_effect,
    gravest=SENDS | Effect.DESTRUCTIVE,
)
@in_repo("this branch")
def commit_files(
    repo: Repo,
    branch: Branch,
    message: Title,
    files: Files | None = None,
    delete_paths: list[NewPath] | None = None,
    expected_head: Unmoved | None = None,
    *,
    run: Run,
) -> Steps:
    """One commit that writes and/or deletes several files on a branch."""
    written, deleted = list(files or ()), list(dict.fromkeys(delete_paths or ()))
    paths = [one.path for one in written]
    if not written and not deleted:
        raise InvalidInput("files, delete_paths: give at least one of them.", hint="Add files or delete_paths.")
    if len(set(paths)) < len(paths) or set(paths) & set(deleted):
        raise InvalidInput("files, delete_paths: a path is given twice.", hint="Name each path once.")
    home = yield from home_of(repo)
    repo = home.name
    head = yield from head_of(repo, branch)
    if head is None:
        raise NotFound("GitHub: branch not found.", hint="github_create_branch makes one.")
    if expected_head and head != expected_head:
        raise Conflict(
            "branch: conflict (stale): it got new commits since it was read.", reason="stale", hint="Read it again."
        )
    there = yield from _load_blobs(repo, head, paths, deleted)
    new = {one.path: _stored_bytes(one, there.get(one.path)) for one in written}
    _check_read(written, new, there)
    yield _show(home, branch, head, message, new, deleted, there)
    change = {
        "additions": [{"path": path, "contents": base64.b64encode(content).decode()} for path, content in new.items()],
        "deletions": [{"path": path} for path in deleted],
    }
    given = {
        "branch": {"repositoryNameWithOwner": repo, "branchName": branch},
        "message": {"headline": message},
        "expectedHeadOid": head,
        "fileChanges": change,
    }
    commit = yield from retry_once(
        lambda: _commit(given), lambda: _find_commit(repo, branch, head, message, run.account)
    )
    if undo := _undo(repo, branch, message, new, deleted, there):
        yield undo
    return {
        "commit": {"sha": commit.get("oid"), "url": commit.get("url")},
        "branch": branch,
        "written": paths[:20],
        "deleted": deleted[:20],
        "summary": f"{len(paths)} written, {len(deleted)} deleted, in one commit.",
    }


@dataclass(frozen=True, slots=True)
class Blob:
    """An existing file. ``content``: None if it was not read."""

    sha: str
    size: int
    content: bytes | None = None

    def to_show(self, path: str) -> Any:
        """Return the file's text for a preview, or else its digest."""
        if self.content is None:
            return shown_file(path, "application/octet-stream", size=self.size, pin=self.sha)
        return file_shown(path, self.content)


def _load_blobs(repo: str, head: str, written: Sequence[str], deleted: Sequence[str]) -> Asks[dict[str, Blob]]:
    """Return the files that the commit changes. Large files, and many deletions, are not read."""
    paths = [*written, *deleted]
    tree = yield from api.get("R/git/trees/{tree_sha}", repo, wide={"tree_sha": head}, params={"recursive": 1})
    listed = {str(one.get("path")): one for one in tree.get("tree") or ()}
    rows = {path: one for path, one in listed.items() if one.get("type") == "blob"}
    for path in paths:
        _refuse_odd(path, listed)
        _refuse_folder(path, rows)
    if tree.get("truncated"):  # too large a repository to list
        unseen = [path for path in paths if path not in rows]
        found = yield from api.gather([_content(repo, head, path) for path in unseen])
        rows |= {path: one for path, one in zip(unseen, found, strict=True) if isinstance(one, Mapping)}
    there = {path: Blob(str(rows[path]["sha"]), int(rows[path].get("size") or 0)) for path in paths if path in rows}
    left, short = MIB, list[str]()
    for path, one in there.items():
        if one.size <= left and (path in written or len(short) < MAX_READ):
            short, left = [*short, path], left - one.size
    for path, found in zip(short, (yield from api.gather([_content(repo, head, one) for one in short])), strict=True):
        if isinstance(found, Mapping):
            there[path] = replace(there[path], content=(yield from bytes_of(repo, found, head)))
    return there


def _stored_bytes(file: NewFile, old: Blob | None) -> bytes:
    """Return a file's bytes, in the form of the file that it replaces if that was read."""
    given = file.content.encode()
    return given if file.exact or old is None or old.content is None else replace_all(old.content, given)


def _check_read(written: Sequence[NewFile], new: Mapping[str, bytes], there: Mapping[str, Blob]) -> None:
    """Raise `InvalidInput` for a file that would be replaced unread, and `Conflict` for a file that has changed."""
    for one in written:
        old = there.get(one.path)
        if one.sha and one.sha != (old.sha if old else ""):
            raise Conflict(
                f"files: conflict (stale): {one.path} changed since it was read.", reason="stale", hint="Read it again."
            )
        if old is not None and not one.sha and old.sha != _blob_sha(new[one.path]):
            raise unread_error("files", one.path, "sha")
        check_stand_ins("files", one.path, (old.content if old else None) or b"", one.content, exact=one.exact)


def _refuse_odd(path: str, listed: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for a symbolic link, a submodule, or a path below one of them. For a link, GitHub returns
    its target, so the preview would lack the loss; a submodule would vanish unnoticed."""
    parts = path.split("/")
    for above in ("/".join(parts[:n]) for n in range(1, len(parts) + 1)):
        if odd := _ODD.get(str((listed.get(above) or {}).get("mode"))):
            raise InvalidInput(f"files, delete_paths: {above} is a {odd}.", hint="Change it with git.")


_ODD: Final = {"120000": "symbolic link", "160000": "submodule"}
"""Entries that are not files, by git's mode."""


def _refuse_folder(path: str, rows: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` if a file would replace a folder, or a folder a file: git drops the old one silently."""
    if any(one.startswith(f"{path}/") for one in rows):
        raise InvalidInput(f"files, delete_paths: {path} is a folder.", hint="Name its files one by one.")
    parts = path.split("/")
    if above := next((one for n in range(1, len(parts)) if (one := "/".join(parts[:n])) in rows), ""):
        raise InvalidInput(f"files, delete_paths: {above} is a file, not a folder.", hint="Choose another path.")


def _content(repo: str, head: str, path: str) -> Request:
    return api.rest("GET R/contents/{path}", repo, wide={"path": path}, params={"ref": head})


def _show(
    home: Home,
    branch: str,
    head: str,
    message: str,
    new: Mapping[str, bytes],
    deleted: Sequence[str],
    there: Mapping[str, Blob],
) -> Preview:
    """Preview every file with its name: which are new, changed and deleted, and their texts before and after."""
    before = [_label_file(path, one.to_show(path)) for path, one in there.items()]
    after = [_label_file(path, file_shown(path, content)) for path, content in new.items()]
    return home.shows(
        "Commit these files",
        branch=branch,
        deleted_files=list(deleted) or None,
        message=message,
        new_files=[path for path in new if path not in there] or None,
        changed_files=[path for path in new if path in there] or None,
        **code_warning([*new, *deleted]),
        files=Change(before, after) if before else after,
        line_ends=_line_ends(new, there),
        undo="the deleted files stay in the history" if deleted else None,
        pins={"head": head, "files": {path: there[path].sha if path in there else "" for path in [*new, *deleted]}},
    )


def _line_ends(new: Mapping[str, bytes], there: Mapping[str, Blob]) -> Any:
    """Return the files whose form changes, or whose old form was not read."""
    before, after = list[str](), list[str]()
    for path, content in new.items():
        old = there.get(path)
        if old is not None and old.content is None:
            changed: tuple[str, str] | None = ("not read", form_of(content))
        else:
            changed = form_change(old.content if old else None, content)
        if changed:
            before += [f"{path}: {changed[0]}"] if changed[0] else []
            after.append(f"{path}: {changed[1]}")
    return Change(before, after) if before else after or None


def _label_file(path: str, shown: Any) -> Any:
    return f"{path}:\n{shown}" if isinstance(shown, str) else shown


def _undo(
    repo: str,
    branch: str,
    message: str,
    new: Mapping[str, bytes],
    deleted: Sequence[str],
    there: Mapping[str, Blob],
) -> Undo | None:
    """Return the commit that restores all files; None if one cannot be restored."""
    texts = {path: writable(one.content) if one.content is not None else None for path, one in there.items()}
    if None in texts.values() or sum(one.size for one in there.values()) > MIB:
        return None
    given: Json = {"repo": repo, "branch": branch, "message": undo_message(message)}
    if there:
        now = {path: _blob_sha(content) for path, content in new.items()}
        given["files"] = [
            {"path": path, "content": text, "exact": True} | ({"sha": now[path]} if path in now else {})
            for path, text in texts.items()
        ]
    if made := [path for path in new if path not in there]:
        given["delete_paths"] = made
    left = {path: _blob_sha(content) for path, content in new.items()} | dict.fromkeys(deleted, "")
    return Undo("github_commit_files", given, holds={"files": left})


def _blob_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _commit(given: Mapping[str, Any]) -> Asks[Json]:
    data = yield from documents.query(documents.COMMIT, "write", input=given)
    return dict((data.get("createCommitOnBranch") or {}).get("commit") or {})


def _find_commit(repo: str, branch: str, head: str, message: str, account: Account) -> Asks[Json | None]:
    """Return this act's commit if the branch now ends in it, or None if the branch has not moved."""
    now = yield from head_of(repo, branch)
    if now in (None, head):
        return None
    found = yield from api.get("R/commits/{ref}", repo, wide={"ref": str(now)})
    ours = [one.get("sha") for one in found.get("parents") or ()] == [head]
    if (
        ours
        and is_own({"user": found.get("author")}, account)
        and str(found["commit"]["message"]).partition("\n")[0] == message
    ):
        return {"oid": now, "url": found.get("html_url")}
    raise Conflict(
        "branch: conflict (stale): it got new commits while this act was under way.",
        reason="stale",
        hint="Read it again.",
    )
