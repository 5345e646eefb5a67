"""people.googleapis.com/v1: the user's contacts, other contacts and the directory, to be read.

As Google does, both searches of contacts know only what was there at the last search for nothing (the "warmup").
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from deputize.sandbox.google import errors
from deputize.sandbox.google.access import caller
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

HOST: Final = "people.googleapis.com"
Json = dict[str, Any]
_AUTH: Final = "https://www.googleapis.com/auth/"
_OWN: Final = (f"{_AUTH}contacts", f"{_AUTH}contacts.readonly")
_OF_OTHERS: Final = frozenset("names emailAddresses phoneNumbers metadata".split())
_MASK: Final = _OF_OTHERS | frozenset("nicknames organizations addresses birthdays biographies urls relations".split())


class _Method(NamedTuple):
    rpc: str
    scopes: tuple[str, ...]
    query: frozenset[str]
    answer: Callable[[Ask, World, Person], Json]
    mask: str
    fields: frozenset[str]


def handle(ask: Ask, world: World) -> Reply:
    """Token first, then scope, then the query, then the method itself."""
    method = _method(ask)
    if method is None:
        return errors.not_here(ask.path)
    who, token = caller(ask, world)
    if not set(method.scopes) & set(token.scopes):
        return errors.scope_missing(HOST, f"google.people.v1.{method.rpc}", method.scopes)
    if unknown := set(ask.query) - method.query - {method.mask}:
        raise invalid(f'Invalid JSON payload received. Unknown name "{sorted(unknown)[0]}".')
    mask = {one for one in (ask.one(method.mask) or "").split(",") if one}
    if not mask or mask - method.fields:
        raise invalid(f"Invalid {method.mask} mask path.")
    return in_json(_masked(method.answer(ask, world, who), mask))


def _masked(answer: Json, mask: set[str]) -> Json:
    """The answer with only the fields of people that were asked for."""
    if "resourceName" in answer:
        return {name: one for name, one in answer.items() if name in mask | {"resourceName", "etag"}}
    shown = dict(answer)
    for name in ("people", "connections"):
        if name in shown:
            shown[name] = [_masked(one, mask) for one in shown[name]]
    if "results" in shown:
        shown["results"] = [{"person": _masked(one["person"], mask)} for one in shown["results"]]
    return shown


def _cached(ask: Ask, world: World, who: Person, list_: str) -> Json:
    """A search in what a search for nothing has put aside."""
    store, query = world.services["contacts"], ask.one("query") or ""
    key = f"{list_}/{who.email}"
    if not query:
        store["cached"][key] = copy.deepcopy(store[list_][who.email])
        return {}
    found = [one for one in store["cached"].get(key, ()) if _matches(one, query)]
    return {"results": [{"person": one} for one in found[: _size(ask, 10, 30)]]} if found else {}


def _own(ask: Ask, world: World, who: Person) -> Json:
    return _cached(ask, world, who, "own")


def _other(ask: Ask, world: World, who: Person) -> Json:
    return _cached(ask, world, who, "other")


def _connections(ask: Ask, world: World, who: Person) -> Json:
    people = sorted(world.services["contacts"]["own"][who.email], key=lambda one: str(_texts(one)[:1]))
    rows, more = _page(ask, people, _size(ask, 100, 1000))
    return {"connections": rows, "totalPeople": len(people), "totalItems": len(people), **more}


def _directory(ask: Ask, world: World, who: Person) -> Json:
    if not ask.query.get("sources"):
        raise invalid("Must specify at least one source.")
    if who.email.endswith("@gmail.com"):
        raise Refused(
            errors.api_error(400, "Must be a G Suite domain user.", "failedPrecondition", "FAILED_PRECONDITION")
        )
    found = [one for one in world.services["contacts"]["directory"] if _matches(one, ask.one("query") or "")]
    rows, more = _page(ask, found, _size(ask, 100, 500))
    return {"people": rows, "totalSize": len(found), **more} if found else {}


def _get(ask: Ask, world: World, who: Person) -> Json:
    name, store = ask.path.removeprefix("/v1/"), world.services["contacts"]
    known: list[Json] = [*store["own"][who.email], *store["directory"]]
    found = next((one for one in known if one["resourceName"] == name), None)
    if found is None:
        raise Refused(errors.api_error(404, "Requested entity was not found.", "notFound", "NOT_FOUND"))
    return found


def _matches(one: Json, query: str) -> bool:
    """Whether a field has words that begin with the query."""
    wanted = query.lower()
    return any(re.search(rf"(?:^|\W){re.escape(wanted)}", text.lower()) for text in _texts(one))


def _texts(one: Json) -> list[str]:
    kinds = ("names", "nicknames", "emailAddresses", "phoneNumbers", "organizations")
    return [str(v) for kind in kinds for row in one.get(kind, ()) for v in row.values() if isinstance(v, str)]


def _page(ask: Ask, rows: list[Json], size: int) -> tuple[list[Json], Json]:
    token = ask.one("pageToken") or "0"
    if not token.isdecimal():
        raise invalid("Invalid page token.")
    end = int(token) + size
    return rows[int(token) : end], {"nextPageToken": str(end)} if end < len(rows) else {}


def _size(ask: Ask, usual: int, most: int) -> int:
    given = ask.one("pageSize") or "0"
    if not given.isdecimal():
        raise invalid("Invalid value at 'page_size'.")
    return min(int(given) or usual, most)


def invalid(message: str) -> Refused:
    """400: the request makes no sense."""
    return Refused(errors.api_error(400, message, "invalid", "INVALID_ARGUMENT"))


_SEARCH: Final = frozenset({"query", "pageSize"})
_METHODS: Final[Mapping[str, _Method]] = {
    "/v1/people:searchContacts": _Method("PeopleService.SearchContacts", _OWN, _SEARCH, _own, "readMask", _MASK),
    "/v1/otherContacts:search": _Method(
        "PeopleService.SearchOtherContacts",
        (f"{_AUTH}contacts.other.readonly",),
        _SEARCH,
        _other,
        "readMask",
        _OF_OTHERS,
    ),
    "/v1/people:searchDirectoryPeople": _Method(
        "PeopleService.SearchDirectoryPeople",
        (f"{_AUTH}directory.readonly",),
        _SEARCH | {"sources", "pageToken"},
        _directory,
        "readMask",
        _MASK,
    ),
    "/v1/people/me/connections": _Method(
        "PeopleService.ListConnections",
        _OWN,
        frozenset({"pageSize", "pageToken", "sortOrder"}),
        _connections,
        "personFields",
        _MASK,
    ),
}
_GET: Final = _Method(
    "PeopleService.GetPerson",
    (*_OWN, f"{_AUTH}directory.readonly"),
    frozenset({"sources"}),
    _get,
    "personFields",
    _MASK,
)


def _method(ask: Ask) -> _Method | None:
    if ask.method != "GET":
        return None
    return _METHODS.get(ask.path) or (_GET if re.fullmatch(r"/v1/people/[^/]+", ask.path) else None)
