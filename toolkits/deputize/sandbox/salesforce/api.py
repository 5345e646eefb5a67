"""Routes of an org's REST API below /services/data."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from deputize.sandbox.http_types import Ask, Reply, in_json
from deputize.sandbox.salesforce.call import LIMIT, VERSION, Call, failed
from deputize.sandbox.salesforce.queries import batch, query, search
from deputize.sandbox.salesforce.records import content, create, delete, describe, every_object, get, update, upsert
from deputize.sandbox.salesforce.reports import report, reports, run
from deputize.sandbox.world import World


def handle(ask: Ask, world: World) -> Reply:
    """Run the matching route. Without a token, only the list of versions is available."""
    if ask.path.rstrip("/") == "/services/data":
        return in_json([{"label": "Summer '25", "url": f"/services/data/v{VERSION}", "version": VERSION}])
    call = _call(ask, world)
    found = re.fullmatch(r"/services/data/v\d\d\.0/(.*?)/?", ask.path)
    for pattern, does in ROUTES:
        if found and (parts := re.fullmatch(pattern, f"{ask.method} {found[1]}")):
            return does(call, *(unquote(part) for part in parts.groups()))
    raise failed(404, "NOT_FOUND", "The requested resource does not exist")


def _call(ask: Ask, world: World) -> Call:
    token = world.access(ask.bearer(), "salesforce")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise failed(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if not {"api", "full"} & set(token.scopes):
        raise failed(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
    return Call(ask, world, person)


def limits(call: Call) -> Reply:
    return in_json({"DailyApiRequests": {"Max": 15000, "Remaining": 14982}}, headers=[LIMIT], changes=False)


ROUTES: tuple[tuple[str, Callable[..., Reply]], ...] = (
    (r"GET query", query),
    (r"GET limits", limits),
    (r"POST parameterizedSearch", search),
    (r"POST composite/batch", batch),
    (r"GET sobjects", every_object),
    (r"GET sobjects/(\w+)/describe", describe),
    (r"POST sobjects/(\w+)", create),
    (r"GET sobjects/(\w+)/(\w+)", get),
    (r"GET sobjects/(\w+)/(\w+)/(\w+)", content),
    (r"PATCH sobjects/(\w+)/(\w+)", update),
    (r"DELETE sobjects/(\w+)/(\w+)", delete),
    (r"PATCH sobjects/(\w+)/(\w+)/([^/]+)", upsert),
    (r"GET analytics/reports", reports),
    (r"GET analytics/reports/(\w+)/describe", report),
    (r"POST analytics/reports/(\w+)", run),
)
