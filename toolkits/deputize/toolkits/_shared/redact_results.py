"""What screens share: an answer of a provider's with a mark in the place of each text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from deputize.core import Answer

_PLAIN = re.compile(
    r"[0-9.:+-]{0,40}|\d{4}-\d\d-\d\d(?:[T ][0-9:.]{4,18}(?:Z|[+-]\d\d:?\d\d)?)?|[0-9a-f]{40}|[0-9a-f]{64}"
)
"""Numbers, times and digests: no words."""


def blanked(node: Any, mark: str, kept: frozenset[str]) -> Any:
    """The same with the mark for every text in it, but for those that are ``kept`` by their names."""
    if isinstance(node, dict):
        return {name: one if name in kept and _is_word(one) else blanked(one, mark, kept) for name, one in node.items()}
    if isinstance(node, list):
        return [blanked(one, mark, kept) for one in node]
    if isinstance(node, str):
        return node if _PLAIN.fullmatch(node) else mark
    return mark.encode() if isinstance(node, bytes) else node


def _is_word(value: Any) -> bool:
    return not isinstance(value, dict | list)


def data_of(answer: Any) -> Any:
    """What an answer holds, whether or not the whole of it was wanted."""
    return answer.data if isinstance(answer, Answer) else answer


def with_data(answer: Any, data: Any) -> Any:
    """The answer with other data in it."""
    return replace(answer, data=data) if isinstance(answer, Answer) else data
