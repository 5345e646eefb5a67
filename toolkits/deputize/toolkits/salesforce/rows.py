"""How records are shown. Field values are what people wrote: cleaned and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.toolkits._shared.long_text import Form, shortened
from deputize.toolkits._shared.page import tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import Json

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

FORM: Final = Form(outside=Outside, show=Outside.text)
"""How long texts are shown, read on and edited."""

LONG: Final = 1_200  # bytes of one field in a detail
_SHORT: Final = 160
_INNER: Final = 20  # things of a list inside a record
FIELDS: Final = 450  # tokens of a detail's fields
ASKED: Final = 2_000  # tokens of fields that were asked for by name


def shown(outside: Outside, value: Any, limit: int) -> Any:
    """A field's value: text cleaned and cut, in lists of records too; everything else as it is."""
    if isinstance(value, list):
        return [shown(outside, one, _SHORT) for one in value[:_INNER]]
    if isinstance(value, dict):
        return {name: shown(outside, one, _SHORT) for name, one in value.items()}
    if not isinstance(value, str):
        return value
    return shortened(FORM, outside, value, limit, "text")["text"]


def record_row(record: Json, fields: Sequence[str]) -> Json:
    """A record in a list, without what it has not. The first field names it."""
    outside = Outside()
    row: Json = {"id": record.get("Id"), "name": shown(outside, record.get(fields[0]), 80)}
    row |= {name: shown(outside, record.get(name), _SHORT) for name in fields[1:]}
    row = {name: value for name, value in row.items() if value is not None and value != ""}
    outside.mark(row)
    return row


def record_fields(record: Json, outside: Outside, budget: int) -> Json:
    """A record's fields, without what it has not. What is over the budget is named in ``left_out``.

    ``cut`` has how many characters there are of each text that is not shown whole.
    """
    fields: Json = {}
    left_out: list[str] = []
    cut: Json = {}
    for name, value in record.items():
        if value is None or value in ("", []):
            continue
        told = shortened(FORM, outside, value, LONG, "text") if isinstance(value, str) else {}
        one = {name: told.get("text") if told else shown(outside, value, LONG)}
        cost = tokens(one)
        if cost > budget:
            left_out.append(name)
        else:
            fields |= one
            budget -= cost
            if "cut" in told:
                cut[name] = len(value)
    return fields | ({"left_out": left_out[:_INNER]} if left_out else {}) | ({"cut": cut} if cut else {})
