"""Salesforce: conversion of field values to the types of their fields, and lookup of record owners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deputize.core import Run
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.times import moment
from deputize.toolkits._shared.zone import days_in_zone, in_zone
from deputize.toolkits.salesforce.base import Asks, Json, ask_zone, is_id, record_id, the_day
from deputize.toolkits.salesforce.describe import Described, field_in, owner_id

_NUMBERS: Final = {"double", "currency", "percent"}


def values_of(known: Described, given: Mapping[str, str], run: Run, *, creating: bool) -> Asks[Json]:
    """Return the values, converted to the types of their fields. Raises `InvalidInput` for an unknown field or picklist
    value."""
    run = yield from _with_zone(known, given, run)
    values: Json = {}
    for name, value in given.items():
        field = field_in(known, name, "fields")
        if not field.get("createable" if creating else "updateable"):
            raise InvalidInput(
                f"fields: {field['name']} cannot be set.", hint="salesforce_describe says which can be set."
            )
        if field.get("type") == "base64" and not creating:
            raise InvalidInput(
                f"fields: {field['name']} cannot be changed, since that would lose how it is laid out.",
                hint="Put another note beside it: salesforce_log_activity(kind=note).",
            )
        if field["name"] == "OwnerId" and value and not is_id(value):
            values["OwnerId"] = yield from owner_id(value, run.account)
        else:
            values[str(field["name"])] = cast(field, value, run)
    return values


def _with_zone(known: Described, given: Mapping[str, str], run: Run) -> Asks[Run]:
    """Return the run with the time zone that the days and times among these values need."""
    kinds = {name: str(field_in(known, name, "fields").get("type")) for name in given}
    run = yield from in_zone(run, ask_zone, **{name: given[name] for name in given if kinds[name] == "datetime"})
    return (yield from days_in_zone(run, ask_zone, **{name: given[name] for name in given if kinds[name] == "date"}))


def cast(field: Json, value: str, run: Run) -> Any:
    """Return a value in the form of its field's type, or None for an empty value. Raises `InvalidInput`."""
    name, kind = str(field["name"]), str(field.get("type") or "string")
    if value == "":
        return None
    try:
        if kind in _NUMBERS:
            return float(value)
        if kind == "int":
            return int(value)
        if kind == "boolean":
            return {"true": True, "false": False}[value.strip().lower()]
        if kind == "date":
            return the_day(value, run, name)
        if kind == "datetime":
            return moment(value, run.now, name, run.zone).isoformat()
    except (ValueError, KeyError, InvalidInput):
        raise InvalidInput(
            f"fields: {name} must be a {kind}.", hint="Numbers, true or false, ISO dates and times, today, +7d."
        ) from None
    if kind == "reference":
        return record_id(value, f"fields: {name}")
    if kind == "picklist" and field.get("restrictedPicklist"):
        options = [str(one["value"]) for one in field.get("picklistValues") or () if one.get("active", True)]
        if value not in options:
            raise InvalidInput(f"fields: {name} does not allow this value.", hint=f"One of {', '.join(options[:20])}.")
    if field.get("length") and kind in ("string", "picklist", "email", "phone", "url") and len(value) > field["length"]:
        raise InvalidInput(f"fields: {name} takes at most {field['length']} characters.", hint="Shorten it.")
    return value
