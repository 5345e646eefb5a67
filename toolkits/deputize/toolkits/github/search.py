"""GitHub's search syntax, built from parameters that cannot widen a search.

docs.github.com/en/search-github: at most 256 characters besides qualifiers, five AND, OR or NOT, 1,000 results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.core.errors import InvalidInput

MAX_RESULTS: Final = "Search shows the first 1000 results."
_WIDER: Final = re.compile(r"(?<!\w)(?:repo|org|user|owner|enterprise)\s*:|[()]|\bOR\b", re.IGNORECASE)


def check_query(query: str, *, fixed: bool) -> str:
    """Return free text for a search. ``fixed``: the search is limited to one repository or organization."""
    text = " ".join(query.split())
    if len(text) > 256:
        raise InvalidInput("query: at most 256 characters.", hint="Use fewer words.")
    if len(re.findall(r"\b(?:AND|OR|NOT)\b", text)) > 5:
        raise InvalidInput("query: at most five of AND, OR and NOT.", hint="Search in several calls.")
    if fixed and _WIDER.search(text):
        raise InvalidInput(
            "query: qualifiers such as repo:, parentheses and OR cannot be used together with repo or org.",
            hint="Leave them out, or leave repo and org out.",
        )
    if '\\"' in text:  # GitHub would read up to the next quotation mark, past the tool's qualifiers
        raise InvalidInput("query: a quotation mark cannot be searched for.", hint="Leave it out.")
    if text.count('"') % 2:
        raise InvalidInput("query: a quotation mark is missing.", hint="Close it, or leave it out.")
    return text


def add_qualifiers(query: str, qualifiers: Mapping[str, str | bool | Sequence[str] | None]) -> str:
    """Return a query with its qualifiers. A list adds one qualifier per item. Empty qualifiers are left out."""
    parts = [query] if query else []
    for name, value in qualifiers.items():
        for one in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else ():
            if one:
                parts.append(f"{name}:{_value(one)}")
    return " ".join(parts)


def _value(text: str) -> str:
    if '"' in text or "\\" in text:
        raise InvalidInput("Neither a quotation mark nor a backslash can be searched for.", hint="Leave it out.")
    return text if re.fullmatch(r"[\w@./:<>=+-]+", text, re.ASCII) else f'"{text}"'


def is_elsewhere(repo: str | None, org: str | None, name: str) -> bool:
    """Return whether a row is outside the requested repository or organization."""
    if repo:
        return name.lower() != repo.lower()
    return bool(org) and name.partition("/")[0].lower() != str(org).lower()


def public_only_note(granted: frozenset[str]) -> dict[str, Any]:
    """Return a note if the grant covers public repositories only."""
    covered = "repo" in granted or any(scope.startswith("metadata:") for scope in granted)
    return {} if covered else {"note": "Public repositories only: the consent does not cover private ones."}
