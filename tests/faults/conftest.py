"""Prints the results of fault tests as a table at the end of a run without workers (``-n0``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import pytest

HEAD: Final = ("fault", "what the caller sees", "effects at the provider", "works again")
ROWS: Final[list[tuple[str, str, str, str]]] = []

Row: TypeAlias = Callable[[str, str, str, str], None]


@pytest.fixture
def row() -> Row:
    """Add a row to the table: a fault, what the caller sees, what was done, and when it works again."""
    return lambda *cells: ROWS.append(cells)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if ROWS:
        terminalreporter.section("faults")
    for one in [HEAD, *ROWS] if ROWS else []:
        terminalreporter.write_line(" | ".join(one))
