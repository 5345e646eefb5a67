"""GitHub: finding and reading releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Continuation, Need, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Ref, Repo
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, body_alone, body_of
from deputize.toolkits.github.rows import ZONED, full, login, outer, short

BODY = 4_000  # bytes of notes
_ASSETS = 15


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    tag = arguments["tag"]
    listed = reads("GET R/releases", "contents:read")
    if not tag:
        return [listed]
    if tag == "latest":
        return [reads("GET R/releases/latest", "contents:read")]
    return [reads("GET R/releases/tags/{tag}", "contents:read"), listed]


@GITHUB.tool(needs=_list_needs, toolset="releases")
@in_repo("this release")
def list_releases(
    repo: Repo,
    tag: Annotated[Ref | None, Field(description="one by its tag, or latest")] = None,
    offset: Annotated[Offset, Field(description="into the notes of one")] = 0,
    raw: Raw = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Releases of a repository, or one with its notes; my drafts too."""
    if tag:
        if tag == "latest":
            row = yield from api.get("R/releases/latest", repo)
        else:
            row = yield from release_of(repo, tag)
            if row is None:
                raise NotFound("GitHub: not found.", hint="github_list_releases lists them.")
        more = Continuation("github_list_releases", repo=repo, tag=str(row.get("tag_name")))
        name = {"name": Prose().whole_title(row.get("name"))}
        return (_row(row) | body_alone(row, offset, more, raw=raw) if offset or raw else _release(row, more)) | name
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one release.", hint="Give tag.")
    listing = List(("github_list_releases", run.account.subject, repo), pages("R/releases", repo), _row, more=ZONED)
    return (yield from listing.show(limit, cursor))


def release_of(repo: str, tag: str) -> Asks[Json | None]:
    """Return the release of a tag, or None. Drafts are only found in the list."""
    try:
        return dict((yield from api.get("R/releases/tags/{tag}", repo, wide={"tag": tag})))
    except NotFound:
        rows = yield from api.list_rows("R/releases", repo, 1)
        return next((dict(row) for row in rows if row.get("tag_name") == tag), None)


def _row(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "id": row.get("id"),
        "tag": outside.line(str(row.get("tag_name", "")), 80),
        "name": outside.title(row.get("name")),
        "draft": bool(row.get("draft")),
        "prerelease": bool(row.get("prerelease")),
        "published": short(row.get("published_at")),
    }
    return outer(shown, outside)


def _release(row: Mapping[str, Any], more: Continuation) -> Json:
    outside = Prose()
    body = body_of(outside, row, more, BODY)
    assets = [
        {
            "name": outside.line(str(one.get("name", "")), 120),
            "size": one.get("size"),
            "downloads": one.get("download_count"),
            "url": one.get("browser_download_url"),
        }
        for one in (row.get("assets") or ())[:_ASSETS]
    ]
    size = len(row.get("assets") or ())
    cut = {"cut": [f"assets: {_ASSETS} of {size} are shown; all are on its page."]} if size > _ASSETS else {}
    shown = _row(row) | {"author": login(row.get("author")), "published": full(row.get("published_at"))}
    return outer(shown | {"url": row.get("html_url"), "assets": assets} | cut | body, outside)
