"""How records are shown. Field values are what people wrote: cleaned and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.toolkits._salesforce.base import Json
from deputize.toolkits._text import Outside, window

NAME: Final[Mapping[str, str]] = {
    "Case": "CaseNumber",
    "Task": "Subject",
    "Event": "Subject",
    "Note": "Title",
    "ContentNote": "Title",
    "CaseComment": "Id",
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

_LONG: Final = 1_200  # bytes of one field in a detail
_SHORT: Final = 160


def shown(outside: Outside, value: Any, limit: int) -> Any:
    """A field's value: text cleaned and cut, everything else as it is."""
    if not isinstance(value, str):
        return value
    cleaned = outside.text(value)
    piece, more = window(cleaned, 0, limit)
    return piece.rstrip() + ("\u2026" if more else "")


def record_row(record: Json, fields: Sequence[str]) -> Json:
    """A record in a list. The first field names it."""
    outside = Outside()
    row: Json = {"id": record.get("Id"), "name": shown(outside, record.get(fields[0]), 80)}
    row |= {name: shown(outside, record.get(name), _SHORT) for name in fields[1:]}
    outside.mark(row)
    return row


def record_fields(record: Json) -> tuple[Json, Outside]:
    """A record's fields for a detail, without those that are empty."""
    outside = Outside()
    fields = {name: shown(outside, value, _LONG) for name, value in record.items() if value not in (None, "", [])}
    return fields, outside
