"""Selectable fields of rows: values, lazy lookups of other rows, and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deputize.sandbox.linear.seed import ORGANIZATION_KEY
from deputize.sandbox.linear.store import Call, Json

HOME = f"https://linear.app/{ORGANIZATION_KEY}"


@dataclass(frozen=True)
class Many:
    """A connection: rows that are returned in pages."""

    make: Callable[[], list[Json]]


View = dict[str, Any]


def lookup(call: Call, kind: str, id: Any, show: Callable[[Call, Json], View]) -> Callable[[], View | None]:
    """Return a lazy lookup of the row with this id, or None."""

    def make() -> View | None:
        row = call.by_id(kind, id)
        return show(call, row) if row else None

    return make


def rows_where(call: Call, kind: str, field: str, id: str, show: Callable[[Call, Json], View]) -> Many:
    """Return the rows that have this id in a field."""
    return Many(lambda: [show(call, row) for row in call.visible(kind) if row.get(field) == id])


def rows_by_id(call: Call, kind: str, ids: Iterable[str], show: Callable[[Call, Json], View]) -> Many:
    """Return the rows with these ids that the person may see."""
    wanted = list(ids)
    return Many(lambda: [show(call, row) for row in call.visible(kind) if row["id"] in wanted])


def slug(title: str) -> str:
    """Convert a title to its form in a URL."""
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())[:40]
