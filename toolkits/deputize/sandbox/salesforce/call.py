"""One request to an org, its sender, and the errors that all routes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deputize.sandbox.http_types import Ask, Refused, in_json
from deputize.sandbox.people import Person
from deputize.sandbox.salesforce import objects
from deputize.sandbox.salesforce.objects import FIELDS
from deputize.sandbox.salesforce.seed import PRIVATE, user_id
from deputize.sandbox.world import World

Json = dict[str, Any]
VERSION = "64.0"
LIMIT = ("sforce-limit-info", "api-usage=18/15000")


@dataclass(frozen=True)
class Call:
    """One request, and its sender."""

    ask: Ask
    world: World
    person: Person

    @property
    def me(self) -> str:
        """The id of the person."""
        return user_id(self.person.sub)

    def all(self, kind: str) -> list[Json]:
        """Return the records of a type, as a list to append to."""
        found: list[Json] = self.world.services["salesforce"]["records"].setdefault(kind, [])
        return found

    @property
    def bin(self) -> list[str]:
        """The ids of deleted records, as a list to append to."""
        ids: list[str] = self.world.services["salesforce"].setdefault("deleted", [])
        return ids

    def rows(self, kind: str) -> list[Json]:
        """Return the records of a type that this person may see."""
        return [row for row in self.all(kind) if kind not in PRIVATE or row["OwnerId"] == self.me]


def failed(status: int, code: str, message: str, fields: list[str] | None = None) -> Refused:
    """Return a list of one error."""
    error: Json = {"message": message, "errorCode": code}
    return Refused(in_json([error if fields is None else error | {"fields": fields}], status, [LIMIT]))


def find_type(name: str, code: str = "NOT_FOUND") -> str:
    """Return the record type with this name, ignoring case. Raise ``code`` if there is none."""
    kind = next((one for one in FIELDS if one.lower() == name.lower()), None)
    if kind is None:
        status = 404 if code == "NOT_FOUND" else 400
        raise failed(status, code, f"sObject type '{name}' is not supported.")
    return kind


def attributes(kind: str, id: str) -> Json:
    """Return the ``attributes`` that every record begins with."""
    return {"attributes": {"type": kind, "url": f"/services/data/v{VERSION}/sobjects/{kind}/{id}"}}


def spell_field(kind: str, name: str) -> str:
    """Return a field's name in the type's spelling. Raise INVALID_FIELD for an unknown one."""
    known = {known.lower(): known for known in FIELDS[kind]}
    if name.lower() not in known:
        raise failed(400, "INVALID_FIELD", f"No such column '{name}' on entity '{kind}'.")
    return known[name.lower()]


def field(kind: str, row: Json, name: str, call: Call) -> Any:
    """Return a field's value, or that of a related record: ``Owner.Name``."""
    if "." in name:
        first, rest = name.split(".", 1)
        source = objects.REFERS.get(f"{first}Id", "")
        if not source:
            raise failed(400, "INVALID_FIELD", f"Didn't understand relationship '{first}' in field path.")
        other = next((one for one in call.rows(source) if one["Id"] == row.get(f"{first}Id")), {})
        return field(source, other, rest, call)
    name = spell_field(kind, name)
    if name == "Name" and kind in ("Contact", "Lead") and row:
        return " ".join(filter(None, (row.get("FirstName"), row.get("LastName"))))
    if name == "IsClosed" and kind == "Task":
        return row.get("Status") == "Completed"
    if name == "CaseNumber" and row:
        return row["Id"][7:15]
    return row.get(name)
