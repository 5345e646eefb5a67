"""Linear: documents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Continuation, Effect, Run, SaveNote, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput
from deputize.toolkits._shared.arguments import Append, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit, digest, written_before
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear import scalars
from deputize.toolkits.linear.api import Asks, Listing, change, entity, look_by_id, make, new_text
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Noted, Text, Title
from deputize.toolkits.linear.blocks import text_room
from deputize.toolkits.linear.load_entity import holder
from deputize.toolkits.linear.preview import Place, as_changes, issue_words, loses, team_words, undo, version_of
from deputize.toolkits.linear.rows import LINE, document_row, lean, line, name, second
from deputize.toolkits.linear.texts import piece, read_whole


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
            "title": outside.line(str(node.get("title") or ""), LINE),
            "issue": (node.get("issue") or {}).get("identifier"),
            "team": (node.get("team") or {}).get("key"),
            "updated": second(node.get("updatedAt")),
            "updated_by": outside.line(name(node.get("updatedBy")), 60),
            "trashed": node.get("trashed"),
            "archived": second(node.get("archivedAt")),
        }
    )
    more = Continuation("linear_get_document", document=str(node["id"]))
    detail["content"] = piece(outside, node.get("content"), text_room(detail), offset, raw=raw, more=more)
    outside.mark(detail)
    return detail


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES | Effect.SENDS, toolset="documents")
def save_document(
    document: Annotated[str | None, Field(description="change this one: URL, slug or id")] = None,
    title: Title | None = None,
    content: Annotated[Text | None, Field(description="Markdown")] = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    project: str | None = None,
    initiative: str | None = None,
    team: str | None = None,
    issue: Annotated[str | None, Field(description="ENG-123")] = None,
    unmodified_since: Annotated[str | None, Field(description="updated, as read")] = None,
    *,
    run: Run,
) -> Steps:
    """Create a document, or change one when document is given."""
    wanted: dict[str, Any] = scalars.present({"title": title, "content": content})
    found = yield from _places(project, initiative, team, issue)
    ids = {f"{kind}Id": one["id"] for kind, one in found.items()}
    wanted |= ids
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not document):
        raise InvalidInput(
            "append, replaces, if_text: only together with document and content.",
            hint="Add document and content, or leave out append and replaces and if_text.",
        )
    if document:
        return (yield from _change_document(document, wanted, found, edit, unmodified_since, run.noted))
    if not title or len(ids) != 1:
        raise InvalidInput(
            "A new document needs a title, and one of project, initiative, team or issue.",
            hint="Add a title and project.",
        )
    stands = yield from holder(found)
    shows = stands.show("Create this document", title=title, text=content or None, pins=ids)
    made, existed = yield from make(
        "DocumentCreate", {"id": run.key.uuid, **wanted}, look_by_id("Document"), shows, run.noted
    )
    back = {"tool": "linear_archive", "args": {"kind": "document", "id": made["id"], "action": "delete"}}
    yield undo(back, document=made.get("title"), version=version_of(made.get("content")))
    return _result(made) | lean({"created": True, "existed": existed, "undo": back})


def _places(project: str | None, initiative: str | None, team: str | None, issue: str | None) -> Asks[Json]:
    """Return the new places of a document, by kind."""
    found: Json = {}
    if project:
        found["project"] = yield from names.project(project)
    if initiative:
        found["initiative"] = yield from names.initiative(initiative)
    if team:
        found["team"] = yield from names.team(team)
    if issue:
        found["issue"] = yield from names.issue(issue)
    return found


def _change_document(
    document: str, wanted: dict[str, Any], to: Json, edit: Edit, unmodified_since: str | None, noted: Noted
) -> Asks[Json]:
    """Change a document. A new text may replace the whole text only if the current text was read."""
    if not wanted:
        raise InvalidInput(
            "Nothing to change: give at least one field.", hint="Say what changes, such as a title or text."
        )
    found = yield from names.document(document)
    if noted and _is_written(found, wanted, to, edit, noted):
        return _result(found)  # an earlier run of this act has written it
    if "content" in wanted and unmodified_since is None and edit == Edit() and found.get("content"):
        raise InvalidInput(
            "if_text, unmodified_since: one of them is needed where content replaces the whole text.",
            hint="Read the document first and pass its text_digest or updated; or use append or replaces.",
        )
    if unmodified_since is not None and not _same_moment(found.get("updatedAt"), unmodified_since):
        raise Conflict(
            "conflict (stale): the document changed since it was read.", reason="stale", hint="Read it again."
        )
    text = None
    if "content" in wanted:
        text = new_text(
            edit, "content", found.get("content"), wanted["content"], read_whole(found.get("content")), noted
        )
        wanted["content"] = text.new
    stands = yield from _move_place(found, to)
    fields = as_changes(_current(found, to), _after(wanted, to))
    pins = {"document_id": found["id"]} | {f"{kind}Id": one["id"] for kind, one in to.items()}
    called = {} if "title" in wanted else {"document": found.get("title")}
    yield stands.show("Change this document", destroys=loses(fields, "text"), pins=pins, **called, **fields)
    yield text.note() if text else SaveNote({"id": found["id"]})
    made = entity((yield from change("DocumentUpdate", id=found["id"], input=wanted)))
    if back := _undo(found, made, wanted, to):
        yield back
    return _result(made)


def _is_written(found: Json, wanted: Json, to: Json, edit: Edit, noted: Mapping[str, Any]) -> bool:
    """True if an earlier run has written the document, with all fields of that write."""
    if "content" in wanted:
        whole = edit == Edit() and found.get("content") == wanted["content"]
        return written_before(noted, "content", found.get("content")) or whole
    there = all((found.get(kind) or {}).get("id") == one["id"] for kind, one in to.items())
    return there and wanted.get("title", found.get("title")) == found.get("title")


def _move_place(found: Json, to: Json) -> Asks[Place]:
    """Return the place of a document before and after a move."""
    here = yield from holder(found)
    return here.to((yield from holder(to))) if to else here


def _label(thing: Json, kind: str) -> str:
    return issue_words(thing) if kind == "issue" else team_words(thing) if kind == "team" else name(thing)


def _current(found: Json, to: Json) -> Json:
    places = {kind: _label(found[kind], kind) if found.get(kind) else "" for kind in to}
    return {"title": found.get("title"), "text": found.get("content") or "", **places}


def _after(wanted: Json, to: Json) -> Json:
    fields = {"title": wanted.get("title"), "text": wanted.get("content")}
    return scalars.present(fields) | {kind: _label(one, kind) for kind, one in to.items()}


def _undo(found: Json, made: Json, wanted: Json, to: Json) -> Undo | None:
    """Return the call that restores the document, or None if the document was moved out of its only place."""
    if any(not found.get(kind) for kind in to):
        return None
    args: Json = {kind: found[kind].get("identifier") or found[kind]["id"] for kind in to}
    if "title" in wanted:
        args["title"] = found["title"]
    if "content" in wanted:
        args |= {"content": found.get("content") or "", "if_text": digest(str(made.get("content") or ""))}
    before, now = _current(found, to), _current(made, to)
    holds = {field: value for field, value in now.items() if field in _after(wanted, to) and value != before[field]}
    return Undo("linear_save_document", {"document": found["id"], **args}, holds)


def _same_moment(there: Any, wanted: str) -> bool:
    try:
        moment, asked = datetime.fromisoformat(str(there)), datetime.fromisoformat(wanted.strip())
        return asked in (moment, moment.replace(microsecond=0))  # results have whole seconds
    except (ValueError, TypeError):
        raise InvalidInput(
            "unmodified_since: must be a time with a time zone.", hint="As the document's updated."
        ) from None


def _result(made: Json) -> Json:
    title, updated = line(made.get("title")), second(made.get("updatedAt"))
    return lean({"id": made["id"], "title": title, "url": made.get("url"), "updated": updated})
