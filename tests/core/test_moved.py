"""What was called otherwise until 0.1 is found under its old name for one release, with a warning."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core._moved import MODULES, NAMES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh() -> Iterator[None]:
    """Old names are not known yet, and are forgotten afterwards."""
    yield
    for old in MODULES:
        parent, _, child = old.rpartition(".")
        if sys.modules.pop(old, None) is not None:
            delattr(sys.modules[parent], child)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("old", "new"), MODULES.items(), ids=MODULES)
def test_a_module_is_found_under_its_old_name_and_is_the_same(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=re.escape(new)):
        found = importlib.import_module(old)
    assert found is importlib.import_module(new)
    assert found.__spec__ is not None and (found.__name__, found.__spec__.name) == (new, new)


@pytest.mark.parametrize(("module", "old", "new"), [(m, a, b) for m, names in NAMES.items() for a, b in names.items()])
def test_a_name_is_found_under_its_old_name(module: str, old: str, new: str) -> None:
    home: Any = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=new):
        assert getattr(home, old) is getattr(home, new)


def test_what_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("deputize.core.never")
    home: Any = importlib.import_module("deputize.core.failures")
    with pytest.raises(AttributeError, match="never"):
        home.never  # noqa: B018


@pytest.mark.processes
def test_the_warning_names_the_line_that_imports() -> None:
    program = "import deputize.core\nfrom deputize.core.asks import Consent\nassert Consent is deputize.core.Consent"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "<string>:2: DeprecationWarning: deputize.core.asks is called deputize.core.pending now" in done.stderr


def test_nothing_of_ours_uses_an_old_name() -> None:
    used = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(map(re.escape, MODULES))})\b", re.MULTILINE)
    for folder in ("core", "adapters", "toolkits", "examples", "docs"):
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.md")]:
            assert not used.search(path.read_text(encoding="utf-8")), path
