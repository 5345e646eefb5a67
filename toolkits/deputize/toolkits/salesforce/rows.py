"""How records are shown. Field values are what people wrote: cleaned and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

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
_SHORT: Final = 160
_NAME: Final = 120
_INNER: Final = 20  # things of a list inside a record
FIELDS: Final = 450  # tokens of a detail's fields
ASKED: Final = 2_000  # tokens of fields that were asked for by name


def shown(outside: Outside, value: Any, limit: int) -> tuple[Any, bool]:
    """A field's value, and whether it is whole: text cleaned and cut, in lists of records too; all else as it is."""
    if isinstance(value, list):
        parts = [shown(outside, one, _SHORT) for one in value[:_INNER]]
        return [one for one, _ in parts], len(parts) == len(value) and all(whole for _, whole in parts)
    if isinstance(value, dict):
        inner = {name: shown(outside, one, _SHORT) for name, one in value.items()}
        return {name: one for name, (one, _) in inner.items()}, all(whole for _, whole in inner.values())
    if not isinstance(value, str):
        return value, True
    told = shortened(PLAIN, outside, words(outside, value) if is_html(value) else value, limit, "text")
    return told["text"], "cut" not in told


def record_row(record: Json, fields: Sequence[str]) -> Json:
    """A record in a list, without what it has not. The first field names it; ``cut`` has those that are not whole."""
    outside = Outside()
    named = shown(outside, record.get(fields[0]), _NAME)
    found = {name: shown(outside, record.get(name), _SHORT) for name in fields[1:]}
    row: Json = {"id": record.get("Id"), "name": named[0]} | {name: value for name, (value, _) in found.items()}
    row = {name: value for name, value in row.items() if value is not None and value != ""}
    if cut := [name for name, (_, whole) in {fields[0]: named, **found}.items() if not whole]:
        row["cut"] = cut
    outside.mark(row)
    return row


def record_fields(record: Json, outside: Outside, budget: int) -> Json:
    """A record's fields, without what it has not. What is over the budget is named in ``left_out``.

    ``cut`` has how many characters, or things of a list, there are of each value that is not shown whole.
    """
    fields: Json = {}
    left_out: list[str] = []
    cut: Json = {}
    for name, value in record.items():
        if value is None or value in ("", []):
            continue
        one, whole = shown(outside, value, LONG)
        cost = tokens({name: one})
        if cost > budget:
            left_out.append(name)
        else:
            fields[name] = one
            budget -= cost
            if not whole:
                cut[name] = len(value)
    return fields | ({"left_out": left_out[:_INNER]} if left_out else {}) | ({"cut": cut} if cut else {})
