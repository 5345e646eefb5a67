"""Linear: initiatives, which group projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Continuation, Run, Steps
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import filter_checks as known
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Listing, get
from deputize.toolkits.linear.base import LINEAR, READ, Json, Status
from deputize.toolkits.linear.blocks import Blocks, is_cut, text_room, with_blocks
from deputize.toolkits.linear.rows import LINE, SHORT, initiative_row, lean, nodes, project_row, second, update_row
from deputize.toolkits.linear.rows import name as name_of
from deputize.toolkits.linear.texts import PIECE, cut, piece

BLOCKS = {"content": False, "projects": False, "updates": False}


@LINEAR.tool(needs=[READ])
def list_initiatives(
    query: Annotated[str | None, Field(description="words in the name")] = None,
    status: Status | None = None,
    owner: Annotated[str | None, Field(description="name, email or me")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Initiatives by name, status or owner."""
    narrow: list[Json] = [{"name": {"containsIgnoreCase": word}} for word in (query or "").split()[:10]]
    if status:
        narrow.append({"status": {"eq": status}})
    if owner:
        narrow.append({"owner": names.person_filter(owner)})
    listing = Listing("linear_list_initiatives", run.account, (query, status, owner), limit, cursor, initiative_row)
    chosen: dict[str, Any] = {"filter": {"and": narrow}} if narrow else {}
    result = yield from listing.of("Initiatives", **chosen)
    return (yield from known.when_empty(result, cursor, known.person(owner, "owner")))


def _blocks(include: Sequence[str] | None, offset: int, raw: bool) -> dict[str, bool]:
    return BLOCKS | {block: True for block in include or ()} | ({"content": True} if offset or raw else {})


Block = Literal["content", "projects", "updates"]


@LINEAR.tool(needs=[READ])
def get_initiative(
    initiative: Annotated[str, Field(description="name, URL or id")],
    include: list[Block] | None = None,
    offset: Annotated[Offset, Field(description="into content")] = 0,
    raw: Raw = False,
) -> Steps:
    """One initiative, with text, projects and updates on request."""
    found = yield from names.initiative(initiative)
    node = yield from get("Initiative", id=found["id"], **_blocks(include, offset, raw))
    outside = Outside()
    detail = initiative_row(node) | lean(
        {
            "name": outside.line(name_of(node), LINE),
            "parent": outside.line(name_of(node.get("parentInitiative")), 60),
            "created": second(node.get("createdAt")),
            "started": second(node.get("startedAt")),
            "completed": second(node.get("completedAt")),
            "archived": second(node.get("archivedAt")),
            **cut(outside, node.get("description"), SHORT, "description"),
        }
    )
    if "content" in node:
        more = Continuation("linear_get_initiative", initiative=str(node["id"]))
        budget = PIECE if set(include or ()) - {"content"} else text_room(detail)
        detail["content"] = piece(outside, node.get("content"), budget, offset, raw=raw, more=more)
    outside.mark(detail)
    blocks = (("projects", "projects", project_row), ("updates", "initiativeUpdates", update_row))
    shown: Blocks = [
        (block, [row(one) for one in nodes(node[field])], is_cut(node[field]))
        for block, field, row in blocks
        if field in node
    ]
    return with_blocks(detail, shown)
