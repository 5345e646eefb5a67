"""Salesforce: single records, and their related records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import Field

from deputize.core import Alias, Continuation, Request, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Offset, Raw
from deputize.toolkits._shared.long_text import PART, part
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce.base import (
    API,
    DATA,
    SALESFORCE,
    Asks,
    Json,
    flat,
    get,
    is_id,
    look_up,
    no_record,
    object_name,
    send,
)
from deputize.toolkits.salesforce.describe import field_in, fields_of
from deputize.toolkits.salesforce.find import find_by_name
from deputize.toolkits.salesforce.rich_text import PLAIN, is_html, words
from deputize.toolkits.salesforce.rows import ASKED, FIELDS, NAME, record_fields, record_row
from deputize.toolkits.salesforce.soql import select, text

_LINE: Final = 1_000  # bytes of a name
_RELATED: Final = 3_000  # tokens of everything related

Related = tuple[str, str, tuple[str, ...], tuple[str, ...]]

_OF: Final[
    Mapping[str, Mapping[str, Related]]
] = {  # by object: block, (object, its field, displayed fields, conditions)
    "Account": {
        "contacts": ("Contact", "AccountId", ("Name", "Email", "Title"), ()),
        "opportunities": ("Opportunity", "AccountId", ("Name", "StageName", "Amount", "CloseDate"), ()),
        "cases": ("Case", "AccountId", ("CaseNumber", "Subject", "Status"), ()),
        "tasks": ("Task", "AccountId", ("Subject", "Status", "ActivityDate"), ("TaskSubtype != 'Call'",)),
        "calls": ("Task", "AccountId", ("Subject", "Status", "ActivityDate"), ("TaskSubtype = 'Call'",)),
        "events": ("Event", "AccountId", ("Subject", "StartDateTime"), ()),
        "emails": ("EmailMessage", "RelatedToId", ("Subject", "FromAddress", "MessageDate"), ()),
        "leads": ("Lead", "ConvertedAccountId", ("Name", "Status"), ()),
        "notes": ("Note", "ParentId", ("Title", "CreatedDate"), ()),
    },
    "Opportunity": {
        "contact_roles": ("OpportunityContactRole", "OpportunityId", ("ContactId", "Role"), ()),
        "line_items": ("OpportunityLineItem", "OpportunityId", ("Name", "Quantity", "TotalPrice"), ()),
        "open_tasks": ("Task", "WhatId", ("Subject", "Status", "ActivityDate"), ("IsClosed = FALSE",)),
        "notes": ("Note", "ParentId", ("Title", "CreatedDate"), ()),
    },
}


@SALESFORCE.tool(
    needs=[API],
    aliases=[
        Alias("Salesforce.GetAccountDataById", {"account_id": "record"}, sets={"object": "Account", "related": True}),
        Alias("Salesforce.GetOpportunityById", {"opportunity_id": "record"}, sets={"object": "Opportunity"}),
    ],
)
def get_record(
    object: Annotated[str, Field(description="API name, such as Account")],
    record: Annotated[str, Field(min_length=1, max_length=255, description="id or name")],
    fields: Annotated[list[str] | None, Field(description="API names; one alone is read whole")] = None,
    offset: Annotated[Offset, Field(description="into the one field")] = 0,
    raw: Raw = False,
    related: bool = False,
    related_limit: Annotated[int, Field(ge=1, le=50)] = 10,
) -> Steps:
    """One record by id or name, optionally with everything related."""
    kind = object_name(object)
    if related and kind not in _OF:
        raise InvalidInput(f"related: only for {' and '.join(_OF)}.", hint="List the other object with related_to.")
    if (offset or raw) and (related or len(fields or ()) != 1):
        raise InvalidInput("offset, raw: only when reading a single field.", hint="Name it in fields.")
    id = record.strip()
    if not is_id(id):
        matches = yield from find_by_name(kind, id)
        if not matches:
            raise no_record("record", kind, id)
        if len(matches) > 1:
            named = NAME.get(kind, "Name")
            return {
                "matches": [record_row(kind, one, (named,)) for one in matches],
                "note": "Several match: use an id.",
            }
        id = str(matches[0]["Id"])
    chosen: Json = {}
    if fields:
        known = yield from fields_of(kind)
        chosen = {"fields": ",".join(str(field_in(known, one, "fields")["name"]) for one in fields)}
    asked = send(get("/sobjects/{object}/{id}", {"object": kind, "id": id}, chosen))
    node = flat((yield from look_up(asked, "record", kind, record)))
    if kind == "ContentNote" and node.get("Content"):
        node["Content"] = yield from _content(id)
    outside = Outside()
    named = outside.line(str(node.pop(NAME.get(kind, "Name"), None) or ""), _LINE)
    result: Json = {"id": node.pop("Id", id), "object": kind} | ({"name": named} if named else {})
    if fields and len(fields) == 1 and not related and isinstance(text_in := next(iter(node.values()), None), str):
        name = str(next(iter(node)))
        more = Continuation(
            "salesforce_get_record", object=kind, record=id, fields=name, **({"raw": True} if raw else {})
        )
        result |= _one_text(outside, name, text_in, offset, raw=raw, more=more)
        outside.mark(result)
        return result
    result["fields"] = record_fields(kind, id, node, outside, ASKED if fields else FIELDS)
    if more_of := result["fields"].pop("more", None):
        result["more"] = more_of
    if cut := result["fields"].pop("cut", None):
        result |= {"truncated": True, "cut": cut, "note": "A text goes on with its name alone in fields, and offset."}
    if left_out := result["fields"].pop("left_out", None):
        result |= {"truncated": True, "left_out": left_out, "note": "Ask for more with fields."}
    if related:
        result |= yield from _load_related(kind, id, related_limit)
    outside.mark(result)
    return result


def _content(note: str) -> Asks[str]:
    """Return an enhanced note's HTML. The record itself has only the address of the HTML."""
    content: bytes = yield Request("GET", f"{DATA}/sobjects/ContentNote/{{id}}/Content", at={"id": note}, raw=True)
    text = content.decode(errors="replace")
    return text if is_html(text) else f"<p>{text}</p>"


def _one_text(outside: Outside, name: str, stored: str, offset: int, *, raw: bool, more: Continuation) -> Json:
    """Return as much of one text as fits, and the call that continues it. Words of HTML cannot be written back."""
    html = is_html(stored)
    text = words(outside, stored) if html and not raw else stored
    told = part(PLAIN, outside, text, PART, offset, raw=raw, more=more)
    if html and not raw:
        told = {name: value for name, value in told.items() if name != "text_digest"} | {"html": True}
    return {"fields": {name: told.pop("text")}} | told


def _load_related(kind: str, id: str, limit: int) -> Asks[Json]:
    """Return everything related to a record, in one batch. A part that the user may not see becomes a warning."""
    sets = _OF[kind]
    queries = [
        select(("Id", *shown), source, [f"{field} = {text(id)}", *more], ("CreatedDate DESC",), limit)
        for source, field, shown, more in sets.values()
    ]
    parts = [
        {"method": "GET", "url": f"{DATA.removeprefix('/data/')}/query?q={quote(one, safe='')}"} for one in queries
    ]
    body = {"haltOnError": False, "batchRequests": parts}
    answer = yield Request("POST", f"{DATA}/composite/batch", json=body, repeat="read")
    blocks: dict[str, list[Json]] = {}
    warnings: list[str] = []
    for (name, (source, _, shown, _)), one in zip(sets.items(), answer.get("results") or (), strict=False):
        rows = _rows(source, one, shown)
        if rows is None:
            warnings.append(f"{name}: not visible to this user.")
        elif rows:
            blocks[name] = rows
    return _fit_blocks(blocks) | ({"warnings": warnings} if warnings else {})


def _fit_blocks(blocks: dict[str, list[Json]]) -> Json:
    """Return the blocks, each cut to its share of the budget."""
    kept: Json = {}
    cut = []
    for name, every in blocks.items():
        rows = Rows(_RELATED // len(blocks) + 150)  # Rows keeps 150 tokens free
        kept[name] = list(takewhile(lambda row, rows=rows: rows.add(row, whole=True), every))  # type: ignore[misc]
        if len(kept[name]) < len(every):
            cut.append(f"{name}: {len(kept[name])} of {len(every)} shown.")
    return {"related": kept} | ({"truncated": True, "cut": cut} if cut else {})


def _rows(kind: str, one: Any, shown: Sequence[str]) -> list[Json] | None:
    if not isinstance(one, dict) or one.get("statusCode") != 200:
        return None
    return [record_row(kind, flat(record), shown) for record in (one.get("result") or {}).get("records") or ()]
