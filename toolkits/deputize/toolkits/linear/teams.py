"""Linear: single teams, and their cycles."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deputize.core import Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import matching
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Listing, get
from deputize.toolkits.linear.base import LINEAR, READ, Json
from deputize.toolkits.linear.blocks import is_cut, with_blocks
from deputize.toolkits.linear.rows import SHORT, cycle_row, issue_list, issue_row, lean, mark, name, nodes
from deputize.toolkits.linear.texts import cut


@LINEAR.tool(needs=[READ])
def get_team(team: Annotated[str, Field(description="key or name")]) -> Steps:
    """One team: states, labels, members, current cycle, settings."""
    found = yield from names.team(team)
    node = yield from get("Team", id=found["id"])
    outside = Outside()
    active = node.get("activeCycle")
    detail = {
        "id": node["id"],
        "key": node.get("key"),
        "name": outside.line(str(node.get("name") or ""), 80),
        **cut(outside, node.get("description"), SHORT, "description"),
        "time_zone": node.get("timezone"),
        "default_state": outside.line(name(node.get("defaultIssueState")), 40),
        "active_cycle": cycle_row(active) if active else None,
        "estimates": node.get("issueEstimationType"),
        "cycles": node.get("cyclesEnabled"),
        "triage": node.get("triageEnabled"),
    }
    blocks = (
        (
            "states",
            [{"name": outside.line(name(one), 40), "type": one.get("type")} for one in nodes(node.get("states"))],
        ),
        ("members", [_member(one, outside) for one in nodes(node.get("members"))]),
        ("labels", [outside.line(name(one), 40) for one in nodes(node.get("labels"))]),
    )
    return with_blocks(mark(detail, outside), [(block, rows, is_cut(node.get(block))) for block, rows in blocks])


def _member(one: Json, outside: Outside) -> Json:
    return lean({"name": outside.line(name(one), 40), "email": outside.line(str(one.get("email") or ""), 80)})


@LINEAR.tool(needs=[READ])
def get_cycle(
    team: Annotated[str | None, Field(description="key or name")] = None,
    cycle: Annotated[str, Field(description="active, next, previous, number or id")] = "active",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """One cycle with its issues."""
    if matching.is_id(cycle.strip()):
        id = cycle.strip()
    elif team:
        id = str((yield from names.cycle((yield from names.team(team))["id"], cycle))["id"])
    else:
        raise InvalidInput(
            "team: needed where the cycle is not given by its id.", hint="Give the team, or the id of a cycle."
        )
    shown: dict[str, object] = {}
    urls: list[object] = []

    def issues(value: dict[str, object]) -> object:
        shown.update(cycle_row(value))
        connection: dict[str, list[dict[str, object]]] = value["issues"]  # type: ignore[assignment]
        urls.extend(node.get("url") for node in connection["nodes"])
        return connection

    listing = Listing("linear_get_cycle", run.account, (team, cycle), limit, cursor, issue_row)
    result = yield from matching.look_up(listing.of("Cycle", issues, id=id), "cycle", "cycle", cycle)
    return shown | issue_list({"issues": result.pop("items"), **result}, urls)
