"""Parser of ``WWW-Authenticate``, by whole parameters. Source: RFC 9110 11.6.1.

A text search for ``scope=`` would also find it in an error description, which may quote anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from deputize.core.value_object import ValueObject, frozen

MAX_HEADER_CHARACTERS: Final = 8192
"""Characters of a header that are read."""

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ELEMENT: Final = rf'(?:[^",]|{_QUOTED})+'
_PARAMETER: Final = rf"({_WORD})\s*=\s*({_QUOTED}|{_WORD})"
_SCHEME: Final = rf"(?s)({_WORD})(?:\s+(.*))?"


@frozen
class Challenge(ValueObject):
    """One scheme and its parameters, both in lower case. Of a repeated parameter, the first value counts."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> list[Challenge]:
    """Return all challenges of a header, or of several headers joined by commas."""
    found: list[tuple[str, dict[str, str]]] = []
    for element in _elements(header[:MAX_HEADER_CHARACTERS]):
        if parameter := re.fullmatch(_PARAMETER, element):
            _put(found, parameter)
        elif scheme := re.fullmatch(_SCHEME, element):
            found.append((scheme[1].lower(), {}))
            if first := re.fullmatch(_PARAMETER, (scheme[2] or "").strip()):
                _put(found, first)
    return [Challenge(*parts) for parts in found]


def bearer(header: str) -> Mapping[str, str]:
    """Return the parameters of the first Bearer challenge (RFC 6750 3) that has any, or an empty mapping."""
    return next((one.parameters for one in challenges(header) if one.scheme == "bearer" and one.parameters), {})


def _elements(header: str) -> Iterator[str]:
    return (part.strip() for part in re.findall(_ELEMENT, header) if part.strip())


def _put(found: list[tuple[str, dict[str, str]]], parameter: re.Match[str]) -> None:
    value = parameter[2]
    plain = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    if found:
        found[-1][1].setdefault(parameter[1].lower(), plain)
