"""GitHub: creating and changing releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Change, Need, Preview, Run, Steps, Undo, Wait
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Branch, Ref, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.idempotent_create import LOST, raise_if_unsent
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Title, check_edit, new_body
from deputize.toolkits.github.releases import BODY, release_of
from deputize.toolkits.github.show_fields import FOR_GOOD, HOME, Home, change_of, home_of, loses, restorable_text


def _save_needs(arguments: Arguments) -> Sequence[Need]:
    create = "POST R/releases"
    change = "PATCH R/releases/{release_id}"
    found = [*changes(create, "contents:write"), *changes(change, "contents:write")]
    return [
        *found,
        reads("GET R/releases/tags/{tag}", "contents:read"),
        reads("GET R/releases", "contents:read"),
        HOME,
    ]


@GITHUB.tool(needs=_save_needs, effect=SENDS, toolset="releases")
@in_repo("this target")
def save_release(
    repo: Repo,
    tag: Branch,
    name: Title | None = None,
    body: Body | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    target: Annotated[Ref | None, Field(description="branch or sha")] = None,
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
    check_edit(edit, body)
    home = yield from home_of(repo)
    there = yield from release_of(home.name, tag)
    if there is None and edit != Edit():
        raise NotFound(
            "tag: no release has it, so there is no text to change.", hint="github_list_releases lists them."
        )
    if there is None:
        notes = {"generate_release_notes": True} if generate_notes else {}
        return (yield from _create(home, {"target_commitish": home.default_branch} | given | notes))
    if draft and not there.get("draft"):  # else a new name would hide a published release
        raise Conflict(
            "tag: conflict (published): this release is published already.",
            reason="published",
            hint="draft=false changes it; a published release is never turned back into a draft.",
        )
    if body is not None:
        given.pop("body")
        given |= new_body(there, body, edit, run.key, limit=BODY)
    return (yield from _change(home, there, given))


def _create(home: Home, given: Json) -> Asks[Json]:
    """Create a release. A missing tag is created at the head of the previewed branch."""
    draft = bool(given["draft"])
    yield home.shows(
        "Save this release as a draft" if draft else "Publish this release",
        audience=home.members if draft else home.audience,
        name=given.get("name"),
        text=given.get("body") or None,
        tag=given["tag_name"],
        notes="written by GitHub, of what was merged" if given.get("generate_release_notes") else None,
        from_=given["target_commitish"],
        prerelease=given.get("prerelease") or None,
        shown_as_latest=_LATEST.get(str(given.get("make_latest"))),
        undo=None if draft else FOR_GOOD,
    )
    row, created = yield from _send_create(home.name, str(given["tag_name"]), given)
    if not created:
        raise Conflict(
            "tag: conflict (exists): somebody has made this release meanwhile.", reason="exists", hint="Read it first."
        )
    if draft:
        back = {"kind": "release", "repo": home.name, "id": str(row["id"])}
        left = {"release": row.get("name") or row.get("tag_name"), "text": row.get("body") or "", "draft": True}
        yield Undo("github_delete", back, holds=left | {"files": None})  # no file was uploaded yet
    return _receipt(row, "Created.", created=True)


_LATEST: Final = {"true": "yes", "false": "no", "legacy": "if it is the newest by its date and version"}


def _change(home: Home, there: Json, given: Json) -> Asks[Json]:
    """Write the fields that differ. An undo restores them unless the release was published."""
    fields = _fields(there, given)
    names = {field: name for name, field in _NAMES.items()} | {"prerelease": "kind"}
    sent = {field: value for field, value in given.items() if field not in names or fields[names[field]] is not None}
    if not any(fields.values()) and "make_latest" not in given:
        return _receipt(there, "Changed.", created=False)
    yield _show(home, there, given, fields)
    request = rest("PATCH R/releases/{release_id}", home.name, at={"release_id": there["id"]}, json=sent, repeat="idem")
    row = dict((yield from api.send(request)).data)
    if undo := _undo(home.name, there, given, fields):
        yield undo
    return _receipt(row, "Changed.", created=False)


_NAMES: Final = {"name": "name", "text": "body", "from": "target_commitish"}
"""The previewed fields by GitHub's names."""
_KINDS: Final = {True: "a prerelease", False: "a full release"}


def _fields(there: Json, given: Json) -> dict[str, Change | None]:
    told = {
        name: change_of(there.get(field), given[field]) if field in given else None for name, field in _NAMES.items()
    }
    was, published = bool(there.get("prerelease")), bool(there.get("draft")) and not given["draft"]
    told["kind"] = change_of(_KINDS[was], _KINDS[bool(given.get("prerelease", was))])
    return {**told, "state": change_of("draft", "published") if published else None}


def _show(home: Home, there: Json, given: Json, fields: Mapping[str, Change | None]) -> Preview:
    return home.shows(
        "Publish this release" if fields["state"] else "Change this release",
        audience=home.members if given["draft"] else home.audience,
        release=there.get("name") or None,
        tag=there.get("tag_name"),
        **dict[str, Any](fields),
        shown_as_latest=_LATEST.get(str(given.get("make_latest"))),
        undo=FOR_GOOD if fields["state"] else None,
        pins={"release": there["id"]},
        destroys=loses(there.get("body"), given.get("body")),
    )


def _undo(repo: str, there: Json, given: Json, fields: Mapping[str, Change | None]) -> Undo | None:
    """Return the call that restores the release, or None if it was published, or no tool may write its text."""
    name, body = restorable_text(there.get("name")), restorable_text(there.get("body"))
    if fields["state"] or "make_latest" in given or body is None or (fields["name"] and not name):
        return None
    back: Json = {"repo": repo, "tag": there["tag_name"], "draft": bool(there.get("draft"))}
    back |= {"name": name} if fields["name"] else {}
    back |= {"body": body, "if_text": digest(given["body"])} if fields["text"] else {}
    back |= {"target": there.get("target_commitish")} if fields["from"] else {}
    back |= {"prerelease": bool(there.get("prerelease"))} if fields["kind"] else {}
    return Undo("github_save_release", back, holds={name: one.after for name, one in fields.items() if one})


def _send_create(repo: str, tag: str, given: Json) -> Asks[tuple[Json, bool]]:
    """Create the release, or return the existing release of the tag. A tag has only one release at GitHub."""
    try:
        return (yield from api.write(rest("POST R/releases", repo, json=given))), True
    except LOST as lost:
        raise_if_unsent(lost)
        yield Wait(2)
        there = yield from release_of(repo, tag)
        if there is None:
            raise
        return there, True
    except (Conflict, InvalidInput):
        there = yield from release_of(repo, tag)
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
