"""Names of functions, arguments and constants: made from a description's names, valid in Python, and unique."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel

LONGEST_TOOL: Final = 64
LONGEST: Final = 40
"""Letters of an argument's name."""

IMPORTED: Final = frozenset(
    "annotations Annotated Any Literal Field Audience Effect Request Run Preview Steps Toolkit any_of Number Part"
    " as_text fitted given joined TOOLKIT Identity Provider ENDPOINT".split()
)
"""Names that a generated module uses itself."""
_LOCAL: Final = frozenset("found part self cls run".split())
_OF_PREVIEW: Final = frozenset(
    "what audience people where pins context beside destroys request request_path acting_for".split()
)
_LOOK_ALIKE: Final = frozenset("l o i".split())

_ACRONYM: Final = re.compile(r"([A-Z]+)([A-Z][a-z])")
_HUMP: Final = re.compile(r"([a-z0-9])([A-Z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


def snake(text: str) -> str:
    """Return ``createPet``, ``create-pet`` or ``pets/create`` in ``snake_case``, or "" if no letter is left."""
    plain = unicodedata.normalize("NFKD", text[:400]).encode("ascii", "ignore").decode()
    parted = _HUMP.sub(r"\1_\2", _ACRONYM.sub(r"\1_\2", plain))
    return _OTHER.sub("_", parted.lower()).strip("_")


def shorten(name: str, most: int) -> str:
    """Return a name of at most ``most`` letters, cut at a word."""
    if len(name) <= most:
        return name
    cut = name[:most].rpartition("_")[0] if name[most] != "_" else name[:most]
    return (cut or name[:most]).rstrip("_")


def argument_names(wanted: Iterable[str]) -> list[str]:
    """Return the names of a tool's arguments, in the order of their names in the description."""
    taken: set[str] = set()
    return [_unique(_argument(one), taken, LONGEST) for one in wanted]


def _argument(wire: str) -> str:
    name = shorten(snake(wire), LONGEST - 6) or "value"
    if name[0].isdigit():
        name = f"n_{name}"
    clash = name in IMPORTED | _LOCAL | _OF_PREVIEW | _LOOK_ALIKE or keyword.iskeyword(name) or hasattr(BaseModel, name)
    return f"{name}_value" if clash or name.startswith("model_") else name


def function_name(wanted: str, toolkit: str, method: str, taken: set[str]) -> str:
    """Return the name of a tool's function: with the toolkit's name before it, at most 64 letters."""
    room = LONGEST_TOOL - len(toolkit) - 1
    name = snake(wanted) or "call"
    words = toolkit.split("_")
    for start in range(len(words)):  # gh_issues_list, not gh_issues_issues_list
        name = name.removeprefix("_".join(words[start:]) + "_") or name
    if (
        name[0].isdigit()
        or keyword.iskeyword(name)
        or keyword.issoftkeyword(name)
        or _is_global(name)
        or name in _LOOK_ALIKE
    ):
        name = f"{method.lower()}_{name}"
    return _unique(shorten(name, room), taken, room)


def constant_name(wanted: str, taken: set[str], end: str = "") -> str:
    """Return ``ISSUE_FIELDS`` for ``issue`` and ``_fields``."""
    name = (shorten(snake(wanted), LONGEST - len(end)) or "value") + end
    lower = {one.lower() for one in taken}
    made = _unique(f"of_{name}" if name[0].isdigit() or _is_global(name) else name, lower, LONGEST + 6).upper()
    taken.add(made)
    return made


def type_name(wanted: str, taken: set[str]) -> str:
    """Return ``ListIssuesState`` for ``list_issues state``."""
    plain = "".join(word.capitalize() for word in shorten(snake(wanted), LONGEST).split("_"))
    base = plain if plain and not plain[0].isdigit() else f"Of{plain}"
    made, count = base, 1
    while made in taken or made in IMPORTED or keyword.iskeyword(made) or hasattr(builtins, made):
        count += 1
        made = f"{base}{count}"
    taken.add(made)
    return made


def _is_global(name: str) -> bool:
    return name in IMPORTED or hasattr(builtins, name) or name.startswith("model_")


def _unique(name: str, taken: set[str], most: int) -> str:
    made, count, step = name, 1, 1
    while made in taken:  # numbers of many equal names have gaps, so that the search is not quadratic
        count, step = count + step, step * 2 if step < len(taken) // 64 else step
        end = f"_{count}"
        made = shorten(name, most - len(end)) + end
    taken.add(made)
    return made
