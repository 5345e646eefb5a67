"""Files tell one story each, and what has been renamed does not come back.

The numbers are what there is at most: whoever takes something away lowers them, and nobody raises one without a reason.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from deputize.core import Provider

ROOT: Final = Path(__file__).parents[1]
PRODUCT: Final = tuple(
    sorted(chain.from_iterable((ROOT / part).rglob("*.py") for part in ("core", "adapters", "toolkits", "examples")))
)
MOST_LINES: Final = 300

LONGER: Final = {  # what may have more lines than that, up to this number
    # One paragraph for each verb of the facade, with what it raises.
    "core/deputize/core/deputy.py": 320,
    # The one list of audit events, a class of a few lines each.
    "core/deputize/core/audit/events.py": 625,
}

# Names of modules that had to be opened to be understood: none is called so, wherever it stands.
RIDDLES: Final = frozenset(
    "asks asking answers judging tables vocabulary waits told restored housekeys private vaultfile closing waiters"
    " outbox issuers public outgoing own consenting shown proof direct delivery words desk giving minting wire"
    " persons members leave wish visit loopback vaults".split()
)
MISPLACED: Final = frozenset(  # good names where they say what is there, and not here, where they once were
    "core/act/send core/oauth/records core/oauth/rules core/vault/keys core/vault/stores/owner core/vault/stores/reader"
    " core/web/links core/web/local core/web/records cli/records toolkits/slack/people toolkits/github/places".split()
)
MODULES_STILL_SO: Final = frozenset("toolkits/calendar/words".split())

# Functions, methods, classes and fields (with or without an underscore), and how many there are at most.
WITHDRAWN: Final = {
    **dict.fromkeys("Lacking Tale Told Differing HouseKeys dressed owe owes debt bury spoils".split(), 0),
    **{"Seen": 1, "Outside": 1},
}
# Names that meant something else in each place, so that a search for them found nothing.
HOMONYMS: Final = {"told": 7, "said": 6, "shown": 8, "answer": 7, "row": 22}
_NAMES: Final = "|".join({*WITHDRAWN, *HOMONYMS})
_COUNTED: Final = re.compile(rf"\b(?:def|class)\s+_*(?:{_NAMES})\b|^\s*_*(?:{_NAMES})\s*:", re.MULTILINE)
"""What a definition of such a name looks like: to parse every file takes seconds."""
WITHDRAWN_OF_PROVIDER: Final = frozenset({"spoils", "plays", "keep", "leads_to", "kind"})  # good names elsewhere


def module_of(path: Path) -> str:
    """``core/vault/keys`` for ``core/deputize/core/vault/keys.py``."""
    return "/".join(path.relative_to(ROOT).with_suffix("").parts).partition("/deputize/")[2]


def names_in(path: Path) -> Iterator[tuple[str, bool]]:
    """What a file defines, anywhere in it, and whether that is a function; nothing where no name that is counted is."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if _COUNTED.search(text) else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name.lstrip("_"), True
        elif isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_"), False
            targets = (one.target for one in node.body if isinstance(one, ast.AnnAssign))
            yield from ((target.id.lstrip("_"), False) for target in targets if isinstance(target, ast.Name))


@pytest.fixture(scope="module")
def defined() -> Counter[tuple[str, bool]]:
    """How often the product defines each name."""
    return Counter(chain.from_iterable(map(names_in, PRODUCT)))


def test_no_file_is_longer_than_one_story() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in PRODUCT}
    assert len(lines) > 300
    assert {name: count for name, count in lines.items() if count > LONGER.get(name, MOST_LINES)} == {}


def test_no_module_has_a_name_that_says_nothing_about_what_is_in_it() -> None:
    modules = {module_of(path) for path in PRODUCT}
    found = {name for name in modules if name in MISPLACED or RIDDLES & set(name.split("/")[1:])}
    assert found <= MODULES_STILL_SO


def test_names_that_were_withdrawn_do_not_come_back(defined: Counter[tuple[str, bool]]) -> None:
    found = {name: defined[name, True] + defined[name, False] for name in WITHDRAWN}
    assert {name: count for name, count in found.items() if count > WITHDRAWN[name]} == {}


def test_a_row_of_a_provider_has_no_field_of_a_name_that_was_withdrawn() -> None:
    assert WITHDRAWN_OF_PROVIDER.isdisjoint(field.name for field in fields(Provider))


def test_a_search_for_a_function_finds_that_function(defined: Counter[tuple[str, bool]]) -> None:
    found = {name: defined[name, True] for name in HOMONYMS}
    assert {name: count for name, count in found.items() if count > HOMONYMS[name]} == {}
