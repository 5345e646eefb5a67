"""GitHub: labels and milestones of a repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Continuation, Need, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.page import lean
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Repo, Word
from deputize.toolkits.github.base import GITHUB, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, body_row, with_full_body
from deputize.toolkits.github.rows import outer

ABOUT: Final = 160
"""Bytes of a milestone's description in a row."""


def _needs(arguments: Arguments) -> Sequence[Need]:
    kind = "milestones" if arguments["milestone"] else arguments["kind"]
    return [reads(f"GET R/{kind}", "issues:read", "pull_requests:read")]


@GITHUB.tool(needs=_needs)
@in_repo()
def list_labels(
    repo: Repo,
    kind: Literal["labels", "milestones"] = "labels",
    query: Annotated[str, Field(description="part of the name")] = "",
    milestone: Annotated[Word | None, Field(description="this one whole, by title or number")] = None,
    offset: Annotated[Offset, Field(description="into its description")] = 0,
    raw: Raw = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Labels or milestones defined in a repository."""
    if milestone:
        row = yield from names.milestone_row(repo, milestone)
        shown = _milestone(repo, row) | {"title": Prose().whole_title(row.get("title"))}
        return lean(with_full_body(shown, with_body(row), offset, _read_call(repo, row), raw=raw))
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one milestone.", hint="Give milestone.")
    words = query.strip().lower()
    params = {"state": "all"} if kind == "milestones" else {}
    row_of = _label if kind == "labels" else partial(_milestone, repo)
    listing = List(
        ("github_list_labels", run.account.subject, repo, kind, query),
        pages(f"R/{kind}", repo, params=params),
        lambda row: row_of(row) if words in str(row.get("name") or row.get("title")).lower() else None,
    )
    return (yield from listing.show(limit, cursor))


def _label(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {"name": outside.line(str(row.get("name", "")), 200), "color": row.get("color")}
    shown["description"] = outside.line(str(row.get("description") or ""), 400)
    return outer(shown, outside)


def with_body(row: Mapping[str, Any]) -> Json:
    """Return a milestone with its description as ``body``, so that it is read and changed like a body."""
    return {**row, "body": row.get("description")}


def due(row: Mapping[str, Any]) -> str:
    """Return the day on which a milestone is due, "" for none."""
    return str(row.get("due_on") or "")[:10]


def _read_call(repo: str, row: Mapping[str, Any]) -> Continuation:
    """Return the call that reads a milestone's description."""
    return Continuation("github_list_labels", repo=repo, milestone=str(row.get("number")))


def _milestone(repo: str, row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "number": row.get("number"),
        "title": outside.title(row.get("title")),
        "state": row.get("state"),
        "due": due(row),
        "open": row.get("open_issues"),
        "closed": row.get("closed_issues"),
        **body_row(outside, row.get("description"), ABOUT, _read_call(repo, row)),
    }
    return outer(shown, outside)
