"""Rows for issues, pull requests, people and commits. Only named fields of a response are used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from deputize.core import Continuation
from deputize.toolkits._shared import times
from deputize.toolkits._shared.times import ZONE
from deputize.toolkits.github.prose import Prose, body_row

Json = dict[str, Any]


def short(time: Any) -> str:
    """Return the time for a row, to the minute; "" for an invalid time."""
    return times.short(_milliseconds(time))


def full(time: Any) -> str:
    """Return the time for a detail, with its offset; "" for an invalid time."""
    return times.full(_milliseconds(time))


def _milliseconds(time: Any) -> str | int:
    """Return GitHub's ISO 8601 time as milliseconds since 1970; "" for an invalid time."""
    try:
        read = datetime.fromisoformat(str(time or ""))
    except ValueError:
        return ""
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)


def login(person: Any) -> str | None:
    return str(person.get("login", ""))[:64] if isinstance(person, Mapping) else None


def logins(people: Any, most: int = 10) -> list[str]:
    return [name for one in (people or ())[:most] if (name := login(one))]


def labels(row: Mapping[str, Any], outside: Prose, most: int = 100) -> list[str]:
    """Return the names of an issue's labels."""
    found = (row.get("labels") or ())[:most]
    return [outside.line(str(one.get("name") if isinstance(one, Mapping) else one), 50) for one in found]


def repo_of(row: Mapping[str, Any]) -> str:
    """Return a row's repository, ``owner/name``, from the API's own address of it."""
    if name := (row.get("repository") or {}).get("full_name"):
        return str(name)
    found = re.search(r"/repos/([\w.-]+/[\w.-]+)(?:/|$)", str(row.get("repository_url") or row.get("url") or ""))
    return found[1] if found else ""


def outer(row: Json, outside: Prose) -> Json:
    """Return the row, marked as untrusted."""
    outside.mark(row)
    return row


def issue_row(row: Mapping[str, Any], *, repo: bool) -> Json:
    """Return a row for an issue or pull request. ``repo``: True to name its repository."""
    outside = Prose()
    shown: Json = {
        "repo": repo_of(row) if repo else None,
        "number": row.get("number"),
        "title": outside.title(row.get("title")),
        "state": state_of(row),
        "draft": bool(row.get("draft")),
        "author": login(row.get("user")),
        "assignees": logins(row.get("assignees"), 3),
        "labels": labels(row, outside, 4),
        "comments": row.get("comments") or None,
        "updated": short(row.get("updated_at")),
    }
    return outer(shown, outside)


def state_of(row: Mapping[str, Any]) -> str:
    """Return open, closed or merged."""
    pull = row.get("pull_request") or row
    return "merged" if pull.get("merged_at") or row.get("merged") else str(row.get("state") or "")


def pull_row(row: Mapping[str, Any]) -> Json:
    """Return a row for a pull request in its repository's list."""
    outside = Prose()
    shown: Json = {
        "number": row.get("number"),
        "title": outside.title(row.get("title")),
        "state": state_of(row),
        "draft": bool(row.get("draft")),
        "author": login(row.get("user")),
        "base": branch(row.get("base"), outside),
        "head": branch(row.get("head"), outside),
        "updated": short(row.get("updated_at")),
    }
    return outer(shown, outside)


def branch(end: Any, outside: Prose) -> str:
    """Return the name of a pull request's branch."""
    return outside.line(str((end or {}).get("ref", "")), 80)


def repo_row(row: Mapping[str, Any]) -> Json:
    """Return a row for a repository."""
    outside = Prose()
    shown: Json = {
        "repo": row.get("full_name"),
        "private": bool(row.get("private")),
        "description": outside.line(str(row.get("description") or ""), 100),
        "language": row.get("language"),
        "stars": row.get("stargazers_count"),
        "pushed": short(row.get("pushed_at")),
        "archived": bool(row.get("archived")),
        "default_branch": row.get("default_branch"),
    }
    return outer(shown, outside)


def committer(row: Mapping[str, Any], outside: Prose, limit: int) -> str:
    """Return a commit's author: an account, or the name in git, labelled as unproven."""
    name = outside.line(str(((row.get("commit") or {}).get("author") or {}).get("name") or ""), limit)
    return login(row.get("author")) or (f"{name} (a name in git)" if name else "")


def commit_row(row: Mapping[str, Any]) -> Json:
    """Return a row for a commit."""
    outside = Prose()
    commit = row.get("commit") or {}
    author = commit.get("author") or {}
    shown: Json = {
        "sha": str(row.get("sha", "")),
        "headline": outside.line(str(commit.get("message", "")).partition("\n")[0], 100),
        "author": committer(row, outside, 60),
        "date": short(author.get("date")),
    }
    return outer(shown, outside)


COMMENT: Final = 600  # bytes of a comment in a row


def comment(row: Mapping[str, Any], more: Continuation, limit: int = COMMENT) -> Json:
    """Return a comment with its author's name and relation to the repository. ``more``: the call that reads it."""
    outside = Prose()
    shown: Json = {
        "id": row.get("id"),
        "author": login(row.get("user") or row.get("author")),
        "assoc": assoc(row.get("author_association") or row.get("authorAssociation")),
        "time": short(row.get("created_at") or row.get("createdAt")),
        **body_row(outside, row.get("body"), limit, more),
        "reactions": reactions(row),
    }
    return outer({name: value for name, value in shown.items() if value is not None}, outside)


def comment_call(repo: str, row: Mapping[str, Any]) -> Continuation:
    """Return the call that reads a comment of an issue's or pull request's conversation."""
    return Continuation("github_list_comments", repo=repo, comment_id=int(row.get("id") or 0))


def code_comment_call(repo: str, id: int) -> Continuation:
    """Return the call that reads a comment on lines of code."""
    return Continuation("github_list_comments", repo=repo, kind="review", comment_id=id)


def reactions(row: Mapping[str, Any]) -> Json | None:
    """Return the counts of reactions, or None if there are none."""
    known = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
    told = row.get("reactions") or {}
    return {name: told[name] for name in known if told.get(name)} or None


def assoc(word: Any) -> str | None:
    """Return an author's relation to a repository, or None."""
    return str(word).lower() if word and word != "NONE" else None


ZONED: Final = {"time_zone": ZONE}
