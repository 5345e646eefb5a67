"""Requests to Linear's one address, things made under an id of our own, and pages of its lists.

Complexity (linear.app/developers/rate-limiting): no document of ours comes near the 10,000 points of a query at the 100
rows a tool may ask for; a test counts them.
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
"""Finds the thing with this id, or None."""
MAX_PAGES: Final = 5  # of a list that is thinned out on our side


def request(operation: str, variables: Mapping[str, Any], repeat: Repeat = "idem") -> Request:
    """One operation. Variables that are None are not sent: Linear reads a null as "clear this"."""
    given = {name: value for name, value in variables.items() if value is not None}
    content = {"operationName": operation, "query": document(operation), "variables": given}
    return Request("POST", "/graphql", json=content, repeat=repeat if changes(operation) else "read")


def get(operation: str, **variables: Any) -> Asks[Any]:
    """What a query with one field gives. Raises `NotFound` where that is null."""
    answer = yield request(operation, variables)
    return only(answer, operation)


def only(answer: Any, operation: str) -> Any:
    """The value of an answer's one field. Raises `NotFound` for null."""
    data = answer.get("data") if isinstance(answer, dict) else None
    value = next(iter(data.values()), None) if isinstance(data, dict) else None
    if value is None:
        raise NotFound(f"Linear: not found by {operation}, or not visible to this user.")
    return value


def change(operation: str, **variables: Any) -> Asks[Json]:
    """What a mutation answers; one that says it did not succeed is refused input. It may be sent twice."""
    answer = yield request(operation, variables)
    payload: Json = only(answer, operation)
    if not payload.get("success"):
        raise InvalidInput("Linear refused the change without a reason.", hint="Read the object first.")
    return payload


def entity(payload: Json) -> Json:
    """The thing in a mutation's answer."""
    return next((value for value in payload.values() if isinstance(value, dict)), {})


def make(
    operation: str, given: Json, look: Look, shows: Preview, noted: Noted, pins: Json | None = None
) -> Asks[tuple[Json, bool]]:
    """Show what is about to be made, then make it under ``given["id"]``: see `made`. The id is noted in between: a run
    that is cut off is taken up again, and one that is taken up looks first. ``pins``: what is noted beside it."""
    if noted and (there := (yield from look(str(given["id"])))):
        return there, True
    yield shows
    if not noted:
        yield SaveNote({"id": given["id"], **(pins or {})})
    return (yield from made(operation, given, look))


def made(operation: str, given: Json, look: Look) -> Asks[tuple[Json, bool]]:
    """Make something under ``given["id"]``; what was made, and whether an earlier try had made it already.

    The id is the act's own, so what lies under it is this act's work. ``look`` finds it there. Raises `OutcomeUnknown`
    where no answer came and looking fails, too.
    """
    try:
        return entity((yield from change(operation, input=given))), False
    except (Conflict, InvalidInput, NotFound, ProviderUnavailable) as refused:
        found = yield from found_after(look(str(given["id"])), refused)
        if found is None:
            raise refused from None
        return found, True


def found_after(look: Asks[Json | None], refused: DeputizeError) -> Asks[Json | None]:
    """What looking finds. A refusal stays one, whatever becomes of the look; silence twice is an unknown outcome."""
    try:
        return (yield from look)
    except DeputizeError:
        if isinstance(refused, ProviderUnavailable):
            raise OutcomeUnknown(
                "Linear's answer was lost: it may have been created.", hint="Look for it before creating another one."
            ) from None
        return None


def by_id(operation: str, **variables: Any) -> Look:
    """Looks for a thing with a query that takes its id."""

    def look(id: str) -> Asks[Json | None]:
        try:
            found: Json = yield from get(operation, id=id, **variables)
        except NotFound:
            return None
        return found

    return look


def by_filter(operation: str) -> Look:
    """Looks for a thing in a list that can be filtered by id."""

    def look(id: str) -> Asks[Json | None]:
        rows = yield from nodes(operation, first=1, filter={"id": {"eq": id}})
        return rows[0] if rows else None

    return look


@dataclass(frozen=True, slots=True)
class Written:
    """A text that replaces another. ``done``: an earlier run of the same act has written it."""

    field: str
    old: str
    new: str
    done: bool

    def note(self) -> SaveNote:
        """What to note before it is written: a run that is taken up finds its own work, and adds nothing twice."""
        return SaveNote(note_of({self.field: (self.old, self.new)}))


def new_text(edit: Edit, field: str, old: Any, new: str, limit: int, noted: Noted) -> Written:
    """The text to write, once it has been shown.

    ``limit``: bytes of the old text that a read shows. Raises what `Edit.of` raises.
    """
    text = str(old or "")
    if written_before(noted, field, old):
        return Written(field, text, text, True)
    whole = edit.of(FORM, field, old, new, limit)
    if len(whole) > LONGEST:
        raise InvalidInput(f"{field}: would have {len(whole)} characters, and at most {LONGEST} fit.")
    return Written(field, text, whole, False)


def nodes(operation: str, **variables: Any) -> Asks[list[Json]]:
    """The rows of one page."""
    answer = yield request(operation, variables)
    return list(only(answer, operation).get("nodes") or ())


def gone_is_done(asks: Asks[Json]) -> Asks[Json | None]:
    """Steps of a removal; None where the thing was gone already."""
    try:
        return (yield from asks)
    except NotFound:
        return None


@dataclass
class Listing:
    """One result of a list: rows of some pages, and the cursor behind the last.

    ``tool``, ``filters``: what the cursor is bound to. ``row``: how a node is shown. ``keep``: which are wanted, where
    Linear cannot say.
    """

    tool: str
    account: Account
    filters: tuple[Any, ...]
    limit: int
    cursor: str | None
    row: Callable[[Json], Json]
    keep: Callable[[Json], bool] = field(default=lambda node: True)

    def of(self, operation: str, inside: Callable[[Any], Any] = lambda value: value, **variables: Any) -> Asks[Json]:
        """The result: as many rows as are wanted and fit. ``inside``: from the query's value to its connection."""
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
        """How many nodes of a page are worked off, and whether the result is full."""
        for number, node in enumerate(found[skip:], skip):
            if not self.keep(node):
                continue
            if len(rows.items) >= self.limit or not rows.add(self.row(node)):
                return number, True
        return len(found), False

    def _result(self, rows: Rows, following: str | None) -> Json:
        cut = following is not None and len(rows.items) < self.limit
        return {"items": rows.items, "next": following, "truncated": cut, "time_zone": ZONE}
