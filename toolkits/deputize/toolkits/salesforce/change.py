"""Salesforce: changing records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Account, Audience, Effect, Preview, Request, Run, SaveNote, Steps, Undo
from deputize.core.errors import Conflict, DeputizeError, InvalidInput
from deputize.toolkits._shared.arguments import IfTexts
from deputize.toolkits._shared.long_text import digest, note_of, written_before
from deputize.toolkits._shared.text import Outside, newlined
from deputize.toolkits.salesforce import preview
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
    object_name,
    record_id,
)
from deputize.toolkits.salesforce.describe import Described, fields_of
from deputize.toolkits.salesforce.field_values import cast, values_of
from deputize.toolkits.salesforce.rich_text import form_of
from deputize.toolkits.salesforce.rows import FIELDS, LONG, NAME, record_fields
from deputize.toolkits.salesforce.soql import field_name
from deputize.toolkits.salesforce.texts import Value, as_text, text_edits


@SALESFORCE.tool(
    needs=[API],
    effect=Effect.WRITES | Effect.SENDS,
)
def update_record(
    object: Annotated[str, Field(description="API name, such as Lead")],
    id: str,
    fields: Annotated[
        dict[str, Value], Field(min_length=1, max_length=100, description='API names to values; "" clears')
    ],
    append: Annotated[list[str] | None, Field(description="fields whose value goes behind the old")] = None,
    replaces: Annotated[dict[str, str] | None, Field(description="fields to the part of the old text")] = None,
    if_text: IfTexts = None,
    unmodified_since: Annotated[str | None, Field(description="LastModifiedDate, as read")] = None,
    *,
    run: Run,
) -> Steps:
    """Change fields of a record."""
    kind, at = object_name(object, write=True), record_id(id)
    known = yield from fields_of(kind)
    values = yield from values_of(known, fields, run, creating=False)
    place = {"object": kind, "id": at}
    edits = text_edits(known, values, append or (), replaces or {}, if_text or {})
    before = yield from look_up(_load_values(place, read_for(known, kind, values)), "id", kind, at)
    if edits:
        if all([written_before(run.noted, name, before.get(name)) for name in edits]) and run.noted:
            return _result(at, kind, values, {name: before[name] for name in values if name in before})
        wholes = {
            name: edit.of(form_of(before.get(name)), name, before.get(name), values[name] or "", LONG)
            for name, edit in edits.items()
        }
        values |= {name: cast(known[name.lower()], whole, run) for name, whole in wholes.items()}
    names = yield from preview.names_of(known, values, {name: before.get(name) for name in values})
    yield show_changes(known, place, before, values, names, run.account, unmodified_since)
    if edits:
        yield SaveNote(note_of({name: (before.get(name), values[name] or "") for name in edits}))
    yield from patch(place, values, _earlier(unmodified_since, before.get("LastModifiedDate")))
    try:
        now = yield from _load_values(place, values)
    except DeputizeError:
        return {"id": at, "object": kind, "changed": sorted(values), "warnings": ["It is changed, but was not read."]}
    yield Undo("salesforce_update_record", *_undo_arguments(known, place, before, now, names))
    return _result(at, kind, values, now)


def read_for(known: Described, kind: str, values: Json) -> list[str]:
    """Return the fields to read before values are changed."""
    more = [NAME.get(kind, "Name"), "LastModifiedDate"]
    return list(dict.fromkeys([*values, *(one for one in more if one.lower() in known)]))


def show_changes(
    known: Described,
    place: Mapping[str, str],
    before: Json,
    values: Json,
    names: preview.Names,
    account: Account,
    since: str | None = None,
) -> Preview:
    """Return the preview of the changes, without the record's version: the write is refused after another change."""
    kind = place["object"]
    return Preview(
        "Change this record",
        audience=max(Audience.ORGANISATION, preview.to_customers(values)),
        destroys=preview.loses(known, before, values),
        where=preview.record_text(kind, place["id"], before.get(NAME.get(kind, "Name"))),
        people=preview.new_owners(values, account),
        pins={"record": place["id"], "unmodified_since": since, "leads_to": preview.references(known, values)},
        **preview.redirections(known, before, values),
        **preview.changes(known, before, values, names),
    )


def patch(place: Mapping[str, str], values: Json, since: str | None) -> Asks[None]:
    """Write values into a record. Raises `Conflict` if somebody else has changed the record since ``since``."""
    headers = {"if-unmodified-since": _http_date(since)} if since else {}
    path = f"{DATA}/sobjects/{{object}}/{{id}}"
    try:
        yield Request("PATCH", path, at=place, json=values, headers=headers, repeat="idem")
    except Conflict:  # perhaps the answer to this act's own change was lost, which then blocked the second try
        now = yield from _load_values(place, values)
        if not all(_is_same(now.get(name), value) for name, value in values.items()):
            raise


def _undo_arguments(
    known: Described, place: Mapping[str, str], before: Json, now: Json, names: preview.Names
) -> tuple[Json, Json]:
    """Return the arguments that restore the old values, and the values that the record must still have."""
    texts = [name for name, value in now.items() if known[name.lower()].get("type") == "textarea" and value]
    back: Json = {**place, "fields": {name: as_text(before.get(name)) for name in now}}
    if texts:
        back["if_text"] = {name: digest(str(now[name])) for name in texts}
    return back, preview.by_labels(known, now, names)


def _load_values(place: Mapping[str, str], values: Iterable[str]) -> Asks[Json]:
    """Return the record's current values of these fields, because the response to a change has none."""
    values = list(values)
    names = ",".join(field_name(one) for one in values)
    node = yield get("/sobjects/{object}/{id}", place, {"fields": names})
    return {name: value for name, value in flat(node).items() if name in values}


def _result(id: str, kind: str, values: Json, now: Json) -> Json:
    outside = Outside()
    fields = record_fields(kind, id, now, outside, FIELDS)
    more = {name: fields.pop(name) for name in ("cut", "left_out", "more") if name in fields}
    result: Json = {"id": id, "object": kind, "changed": sorted(values), "fields": fields} | more
    outside.mark(result)
    return result


def _is_same(there: Any, wanted: Any) -> bool:
    """True if two values are equal, in whichever form Salesforce writes them."""
    if there in (None, "") or wanted in (None, ""):
        return there in (None, "") and wanted in (None, "")
    if isinstance(there, str) and isinstance(wanted, str):
        if newlined(there).strip() == newlined(wanted).strip():
            return True
        try:
            return _moment(there) == _moment(wanted)
        except ValueError:
            return there[:15] == wanted[:15] and is_id(there) and is_id(wanted)
    return bool(there == wanted)


def _moment(said: str) -> datetime:
    read = datetime.fromisoformat(said)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _earlier(since: str | None, read: str | None) -> str | None:
    """Return the time since which nobody may have changed a record, never later than the previewed version's time."""
    if since is None or read is None:
        return since or read
    return read if _read_time(since) > _read_time(read) else since


def _read_time(said: str) -> datetime:
    try:
        return _moment(said.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput("unmodified_since: not a time.", hint="ISO 8601, as LastModifiedDate shows it.") from None


def _http_date(said: str) -> str:
    moment = _read_time(said)
    try:
        return format_datetime(moment + timedelta(seconds=bool(moment.microsecond)), usegmt=True)
    except (ValueError, OverflowError):
        raise InvalidInput("unmodified_since: not a time.", hint="ISO 8601, as LastModifiedDate shows it.") from None
