"""docs/security: each requirement of a standard names an existing test, a reason why it is not met, or who is
responsible."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.docs.blocks import text
from tests.docs.test_requirements import NAMED, existing, named

PAGE: Final = text("docs/security/standards.md")
PARTS: Final = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ANSWERS: Final = ("**Not held.** ", "Not ours: ", "](")
"""What an entry without a test says instead; the last one is a page of the documentation."""


def rows(part: str) -> dict[str, str]:
    """Return the rows of a part's table, by their first cell."""
    cells = re.findall(r"^\| ([^|]+?) (\|.*)$", PARTS[part], re.MULTILINE)
    return {first: rest for first, rest in cells if first not in ("Section", "---") and set(first) != {"-"}}


def test_every_test_named_on_the_page_exists() -> None:
    assert named(PAGE) - existing() == set()
    assert len(re.findall(r"`(test_\w+)`", PAGE)) == sum(
        len(re.findall(r"test_\w+", names)) for _, names in NAMED.findall(PAGE)
    )


@pytest.mark.parametrize("part", PARTS)
def test_every_row_names_a_test_or_a_reason(part: str) -> None:
    found = rows(part)
    assert len(found) > 9
    assert [first for first, row in found.items() if not named(row) and not any(a in row for a in ANSWERS)] == []


def test_all_ten_agent_risks_and_each_chapter_are_listed() -> None:
    assert [*rows("OWASP Top 10 for Agentic Applications 2026")] == [f"ASI{n:02d}" for n in range(1, 11)]
    chapters = {re.split(r"\D", first.removeprefix("V"))[0] for first in rows("OWASP ASVS 5.0")}
    assert {"6", "7", "8", "9", "10", "11", "16"} <= chapters


def test_SECURITY_links_the_threat_model_and_the_standards() -> None:
    security = text("SECURITY.md")
    assert "docs/security/threat-model.md" in security and "docs/security/standards.md" in security
