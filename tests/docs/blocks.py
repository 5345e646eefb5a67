"""The fenced blocks of a page, and how one of Python is run with the names it takes from its surroundings."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


def text(page: str) -> str:
    """Return a page of the project."""
    return (ROOT / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of this language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def block(page: str, word: str, language: str = "python") -> str:
    """Return the only block that contains this word."""
    (found,) = [one for one in blocks(page, language) if word in one]
    return found


async def run(code: str, names: dict[str, Any], before: Callable[[int], Any] = lambda n: None) -> dict[str, Any]:
    """Run a block, statement by statement, as in an async shell; return the names defined afterwards.

    ``before`` is called (and awaited) with the number of each statement before it runs, to change the world meanwhile.
    """
    for number, statement in enumerate(ast.parse(code).body):
        waiting = before(number)
        if inspect.isawaitable(waiting):
            await waiting
        module = ast.Module([statement], [])
        compiled = compile(module, "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(compiled, names)  # noqa: S307  # our own pages
        if inspect.isawaitable(result):
            await result
    return names
