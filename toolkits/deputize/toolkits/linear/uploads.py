"""Linear: uploading files and linking them to an issue (linear.app/developers/how-to-upload-a-file-to-linear).

An upload takes three steps: request an address, send the bytes there without a token, and link the file. Nobody sees
the file before the last step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Effect, File, PublicRequest, Run, SaveNote, Steps, Take, Undo
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.steps import MIB
from deputize.toolkits._shared.attached import shown_files
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, change, create_once, look_by_filter, new_text, request, single_value
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.preview import ONLY_BY_HAND, issue_place, issue_words, undo, version_of
from deputize.toolkits.linear.rows import BODY, lean, line
from deputize.toolkits.linear.texts import UPLOADS

Handles = Annotated[list[str], Field(min_length=1, max_length=10, description="file handles")]
Where = Literal["attachment", "description", "comment"]
_BRACKET = re.compile(r"[\\\[\]]")
_CACHED = {
    "cache-control": "public, max-age=31536000"
}  # signed into the address, beside the headers in Linear's answer


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES | Effect.SENDS)
def upload_file(
    issue: Annotated[str, Field(description="ENG-123")],
    attachments: Handles,
    place: Annotated[Where, Field(description="of the links; pictures are seen in description and comment")] = (
        "attachment"
    ),
    body: Annotated[str | None, Field(max_length=50_000, description="of the comment")] = None,
    *,
    run: Run,
) -> Steps:
    """Upload files to an issue: as links on it, behind its description, or in a comment."""
    if body and place != "comment":
        raise InvalidInput("body: only for place=comment.", hint="Give place=comment, or leave body out.")
    found = yield from names.issue(issue, operation="IssueValues")
    uploads: Sequence[Json] = (run.noted or {}).get("uploads") or ()
    if not uploads:
        files = yield from _take_files(attachments)
        stands = yield from issue_place([found])
        shown = yield from shown_files(files)
        yield stands.show(
            "Upload these files" if len(files) > 1 else "Upload this file",
            issue=issue_words(found),
            links=_SHOWN[place],
            files=shown,
            text=body or None,
            behind=found.get("description") or None if place == "description" else None,
            undo=ONLY_BY_HAND if place == "attachment" and len(files) > 1 else None,
            pins={"issue_id": found["id"]},
        )
        uploads = yield from _store_files(files)
        yield SaveNote({"uploads": uploads})
    result = yield from _LINKED[place](found, uploads, body or "", run)
    told = [{"name": line(one["name"]), "url": one["url"]} for one in uploads]
    return lean({"issue": found["identifier"], "place": place, "files": told, "url": found.get("url")} | result)


_SHOWN: Mapping[Where, str] = {
    "attachment": "as attachments of the issue",
    "description": "at the end of its description",
    "comment": "in a new comment",
}


def _take_files(handles: Sequence[str]) -> Asks[list[File]]:
    """Return the user's files with these handles. Raises `InvalidInput` for an empty file."""
    found: list[File] = []
    for handle in handles:
        file: File = yield Take(handle)
        if not file.content:
            raise InvalidInput("attachments: a file is empty.", hint="Leave it out.")
        found.append(file)
    return found


def _store_files(files: Sequence[File]) -> Asks[list[Json]]:
    """Send the files to Linear without linking them. Both steps may be repeated."""
    found: list[Json] = []
    for file in files:
        asked = {"contentType": file.mime, "filename": file.name, "size": len(file.content)}
        try:
            answer = yield replace(request("FileUpload", asked), prepares=True)
            told = single_value(answer, "FileUpload").get("uploadFile") or {}
            yield _put(told, file)
        except OutcomeUnknown:
            raise ProviderUnavailable(
                "Linear did not take the file; nothing was linked.", hint="Call again in a minute."
            ) from None
        url = str(told.get("assetUrl") or "")
        if not url.startswith(UPLOADS):
            raise InvalidInput(
                "Linear returned an address of a file that is not its own.",
                fix_by="operator",
                hint="Report this to Linear.",
            )
        found.append({"name": file.name, "url": url, "picture": file.mime.startswith("image/")})
    return found


def _put(told: Json, file: File) -> PublicRequest:
    """Return the request that sends the bytes to the upload address, with the headers that its signature covers."""
    given = {str(one.get("key")).lower(): str(one.get("value")) for one in told.get("headers") or ()}
    headers = _CACHED | {name: value for name, value in given.items() if name != "content-type"}
    url, mime = str(told.get("uploadUrl") or ""), given.get("content-type") or file.mime
    return PublicRequest(url, "PUT", file.content, mime, headers, repeat="idem", prepares=True, max_bytes=MIB)


# ----------------------------------------------------------------- links


def _markdown(uploads: Sequence[Json]) -> str:
    links = [("!" * one["picture"], _BRACKET.sub(r"\\\g<0>", str(one["name"])), one["url"]) for one in uploads]
    return "\n\n".join(f"{sign}[{name}]({url})" for sign, name, url in links)


def _attach(found: Json, uploads: Sequence[Json], _body: str, run: Run) -> Asks[Json]:
    """Link each file to the issue. Linear stores one link per address and issue, so a repetition adds nothing."""
    ids: list[Any] = []
    warnings: list[str] = []
    for number, one in enumerate(uploads, 1):
        wanted = {"id": run.key.nth(number).uuid, "issueId": found["id"], "url": one["url"], "title": one["name"]}
        try:
            ids.append((yield from change("AttachmentLinkUrl", **wanted))["attachment"].get("id"))
        except DeputizeError as refused:
            if not ids:
                raise
            warnings.append(f"{line(one['name'])} was uploaded and not linked: {refused}")
    if len(uploads) == 1:
        args = {"issue": found["identifier"], "url": uploads[0]["url"], "remove": True}
        yield Undo("linear_link_url", args, {"attachment_id": ids[0]})
    return {"attachment_ids": ids, "warnings": warnings}


def _append_links(found: Json, uploads: Sequence[Json], _body: str, run: Run) -> Asks[Json]:
    """Append the links to the issue's description."""
    links = _markdown(uploads)
    text = new_text(Edit(append=True), "description", found.get("description"), links, BODY, run.noted)
    if not text.done:
        yield text.note()
        issue = (yield from change("IssueUpdate", id=found["id"], input={"description": text.new}))["issue"]
        now = str(issue.get("description") or "")
        args = {"issues": [found["identifier"]], "description": text.old, "if_text": digest(now)}
        yield Undo("linear_update_issue", args, {"description": now})
    return {}


def _write_comment(found: Json, uploads: Sequence[Json], body: str, run: Run) -> Asks[Json]:
    """Write a comment with the links, under an id derived from the act."""
    text = "\n\n".join(part for part in (body, _markdown(uploads)) if part)
    given = {"id": run.key.uuid, "body": text, "issueId": found["id"]}
    comment, existed = yield from create_once("CommentCreate", given, look_by_filter("Comments"))
    back = {"tool": "linear_archive", "args": {"kind": "comment", "id": comment["id"], "action": "delete"}}
    yield undo(back, version=version_of(comment.get("body")))
    return {"comment_id": comment["id"], "url": comment.get("url"), "existed": existed}


_LINKED = {"attachment": _attach, "description": _append_links, "comment": _write_comment}
