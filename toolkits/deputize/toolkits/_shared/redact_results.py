"""Helpers of screens: redaction of responses, and the user's own domain."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from deputize.core import Answer

_PLAIN = re.compile(
    r"[0-9.:+-]{0,40}|\d{4}-\d\d-\d\d(?:[T ][0-9:.]{4,18}(?:Z|[+-]\d\d:?\d\d)?)?|[0-9a-f]{40}|[0-9a-f]{64}"
)
"""Numbers, times and digests, which carry no words."""


def blanked(node: Any, mark: str, kept: frozenset[str]) -> Any:
    """Return the node with every text replaced by ``mark``, except fields named in ``kept``."""
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
    """Return the data of a response, with or without its envelope."""
    return answer.data if isinstance(answer, Answer) else answer


def with_data(answer: Any, data: Any) -> Any:
    return replace(answer, data=data) if isinstance(answer, Answer) else data


_EVERYBODYS: Final = frozenset(("gmail.com", "googlemail.com"))
"""Domains in which anybody may have an address."""


def domain_of(address: str) -> str:
    """Return the domain of an address, in lower case."""
    return address.rpartition("@")[2].strip().lower()


def own_domain(address: str) -> str:
    """Return the domain that the user shares only with colleagues, or "" for a public one."""
    domain = domain_of(address)
    return "" if domain in _EVERYBODYS else domain
