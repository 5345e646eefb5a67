"""Contacts: look people up, list the user's own, read one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Need, Request, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Offset
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits.contacts import rows
from deputize.toolkits.contacts.base import (
    ANY,
    CONTACTS,
    FIELDS,
    GETS,
    LISTS,
    NEEDS,
    NOT_A_MEMBER,
    SOURCES,
    Json,
    Source,
    granted_lists,
    search_lists,
)

_DETAIL: Final = f"{FIELDS},addresses,birthdays,biographies,urls,relations"
_PREFIX: Final = "people/"


def _needs(arguments: Arguments) -> Sequence[Need]:
    if not arguments["query"].strip():
        return [LISTS]
    return [NEEDS[one] for one in arguments["sources"] or ()] or [ANY]


@CONTACTS.tool(needs=_needs)
def search(
    query: Annotated[str, Field(description="start of a name, email, phone or company; empty lists own contacts")] = "",
    sources: Annotated[
        list[Source] | None, Field(description="default: all that are granted; one named here is asked for")
    ] = None,
    limit: Annotated[int, Field(ge=1, le=100)] = 30,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Find people in the user's contacts, other contacts (whoever wrote to them) and company directory."""
    wanted = query.strip()
    if not wanted:
        return (yield from _list_own(limit, cursor, run))
    if cursor:
        raise InvalidInput("cursor: a search has one page.", hint="Give more of the name or address.")
    may = granted_lists(run.granted)
    asked: list[Source] = [one for one in SOURCES if one in (sources or may)]
    found, whole = yield from search_lists(wanted, asked)
    kept = Rows()
    here = [rows.list_row(person, source) for source, people in found.items() for person in people]
    done = next((n for n, one in enumerate(here[:limit]) if not kept.add(one)), min(limit, len(here)))
    unseen = [] if sources else [one for one in SOURCES if one not in may]
    missing = {one: f'not granted; sources=["{one}"] asks for it' for one in unseen}
    missing |= {one: NOT_A_MEMBER for one in asked if one not in found}
    result: Json = {"items": kept.items, "truncated": done < len(here) or not whole}
    return result | ({"not_searched": missing} if missing else {})


def _list_own(limit: int, cursor: str | None, run: Run) -> Steps:
    """List the user's own contacts by first name."""
    bound = ("contacts_search", run.account.subject, limit)
    token, skip = read_cursor(bound, cursor, (str, int)) if cursor else ("", 0)
    params: dict[str, Any] = {"personFields": FIELDS, "sortOrder": "FIRST_NAME_ASCENDING", "pageSize": limit}
    params |= {"pageToken": token} if token else {}
    answer = yield Request("GET", "/people/me/connections", params=params)
    people = list(answer.get("connections") or ())[skip:]
    kept = Rows()
    done = next((n for n, one in enumerate(people) if not kept.add(rows.list_row(one, "contacts"))), len(people))
    following = str(answer.get("nextPageToken") or "")
    cut = done < len(people)
    place: list[str | int] = [token, skip + done] if cut else [following, 0]
    return {
        "items": kept.items,
        "total": answer.get("totalItems"),
        "next": write_cursor(bound, place) if cut or following else None,
        "truncated": cut,
    }


@CONTACTS.tool(needs=[GETS])
def get(
    id: Annotated[str, Field(description="people/... from a search")],
    offset: Annotated[Offset, Field(description="into notes, as next_offset says")] = 0,
) -> Steps:
    """Read all that is known of one contact or colleague: addresses, birthday, notes."""
    name = id.strip().removeprefix(_PREFIX)
    person = yield Request("GET", "/people/{id}", at={"id": name}, params={"personFields": _DETAIL})
    return rows.detail(person, offset)
