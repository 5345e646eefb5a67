"""docs/requirements.md and the tests refer to each other: each claim has a test, and no test is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "requirements.md").read_text()
NUMBERS: Final = re.compile(r"test_((?:[ABDELVRWUC]\d+_)+)")
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)`:((?: `test_\w+`,?)+)")

Test = tuple[str, str]


def existing() -> set[Test]:
    """Return every existing test: file and name."""
    return {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }


def named(text: str) -> set[Test]:
    """Return every test that a text names."""
    return {(file, name) for file, names in NAMED.findall(text) for name in re.findall(r"test_\w+", names)}


def rows() -> dict[str, str]:
    """Return the page's table rows by their first cell: a requirement's number, or an invariant's."""
    return {number: row for number, row in re.findall(r"^\| ([A-Z]?\d+) (\|.*)$", PAGE, re.MULTILINE)}


def numbers(test: str) -> list[str]:
    """Return the requirements that a test's name claims."""
    found = NUMBERS.match(test)
    return found[1].rstrip("_").split("_") if found else []


def test_every_test_named_on_the_page_exists() -> None:
    assert named(PAGE) - existing() == set()


def test_every_test_name_on_the_page_is_checked() -> None:
    names = re.findall(r"`(test_\w+)`", PAGE)
    assert len(names) == sum(len(re.findall(r"test_\w+", group)) for _, group in NAMED.findall(PAGE))
    assert len(names) > 600


def test_every_numbered_test_is_in_the_row_of_its_numbers() -> None:
    by_number = {number: named(row) for number, row in rows().items()}
    missing = [
        (number, *test)
        for test in sorted(existing())
        for number in numbers(test[1])
        if test not in by_number.get(number, set())
    ]
    assert missing == []


def test_every_requirement_and_invariant_has_a_test() -> None:
    bare = [number for number, row in rows().items() if not named(row)]
    assert bare == []
    assert {str(n) for n in range(1, 13)} < rows().keys()


@pytest.mark.parametrize("left_out", ["KMS", "mTLS"])
def test_features_left_out_in_SECURITY_are_listed_as_not_met(left_out: str) -> None:
    assert left_out in (ROOT / "SECURITY.md").read_text()
    assert left_out in PAGE.partition("## Not met")[2]
