"""Records: describe, read, create, change, delete."""

from __future__ import annotations

import base64
import hashlib
from email.utils import parsedate_to_datetime

from deputize.sandbox.http_types import Reply, in_json
from deputize.sandbox.salesforce import objects
from deputize.sandbox.salesforce.call import (
    LIMIT,
    VERSION,
    Call,
    Json,
    attributes,
    failed,
    field,
    find_type,
    spell_field,
)
from deputize.sandbox.salesforce.objects import FIELDS, REQUIRED
from deputize.sandbox.salesforce.seed import record_id, stamp

OWNERS_ONLY = ("Account", "Opportunity", "Case")  # only their owners may delete them


def every_object(call: Call) -> Reply:
    return in_json({"sobjects": [objects.summarize_object(kind) for kind in FIELDS]}, headers=[LIMIT], changes=False)


def describe(call: Call, kind: str) -> Reply:
    return in_json(objects.describe_object(find_type(kind)), headers=[LIMIT], changes=False)


def _find(call: Call, kind: str, id: str) -> Json:
    row = next((row for row in call.rows(kind) if id in (row["Id"], row["Id"][:15])), None)
    if row is None:
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    return row


def get(call: Call, kind: str, id: str) -> Reply:
    """Return all fields of a record, or those in ``fields``."""
    kind = find_type(kind)
    row = _find(call, kind, id)
    asked = call.ask.one("fields")
    names = [spell_field(kind, name) for name in asked.split(",")] if asked else list(FIELDS[kind])
    shown = {name: field(kind, row, name, call) for name in names}
    for name in (one for one in names if FIELDS[kind][one] == "base64"):
        shown[name] = f"/services/data/v{VERSION}/sobjects/{kind}/{row['Id']}/{name}"
    return in_json(attributes(kind, row["Id"]) | {"Id": row["Id"]} | shown, headers=[LIMIT], changes=False)


def content(call: Call, kind: str, id: str, name: str) -> Reply:
    """Return the bytes of a field."""
    kind = find_type(kind)
    row = _find(call, kind, id)
    if FIELDS[kind].get(name) != "base64":
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    held = base64.b64decode(str(row.get(name) or ""), validate=True)
    return Reply(200, (LIMIT, ("content-type", "application/octet-stream")), held)


def _check_fields(kind: str, given: Json) -> Json:
    for name in given:
        if name not in FIELDS[kind] or name in objects.READ_ONLY:
            raise failed(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
    return given


def create(call: Call, kind: str) -> Reply:
    """Create a record. Raise DUPLICATES_DETECTED for an account's existing name, unless the header allows it."""
    kind, given = find_type(kind), call.ask.content()
    if missing := [name for name in REQUIRED.get(kind, ()) if not given.get(name)]:
        shown = f"Required fields are missing: [{', '.join(missing)}]"
        raise failed(400, "REQUIRED_FIELD_MISSING", shown, missing)
    same = [row for row in call.all(kind) if kind == "Account" and row.get("Name") == given.get("Name")]
    if kind == "ContentDocumentLink":
        _check_link(call, given)
    for name in (one for one in given if one.startswith("Key")):  # external ids are unique
        if any(row.get(name) == given[name] for row in call.all(kind)):
            raise failed(400, "DUPLICATE_VALUE", f"duplicate value found: {name} duplicates value on record", [])
    if same and "allowSave=true" not in call.ask.headers.get("sforce-duplicate-rule-header", ""):
        raise failed(400, "DUPLICATES_DETECTED", "Use one of these records?")
    return in_json({"id": _new(call, kind, _check_fields(kind, given)), "success": True, "errors": []}, 201, [LIMIT])


def _check_link(call: Call, given: Json) -> None:
    """Check that a document and its record exist, and that they are linked once."""
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
        _publish(call, rows[-1])
    if kind == "ContentNote":  # which is a document, too
        call.all("ContentDocument").append({**rows[-1], "FileExtension": "snote", "FileType": "SNOTE"})
    return id


def _publish(call: Call, version: Json) -> None:
    """Create a first version's document, and link it where the version is published."""
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
    """Change a record. Raise 412 if it changed after the header If-Unmodified-Since."""
    kind = find_type(kind)
    row = _find(call, kind, id)
    if since := call.ask.headers.get("if-unmodified-since", ""):
        changed = stamp(parsedate_to_datetime(since).timestamp())
        if row["LastModifiedDate"] > changed:
            raise failed(412, "PRECONDITION_FAILED", "The record was changed.")
    row |= _check_fields(kind, call.ask.content()) | {"LastModifiedDate": stamp(call.world.clock())}
    return Reply(204, (LIMIT,), b"", changes=True)


def upsert(call: Call, kind: str, name: str, value: str) -> Reply:
    """Create or change the record whose external id has this value."""
    kind = find_type(kind)
    found = [row for row in call.rows(kind) if str(row.get(spell_field(kind, name))) == value]
    given = _check_fields(kind, call.ask.content())
    if not found:
        id = _new(call, kind, given | {name: value})
        return in_json({"id": id, "success": True, "errors": [], "created": True}, 201, [LIMIT])
    found[0] |= given
    return in_json({"id": found[0]["Id"], "success": True, "errors": [], "created": False}, 200, [LIMIT])


def delete(call: Call, kind: str, id: str) -> Reply:
    kind = find_type(kind)
    if any(id in (one, one[:15]) for one in call.bin):
        raise failed(404, "ENTITY_IS_DELETED", "entity is deleted", [])
    row = _find(call, kind, id)
    if row["OwnerId"] != call.me and kind in OWNERS_ONLY:
        raise failed(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", [])
    call.all(kind).remove(row)
    if kind == "ContentNote":
        call.all("ContentDocument")[:] = [one for one in call.all("ContentDocument") if one["Id"] != row["Id"]]
    call.bin.append(row["Id"])
    return Reply(204, (LIMIT,), b"", changes=True)
