"""The seeded contacts and directory."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.people import ALICE, BOB, Person

Json = dict[str, Any]


def person(id: str, kind: str, name: str, *emails: str, changed: str = "2024-05-01T09:00:00Z", **more: Any) -> Json:
    """Return a person in Google's format. ``kind``: CONTACT, OTHER_CONTACT or DOMAIN_PROFILE. ``changed``: when a saved
    contact was last changed."""
    source = {"type": kind, "id": id}

    def fields(key: str, *values: Any) -> list[Json]:
        return [{"metadata": {"primary": not n, "source": source}, key: one} for n, one in enumerate(values)]

    names = fields("displayName", name) if name else []
    for one in names:
        one |= {"givenName": name.split()[0], "unstructuredName": name}
    row: Json = {"resourceName": f"{'otherContacts' if kind == 'OTHER_CONTACT' else 'people'}/{id}", "etag": f"%{id}"}
    whole = {**source, "updateTime": changed} if kind == "CONTACT" else source
    row |= {"metadata": {"objectType": "PERSON", "sources": [whole]}, "names": names}
    extra = {name: [{"metadata": {"source": source}, **one} for one in ones] for name, ones in more.items()}
    return row | {"emailAddresses": fields("value", *emails)} | extra


def seed_contacts(people: tuple[Person, ...], now: float) -> Json:
    """Return all contacts. Alice's other contacts contain a person who uses Bob's name."""
    bob = person("c1", "CONTACT", BOB.name, BOB.email, nicknames=[{"value": "Bobby"}])
    carol = person(
        *("c2", "CONTACT", "Carol Clark", "carol@customer.example", "carol@home.example"),
        phoneNumbers=[{"value": "+49 30 1234567", "type": "work"}],
        organizations=[{"name": "Customer AG", "title": "Head of purchasing"}],
        biographies=[{"value": "Met at the fair.\nLikes tea."}],
        birthdays=[{"date": {"month": 5, "day": 17}}],
    )
    eve = person("o1", "OTHER_CONTACT", BOB.name, "bob@evil.test")
    profiles = [person(one.sub, "DOMAIN_PROFILE", one.name, one.email) for one in people]
    return {
        "own": {one.email: [bob, carol] if one == ALICE else [] for one in people},
        "other": {one.email: [eve] if one == ALICE else [] for one in people},
        "directory": profiles,
        "cached": {},
    }
