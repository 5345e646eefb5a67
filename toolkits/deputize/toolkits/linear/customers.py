"""Linear: requests of customers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from deputize.core import Continuation, Effect, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Body, Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, Listing, look_by_filter, make, nodes
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.load_entity import holder
from deputize.toolkits.linear.matching import is_id
from deputize.toolkits.linear.preview import ONLY_BY_HAND, project_place
from deputize.toolkits.linear.rows import lean, line, mark, minute, name
from deputize.toolkits.linear.texts import cut, whole_row


@LINEAR.tool(needs=[READ], toolset="customers")
def list_customer_needs(
    customer: Annotated[str | None, Field(description="name or id")] = None,
    issue: Annotated[str | None, Field(description="ENG-123")] = None,
    project: str | None = None,
    need_id: Annotated[str | None, Field(description="this one whole")] = None,
    offset: Offset = 0,
    raw: Raw = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Customer requests on issues or projects, or one of them."""
    if need_id:
        node = yield from _need(need_id.strip())
        return whole_row(_row(node), node, offset, raw=raw, more=_read_call(node))
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one request.", hint="Give need_id.")
    narrow: list[Json] = []
    if customer:
        narrow.append({"customer": {"id": {"eq": (yield from names.customer(customer))["id"]}}})
    if issue:
        narrow.append({"issue": {"id": {"eq": (yield from names.issue(issue))["id"]}}})
    if project:
        narrow.append({"project": {"id": {"eq": (yield from names.project(project))["id"]}}})
    listing = Listing("linear_list_customer_needs", run.account, (customer, issue, project), limit, cursor, _row)
    chosen: dict[str, Any] = {"filter": {"and": narrow}} if narrow else {}
    return (yield from listing.of("CustomerNeeds", **chosen))


def _need(id: str) -> Asks[Json]:
    rows = (yield from nodes("CustomerNeeds", first=1, filter={"id": {"eq": id}})) if is_id(id) else []
    if not rows:
        raise NotFound(
            "need_id: no customer request has this id, or it is not visible to this user.",
            hint="linear_list_customer_needs lists them.",
        )
    return rows[0]


def _read_call(node: Json) -> Continuation:
    return Continuation("linear_list_customer_needs", need_id=str(node.get("id")))


def _row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "id": node.get("id"),
            "customer": outside.line(name(node.get("customer")), 60),
            "issue": (node.get("issue") or {}).get("identifier"),
            "project": outside.line(name(node.get("project")), 60),
            "important": bool(node.get("priority")),
            **cut(outside, node.get("body"), more=_read_call(node)),
            "created": minute(node.get("createdAt")),
            "url": node.get("url"),
        },
        outside,
    )


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES | Effect.SENDS, toolset="customers")
def create_customer_need(
    customer: Annotated[str, Field(description="name or id")],
    body: Annotated[Body, Field(min_length=1, max_length=20_000)],
    issue: Annotated[str | None, Field(description="ENG-123")] = None,
    project: str | None = None,
    important: bool = False,
    *,
    run: Run,
) -> Steps:
    """Record a customer request on an issue or project."""
    if (issue is None) == (project is None):
        raise InvalidInput("issue, project: give exactly one of them.", hint="Keep one of issue, project.")
    who = yield from names.customer(customer)
    pins: Json = {"customerId": who["id"], "priority": int(important)}
    if issue is not None:
        on = yield from names.issue(issue)
        pins["issueId"] = on["id"]
        stands = yield from holder({"issue": on})
    else:
        on = yield from names.project(str(project))
        pins["projectId"] = on["id"]
        stands = yield from project_place(on)
    shows = stands.show(
        "Record what a customer asks for",
        customer=name(who),
        text=body,
        important=important or None,
        undo=ONLY_BY_HAND,
        pins=pins,
    )
    wanted = {"id": run.key.uuid, "body": body, **pins}
    made, existed = yield from make("CustomerNeedCreate", wanted, look_by_filter("CustomerNeeds"), shows, run.noted)
    shown = {"id": made["id"], "customer": line(name(made.get("customer"))), "url": made.get("url"), "existed": existed}
    return lean(shown | {"issue": (made.get("issue") or {}).get("identifier"), "project": project})
