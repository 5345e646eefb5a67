"""Finds which tools test files call, from their source, so that the result does not depend on what has run."""

from __future__ import annotations

import ast
from pathlib import Path

from deputize.core import Toolkit


def tools_called(toolkit: Toolkit, *files: str | Path) -> set[str]:
    """Return the toolkit's tools, by short name, that are named in calls of ``act`` in these files."""
    words = {
        word.value
        for file in files
        for node in ast.walk(ast.parse(Path(file).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "act"
        for word in node.args
        if isinstance(word, ast.Constant)
    }
    return {short for name in toolkit.tools if (short := name.removeprefix(f"{toolkit.name}_")) in words}
