"""www.googleapis.com/calendar/v3: dispatch of requests to methods, after a check of the token's scopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox.google import errors
from deputize.sandbox.google.calendar import events, lists
from deputize.sandbox.google.calendar import writes as writing
from deputize.sandbox.google.calendar.call import HOST, Call, Json
from deputize.sandbox.google.calendar.methods import METHODS, Method
from deputize.sandbox.google.tokens import caller
from deputize.sandbox.http_types import Ask, Reply, in_json
from deputize.sandbox.world import World

ANSWERS: Mapping[str, Callable[[Call], Json | None]] = {
    "acl.delete": lists.remove_rule,
    "acl.insert": lists.add_rule,
    "acl.list": lists.rules,
    "acl.patch": lists.change_rule,
    "calendarList.delete": lists.delete,
    "calendarList.insert": lists.insert,
    "calendarList.list": lists.list_,
    "calendarList.patch": lists.patch,
    "calendars.get": lists.read,
    "calendars.insert": lists.make,
    "calendars.patch": lists.change,
    "events.delete": writing.delete,
    "events.get": events.get,
    "events.insert": writing.insert,
    "events.instances": events.instances,
    "events.list": events.list_,
    "events.move": writing.move,
    "events.patch": writing.patch,
    "freebusy.query": events.query,
    "settings.list": lists.settings,
}


def handle(ask: Ask, world: World) -> Reply:
    """Check token, scope and query in this order, then run the method."""
    method, ids = _method(ask)
    if method is None:
        return errors.not_found(ask.path)
    person, token = caller(ask, world)
    if not set(method.scopes) & set(token.scopes):
        return errors.scope_missing(HOST, method.rpc, method.scopes)
    call = Call(ask, world, person, frozenset(token.scopes), method, ids)
    call.check_query()
    content = ANSWERS[method.id](call)
    return Reply(204) if content is None else in_json(content, changes=method.id != "freebusy.query")


def _method(ask: Ask) -> tuple[Method | None, dict[str, str]]:
    for method in METHODS:
        ids = method.ids_in(ask.path) if method.verb == ask.method else None
        if ids is not None:
            return method, ids
    return None, {}
