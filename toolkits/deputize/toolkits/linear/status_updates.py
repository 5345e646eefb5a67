"""Linear: status updates of projects and initiatives."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Continuation, Effect, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Body, Cursor, Limit, Offset, Raw
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear import scalars
from deputize.toolkits.linear.api import Asks, Listing, look_by_filter, make, nodes
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Health, Json
from deputize.toolkits.linear.load_entity import holder
from deputize.toolkits.linear.preview import undo, version_of
from deputize.toolkits.linear.rows import lean, update_row
from deputize.toolkits.linear.texts import whole_row


def _target(project: str | None, initiative: str | None) -> Asks[tuple[str, Json]]:
    """Return ``Project`` or ``Initiative``, and the object."""
    if (project is None) == (initiative is None):
        raise InvalidInput("project, initiative: give exactly one of them.", hint="Keep one of project, initiative.")
    if project is not None:
        return "Project", (yield from names.project(project))
    return "Initiative", (yield from names.initiative(str(initiative)))


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
)
def post_update(
    body: Annotated[Body, Field(min_length=1, max_length=100_000)],
    project: Annotated[str | None, Field(description="name, URL or id")] = None,
    initiative: str | None = None,
    health: Health | None = None,
    *,
    run: Run,
) -> Steps:
    """Post a status update on a project or initiative."""
    kind, about = yield from _target(project, initiative)
    stands = yield from holder({kind.lower(): about})
    pins = {f"{kind.lower()}Id": about["id"]}
    said = re.sub(r"(?=[A-Z])", " ", health).lower() if health else None
    shows = stands.show("Post this status update", text=body, health=said, pins=pins | {"health": health})
    wanted: dict[str, Any] = scalars.present({"id": run.key.uuid, **pins, "body": body, "health": health})
    made, existed = yield from make(f"{kind}UpdatePost", wanted, look_by_filter(f"{kind}Updates"), shows, run.noted)
    args = {"kind": f"{kind.lower()}_update", "id": made["id"], "action": "archive"}
    back = {"tool": "linear_archive", "args": args}
    yield undo(back, version=version_of(made.get("body")))
    shown = {"update_id": made["id"], "url": made.get("url"), "health": made.get("health"), "existed": existed}
    return lean(shown | {"target": project or initiative, "undo": back})


@LINEAR.tool(needs=[READ])
def list_updates(
    project: Annotated[str | None, Field(description="name, URL or id")] = None,
    initiative: str | None = None,
    update_id: Annotated[str | None, Field(description="this one whole")] = None,
    offset: Offset = 0,
    raw: Raw = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Status updates of a project or initiative, or one of them."""
    if update_id:
        node = yield from _update(update_id.strip())
        more = Continuation("linear_list_updates", update_id=str(node["id"]))
        return whole_row(update_row(node), node, offset, raw=raw, more=more)
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one update.", hint="Give update_id.")
    kind, about = yield from _target(project, initiative)
    listing = Listing("linear_list_updates", run.account, (project, initiative), limit, cursor, update_row)
    return (yield from listing.of(f"{kind}Updates", filter={kind.lower(): {"id": {"eq": about["id"]}}}))


def _update(id: str) -> Asks[Json]:
    """Return a status update. Its id does not say whether it belongs to a project or to an initiative."""
    for kind in ("Project", "Initiative"):
        if rows := (yield from nodes(f"{kind}Updates", first=1, filter={"id": {"eq": id}})):
            return rows[0]
    raise NotFound(
        "update_id: no update has this id, or it is not visible to this user.", hint="linear_list_updates lists them."
    )
