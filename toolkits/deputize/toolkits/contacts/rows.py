"""A person of Google's as a row: names, addresses, phones, organisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.contacts.base import Json, Row

_FEW: Final = 5
_KINDS: Final = {"contacts": "contact", "other": "other contact", "directory": "directory"}


def values(person: Row, field: str, key: str = "value") -> list[str]:
    """The texts of a field, the main one first, each once."""
    ones = [one for one in person.get(field) or () if isinstance(one, Mapping)]
    ones.sort(key=lambda one: not (one.get("metadata") or {}).get("primary"))
    return list(dict.fromkeys(str(one[key]) for one in ones if one.get(key)))


def names(person: Row) -> list[str]:
    """What somebody is called: whole names first, then first names and nicknames."""
    whole = [*values(person, "names", "displayName"), *values(person, "names", "unstructuredName")]
    return list(dict.fromkeys([*whole, *values(person, "names", "givenName"), *values(person, "nicknames")]))


def kind(source: str) -> str:
    """What stands in a row for the list somebody is in."""
    return _KINDS[source]


def in_list(person: Row, source: str) -> Json:
    """Somebody in a list of people. Of other contacts nobody but they themselves chose the name."""
    outside = Outside()

    def few(texts: Iterable[str], limit: int) -> list[str]:
        return [outside.line(one, limit) for one in list(texts)[:_FEW]]

    found: Json = {
        "name": outside.line(next(iter(names(person)), ""), 80),
        "nickname": outside.line(next(iter(values(person, "nicknames")), ""), 60),
        "emails": few(values(person, "emailAddresses"), 254),
        "phones": few(values(person, "phoneNumbers"), 40),
        "organisation": outside.line(organisation(person), 80),
        "title": outside.line(next(iter(values(person, "organizations", "title")), ""), 80),
        "source": kind(source),
        "id": "" if source == "other" else str(person.get("resourceName") or ""),
    }
    if source == "other" or outside.hidden:
        outside.mark(found)
    return lean(found)


def organisation(person: Row) -> str:
    """Where somebody works."""
    return next(iter(values(person, "organizations", "name")), "")


def kinds_of(person: Row) -> set[str]:
    """Where Google has it from: CONTACT, PROFILE, DOMAIN_PROFILE and others."""
    sources = (person.get("metadata") or {}).get("sources") or ()
    return {str(one.get("type")) for one in sources if isinstance(one, Mapping)}


def detail(person: Row) -> Json:
    """All that is known of one person. What a profile says, its owner may have written."""
    outside = Outside()
    found: Json = {
        "name": outside.line(next(iter(names(person)), "")),
        "also_called": [outside.line(one) for one in names(person)[1:_FEW]],
        "emails": _labelled(person, "emailAddresses", outside),
        "phones": _labelled(person, "phoneNumbers", outside),
        "organisation": outside.line(organisation(person)),
        "title": outside.line(next(iter(values(person, "organizations", "title")), "")),
        "department": outside.line(next(iter(values(person, "organizations", "department")), "")),
        "addresses": [outside.line(one) for one in values(person, "addresses", "formattedValue")],
        "birthday": _date(person),
        "links": [outside.line(one) for one in values(person, "urls")],
        "relations": [outside.line(one) for one in values(person, "relations", "person")],
        "notes": "\n\n".join(outside.text(one) for one in values(person, "biographies")),
        "id": person.get("resourceName"),
    }
    if kinds_of(person) - {"CONTACT"} or outside.hidden:
        outside.mark(found)
    return lean(found)


def _labelled(person: Row, field: str, outside: Outside) -> list[str]:
    """Values with what they are for: ``bob@acme.example (work)``."""
    found: dict[str, str] = {}
    for one in person.get(field) or ():
        if value := outside.line(str(one.get("value") or "")):
            label = outside.line(str(one.get("formattedType") or one.get("type") or ""), 40)
            found.setdefault(value, f"{value} ({label})" if label else value)
    return list(found.values())


def _date(person: Row) -> str:
    for one in person.get("birthdays") or ():
        date: Mapping[str, Any] = one.get("date") or {}
        if date.get("month") and date.get("day"):
            year = f"{date['year']:04d}" if date.get("year") else "-"
            return f"{year}-{date['month']:02d}-{date['day']:02d}"
    return ""
