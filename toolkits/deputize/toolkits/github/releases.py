"""GitHub: find and read releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Need, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Ref, Repo
from deputize.toolkits.github.base import GITHUB, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, body_alone, body_of
from deputize.toolkits.github.rows import ZONED, full, login, outer, short

BODY = 4_000  # bytes of notes


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    tag = arguments["tag"]
    method = (
        "GET R/releases" if not tag else "GET R/releases/latest" if tag == "latest" else "GET R/releases/tags/{tag}"
    )
    return [reads(method, "contents:read")]


@GITHUB.tool(needs=_list_needs, toolset="releases")
@in_repo("this release")
def list_releases(
    repo: Repo,
    tag: Ref | None = None,
    offset: Annotated[Offset, Field(description="into the notes of one")] = 0,
    raw: Raw = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Releases of a repository, or one by tag ("latest" allowed)."""
    if tag:
        if tag == "latest":
            row = yield from api.get("R/releases/latest", repo)
        else:
            row = yield from api.get("R/releases/tags/{tag}", repo, wide={"tag": tag})
        return _row(row) | body_alone(row, offset, raw=raw) if offset or raw else _one(row)
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one release.", hint="Give tag.")
    listing = List(("github_list_releases", run.account.subject, repo), pages("R/releases", repo), _row, more=ZONED)
    return (yield from listing.show(limit, cursor))


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


def _one(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    body = body_of(outside, row, BODY)
    assets = [
        {
            "name": outside.line(str(one.get("name", "")), 120),
            "size": one.get("size"),
            "downloads": one.get("download_count"),
            "url": one.get("browser_download_url"),
        }
        for one in (row.get("assets") or ())[:15]
    ]
    shown = _row(row) | {"author": login(row.get("author")), "published": full(row.get("published_at"))}
    return outer(shown | {"url": row.get("html_url"), "assets": assets} | body, outside)
