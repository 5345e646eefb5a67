"""What a person is shown of a record before it is made, changed or deleted: labels, names for ids, old beside new.

Who sees a record an org decides by rules that cannot be read: so everybody in it may, but for a task or a note of the
user's own that is on no record. What is made visible to customers, nobody knows who sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from deputize.core import Account, Audience, Change
from deputize.toolkits._shared.steps import many
from deputize.toolkits.salesforce.base import Asks, Json, flat, get, is_id, me
from deputize.toolkits.salesforce.describe import Described
from deputize.toolkits.salesforce.rows import NAME

_OBJECTS: Final[Mapping[str, str]] = {  # by the first three characters of an id, the same in every org
    **{"001": "Account", "003": "Contact", "006": "Opportunity", "00Q": "Lead", "500": "Case", "005": "User"},
    **{"00G": "Group", "701": "Campaign", "012": "RecordType", "00T": "Task", "00U": "Event"},
}
_ON: Final = ("WhoId", "WhatId", "ParentId", "LinkedEntityId")
_TO_CUSTOMERS: Final = ("IsPublished", "IsVisibleInSelfService")
_OURS: Final = frozenset("audience people where pins context beside destroys duplicates undo key".split())
_TEXTS: Final = ("string", "textarea")

Names = Mapping[str, str]


def named(ids: Iterable[Any]) -> Asks[dict[str, str]]:
    """Names of records by id, as far as this user sees them. The rest has none."""
    wanted = sorted({one for one in ids if isinstance(one, str) and is_id(one) and one[:3] in _OBJECTS})
    places = [{"object": _OBJECTS[one[:3]], "id": one} for one in wanted]
    fields = [NAME.get(place["object"], "Name") for place in places]
    requests = [get("/sobjects/{object}/{id}", at, {"fields": field}) for at, field in zip(places, fields, strict=True)]
    answers = yield from many(requests)
    found = zip(wanted, fields, answers, strict=True)
    told = {id: str(flat(answer).get(field) or "") for id, field, answer in found if isinstance(answer, dict)}
    return {id: name for id, name in told.items() if name}


def references(known: Described, values: Mapping[str, Any]) -> Json:
    """The ids among these values that lead to other records."""
    return {name: one for name, one in values.items() if one and known[name.lower()].get("type") == "reference"}


def names_of(known: Described, *values: Mapping[str, Any]) -> Asks[dict[str, str]]:
    """Names for the ids in these values."""
    return (yield from named(id for one in values for id in references(known, one).values()))


def label(known: Described, name: str) -> str:
    """What people call a field; with its API name where that is not enough to tell it."""
    said = str(known[name.lower()].get("label") or name)
    same = sum(1 for one in known.values() if one.get("label") == said) > 1
    return f"{said} ({name})" if said != name and (same or said.lower() in _OURS) else said


def in_words(known: Described, values: Mapping[str, Any], names: Names) -> Json:
    """Values by the labels of their fields, with the names of what they lead to; "" for none."""
    leads = references(known, values)
    return {label(known, name): _word(value, names if name in leads else {}) for name, value in values.items()}


def changes(known: Described, before: Mapping[str, Any], after: Mapping[str, Any], names: Names) -> Json:
    """The same, beside what is there now."""
    old, new = in_words(known, {name: before.get(name) for name in after}, names), in_words(known, after, names)
    return {name: Change(old[name], value) for name, value in new.items()}


def _word(value: Any, names: Names) -> Any:
    if value is None:
        return ""
    return names.get(value, value) if isinstance(value, str) else value


def loses(known: Described, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a text, or all of a value, is no longer there afterwards."""
    for name, value in after.items():
        old = before.get(name)
        text = known[name.lower()].get("type") in _TEXTS
        if old not in (None, "") and ((value in (None, "")) or (text and str(old).strip() not in str(value))):
            return True
    return False


def seen_by(values: Mapping[str, Any], account: Account, *, own: bool) -> Audience:
    """Who may see a record with these values. ``own``: it is a task or a note of the user's own."""
    on_a_record = any(values.get(name) for name in _ON) or values.get("OwnerId") not in (None, me(account))
    return max(to_customers(values), Audience.SELF if own and not on_a_record else Audience.ORGANISATION)


def to_customers(values: Mapping[str, Any]) -> Audience:
    """Who else sees a record whose values show it to customers."""
    return Audience.UNKNOWN if any(values.get(name) is True for name in _TO_CUSTOMERS) else Audience.SELF


def others(values: Mapping[str, Any], account: Account) -> list[str]:
    """Whose the record becomes, unless it is the user's own."""
    owner = values.get("OwnerId")
    return [str(owner)] if owner and owner != me(account) else []


def kind_of(id: str) -> str:
    """What an id is of: the object, where that is known."""
    return _OBJECTS.get(id[:3], "record")


def where(kind: str, id: str, name: object) -> str:
    """A record as a place, with its id: another one may have the name."""
    return f"{name} ({kind} {id})" if name else f"{kind} {id}"
