"""people.googleapis.com/v1: read access to the user's contacts, other contacts and the directory.

As at Google, both searches of contacts know only the contacts at the last empty search (the "warmup").
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from deputize.sandbox.google import errors
from deputize.sandbox.google.tokens import caller
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
    """Check token, scope and query in this order, then run the method."""
    method = _method(ask)
    if method is None:
        return errors.not_found(ask.path)
    who, token = caller(ask, world)
    if not set(method.scopes) & set(token.scopes):
        return errors.scope_missing(HOST, f"google.people.v1.{method.rpc}", method.scopes)
    if unknown := set(ask.query) - method.query - {method.mask}:
        raise invalid(f'Invalid JSON payload received. Unknown name "{sorted(unknown)[0]}".')
    mask = {one for one in (ask.one(method.mask) or "").split(",") if one}
    if not mask or mask - method.fields:
        raise invalid(f"Invalid {method.mask} mask path.")
    return in_json(_apply_mask(method.answer(ask, world, who), mask))


def _apply_mask(answer: Json, mask: set[str]) -> Json:
    """Return the reply with only the requested fields of people."""
    if "resourceName" in answer:
        return {name: one for name, one in answer.items() if name in mask | {"resourceName", "etag"}}
    shown = dict(answer)
    for name in ("people", "connections"):
        if name in shown:
            shown[name] = [_apply_mask(one, mask) for one in shown[name]]
    if "results" in shown:
        shown["results"] = [{"person": _apply_mask(one["person"], mask)} for one in shown["results"]]
    return shown


def _search_cache(ask: Ask, world: World, who: Person, list_: str) -> Json:
    """Search the contacts that the last empty search stored."""
    store, query = world.services["contacts"], ask.one("query") or ""
    key = f"{list_}/{who.email}"
    if not query:
        store["cached"][key] = copy.deepcopy(store[list_][who.email])
        return {}
    found = [one for one in store["cached"].get(key, ()) if _matches(one, query)]
    return {"results": [{"person": one} for one in found[: _size(ask, 10, 30)]]} if found else {}


def _search_own(ask: Ask, world: World, who: Person) -> Json:
    return _search_cache(ask, world, who, "own")


def _search_other(ask: Ask, world: World, who: Person) -> Json:
    return _search_cache(ask, world, who, "other")


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
    """Return True if a field has words that begin with the query."""
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
    """Return a 400 error."""
    return Refused(errors.api_error(400, message, "invalid", "INVALID_ARGUMENT"))


_SEARCH: Final = frozenset({"query", "pageSize"})
_METHODS: Final[Mapping[str, _Method]] = {
    "/v1/people:searchContacts": _Method("PeopleService.SearchContacts", _OWN, _SEARCH, _search_own, "readMask", _MASK),
    "/v1/otherContacts:search": _Method(
        "PeopleService.SearchOtherContacts",
        (f"{_AUTH}contacts.other.readonly",),
        _SEARCH,
        _search_other,
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
