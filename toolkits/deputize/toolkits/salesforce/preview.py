"""Preview of a record before it is created, changed or deleted, with field labels, names for ids, and old values.

An org decides by unreadable rules who sees a record. The preview therefore assumes everybody in the org, except for the
user's own task or note on no record. The audience of a record that customers see is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from deputize.core import Account, Audience, Change, Danger
from deputize.toolkits._shared.steps import many
from deputize.toolkits.salesforce.base import Asks, Json, flat, get, is_id, own_id
from deputize.toolkits.salesforce.describe import Described
from deputize.toolkits.salesforce.rows import NAME

_OBJECTS: Final[Mapping[str, str]] = {  # by the first three characters of an id, the same in every org
    **{"001": "Account", "003": "Contact", "006": "Opportunity", "00Q": "Lead", "500": "Case", "005": "User"},
    **{"00G": "Group", "701": "Campaign", "012": "RecordType", "00T": "Task", "00U": "Event"},
}
_ON: Final = ("WhoId", "WhatId", "ParentId", "LinkedEntityId")
_TO_CUSTOMERS: Final = ("IsPublished", "IsVisibleInSelfService")
_OURS: Final = frozenset("audience people where pins context beside destroys dangers duplicates note undo key".split())
_TEXTS: Final = ("string", "textarea")

Names = Mapping[str, str]


def load_names(ids: Iterable[Any]) -> Asks[dict[str, str]]:
    """Return names of records by id, as far as the user sees the records."""
    wanted = sorted({one for one in ids if isinstance(one, str) and is_id(one) and one[:3] in _OBJECTS})
    places = [{"object": _OBJECTS[one[:3]], "id": one} for one in wanted]
    fields = [NAME.get(place["object"], "Name") for place in places]
    requests = [get("/sobjects/{object}/{id}", at, {"fields": field}) for at, field in zip(places, fields, strict=True)]
    answers = yield from many(requests)
    found = zip(wanted, fields, answers, strict=True)
    told = {id: str(flat(answer).get(field) or "") for id, field, answer in found if isinstance(answer, dict)}
    return {id: name for id, name in told.items() if name}


def references(known: Described, values: Mapping[str, Any]) -> Json:
    """Return the ids among these values that lead to other records."""
    return {name: one for name, one in values.items() if one and known[name.lower()].get("type") == "reference"}


def names_of(known: Described, *values: Mapping[str, Any]) -> Asks[dict[str, str]]:
    """Return names for the ids in these values."""
    return (yield from load_names(id for one in values for id in references(known, one).values()))


def label(known: Described, name: str) -> str:
    """Return a field's label, with the API name if the label is ambiguous."""
    said = str(known[name.lower()].get("label") or name)
    same = sum(1 for one in known.values() if one.get("label") == said) > 1
    return f"{said} ({name})" if said != name and (same or said.lower() in _OURS) else said


def by_labels(known: Described, values: Mapping[str, Any], names: Names) -> Json:
    """Return values by the labels of their fields, with names for ids and "" for empty values."""
    leads = references(known, values)
    return {label(known, name): _word(value, names if name in leads else {}) for name, value in values.items()}


def changes(known: Described, before: Mapping[str, Any], after: Mapping[str, Any], names: Names) -> Json:
    """Return the values of `by_labels` beside the current ones."""
    old, new = by_labels(known, {name: before.get(name) for name in after}, names), by_labels(known, after, names)
    return {name: Change(old[name], value) for name, value in new.items()}


def _word(value: Any, names: Names) -> Any:
    if value is None:
        return ""
    return names.get(value, value) if isinstance(value, str) else value


def loses(known: Described, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """True if a text or a whole value is lost."""
    for name, value in after.items():
        old = before.get(name)
        text = known[name.lower()].get("type") in _TEXTS
        if old not in (None, "") and ((value in (None, "")) or (text and str(old).strip() not in str(value))):
            return True
    return False


def redirections(known: Described, before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Return the fields of a `Preview` that warn if mail or calls to somebody will go elsewhere."""
    new = [name for name, value in after.items() if value and value != before.get(name)]
    types = {known[name.lower()].get("type") for name in new}
    return {
        "dangers": [Danger.FORWARDS_MAIL] if "email" in types else [],
        "note": "Calls will go to this number from now on." if "phone" in types else None,
    }


def audience_of(values: Mapping[str, Any], account: Account, *, own: bool) -> Audience:
    """Return who may see a record with these values. ``own``: the record is the user's own task or note."""
    on_a_record = any(values.get(name) for name in _ON) or values.get("OwnerId") not in (None, own_id(account))
    return max(to_customers(values), Audience.SELF if own and not on_a_record else Audience.ORGANISATION)


def to_customers(values: Mapping[str, Any]) -> Audience:
    """Return the additional audience of a record whose values make it visible to customers."""
    return Audience.UNKNOWN if any(values.get(name) is True for name in _TO_CUSTOMERS) else Audience.SELF


def new_owners(values: Mapping[str, Any], account: Account) -> list[str]:
    """Return the new owner of a record unless the user is the owner."""
    owner = values.get("OwnerId")
    return [str(owner)] if owner and owner != own_id(account) else []


def kind_of(id: str) -> str:
    """Return the object type that an id's prefix means, or "record"."""
    return _OBJECTS.get(id[:3], "record")


def record_text(kind: str, id: str, name: object) -> str:
    """Return a record in words, with its id because several records may have the same name."""
    return f"{name} ({kind} {id})" if name else f"{kind} {id}"
