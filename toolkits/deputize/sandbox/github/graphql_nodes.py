"""Shared parts of GraphQL replies: repositories, pages of nodes, comments, errors of one field."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.issues import association


class Failed(Exception):
    """The error of one field: GitHub's type and message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def connection(rows: list[Any], first: int = 30, after: str | None = None, **more: Any) -> Json:
    """Return a page of nodes; the cursor is the number of nodes before it."""
    start = int(after) if after and after.isdecimal() else 0
    shown = rows[start : start + first]
    end = start + len(shown)
    info = {"hasNextPage": end < len(rows), "endCursor": str(end) if shown else None}
    return {"nodes": shown, "pageInfo": info, "totalCount": len(rows), **more}


def find_repo(call: Call, name: str, *, write: bool = False) -> Json:
    """Return a repository that the caller may see, or with ``write`` change."""
    repo = call.repo(name)
    scopes = {"repo"} if repo and repo["private"] else {"public_repo", "repo"}
    if repo is None or not call.sees(repo):
        raise Failed("NOT_FOUND", f"Could not resolve to a Repository with the name '{name}'.")
    if write and not call.permissions and not call.covered_scopes & scopes:
        message = "Your token has not been granted the required scopes to execute this query. "
        raise Failed("INSUFFICIENT_SCOPES", f"{message}requires one of the following scopes: ['public_repo'].")
    return repo


def format_comment(repo: Json, row: Json) -> Json:
    """Return a comment's fields: text, time and author."""
    told = {"id": row["id"], "body": row["body"], "createdAt": row["at"], "author": {"login": row["user"]}}
    return told | {"authorAssociation": association(repo, f"{row['user']}@example.test")}
