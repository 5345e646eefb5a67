"""Records: described, read, made, changed, deleted."""

from __future__ import annotations

import base64
import hashlib
from email.utils import parsedate_to_datetime

from deputize.sandbox.http_types import Reply, in_json
from deputize.sandbox.salesforce import objects
from deputize.sandbox.salesforce.call import LIMIT, VERSION, Call, Json, attributes, failed, field, kind_of, spelled
from deputize.sandbox.salesforce.objects import FIELDS, REQUIRED
from deputize.sandbox.salesforce.seed import record_id, stamp

OWNERS_ONLY = ("Account", "Opportunity", "Case")  # who may delete them


def every_object(call: Call) -> Reply:
    """GET sobjects."""
    return in_json({"sobjects": [objects.about(kind) for kind in FIELDS]}, headers=[LIMIT], changes=False)


def describe(call: Call, kind: str) -> Reply:
    """GET sobjects/X/describe."""
    return in_json(objects.described(kind_of(kind)), headers=[LIMIT], changes=False)


def _found(call: Call, kind: str, id: str) -> Json:
    row = next((row for row in call.rows(kind) if id in (row["Id"], row["Id"][:15])), None)
    if row is None:
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    return row


def one(call: Call, kind: str, id: str) -> Reply:
    """GET sobjects/X/id, all fields or those that are named."""
    kind = kind_of(kind)
    row = _found(call, kind, id)
    asked = call.ask.one("fields")
    names = [spelled(kind, name) for name in asked.split(",")] if asked else list(FIELDS[kind])
    shown = {name: field(kind, row, name, call) for name in names}
    for name in (one for one in names if FIELDS[kind][one] == "base64"):
        shown[name] = f"/services/data/v{VERSION}/sobjects/{kind}/{row['Id']}/{name}"
    return in_json(attributes(kind, row["Id"]) | {"Id": row["Id"]} | shown, headers=[LIMIT], changes=False)


def content(call: Call, kind: str, id: str, name: str) -> Reply:
    """GET sobjects/X/id/field: what a field of bytes holds."""
    kind = kind_of(kind)
    row = _found(call, kind, id)
    if FIELDS[kind].get(name) != "base64":
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    held = base64.b64decode(str(row.get(name) or ""), validate=True)
    return Reply(200, (LIMIT, ("content-type", "application/octet-stream")), held)


def _checked(kind: str, given: Json) -> Json:
    for name in given:
        if name not in FIELDS[kind] or name in objects.READ_ONLY:
            raise failed(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
    return given


def create(call: Call, kind: str) -> Reply:
    """POST sobjects/X. The same name twice is a duplicate, unless the header lets it pass."""
    kind, given = kind_of(kind), call.ask.content()
    if missing := [name for name in REQUIRED.get(kind, ()) if not given.get(name)]:
        shown = f"Required fields are missing: [{', '.join(missing)}]"
        raise failed(400, "REQUIRED_FIELD_MISSING", shown, missing)
    same = [row for row in call.all(kind) if kind == "Account" and row.get("Name") == given.get("Name")]
    if kind == "ContentDocumentLink":
        _linked(call, given)
    for name in (one for one in given if one.startswith("Key")):  # external ids are unique
        if any(row.get(name) == given[name] for row in call.all(kind)):
            raise failed(400, "DUPLICATE_VALUE", f"duplicate value found: {name} duplicates value on record", [])
    if same and "allowSave=true" not in call.ask.headers.get("sforce-duplicate-rule-header", ""):
        raise failed(400, "DUPLICATES_DETECTED", "Use one of these records?")
    return in_json({"id": _new(call, kind, _checked(kind, given)), "success": True, "errors": []}, 201, [LIMIT])


def _linked(call: Call, given: Json) -> None:
    """A document is on a record once, and both are there."""
    ends = ("ContentDocumentId", "LinkedEntityId")
    for name in ends:
        if not any(row["Id"] == given.get(name) for kind in FIELDS for row in call.rows(kind)):
            raise failed(400, "FIELD_INTEGRITY_EXCEPTION", f"{name}: id value of incorrect type", [name])
    if any(all(row.get(name) == given[name] for name in ends) for row in call.all("ContentDocumentLink")):
        raise failed(400, "DUPLICATE_VALUE", "duplicate value found", [])


def _new(call: Call, kind: str, given: Json) -> str:
    rows = call.all(kind)
    alike = ("ContentDocument", "ContentNote") if kind in ("ContentDocument", "ContentNote") else (kind,)
    used = [row["Id"] for one in alike for row in call.all(one)] + [
        id for id in call.bin if id.startswith(objects.PREFIXES[kind])
    ]
    numbers = [int(id[3:15]) for id in used if id[3:15].isdecimal()]
    id, at = record_id(kind, max(numbers, default=0) + 1), stamp(call.world.clock())
    by = {"OwnerId": call.me, "CreatedById": call.me}
    rows.append({"Id": id, **by, "CreatedDate": at, "LastModifiedDate": at} | given)
    if kind == "ContentVersion":
        _published(call, rows[-1])
    if kind == "ContentNote":  # which is a document, too
        call.all("ContentDocument").append({**rows[-1], "FileExtension": "snote", "FileType": "SNOTE"})
    return id


def _published(call: Call, version: Json) -> None:
    """A first version makes its document, and puts it where it is published."""
    content = base64.b64decode(str(version["VersionData"]), validate=True)
    size, md5 = len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()
    ending = str(version["PathOnClient"]).rpartition(".")[2]
    file = {"Title": version["Title"], "FileExtension": ending, "FileType": ending.upper(), "ContentSize": size}
    document = _new(call, "ContentDocument", file)
    version |= {"ContentDocumentId": document, "ContentSize": size, "FileExtension": ending, "IsLatest": True}
    version["Checksum"] = md5
    link = {"ContentDocumentId": document, "LinkedEntityId": version["FirstPublishLocationId"], "ShareType": "V"}
    _new(call, "ContentDocumentLink", link)


def update(call: Call, kind: str, id: str) -> Reply:
    """PATCH sobjects/X/id, only if unmodified since where the header says so."""
    kind = kind_of(kind)
    row = _found(call, kind, id)
    if since := call.ask.headers.get("if-unmodified-since", ""):
        changed = stamp(parsedate_to_datetime(since).timestamp())
        if row["LastModifiedDate"] > changed:
            raise failed(412, "PRECONDITION_FAILED", "The record was changed.")
    row |= _checked(kind, call.ask.content()) | {"LastModifiedDate": stamp(call.world.clock())}
    return Reply(204, (LIMIT,), b"", changes=True)


def upsert(call: Call, kind: str, name: str, value: str) -> Reply:
    """PATCH sobjects/X/field/value."""
    kind = kind_of(kind)
    found = [row for row in call.rows(kind) if str(row.get(spelled(kind, name))) == value]
    given = _checked(kind, call.ask.content())
    if not found:
        id = _new(call, kind, given | {name: value})
        return in_json({"id": id, "success": True, "errors": [], "created": True}, 201, [LIMIT])
    found[0] |= given
    return in_json({"id": found[0]["Id"], "success": True, "errors": [], "created": False}, 200, [LIMIT])


def delete(call: Call, kind: str, id: str) -> Reply:
    """DELETE sobjects/X/id."""
    kind = kind_of(kind)
    if any(id in (one, one[:15]) for one in call.bin):
        raise failed(404, "ENTITY_IS_DELETED", "entity is deleted", [])
    row = _found(call, kind, id)
    if row["OwnerId"] != call.me and kind in OWNERS_ONLY:
        raise failed(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", [])
    call.all(kind).remove(row)
    if kind == "ContentNote":
        call.all("ContentDocument")[:] = [one for one in call.all("ContentDocument") if one["Id"] != row["Id"]]
    call.bin.append(row["Id"])
    return Reply(204, (LIMIT,), b"", changes=True)
