"""Salesforce: deleting records, with a preview of the other records that the deletion removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Audience, Effect, Preview, Request, Steps
from deputize.core.errors import DeputizeError, NotFound
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce import preview
from deputize.toolkits.salesforce.base import API, DATA, SALESFORCE, Asks, Json, flat, get, object_name, record_id, soql
from deputize.toolkits.salesforce.rows import DETAIL, NAME
from deputize.toolkits.salesforce.soql import count, text

_CASCADES: Final[
    Mapping[str, Sequence[tuple[str, str]]]
] = {  # records deleted along, by the field that leads to the record
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId"), ("Case", "AccountId")),
    "Opportunity": (("OpportunityLineItem", "OpportunityId"), ("OpportunityContactRole", "OpportunityId")),
    "Campaign": (("CampaignMember", "CampaignId"),),
    "Case": (("CaseComment", "ParentId"),),
}


@SALESFORCE.tool(needs=[API], effect=Effect.WRITES | Effect.DESTRUCTIVE)
def delete_record(object: Annotated[str, Field(description="API name")], id: str) -> Steps:
    """Move a record to the recycle bin, and what belongs to it."""
    kind, at = object_name(object, write=True), record_id(id)
    name, place = NAME.get(kind, "Name"), {"object": kind, "id": at}
    try:
        node = flat((yield get("/sobjects/{object}/{id}", place)))
    except NotFound:
        node = {}  # in the bin already, or hidden: the deletion tells which
    gone = (yield from _count_cascade(kind, at)) if node else {}
    yield _show(kind, at, node, gone)
    result = {"id": at, "object": kind, "deleted": True}
    try:
        yield Request("DELETE", f"{DATA}/sobjects/{{object}}/{{id}}", at=place, repeat="idem")
    except NotFound as refused:
        if refused.reason == "user_lacks_rights" or not (node or refused.reason == "deleted"):
            raise
        if not node:
            return result | {"summary": "It is in the recycle bin already."}
    named = Outside().line(str(node.get(name) or ""), 255)
    return result | {"name": named} | ({"also_deleted": gone} if gone else {})


AS_CREATED: Final[Mapping[str, str]] = {"last_change": "none"}
"""The condition under which undo deletes a new record: nobody has changed it since."""
_TEXTS: Final = ("Description", "Body", "CommentBody")


def _show(kind: str, id: str, node: Json, gone: Json) -> Preview:
    """Return the preview of what goes into the bin: the record's name, list fields and text, and what goes with it."""
    kept = {name: node.get(name) for name in (*DETAIL.get(kind, ()), *_TEXTS)}
    return Preview(
        "Delete this record",
        audience=Audience.ORGANISATION,
        where=preview.record_text(kind, id, node.get(NAME.get(kind, "Name"))),
        note=None if node else "it may be deleted already, or hidden from you",
        **{name: value for name, value in kept.items() if value not in (None, "")},
        undo="it can be restored from the recycle bin for 15 days",
        pins={"record": id, "last_change": _last_change(node)},
        beside={"deleted_with_it": [f"{count} x {source}" for source, count in gone.items()] or None},
    )


def _last_change(node: Json) -> str | None:
    """Return in words whether the record has changed since its creation, or None if unknown."""
    created, changed = node.get("CreatedDate"), node.get("LastModifiedDate")
    return ("none" if created == changed else "after it was made") if created and changed else None


def _count_cascade(kind: str, id: str) -> Asks[Json]:
    """Return the number of records that are deleted with this record, as far as the user sees them."""
    parts = _CASCADES.get(kind, ())
    try:
        answers = yield [soql(count(source, [f"{field} = {text(id)}"])) for source, field in parts]
    except DeputizeError:
        return {}
    totals = {source: int(one.get("totalSize") or 0) for (source, _), one in zip(parts, answers, strict=True)}
    return {source: total for source, total in totals.items() if total}
