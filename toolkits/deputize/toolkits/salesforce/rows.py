"""Rows for records. Field values are untrusted, so they are cleaned and marked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from deputize.core import Continuation, UserTime
from deputize.toolkits._shared.long_text import shortened
from deputize.toolkits._shared.page import tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import Json
from deputize.toolkits.salesforce.rich_text import PLAIN, is_html, words

NAME: Final[Mapping[str, str]] = {
    "Case": "CaseNumber",
    "Task": "Subject",
    "Event": "Subject",
    "Note": "Title",
    "ContentNote": "Title",
    "CaseComment": "Id",
    "ContentDocumentLink": "Id",
    "EmailMessage": "Subject",
    "OpportunityContactRole": "Id",
    "CampaignMember": "Id",
    "LeadStatus": "MasterLabel",
}
"""The field that names a record, if it is not ``Name``."""

DETAIL: Final[Mapping[str, Sequence[str]]] = {
    "Account": ("Industry", "Phone"),
    "Contact": ("Email", "Title", "Phone"),
    "Lead": ("Company", "Status", "Email"),
    "Opportunity": ("StageName", "Amount", "CloseDate"),
    "Case": ("Subject", "Status", "Priority"),
    "Task": ("Status", "Priority", "ActivityDate"),
    "Event": ("StartDateTime", "EndDateTime"),
}
"""The fields of a record in a row, unless others are requested."""

LONG: Final = 1_200  # bytes of one field in a detail
_TIME: Final = re.compile(r"(?:19|2[0-4])\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d)")
_SHORT: Final = 160
_NAME: Final = 120
_INNER: Final = 20  # items of a list inside a record
FIELDS: Final = 700  # tokens of a detail's fields
ASKED: Final = 2_000  # tokens of fields that were requested by name


class Shown(NamedTuple):
    """A displayed value, a flag that the value is whole, and the call that continues a cut text."""

    value: Any
    whole: bool = True
    more: Continuation | None = None


def show_value(outside: Outside, value: Any, limit: int, more: Continuation | None = None) -> Shown:
    """Return a field's value. Texts are cleaned and cut, in lists of records too. ``more``: the call that reads the
    value alone."""
    if isinstance(value, list):
        parts = [show_value(outside, one, _SHORT) for one in value[:_INNER]]
        return Shown([one.value for one in parts], len(parts) == len(value) and all(one.whole for one in parts))
    if isinstance(value, dict):
        inner = {name: show_value(outside, one, _SHORT) for name, one in value.items()}
        return Shown({name: one.value for name, one in inner.items()}, all(one.whole for one in inner.values()))
    if not isinstance(value, str):
        return Shown(value)
    if _TIME.fullmatch(value):
        return Shown(UserTime.of(value))
    told = shortened(PLAIN, outside, words(outside, value) if is_html(value) else value, limit, "text", more=more)
    return Shown(told["text"], "cut" not in told, told.get("more"))


def reads(kind: str, id: Any, field: str) -> Continuation | None:
    """Return the call that reads a field of a record alone, or None for a field of a related record."""
    if not (kind and id) or "." in field:
        return None
    return Continuation("salesforce_get_record", object=kind, record=str(id), fields=field)


def record_row(kind: str, record: Json, fields: Sequence[str]) -> Json:
    """Return a row for a record, without empty fields. The first field is the name.

    ``cut`` has the fields that are cut, ``more`` the calls that continue them.
    """
    outside = Outside()
    limits = {name: _SHORT for name in fields} | {fields[0]: _NAME}
    found = {
        name: show_value(outside, record.get(name), limit, reads(kind, record.get("Id"), name))
        for name, limit in limits.items()
    }
    named, rest = found[fields[0]], {name: one.value for name, one in found.items() if name != fields[0]}
    row: Json = {"id": record.get("Id"), "name": named.value} | rest
    row = {name: value for name, value in row.items() if value is not None and value != ""}
    if cut := [name for name, one in found.items() if not one.whole]:
        row["cut"] = cut
    if more := {name: one.more for name, one in found.items() if one.more}:
        row["more"] = more
    outside.mark(row)
    return row


def record_fields(kind: str, id: Any, record: Json, outside: Outside, budget: int) -> Json:
    """Return a record's nonempty fields. ``left_out`` names the fields over the budget.

    ``cut`` has the number of characters, or of list items, of each value that is cut. ``more`` has the calls that
    continue texts.
    """
    fields: Json = {}
    left_out: list[str] = []
    cut: Json = {}
    more: Json = {}
    for name, value in record.items():
        if value is None or value in ("", []):
            continue
        one = show_value(outside, value, LONG, reads(kind, id, name))
        cost = tokens({name: one.value}) + (tokens({name: one.more}) if one.more else 0)
        if cost > budget:
            left_out.append(name)
        else:
            fields[name] = one.value
            budget -= cost
            if not one.whole:
                cut[name] = len(value)
            if one.more:
                more[name] = one.more
    told = {"left_out": left_out[:_INNER], "cut": cut, "more": more}
    return fields | {name: part for name, part in told.items() if part}
