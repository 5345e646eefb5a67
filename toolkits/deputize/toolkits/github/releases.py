"""GitHub: releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Need, Run, Steps, Wait
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Append, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages, rest
from deputize.toolkits.github.argument_types import Branch, Ref, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.once import LOST, raise_if_unsent
from deputize.toolkits.github.prose import Body, Prose, Title, body_alone, body_of, checked_edit, new_body
from deputize.toolkits.github.rows import ZONED, full, login, outer, short

_BODY = 4_000  # bytes of notes


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
    body = body_of(outside, row, _BODY)
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


# ----------------------------------------------------------------- create or change


def _save_needs(arguments: Arguments) -> Sequence[Need]:
    create = "POST R/releases"
    change = "PATCH R/releases/{release_id}"
    found = [*changes(create, "contents:write"), *changes(change, "contents:write")]
    return [
        *found,
        reads("GET R/releases/tags/{tag}", "contents:read"),
        reads("GET R/releases", "contents:read"),
    ]


@GITHUB.tool(
    needs=_save_needs,
    effect=SENDS,
    toolset="releases",
)
@in_repo("this target")
def save_release(
    repo: Repo,
    tag: Branch,
    name: Title | None = None,
    body: Body | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    target: Ref | None = None,
    draft: bool = True,
    prerelease: bool | None = None,
    generate_notes: bool = False,
    latest: Literal["true", "false", "legacy"] | None = None,
    *,
    run: Run,
) -> Steps:
    """Create or change a release; a draft unless told otherwise. target: branch or sha for a new tag."""
    given: Json = {
        "tag_name": tag,
        "name": name,
        "body": body,
        "target_commitish": target,
        "draft": draft,
        "prerelease": prerelease,
        "make_latest": latest if not draft and not prerelease else None,
    }
    given = {field: value for field, value in given.items() if value is not None}
    edit = Edit(append, replaces, if_text)
    checked_edit(edit, body)
    there = yield from _there(repo, tag)
    if there is None and edit != Edit():
        raise NotFound(
            "tag: no release has it, so there is no text to change.", hint="github_list_releases lists them."
        )
    if there is None:
        notes = {"generate_release_notes": True} if generate_notes else {}
        row, created = yield from _created(repo, tag, given | notes)
        if created:
            return _receipt(row, "Created.", created=True)
        there = row
    if draft and not there.get("draft"):  # else a new name would take a release away from everybody
        raise Conflict(
            "tag: conflict (published): this release is published already.",
            reason="published",
            hint="draft=false changes it; a published release is never turned back into a draft.",
        )
    if body is not None:
        given |= new_body(there, body, edit, run.key, limit=_BODY)
    at = {"release_id": there["id"]}
    row = dict(
        (yield from api.send(rest("PATCH R/releases/{release_id}", repo, at=at, json=given, repeat="idem"))).data
    )
    return _receipt(row, "Changed.", created=False)


def _there(repo: str, tag: str) -> Asks[Json | None]:
    """The release of a tag; a draft is seen in the list only."""
    try:
        return dict((yield from api.get("R/releases/tags/{tag}", repo, wide={"tag": tag})))
    except NotFound:
        rows = yield from api.every("R/releases", repo, 1)
        return next((dict(row) for row in rows if row.get("tag_name") == tag), None)


def _created(repo: str, tag: str, given: Json) -> Asks[tuple[Json, bool]]:
    """The new release, or the one that was there; the tag is GitHub's own key."""
    try:
        return (yield from api.sent(rest("POST R/releases", repo, json=given))), True
    except LOST as lost:
        raise_if_unsent(lost)
        yield Wait(2)
        there = yield from _there(repo, tag)
        if there is None:
            raise
        return there, True
    except (Conflict, InvalidInput):
        there = yield from _there(repo, tag)
        if there is None:
            raise
        return there, False


def _receipt(row: Mapping[str, Any], summary: str, *, created: bool) -> Json:
    return {
        "id": row.get("id"),
        "tag": row.get("tag_name"),
        "url": row.get("html_url"),
        "draft": bool(row.get("draft")),
        "created": created,
        "summary": summary,
    }
