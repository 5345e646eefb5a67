"""Linear: documents."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Effect, Run, Steps
from deputize.core.errors import Conflict, InvalidInput
from deputize.toolkits._shared.arguments import Append, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit, written_before
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import names, scalars
from deputize.toolkits.linear.api import Asks, Listing, by_id, change, entity, make, new_text, remember
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Noted, Text, Title
from deputize.toolkits.linear.rows import document_row, lean, name, said
from deputize.toolkits.linear.texts import PIECE, piece


@LINEAR.tool(needs=[READ], toolset="documents")
def list_documents(
    query: Annotated[str | None, Field(description="words in the title")] = None,
    project: str | None = None,
    initiative: str | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Documents of the workspace, a project or an initiative."""
    narrow: list[Json] = [{"title": {"containsIgnoreCase": word}} for word in (query or "").split()[:10]]
    if project:
        narrow.append({"project": {"id": {"eq": (yield from names.project(project))["id"]}}})
    if initiative:
        narrow.append({"initiative": {"id": {"eq": (yield from names.initiative(initiative))["id"]}}})
    listing = Listing("linear_list_documents", run.account, (query, project, initiative), limit, cursor, document_row)
    chosen: dict[str, Any] = {"filter": {"and": narrow}} if narrow else {}
    return (yield from listing.of("Documents", **chosen))


@LINEAR.tool(needs=[READ], toolset="documents")
def get_document(
    document: Annotated[str, Field(description="URL, slug or id")], offset: Offset = 0, raw: Raw = False
) -> Steps:
    """One document."""
    node = yield from names.document(document)
    outside = Outside()
    detail = document_row(node) | lean(
        {
            "issue": (node.get("issue") or {}).get("identifier"),
            "team": (node.get("team") or {}).get("key"),
            "updated": node.get("updatedAt"),
            "updated_by": outside.line(name(node.get("updatedBy")), 60),
            "trashed": node.get("trashed"),
            "archived": node.get("archivedAt"),
        }
    )
    detail["content"] = piece(outside, node.get("content"), PIECE, offset, raw=raw)
    outside.mark(detail)
    return detail


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES | Effect.SENDS, toolset="documents")
def save_document(
    document: str | None = None,
    title: Title | None = None,
    content: Annotated[Text | None, Field(description="Markdown")] = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    project: str | None = None,
    initiative: str | None = None,
    team: str | None = None,
    issue: str | None = None,
    unmodified_since: Annotated[str | None, Field(description="updated, as read")] = None,
    *,
    run: Run,
) -> Steps:
    """Create a document, or change one when document is given."""
    wanted: dict[str, Any] = scalars.given({"title": title, "content": content})
    wanted |= yield from _place(project, initiative, team, issue)
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not document):
        raise InvalidInput("append, replaces, if_text: only together with document and content.")
    if document:
        return (yield from _changed(document, wanted, edit, unmodified_since, run.noted))
    if not title or len(wanted.keys() - {"title", "content"}) != 1:
        raise InvalidInput("A new document needs a title, and one of project, initiative, team or issue.")
    yield from remember(run.noted, run.key.uuid)
    made, existed = yield from make("DocumentCreate", {"id": run.key.uuid, **wanted}, by_id("Document"))
    undo = {"tool": "linear_archive", "args": {"kind": "document", "id": made["id"], "action": "delete"}}
    return _result(made) | lean({"created": True, "existed": existed, "undo": undo})


def _place(project: str | None, initiative: str | None, team: str | None, issue: str | None) -> Asks[dict[str, Any]]:
    wanted: dict[str, Any] = {}
    if project:
        wanted["projectId"] = (yield from names.project(project))["id"]
    if initiative:
        wanted["initiativeId"] = (yield from names.initiative(initiative))["id"]
    if team:
        wanted["teamId"] = (yield from names.team(team))["id"]
    if issue:
        wanted["issueId"] = (yield from names.issue(issue))["id"]
    return wanted


def _changed(
    document: str, wanted: dict[str, Any], edit: Edit, unmodified_since: str | None, noted: Noted
) -> Asks[Json]:
    """Change a document. Text that replaces all of it must be the answer to the text that is there."""
    if not wanted:
        raise InvalidInput("Nothing to change: give at least one field.")
    found = yield from names.document(document)
    if "content" in wanted and written_before(noted, "content", found.get("content")):
        return _result(found)  # an earlier run of this act has written it
    if "content" in wanted and unmodified_since is None and edit == Edit() and found.get("content"):
        raise InvalidInput(
            "if_text, unmodified_since: one of them is needed where content replaces the whole text.",
            hint="Read the document first and pass its text_digest or updated; or use append or replaces.",
        )
    if unmodified_since is not None and not _same_moment(found.get("updatedAt"), unmodified_since):
        if noted and all(found.get(name) == wanted.get(name) for name in wanted.keys() & {"title", "content"}):
            return _result(found)  # an earlier run of this act has written it
        raise Conflict(
            "conflict (stale): the document changed since it was read.", reason="stale", hint="Read it again."
        )
    yield from remember(noted, found["id"])
    if "content" in wanted:
        wanted["content"] = yield from new_text(edit, "content", found.get("content"), wanted["content"], PIECE, noted)
    return _result(entity((yield from change("DocumentUpdate", id=found["id"], input=wanted))))


def _same_moment(there: Any, wanted: str) -> bool:
    try:
        return datetime.fromisoformat(str(there)) == datetime.fromisoformat(wanted.strip())
    except (ValueError, TypeError):
        raise InvalidInput(
            "unmodified_since: must be a time with a time zone.", hint="As the document's updated."
        ) from None


def _result(made: Json) -> Json:
    return lean(
        {"id": made["id"], "title": said(made.get("title")), "url": made.get("url"), "updated": made.get("updatedAt")}
    )
