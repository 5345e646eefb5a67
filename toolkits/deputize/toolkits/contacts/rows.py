"""Rows of people: names, addresses, phones, organisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from deputize.toolkits._shared.long_text import Form, part
from deputize.toolkits._shared.page import lean, room_for, tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.contacts.base import Json, Row

_FEW: Final = 5
_LINE: Final = 300  # bytes of a value
_LISTS: Final = 1_400  # tokens of addresses, links and the like of one person
_WHOLE: Final = 3_600  # tokens of all fields of one person
_PLAIN: Final = Form(outside=Outside, show=Outside.text)
KINDS: Final = {"contacts": "contact", "other": "other contact", "directory": "directory"}


def values(person: Row, field: str, key: str = "value") -> list[str]:
    """Return the texts of a field, the main one first, without duplicates."""
    ones = [one for one in person.get(field) or () if isinstance(one, Mapping)]
    ones.sort(key=lambda one: not (one.get("metadata") or {}).get("primary"))
    return list(dict.fromkeys(str(one[key]) for one in ones if one.get(key)))


def names(person: Row) -> list[str]:
    """Return a person's names: full names first, then first names and nicknames."""
    whole = [*values(person, "names", "displayName"), *values(person, "names", "unstructuredName")]
    return list(dict.fromkeys([*whole, *values(person, "names", "givenName"), *values(person, "nicknames")]))


def list_row(person: Row, source: str) -> Json:
    """Return a person as a row. The names of other contacts are untrusted, because those people chose them."""
    outside = Outside()

    def clean_few(texts: Iterable[str], limit: int) -> list[str]:
        return [outside.line(one, limit) for one in list(texts)[:_FEW]]

    found: Json = {
        "name": outside.line(next(iter(names(person)), ""), 80),
        "nickname": outside.line(next(iter(values(person, "nicknames")), ""), 60),
        "emails": clean_few(values(person, "emailAddresses"), 254),
        "phones": clean_few(values(person, "phoneNumbers"), 40),
        "organisation": outside.line(organisation(person), 80),
        "title": outside.line(next(iter(values(person, "organizations", "title")), ""), 80),
        "source": KINDS[source],
        "id": "" if source == "other" else str(person.get("resourceName") or ""),
    }
    if source == "other" or outside.hidden:
        outside.mark(found)
    return lean(found)


def organisation(person: Row) -> str:
    return next(iter(values(person, "organizations", "name")), "")


def source_types(person: Row) -> set[str]:
    """Return Google's sources of a person: CONTACT, PROFILE, DOMAIN_PROFILE and others."""
    sources = (person.get("metadata") or {}).get("sources") or ()
    return {str(one.get("type")) for one in sources if isinstance(one, Mapping)}


def detail(person: Row, offset: int = 0) -> Json:
    """Return all fields of one person. Of long notes, it is the part from ``offset``, with the name.

    A profile's owner may have written its fields. Raises `InvalidInput` for an offset beyond the notes.
    """
    outside = Outside()
    found: Json = {"name": outside.line(next(iter(names(person)), ""), _LINE)}
    found |= {} if offset else _facts(person, outside)
    found["id"] = person.get("resourceName")
    notes = "\n\n".join(values(person, "biographies"))
    if notes or offset:
        found |= part(_PLAIN, outside, notes, room_for(notes, offset, _WHOLE - tokens(found)), offset, name="notes")
        found.pop("text_digest", None)
    if source_types(person) - {"CONTACT"} or outside.hidden:
        outside.mark(found)
    return lean(found)


def _facts(person: Row, outside: Outside) -> Json:
    """Return the fields of a card, the most useful first; ``left_out`` names lists that are cut."""

    def line(text: str) -> str:
        return outside.line(text, _LINE)

    found: Json = {
        "organisation": line(organisation(person)),
        "title": line(next(iter(values(person, "organizations", "title")), "")),
        "department": line(next(iter(values(person, "organizations", "department")), "")),
        "birthday": _date(person),
    }
    lists = {
        "emails": _labelled_values(person, "emailAddresses", outside),
        "phones": _labelled_values(person, "phoneNumbers", outside),
        "also_called": [line(one) for one in names(person)[1:_FEW]],
        "addresses": [line(one) for one in values(person, "addresses", "formattedValue")],
        "links": [line(one) for one in values(person, "urls")],
        "relations": [line(one) for one in values(person, "relations", "person")],
    }
    left, left_out = _LISTS, []
    for field, every in lists.items():
        shown: list[str] = []
        for one in every:
            if (left := left - tokens(one)) < 0:
                left_out.append(f"{field}: {len(shown)} of {len(every)} are shown")
                break
            shown.append(one)
        found[field] = shown
    return found | {"left_out": left_out}


def _labelled_values(person: Row, field: str, outside: Outside) -> list[str]:
    """Return values with their labels: ``bob@acme.example (work)``."""
    found: dict[str, str] = {}
    for one in person.get(field) or ():
        if value := outside.line(str(one.get("value") or ""), _LINE):
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
