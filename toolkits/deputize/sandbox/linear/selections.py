"""What a query can take out of a row: plain values, rows looked up when asked for, and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deputize.sandbox.linear.seed import ORGANIZATION_KEY
from deputize.sandbox.linear.store import Call, Json

HOME = f"https://linear.app/{ORGANIZATION_KEY}"


@dataclass(frozen=True)
class Many:
    """A connection: rows that are shown page by page."""

    make: Callable[[], list[Json]]


View = dict[str, Any]


def lookup(call: Call, kind: str, id: Any, show: Callable[[Call, Json], View]) -> Callable[[], View | None]:
    """The row with this id, or None; found when a query asks for it."""

    def make() -> View | None:
        row = call.by_id(kind, id)
        return show(call, row) if row else None

    return make


def rows_where(call: Call, kind: str, field: str, id: str, show: Callable[[Call, Json], View]) -> Many:
    """The rows that have this id in a field."""
    return Many(lambda: [show(call, row) for row in call.visible(kind) if row.get(field) == id])


def rows_by_id(call: Call, kind: str, ids: Iterable[str], show: Callable[[Call, Json], View]) -> Many:
    """The rows with these ids, as far as the person may see them."""
    wanted = list(ids)
    return Many(lambda: [show(call, row) for row in call.visible(kind) if row["id"] in wanted])


def slug(title: str) -> str:
    """A title as it stands in an address."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())[:40]
