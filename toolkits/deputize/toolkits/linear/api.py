"""Requests to Linear's one address, creation of objects under a derived id, and pages of lists.

Complexity (linear.app/developers/rate-limiting): at the 100 rows that a tool may request, no document comes near the
limit of 10,000 points per query. A test counts the points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from deputize.core import Account, Preview, Request, SaveNote
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.steps import Repeat
from deputize.toolkits._shared.long_text import Edit, note_of, written_before
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.times import ZONE
from deputize.toolkits.linear.base import LONGEST, Json, Noted
from deputize.toolkits.linear.documents import changes, document
from deputize.toolkits.linear.texts import FORM

Look = Callable[[str], Asks[Json | None]]
"""Finds the object with this id, or None."""
MAX_PAGES: Final = 5  # of a list that is filtered here


def request(operation: str, variables: Mapping[str, Any], repeat: Repeat = "idem") -> Request:
    """Return the request of an operation. Variables that are None are left out, as Linear reads null as "clear"."""
    given = {name: value for name, value in variables.items() if value is not None}
    content = {"operationName": operation, "query": document(operation), "variables": given}
    return Request("POST", "/graphql", json=content, repeat=repeat if changes(operation) else "read")


def get(operation: str, **variables: Any) -> Asks[Any]:
    """Return the value of a query with one field. Raises `NotFound` for null."""
    answer = yield request(operation, variables)
    return single_value(answer, operation)


def single_value(answer: Any, operation: str) -> Any:
    """Return the value of the response's only field. Raises `NotFound` for null."""
    data = answer.get("data") if isinstance(answer, dict) else None
    value = next(iter(data.values()), None) if isinstance(data, dict) else None
    if value is None:
        raise NotFound(
            f"Linear: not found by {operation}, or not visible to this user.", hint="linear_search finds what is there."
        )
    return value


def change(operation: str, **variables: Any) -> Asks[Json]:
    """Return a mutation's response. Raises `InvalidInput` if it did not succeed. The request may be sent twice."""
    answer = yield request(operation, variables)
    payload: Json = single_value(answer, operation)
    if not payload.get("success"):
        raise InvalidInput("Linear refused the change without a reason.", hint="Read the object first.")
    return payload


def entity(payload: Json) -> Json:
    """Return the object in a mutation's response."""
    return next((value for value in payload.values() if isinstance(value, dict)), {})


def make(
    operation: str, given: Json, look: Look, shows: Preview, noted: Noted, pins: Json | None = None
) -> Asks[tuple[Json, bool]]:
    """Preview an object, save its id in a note, and create the object under ``given["id"]`` with `create_once`. A run
    that continues another run looks for the object first. ``pins``: more fields of the note."""
    if noted and (there := (yield from look(str(given["id"])))):
        return there, True
    yield shows
    if not noted:
        yield SaveNote({"id": given["id"], **(pins or {})})
    return (yield from create_once(operation, given, look))


def create_once(operation: str, given: Json, look: Look) -> Asks[tuple[Json, bool]]:
    """Create an object under ``given["id"]``. Return the object, and True if an earlier attempt had created it.

    The id is derived from the act, so an object with this id was created by this act. ``look`` finds the object. Raises
    `OutcomeUnknown` if the response was lost and ``look`` fails too.
    """
    try:
        return entity((yield from change(operation, input=given))), False
    except (Conflict, InvalidInput, NotFound, ProviderUnavailable) as refused:
        found = yield from look_after(look(str(given["id"])), refused)
        if found is None:
            raise refused from None
        return found, True


def look_after(look: Asks[Json | None], refused: DeputizeError) -> Asks[Json | None]:
    """Return the result of ``look``. If it fails: None after a refusal, `OutcomeUnknown` after a lost response."""
    try:
        return (yield from look)
    except DeputizeError:
        if isinstance(refused, ProviderUnavailable):
            raise OutcomeUnknown(
                "Linear's answer was lost: it may have been created.", hint="Look for it before creating another one."
            ) from None
        return None


def look_by_id(operation: str, **variables: Any) -> Look:
    """Return a function that looks up an object with a query by id."""

    def look(id: str) -> Asks[Json | None]:
        try:
            found: Json = yield from get(operation, id=id, **variables)
        except NotFound:
            return None
        return found

    return look


def look_by_filter(operation: str) -> Look:
    """Return a function that looks up an object in a list filtered by id."""

    def look(id: str) -> Asks[Json | None]:
        rows = yield from nodes(operation, first=1, filter={"id": {"eq": id}})
        return rows[0] if rows else None

    return look


@dataclass(frozen=True, slots=True)
class Written:
    """A text that replaces another. ``done``: an earlier run of the same act has written the text."""

    field: str
    old: str
    new: str
    done: bool

    def note(self) -> SaveNote:
        """Return the note to save before writing. With it a continued run finds its own work and adds nothing twice."""
        return SaveNote(note_of({self.field: (self.old, self.new)}))


def new_text(edit: Edit, field: str, old: Any, new: str, limit: int, noted: Noted) -> Written:
    """Return the text to write, for the preview.

    ``limit``: bytes of the old text that a read displays. Raises the errors of `Edit.of`.
    """
    text = str(old or "")
    if written_before(noted, field, old):
        return Written(field, text, text, True)
    whole = edit.of(FORM, field, old, new, limit)
    if len(whole) > LONGEST:
        raise InvalidInput(
            f"{field}: would have {len(whole)} characters, and at most {LONGEST} fit.",
            hint="Shorten it, or put a part into a document.",
        )
    return Written(field, text, whole, False)


def nodes(operation: str, **variables: Any) -> Asks[list[Json]]:
    """Return the rows of one page."""
    answer = yield request(operation, variables)
    return list(single_value(answer, operation).get("nodes") or ())


def ignore_missing(asks: Asks[Json]) -> Asks[Json | None]:
    """Return the result of a removal, or None if the object was already missing."""
    try:
        return (yield from asks)
    except NotFound:
        return None


@dataclass
class Listing:
    """A list's result: rows of some pages, and the cursor after the last row.

    ``tool``, ``filters``: bound to the cursor. ``row``: converts a node. ``keep``: filters nodes if Linear cannot.
    """

    tool: str
    account: Account
    filters: tuple[Any, ...]
    limit: int
    cursor: str | None
    row: Callable[[Json], Json]
    keep: Callable[[Json], bool] = field(default=lambda node: True)

    def of(self, operation: str, inside: Callable[[Any], Any] = lambda value: value, **variables: Any) -> Asks[Json]:
        """Return as many of the requested rows as fit. ``inside``: returns the connection in the query's value."""
        bound = (self.tool, self.account.subject, *self.filters)
        after, skip = read_cursor(bound, self.cursor, (str, int)) if self.cursor else ("", 0)
        rows, following = Rows(), None
        for _ in range(MAX_PAGES):
            value = yield from get(operation, first=min(self.limit + skip, 250), after=after or None, **variables)
            page = inside(value)
            done, full = self._take(rows, list(page["nodes"]), skip)
            ends = page["pageInfo"]
            if full:
                return self._result(rows, write_cursor(bound, [after, done]))
            following, after, skip = ends.get("endCursor") if ends.get("hasNextPage") else None, "", 0
            if following is None or len(rows.items) >= self.limit:
                break
            after = str(following)
        return self._result(rows, write_cursor(bound, [str(following), 0]) if following else None)

    def _take(self, rows: Rows, found: list[Json], skip: int) -> tuple[int, bool]:
        """Return the number of nodes of a page that were handled, and True if the result is full."""
        for number, node in enumerate(found[skip:], skip):
            if not self.keep(node):
                continue
            if len(rows.items) >= self.limit or not rows.add(self.row(node)):
                return number, True
        return len(found), False

    def _result(self, rows: Rows, following: str | None) -> Json:
        cut = following is not None and len(rows.items) < self.limit
        return {"items": rows.items, "next": following, "truncated": cut, "time_zone": ZONE}
