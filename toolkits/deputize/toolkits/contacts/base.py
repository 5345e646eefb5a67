"""The contacts toolkit, its scopes, the three lists of people, and their requests.

API: developers.google.com/people/api/rest. The accepted scopes are from its discovery document, people.v1 of
2025-11-17. Both searches of contacts answer from a cache that an empty search refreshes ("warmup").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from deputize.core import Need, Request, Toolkit, any_of
from deputize.core.errors import DeputizeError
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.steps import Asks, many
from deputize.toolkits._shared.text import FACTS, WRITERS
from deputize.toolkits.contacts.saved import saved_addresses

CONTACTS: Final = Toolkit(
    "contacts",
    provider="google",
    label="Google Contacts",
    api="people",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows=True,
    words=("people", "person", "colleague"),
    contacts_in=saved_addresses,
)

SCOPE: Final = "https://www.googleapis.com/auth/"
READONLY, CHANGE = f"{SCOPE}contacts.readonly", f"{SCOPE}contacts"
OTHER, DIRECTORY = f"{SCOPE}contacts.other.readonly", f"{SCOPE}directory.readonly"

Source = Literal["contacts", "other", "directory"]
SOURCES: Final[tuple[Source, ...]] = ("contacts", "other", "directory")
NEEDS: Final[Mapping[str, Need]] = {
    "contacts": any_of(READONLY, CHANGE, method="people.people.searchContacts"),
    "other": any_of(OTHER, method="people.otherContacts.search"),
    "directory": any_of(DIRECTORY, method="people.people.searchDirectoryPeople"),
}
ANY: Final = any_of(READONLY, CHANGE, DIRECTORY, OTHER, method="people.people.searchContacts")
LISTS: Final = any_of(READONLY, CHANGE, method="people.people.connections.list")
GETS: Final = any_of(READONLY, CHANGE, DIRECTORY, method="people.people.get")

MAX_PEOPLE: Final = 30
"""Most people that a search of contacts finds; it has no next page."""
FIELDS: Final = "names,nicknames,emailAddresses,phoneNumbers,organizations,metadata"
_OF_OTHERS: Final = "names,emailAddresses,phoneNumbers,metadata"
_PROFILES: Final = ["DIRECTORY_SOURCE_TYPE_DOMAIN_PROFILE", "DIRECTORY_SOURCE_TYPE_DOMAIN_CONTACT"]

Json = dict[str, Any]
Row = Mapping[str, Any]
NOT_A_MEMBER: Final = "this account has no organisation's directory"


def granted_lists(granted: Collection[str]) -> list[Source]:
    """Return the lists that the grant allows to search."""
    return [one for one in SOURCES if NEEDS[one].is_met_by(frozenset(granted))]


def _search(source: Source, query: str) -> Request:
    if source == "directory":
        params = {"query": query, "readMask": FIELDS, "sources": _PROFILES, "pageSize": MAX_PEOPLE}
        return Request("GET", "/people:searchDirectoryPeople", params=params)
    path, mask = ("/people:searchContacts", FIELDS) if source == "contacts" else ("/otherContacts:search", _OF_OTHERS)
    return Request("GET", path, params={"query": query, "readMask": mask, "pageSize": MAX_PEOPLE})


def search_lists(query: str, sources: Collection[Source]) -> Asks[tuple[dict[str, list[Row]], bool]]:
    """Return the matching people by list, and whether the result is complete.

    Left out are a missing directory, and other contacts whose addresses a contact or colleague has.
    """
    if warmups := [_search(one, "") for one in sources if one != "directory"]:
        yield warmups
    answers = yield from many([_search(one, query) for one in sources])
    found: dict[str, list[Row]] = {}
    whole = True
    for source, answer in zip(sources, answers, strict=True):
        if isinstance(answer, DeputizeError):
            if source != "directory":
                raise answer
            continue
        people: list[Row] = list(answer.get("people") or ())
        found[source] = people or [one.get("person") or {} for one in answer.get("results") or ()]
        whole = whole and len(found[source]) < MAX_PEOPLE and not answer.get("nextPageToken")
    known = {
        address for source in ("contacts", "directory") for one in found.get(source, ()) for address in emails(one)
    }
    if "other" in found:
        found["other"] = [one for one in found["other"] if not emails(one) or not emails(one) <= known]
    return found, whole


def emails(person: Row) -> set[str]:
    """Return a person's email addresses in lower case."""
    return {str(one.get("value") or "").lower() for one in person.get("emailAddresses") or ()}
