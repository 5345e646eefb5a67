"""Creates a record at most once, although the record has no key of its own.

The ids of equal records are noted first. If the response is lost, one more equal record is the created one. If there is
none, the outcome stays unknown, and a later run of the same act looks again and creates nothing.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from deputize.core import Account, Request, SaveNote, Wait
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, OutcomeUnknown
from deputize.toolkits.salesforce.base import DATA, Asks, Json, own_id, rows_of
from deputize.toolkits.salesforce.soql import select, text

_SKEW: Final = 300.0  # seconds by which Salesforce's clock and this machine's may differ
_PAUSES: Final = (2.0, 8.0)  # seconds before looking
_MAX_RECORDS: Final = 50  # equal records; among more, one more proves nothing

Noted = Mapping[str, Any] | None


def make_once(
    request: Request, alike: Sequence[str], account: Account, noted: Noted, now: float
) -> Asks[tuple[str, bool]]:
    """Return the id of the record that ``request`` creates, and True if an earlier attempt had created it.

    ``alike``: conditions that the record meets. Raises `OutcomeUnknown` if the record may exist but is not found.
    """
    kind = request.at["object"]
    if noted and noted.get("sent"):
        return (yield from _find_new(kind, alike, account, noted)), True
    note: Json = {"kind": kind, "since": now - _SKEW, "sent": True}
    note["before"] = yield from _alike(kind, alike, account, note["since"])
    yield SaveNote(note)
    try:
        answer = yield request
    except OutcomeUnknown:
        return (yield from _find_new(kind, alike, account, note)), True
    except DeputizeError:
        yield SaveNote({"sent": False})  # refused: a later run may try
        raise
    return str(answer["id"]), False


def creation(kind: str, values: Json, *, headers: Mapping[str, str] | None = None, prepares: bool = False) -> Request:
    """Return the request that creates a record. An enhanced note's text is converted to HTML in base64."""
    if kind == "ContentNote" and isinstance(said := values.get("Content"), str):
        said = html.escape(said).replace("\n", "<br>")
        values = values | {"Content": base64.b64encode(said.encode()).decode()}
    path, at = f"{DATA}/sobjects/{{object}}", {"object": kind}
    return Request("POST", path, at=at, json=values, headers=headers or {}, prepares=prepares)


def _find_new(kind: str, alike: Sequence[str], account: Account, note: Mapping[str, Any]) -> Asks[str]:
    """Return the id of the one record that is not in the note, or raise `OutcomeUnknown`."""
    before: Sequence[str] | None = note["before"]
    for pause in _PAUSES if before is not None else ():
        yield Wait(pause)
        there = yield from _alike(kind, alike, account, float(note["since"]))
        new = [id for id in there or () if id not in (before or ())]
        if len(new) == 1:
            return new[0]
    raise OutcomeUnknown(
        f"Salesforce's answer was lost: the {kind} may have been created, and cannot be told apart from others.",
        hint=f"Look for the {kind} before trying again.",
    )


def _alike(kind: str, alike: Sequence[str], account: Account, since: float) -> Asks[list[str] | None]:
    """Return the records that this user has created since then and that meet the conditions, or None if unknown."""
    stamp = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mine = [f"CreatedById = {text(own_id(account))}", f"CreatedDate >= {stamp}", *alike]
    try:
        rows = yield from rows_of(select(("Id",), kind, mine, ("CreatedDate DESC",), _MAX_RECORDS + 1))
    except (InvalidInput, NotFound):  # a field without filters
        return None
    return [str(row["Id"]) for row in rows] if len(rows) <= _MAX_RECORDS else None
