"""Audit rows as a table for people, in local time. ``deputize audit --json`` prints every field.

Names of events, tools and scopes are never broken, so that they can be searched and copied. A narrow terminal wraps the
line. In a file or a pipe each row gets the width that it needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deputize.cli import show
from deputize.core.audit.pseudonyms import PEOPLE

Row = Mapping[str, Any]
COLUMNS: Final = {"time": 10, "event": 18, "tool, scopes": 28, "outcome": 10, "who": 14}
"""The columns and their minimum widths, which align rows that are printed one by one."""
WHOLE: Final = ("time", "event", "tool, scopes")
"""The columns whose values are never broken."""
GAP: Final = 2


@dataclass
class AuditTable:
    """A table that can be continued: its head is printed once, and the date when the day changes."""

    console: Console = field(default_factory=lambda: show.out)
    day: str = ""

    def print(self, rows: Iterable[Row]) -> None:
        """Print these rows below the earlier ones."""
        seen = self.console.is_terminal
        head = not self.day
        cells = [line for row in rows for line in (self._lines(row) if seen else self._line(row))]
        if not cells:
            return
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0), show_header=head)
        for name, least in COLUMNS.items():
            shown = f"{name} {_zone()}" if name == "time" else name
            table.add_column(shown, min_width=least, no_wrap=name in WHOLE, overflow="fold")
        for line in cells:
            table.add_row(*line)
        width = max(self.console.width, _table_width(cells)) if seen else _table_width(cells, COLUMNS)
        for segments in self.console.render_lines(table, self.console.options.update(width=width), pad=False):
            text = Text.assemble(*((part.text, part.style or "") for part in segments if not part.control))
            text.rstrip()
            self.console.print(text, soft_wrap=True)

    def _lines(self, row: Row) -> Iterator[list[Text]]:
        """Yield the row's cells, after a line with the date if the day has changed."""
        at = _local(row)
        if (day := f"{at:%Y-%m-%d}") != self.day:
            self.day = day
            yield [Text(day, "bold"), *(Text() for _ in range(len(COLUMNS) - 1))]
        cells = (_stack_lines(words) for words in _words(row))
        yield [Text(f"{at:%H:%M:%S}", "dim"), Text(_event(row), "bold"), *cells]

    def _line(self, row: Row) -> Iterator[list[Text]]:
        """Yield the row as one line with its date, for programs that read lines."""
        self.day = f"{_local(row):%Y-%m-%d}"
        cells = (Text(", ".join(words)) for words in _words(row))
        yield [Text(f"{_local(row):%Y-%m-%d %H:%M:%S}"), Text(_event(row)), *cells]


def _local(row: Row) -> datetime:
    return datetime.fromtimestamp(row["ts"] / 1e9, UTC).astimezone()


def _event(row: Row) -> str:
    return _word(f"unproven {row['event']}" if row.get("unproven") else row["event"])


def _words(row: Row) -> list[list[str]]:
    """Return the cells: tool, scopes and act id; outcome; user and agent, after another person who decided."""
    what = [_word(row.get("tool") or row.get("provider")), *_scopes(row), *_act(row)]
    how = [_word(row.get(name)) for name in ("decision", "reason", "upstream")]
    others = [f"{_word(row[other])} for" for other in PEOPLE if row.get(other)]
    who = [" ".join((*others, _word(row.get("user")))).strip(), _word(row.get("agent"))]
    return [[*filter(None, words)] for words in (what, how, who)]


def _act(row: Row) -> Iterator[str]:
    """Yield the id of a completed act, and the id of the act that it undoes."""
    if row.get("act_id") and row.get("decision") == "done":
        yield f"act {_word(row['act_id'])}"
    if row.get("undoes"):
        yield f"undoes {_word(row['undoes'])}"


def _scopes(row: Row) -> Iterator[str]:
    """Yield each scope by its last part: scopes that the act or consent needs, has, or may use."""
    said = (row.get(name) for name in ("scopes_required", "scopes_granted"))
    needs, may = ([_last(scope) for scope in scopes] if isinstance(scopes, list) else [] for scopes in said)
    for scope in dict.fromkeys([*needs, *may]):
        yield f"{'has' if scope in needs and scope in may else 'needs' if scope in needs else 'may'} {scope}"


def _word(value: object) -> str:
    """Return a value on one line, so that untrusted content cannot look like a row."""
    return " ".join(show.clean("" if value is None else value).split())


def _last(scope: object) -> str:
    return _word(scope).rpartition("/")[2]


def _stack_lines(lines: list[str]) -> Text:
    return Text.assemble(*lines[:1], *((f"\n{line}", "dim") for line in lines[1:]))


def _table_width(rows: Iterable[list[Text]], whole: Collection[str] = WHOLE) -> int:
    """Return the width of a table of these rows in which the columns ``whole`` are not broken."""
    columns = zip(COLUMNS.items(), zip(*rows, strict=True), strict=True)
    widest = (max([least, *(_widest(cell) for cell in cells if name in whole)]) for (name, least), cells in columns)
    return sum(width + GAP for width in widest)


def _widest(cell: Text) -> int:
    return max(cell_len(line) for line in cell.plain.split("\n"))


def _zone() -> str:
    return datetime.now(UTC).astimezone().tzname() or ""
