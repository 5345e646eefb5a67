"""Filters in the form that models write: numbers, days, and dates relative to today.

Salesforce has words for relative dates, which it reads in the user's own time zone (SOQL Reference, "Date Literals").
In a comparison with a time, a day means all of its hours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from deputize.core import Run
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits._shared.zone import days_in_zone, in_zone
from deputize.toolkits.salesforce.base import Asks, Json, ask_zone, the_day
from deputize.toolkits.salesforce.describe import Described, field_in
from deputize.toolkits.salesforce.soql import condition, relative
from deputize.toolkits.salesforce.texts import Value


class Comparison(BaseModel):
    """One comparison of a field with a value."""

    model_config = ConfigDict(extra="forbid")

    field: Annotated[str, Field(description="such as Amount or Owner.Name")]
    op: Literal["eq", "ne", "lt", "lte", "gt", "gte", "contains", "in", "is_null"]
    value: Annotated[Value, Field(description="dates: ISO, today, -7d, THIS_MONTH, LAST_N_DAYS:7")] = ""
    values: Annotated[list[Value] | None, Field(max_length=200, description="for op=in")] = None

    @model_validator(mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """Move a list to ``values``, whichever field it was written in."""
        if isinstance(given, dict) and isinstance(given.get("value"), list) and given.get("values") is None:
            return {**given, "value": "", "values": given["value"]}
        return given


def inline_schema(model: type[BaseModel]) -> WithJsonSchema:
    """Return a model's schema inline, because the APIs of some language models refuse ``$ref``."""
    return WithJsonSchema({name: part for name, part in model.model_json_schema().items() if name != "description"})


Filter = Annotated[Comparison, inline_schema(Comparison)]

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def with_zone(known: Described, given: Sequence[Comparison], run: Run) -> Asks[Run]:
    """Return the run with the time zone that the comparisons' days and times need."""
    for one in given:
        kind = "" if "." in one.field else str(field_in(known, one.field, "filters").get("type"))
        if kind not in ("date", "datetime") or one.op in ("is_null", "contains"):
            continue
        for value in _values(one):
            if not relative(value):
                run = yield from (in_zone if kind == "datetime" else days_in_zone)(run, ask_zone, filters=value)
    return run


def condition_of(known: Described, one: Comparison, run: Run) -> str:
    """Return the condition of a query. Raises `InvalidInput` for an unknown field or an impossible value."""
    said = _values(one)
    if "." in one.field:
        return condition(one.field, one.op, said, "string")
    field = field_in(known, one.field, "filters")
    name, kind = str(field["name"]), str(field.get("type") or "string")
    if field.get("filterable") is False:
        raise InvalidInput(f"filters: {name} cannot be filtered by.", hint="Filter by another field, or use query.")
    if one.op in ("eq", "ne", "in"):
        said = [_option(field, value) for value in said]
    if kind == "datetime" and one.op not in ("is_null", "contains"):
        return _time_condition(name, one.op, said, run)
    if kind == "date" and one.op not in ("is_null", "contains"):
        said = [relative(value) or the_day(value, run, name) for value in said]
    return condition(name, one.op, said, kind)


def _values(one: Comparison) -> list[str]:
    """Return the values to compare with. If ``values`` is empty, commas separate the values of ``in``."""
    if one.values is not None:
        if one.op != "in":
            raise InvalidInput("filters: values is only for op=in.", hint="Give value.")
        return list(one.values)
    return [part.strip() for part in one.value.split(",") if part.strip()] if one.op == "in" else [one.value]


def _option(field: Json, value: str) -> str:
    """Return a picklist's value in its own spelling. Raises `InvalidInput` with the known values."""
    options = [str(one["value"]) for one in field.get("picklistValues") or ()]
    if field.get("type") != "picklist" or not field.get("restrictedPicklist") or not options or not value:
        return value
    same = [one for one in options if one.casefold() == value.strip().casefold()]
    if not same:
        raise InvalidInput(
            f"filters: {field['name']} has no value {value[:80]!r}.", hint=f"One of {', '.join(options[:20])}."
        )
    return same[0]


def _time_condition(name: str, op: str, said: Sequence[str], run: Run) -> str:
    """Return a condition on times. A day means all of its hours."""
    if op == "in":
        return f"({' OR '.join(_time_condition(name, 'eq', [one], run) for one in said)})"
    [value] = said
    word = relative(value)
    if word or not _DAY.fullmatch(value.strip()):
        return condition(name, op, [word or times.moment(value, run.now, name, run.zone).isoformat()], "datetime")
    starts = times.moment(value, run.now, name, run.zone)
    after = times.moment((date.fromisoformat(value.strip()) + timedelta(days=1)).isoformat(), run.now, name, run.zone)
    return _WHOLE_DAYS[op](lambda op, moment: condition(name, op, [moment.isoformat()], "datetime"), starts, after)


_Compare = Callable[[str, datetime], str]
_WHOLE_DAYS: Final[dict[str, Callable[[_Compare, datetime, datetime], str]]] = {
    "eq": lambda is_, starts, after: f"({is_('gte', starts)} AND {is_('lt', after)})",
    "ne": lambda is_, starts, after: f"({is_('lt', starts)} OR {is_('gte', after)})",
    "lt": lambda is_, starts, after: is_("lt", starts),
    "gte": lambda is_, starts, after: is_("gte", starts),
    "gt": lambda is_, starts, after: is_("gte", after),
    "lte": lambda is_, starts, after: is_("lt", after),
}
