"""How records are shown. Field values are what people wrote: cleaned and marked."""

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
"""The field that names a record, where it is not ``Name``."""

DETAIL: Final[Mapping[str, Sequence[str]]] = {
    "Account": ("Industry", "Phone"),
    "Contact": ("Email", "Title", "Phone"),
    "Lead": ("Company", "Status", "Email"),
    "Opportunity": ("StageName", "Amount", "CloseDate"),
    "Case": ("Subject", "Status", "Priority"),
    "Task": ("Status", "Priority", "ActivityDate"),
    "Event": ("StartDateTime", "EndDateTime"),
}
"""What a row shows of a record, unless fields are asked for."""

LONG: Final = 1_200  # bytes of one field in a detail
_TIME: Final = re.compile(r"(?:19|2[0-4])\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d)")
_SHORT: Final = 160
_NAME: Final = 120
_INNER: Final = 20  # things of a list inside a record
FIELDS: Final = 700  # tokens of a detail's fields
ASKED: Final = 2_000  # tokens of fields that were asked for by name


class Shown(NamedTuple):
    """A value as it is shown; whether it is whole; what reads on where it is a text that is not."""

    value: Any
    whole: bool = True
    more: Continuation | None = None


def shown(outside: Outside, value: Any, limit: int, more: Continuation | None = None) -> Shown:
    """A field's value: text cleaned and cut, in lists of records too; all else as it is. ``more``: the call that reads
    it alone."""
    if isinstance(value, list):
        parts = [shown(outside, one, _SHORT) for one in value[:_INNER]]
        return Shown([one.value for one in parts], len(parts) == len(value) and all(one.whole for one in parts))
    if isinstance(value, dict):
        inner = {name: shown(outside, one, _SHORT) for name, one in value.items()}
        return Shown({name: one.value for name, one in inner.items()}, all(one.whole for one in inner.values()))
    if not isinstance(value, str):
        return Shown(value)
    if _TIME.fullmatch(value):
        return Shown(UserTime.of(value))
    told = shortened(PLAIN, outside, words(outside, value) if is_html(value) else value, limit, "text", more=more)
    return Shown(told["text"], "cut" not in told, told.get("more"))


def reads(kind: str, id: Any, field: str) -> Continuation | None:
    """The call that reads a field of a record alone; None for one of what it leads to."""
    if not (kind and id) or "." in field:
        return None
    return Continuation("salesforce_get_record", object=kind, record=str(id), fields=field)


def record_row(kind: str, record: Json, fields: Sequence[str]) -> Json:
    """A record in a list, without what it has not. The first field names it.

    ``cut`` has the fields that are not shown whole, ``more`` what reads each of them on.
    """
    outside = Outside()
    limits = {name: _SHORT for name in fields} | {fields[0]: _NAME}
    found = {
        name: shown(outside, record.get(name), limit, reads(kind, record.get("Id"), name))
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
    """A record's fields, without what it has not. What is over the budget is named in ``left_out``.

    ``cut`` has how many characters, or things of a list, there are of each value that is not shown whole; ``more`` what
    reads on each text that is cut.
    """
    fields: Json = {}
    left_out: list[str] = []
    cut: Json = {}
    more: Json = {}
    for name, value in record.items():
        if value is None or value in ("", []):
            continue
        one = shown(outside, value, LONG, reads(kind, id, name))
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
