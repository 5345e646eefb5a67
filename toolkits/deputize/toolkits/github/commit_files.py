"""GitHub: several files in one commit."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel

from deputize.core import Account, Effect, Need, Run, Steps
from deputize.core.act.request import MIB
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json
from deputize.toolkits.github.argument_types import Branch, NewPath, Repo, Sha
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.commits import head_of
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.once import again
from deputize.toolkits.github.prose import Content, Title, is_own
from deputize.toolkits.github.write_file import workflow_need


class NewFile(BaseModel):
    """A file to write."""

    model_config = {"extra": "forbid", "hide_input_in_errors": True}
    path: NewPath
    content: Content


def _some(files: list[NewFile]) -> list[NewFile]:
    if len(files) > 100 or sum(len(one.content.encode(errors="replace")) for one in files) > MIB:
        raise ValueError("at most 100 files, and a megabyte in all")
    return files


Files = Annotated[list[NewFile], AfterValidator(_some)]


def _paths(arguments: Arguments) -> list[str]:
    return [one.path for one in arguments["files"] or ()] + list(arguments["delete_paths"] or ())


def _commit_needs(arguments: Arguments) -> Sequence[Need]:
    method = "GRAPHQL CommitFiles"
    return [
        *changes(method, "contents:write"),
        reads("GET R/git/ref/{ref}", "contents:read"),
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
    expected_head: Sha | None = None,
    *,
    run: Run,
) -> Steps:
    """One commit that writes and/or deletes several files on a branch."""
    written, deleted = list(files or ()), list(dict.fromkeys(delete_paths or ()))
    paths = [one.path for one in written]
    if not written and not deleted:
        raise InvalidInput("files, delete_paths: give at least one of them.")
    if len(set(paths)) < len(paths) or set(paths) & set(deleted):
        raise InvalidInput("files, delete_paths: a path is given twice.")
    head = yield from head_of(repo, branch)
    if head is None:
        raise NotFound("GitHub: branch not found.", hint="github_create_branch makes one.")
    if expected_head and head != expected_head:
        raise Conflict(
            "branch: conflict (stale): it got new commits since it was read.", reason="stale", hint="Read it again."
        )
    change = {
        "additions": [
            {"path": one.path, "contents": base64.b64encode(one.content.encode()).decode()} for one in written
        ],
        "deletions": [{"path": path} for path in deleted],
    }
    given = {
        "branch": {"repositoryNameWithOwner": repo, "branchName": branch},
        "message": {"headline": message},
        "expectedHeadOid": head,
        "fileChanges": change,
    }
    commit = yield from again(lambda: _committed(given), lambda: _already_on(repo, branch, head, message, run.account))
    return {
        "commit": {"sha": commit.get("oid"), "url": commit.get("url")},
        "branch": branch,
        "written": paths[:20],
        "deleted": deleted[:20],
        "summary": f"{len(paths)} written, {len(deleted)} deleted, in one commit.",
    }


def _committed(given: Mapping[str, Any]) -> Asks[Json]:
    data = yield from documents.query(documents.COMMIT, "write", input=given)
    return dict((data.get("createCommitOnBranch") or {}).get("commit") or {})


def _already_on(repo: str, branch: str, head: str, message: str, account: Account) -> Asks[Json | None]:
    """Our commit, if the branch now ends in it; None if the branch has not moved."""
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
