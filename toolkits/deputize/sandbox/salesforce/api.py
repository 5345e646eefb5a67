"""An org's REST API: versions, SOQL over one type, records read and made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from deputize.sandbox.people import Person
from deputize.sandbox.salesforce.seed import PREFIXES, PRIVATE, REQUIRED, record_id, stamp, user_id
from deputize.sandbox.wire import Ask, Refused, Reply, in_json
from deputize.sandbox.world import World

Json = dict[str, Any]
VERSION = "64.0"
LIMIT = ("sforce-limit-info", "api-usage=18/15000")
_SOQL = re.compile(
    r"\s*SELECT\s+(?P<fields>[\w.,\s()]+?)\s+FROM\s+(?P<kind>\w+)(?:\s+WHERE\s+(?P<where>.+?))?"
    r"(?:\s+ORDER\s+BY\s+(?P<by>\w+)(?:\s+(?P<way>ASC|DESC))?(?:\s+NULLS\s+(?:FIRST|LAST))?)?(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_TERM = re.compile(r"\s*(\w+)\s*(=|!=|LIKE)\s*('(?:\\.|[^'\\])*'|[\w.+-]+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """One request, and who sends it."""

    ask: Ask
    world: World
    person: Person

    def rows(self, kind: str) -> list[Json]:
        """The records of a type that this person may see."""
        found: list[Json] = self.world.services["salesforce"]["records"][kind]
        mine = user_id(self.person.sub)
        return [row for row in found if kind not in PRIVATE or row["OwnerId"] == mine]


def failed(status: int, code: str, message: str, fields: list[str] | None = None) -> Refused:
    """A list of one error."""
    error: Json = {"message": message, "errorCode": code}
    return Refused(in_json([error if fields is None else error | {"fields": fields}], status, [LIMIT]))


def answer(ask: Ask, world: World) -> Reply:
    """Without a token only the list of versions."""
    if ask.path.rstrip("/") == "/services/data":
        return in_json([{"label": "Summer '25", "url": f"/services/data/v{VERSION}", "version": VERSION}])
    call = _call(ask, world)
    found = re.fullmatch(r"/services/data/v\d\d\.0/(query|sobjects)/?(?:(\w+)/?(\w+)?)?/?", ask.path)
    if found and found[1] == "query" and ask.method == "GET":
        return _query(call, ask.one("q"))
    if found and found[1] == "sobjects" and found[2] in PREFIXES:
        return _record(call, found[2], found[3])
    raise failed(404, "NOT_FOUND", "The requested resource does not exist")


def _call(ask: Ask, world: World) -> Call:
    token = world.access(ask.bearer(), "salesforce")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise failed(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if not {"api", "full"} & set(token.scopes):
        raise failed(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
    return Call(ask, world, person)


def _query(call: Call, text: str) -> Reply:
    """``SELECT fields FROM type [WHERE a = 'x' AND ...] [ORDER BY field [DESC]] [LIMIT n]``."""
    read = _SOQL.fullmatch(text)
    if read is None:
        raise failed(400, "MALFORMED_QUERY", "unexpected token")
    kind = next((one for one in PREFIXES if one.lower() == read["kind"].lower()), None)
    if kind is None:
        raise failed(400, "INVALID_TYPE", f"sObject type '{read['kind']}' is not supported.")
    names = [name.strip() for name in read["fields"].split(",")]
    rows = [row for row in call.rows(kind) if _meets(kind, row, read["where"] or "")]
    if by := read["by"]:
        way = (read["way"] or "").upper() == "DESC"
        rows.sort(key=lambda row: str(_field(kind, row, by) or ""), reverse=way)
    rows = rows[: int(read["limit"])] if read["limit"] else rows
    records = [_about(kind, row["Id"]) | {name: _field(kind, row, name) for name in names} for row in rows]
    return in_json({"totalSize": len(records), "done": True, "records": records}, headers=[LIMIT])


def _about(kind: str, id: str) -> Json:
    return {"attributes": {"type": kind, "url": f"/services/data/v{VERSION}/sobjects/{kind}/{id}"}}


def _field(kind: str, row: Json, name: str) -> Any:
    known = {known.lower(): known for known in {*row, *FIELDS[kind]}}
    if name.lower() not in known:
        raise failed(400, "INVALID_FIELD", f"No such column '{name}' on entity '{kind}'.")
    return row.get(known[name.lower()])


def _meets(kind: str, row: Json, where: str) -> bool:
    for term in re.split(r"\s+AND\s+(?=\w+\s*(?:=|!=|LIKE))", where, flags=re.IGNORECASE) if where else ():
        read = _TERM.fullmatch(term)
        if read is None:
            raise failed(400, "MALFORMED_QUERY", "unexpected token in WHERE")
        wanted = re.sub(r"\\(.)", r"\1", read[3][1:-1]) if read[3].startswith("'") else read[3]
        if not _compares(read[2].upper(), _field(kind, row, read[1]), wanted):
            return False
    return True


def _compares(how: str, value: Any, wanted: str) -> bool:
    found = "" if value is None else str(value).lower()
    if how == "LIKE":
        return re.fullmatch(re.escape(wanted.lower()).replace("%", ".*"), found, re.DOTALL) is not None
    same = found == ("" if wanted == "null" else wanted.lower())
    return same if how == "=" else not same


def _record(call: Call, kind: str, id: str | None) -> Reply:
    if call.ask.method == "POST" and id is None:
        return _create(call, kind)
    if call.ask.method != "GET" or id is None:
        raise failed(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed.")
    row = next((row for row in call.rows(kind) if unquote(id) in (row["Id"], row["Id"][:15])), None)
    if row is None:
        raise failed(404, "NOT_FOUND", "The requested resource does not exist")
    return in_json(_about(kind, row["Id"]) | row, headers=[LIMIT])


def _create(call: Call, kind: str) -> Reply:
    given, rows = call.ask.content(), call.world.services["salesforce"]["records"][kind]
    if missing := [name for name in REQUIRED[kind] if not given.get(name)]:
        shown = f"Required fields are missing: [{', '.join(missing)}]"
        raise failed(400, "REQUIRED_FIELD_MISSING", shown, missing)
    for name in given:
        if name not in FIELDS[kind]:
            raise failed(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
    id, at = record_id(kind, len(rows) + 1), stamp(call.world.clock())
    rows.append({"Id": id, "OwnerId": user_id(call.person.sub), "CreatedDate": at, "LastModifiedDate": at} | given)
    return in_json({"id": id, "success": True, "errors": []}, 201, [LIMIT])


FIELDS = {
    "Account": {"Name", "Industry", "Phone", "Website", "Description", "OwnerId"},
    "Contact": {"FirstName", "LastName", "Email", "Phone", "Title", "AccountId", "Description", "OwnerId"},
    "Opportunity": {"Name", "StageName", "CloseDate", "Amount", "AccountId", "Description", "OwnerId"},
    "Lead": {"FirstName", "LastName", "Company", "Status", "Email", "Phone", "Description", "OwnerId"},
    "Case": {"Subject", "Status", "Priority", "Description", "AccountId", "ContactId", "OwnerId"},
    "Task": {"Subject", "Status", "Priority", "ActivityDate", "Description", "WhoId", "WhatId", "OwnerId"},
}
