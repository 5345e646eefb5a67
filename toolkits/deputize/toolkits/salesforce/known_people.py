"""The org's people for searches across all accounts: users, and contacts at customers."""

from __future__ import annotations

from typing import Any

from deputize.core import Steps
from deputize.toolkits.salesforce.base import API, SALESFORCE, Json, is_id, rows_of
from deputize.toolkits.salesforce.soql import like, select, text

_MAX_PEOPLE = 10


@SALESFORCE.people(needs=[API])
def people(who: str) -> Steps:
    """Users of the org, and contacts at its customers."""
    word = who.strip().removeprefix("@")
    if is_id(word):
        same = f"Id = {text(word)}"
    else:
        same = f"Email = {text(word)}" if "@" in word else f"Name LIKE {like(word)}"
    inside = [same, "IsActive = TRUE", "UserType = 'Standard'"]  # no customer or partner with a login of their own
    users = yield from rows_of(select(("Id", "Name", "Email"), "User", inside, limit=_MAX_PEOPLE))
    fields = ("Id", "Name", "Email", "Account.Name")
    contacts = yield from rows_of(select(fields, "Contact", [same], limit=_MAX_PEOPLE))
    rows = [_as_found(one, "user") for one in users] + [_as_found(one, "customer contact") for one in contacts]
    return {"people": rows, "whole": len(users) < _MAX_PEOPLE}


def _as_found(one: Json, where: str) -> Json:
    """Return a person's fields. A contact's names prove nothing, because anybody may have filled in a form."""
    user = where == "user"
    address: Any = one.get("Email")
    return {
        "id": str(one.get("Id") or ""),
        "name": str(one.get("Name") or ""),
        "addresses": [address] if address else [],
        "where": where,
        "organisation": str(one.get("Account.Name") or ""),
        "known": user,
        "verified": user,
        **({} if user else {"untrusted": True}),
    }
