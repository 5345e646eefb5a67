"""Conversion of a tool's request into URL, headers and body, without the token. An argument can change only its own
part of the request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

from deputize.core.errors import InvalidInput
from deputize.core.http.request import USER_AGENT
from deputize.core.tools.steps import HEADERS, Request

LONGEST_URL: Final = 16384
_PLAIN: Final = (("accept", "application/json"), ("user-agent", USER_AGENT))
_PLACE = re.compile(r"\{(\w+)\}")
_TEMPLATE = re.compile(r"(?:/(?!\.{1,2}(?:/|$))(?:[\w.~:@!$&'()*+,;=-]|\{\w+\})+)+/?", re.ASCII)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\%]")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,200}")  # RFC 9110 5.6.2, in lower case
LONGEST_HEADER: Final = 1000


def address_of(root: str, request: Request) -> str:
    """Return the URL: the API's root, the path with each placeholder as one segment, and the query.

    The path may be empty, because some APIs have a single address. Raises `InvalidInput` for a path outside the root,
    an invalid segment, a lone surrogate, or a URL longer than `LONGEST_URL`.
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
    """Return the error for an argument that contains a lone surrogate, half of a surrogate pair."""
    return InvalidInput("An argument contains a lone surrogate (invalid Unicode).", hint="Send valid Unicode text.")


@lru_cache(maxsize=1024)
def _is_below(path: str) -> bool:
    return _TEMPLATE.fullmatch(path) is not None


_name = lru_cache(maxsize=1024)(quote_plus)


def segment(name: str, value: str) -> str:
    """Return the value encoded as one path segment. Raises `InvalidInput` if it could change the rest of the path."""
    if not isinstance(value, str) or value.strip() in ("", ".", "..") or _FORBIDDEN.search(value):
        raise InvalidInput(f"{name}: not an id.", hint="Use an id as another tool of this toolkit returned it.")
    return quote(value, safe="")


def _query(params: Mapping[str, Any] | None) -> str:
    """Return the query string, or "". Lists repeat their name, None is omitted, booleans are in lower case."""
    pairs = []
    for name, value in (params or {}).items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                text = str(one).lower() if isinstance(one, bool) else str(one)
                pairs.append(f"{_name(name)}={quote_plus(text)}")
    return "?" + "&".join(pairs) if pairs else ""


def headers_and_body(request: Request, more: frozenset[str] = frozenset()) -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers and the body. ``more``: header names allowed in addition to `HEADERS`; a trailing ``*``
    matches any suffix.

    Raises `InvalidInput` for a header that a tool may not set, or an invalid value.
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
    """Return the value if it is visible ASCII on one line (RFC 9110 5.5) and at most `LONGEST_HEADER` characters long.

    Raises `InvalidInput` otherwise.
    """
    if isinstance(value, str) and len(value) > LONGEST_HEADER:
        raise InvalidInput(
            f"{name}: the header has {len(value)} characters, and at most {LONGEST_HEADER} can be sent.",
            hint="Pass a shorter value.",
        )
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise InvalidInput(f"{name}: not a valid header value.", hint="Use visible ASCII characters on one line.")
    return value
