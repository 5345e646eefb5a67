"""What is specific to one provider is in its file: no other code of the core contains a provider's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import deputize.core
from deputize.core import PROVIDERS

CORE: Final = Path(deputize.core.__file__).parent
NAMES: Final = re.compile(r"slack|github|google|gmail|linear|salesforce|sforce", re.IGNORECASE)


def constants(path: Path) -> Iterator[str]:
    """Return the strings in a file's code, without docstrings and comments."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.processes
def test_provider_names_occur_only_in_the_providers_package() -> None:
    own = ("providers", "kms")  # a key management service has a file of its own too
    files = [path for path in CORE.rglob("*.py") if path.parent.name not in own and path.name != "__init__.py"]
    named = {str(path.relative_to(CORE)): text for path in files for text in constants(path) if NAMES.search(text)}
    assert named == {}


def test_provider_name_pattern_matches_every_provider() -> None:
    assert all(NAMES.search(name) for name in PROVIDERS)
