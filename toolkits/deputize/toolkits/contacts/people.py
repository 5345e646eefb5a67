"""Lookup of people in Google contacts, for searches in all of the user's accounts."""

from __future__ import annotations

from collections.abc import Mapping

from deputize.core import Run, Steps
from deputize.toolkits.contacts import rows
from deputize.toolkits.contacts.base import ANY, CONTACTS, NOT_A_MEMBER, SOURCES, Json, Row, granted_lists, search_lists


@CONTACTS.people(needs=[ANY])
def people(who: str, *, run: Run) -> Steps:
    """People in the user's contacts, other contacts and directory."""
    may = granted_lists(run.granted)
    found, whole = yield from search_lists(who, may)
    missing = {one: "not granted" for one in SOURCES if one not in may}
    missing |= {one: NOT_A_MEMBER for one in may if one not in found}
    people = [_person_row(person, source) for source, persons in found.items() for person in persons]
    return {"people": people[:20], "whole": whole and len(people) <= 20, "not_looked": missing}


def _person_row(person: Row, source: str) -> Json:
    """Return a person. Addresses of a directory profile are verified and lead to its main one; others are claimed."""
    checked = "DOMAIN_PROFILE" in rows.source_types(person) and source == "directory"
    addresses = _verified_addresses(person) if checked else rows.values(person, "emailAddresses")
    called = rows.names(person)
    return {
        "name": next(iter(called), ""),
        "names": called[1:],
        "addresses": addresses,
        "address": addresses[0] if checked and addresses else "",
        "id": "" if source == "other" else str(person.get("resourceName") or ""),
        "where": rows.KINDS[source],
        "organisation": rows.organisation(person),
        "known": source != "other",
        "verified": checked,
        **({"untrusted": True} if source == "other" else {}),
    }


def _verified_addresses(person: Row) -> list[str]:
    """Return the addresses that the organisation gave a member, the main one first."""
    given = [
        one
        for one in person.get("emailAddresses") or ()
        if isinstance(one, Mapping)
        and ((one.get("metadata") or {}).get("source") or {}).get("type") == "DOMAIN_PROFILE"
    ]
    return rows.values({"emailAddresses": given}, "emailAddresses")
