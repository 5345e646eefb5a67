"""From a tool's request to what leaves, but for the token: address, headers, body. Nothing in an argument chooses more
than its own place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

from deputize.core.errors import InvalidInput
from deputize.core.tools.steps import HEADERS, Request

LONGEST_URL: Final = 16384
AGENT: Final = ("user-agent", "deputize/0.1")
_PLAIN: Final = (("accept", "application/json"), AGENT)
_PLACE = re.compile(r"\{(\w+)\}")
_TEMPLATE = re.compile(r"(?:/(?!\.{1,2}(?:/|$))(?:[\w.~:@!$&'()*+,;=-]|\{\w+\})+)+/?", re.ASCII)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\%]")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,200}")  # RFC 9110 5.6.2, in lower case
LONGEST_HEADER: Final = 1000


def address_of(root: str, request: Request) -> str:
    """The API's root, the path with each placeholder as one segment, the query. Raises `InvalidInput`.

    A path may be empty: some APIs are one address, and all of it is their root.
    """
    if request.path and not _is_below(request.path):
        raise InvalidInput(f"{request.path[:80]!r}: a tool's path must stay below the API's root.", fix_by="operator")
    try:
        path = _PLACE.sub(lambda key: segment(key[1], request.at[key[1]]), request.path)
        url = root + path + _query(request.params)
    except UnicodeEncodeError:
        raise lone_surrogate() from None
    if len(url) > LONGEST_URL:
        raise InvalidInput(
            f"The arguments make a URL of {len(url)} characters, and at most {LONGEST_URL} can be sent.",
            hint="Pass shorter arguments, or fewer in one call.",
        )
    return url


def lone_surrogate() -> InvalidInput:
    """The error for an argument that is no text, because half of a character is missing."""
    return InvalidInput("An argument contains a lone surrogate (invalid Unicode).", hint="Send valid Unicode text.")


@lru_cache(maxsize=1024)
def _is_below(path: str) -> bool:
    return _TEMPLATE.fullmatch(path) is not None


_name = lru_cache(maxsize=1024)(quote_plus)


def segment(name: str, value: str) -> str:
    """One path segment, encoded. Raises `InvalidInput` for what could leave its place."""
    if not isinstance(value, str) or value.strip() in ("", ".", "..") or _FORBIDDEN.search(value):
        raise InvalidInput(f"{name}: not an id.", hint="Use an id as another tool of this toolkit returned it.")
    return quote(value, safe="")


def _query(params: Mapping[str, Any] | None) -> str:
    """The query, empty for none: lists repeat their name, None is left out, true and false are in lower case."""
    pairs = []
    for name, value in (params or {}).items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                text = str(one).lower() if isinstance(one, bool) else str(one)
                pairs.append(f"{_name(name)}={quote_plus(text)}")
    return "?" + "&".join(pairs) if pairs else ""


def headers_and_body(request: Request, more: frozenset[str] = frozenset()) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body. ``more``: names of headers that may be set beside `HEADERS`; of one that ends in ``*`` all that
    begin so.

    Raises `InvalidInput` for a header that a request may not set, or a value that is none.
    """
    headers = list(_PLAIN) if not request.headers else _headers(request.headers, HEADERS | more)
    if request.json is not None:
        headers.append(("content-type", "application/json"))
        return headers, json.dumps(request.json, separators=(",", ":")).encode()
    if request.content_type:
        headers.append(("content-type", visible("content-type", request.content_type)))
    return headers, request.content or b""


def _headers(own: Mapping[str, str], allowed: frozenset[str]) -> list[tuple[str, str]]:
    made = dict(_PLAIN)
    for name, value in own.items():
        if name.lower() not in allowed and not _begins_as_one(name.lower(), allowed):
            raise InvalidInput(f"A tool's request may not set the header {name[:60]!r}.", fix_by="operator")
        made[name.lower()] = visible(name.lower(), value)
    return list(made.items())


def _begins_as_one(name: str, allowed: frozenset[str]) -> bool:
    patterns = [one for one in allowed if one.endswith("*")]
    return bool(patterns) and _TOKEN.fullmatch(name) is not None and any(fnmatchcase(name, one) for one in patterns)


def visible(name: str, value: str) -> str:
    """A header's value, if it is visible ASCII on one line (RFC 9110 5.5), and no longer than servers take.

    Raises `InvalidInput`.
    """
    if isinstance(value, str) and len(value) > LONGEST_HEADER:
        raise InvalidInput(
            f"{name}: a header of {len(value)} characters, and at most {LONGEST_HEADER} can be sent.",
            hint="Pass a shorter value.",
        )
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise InvalidInput(f"{name}: not a valid header value.", hint="Use visible ASCII characters on one line.")
    return value
