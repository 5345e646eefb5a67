"""Removal of secrets from responses: an echoed token, cookies and authentication headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

import httpx

from deputize.core.tools.steps import Answer
from deputize.core.vault.grant import Secret

_KEPT_BACK: Final = frozenset(
    {
        *("set-cookie", "set-cookie2", "authorization", "proxy-authorization"),
        *("www-authenticate", "proxy-authenticate", "authentication-info", "proxy-authentication-info"),
    }
)
_ESCAPE: Final = re.compile(rb"\\+u00([2-7][0-9a-fA-F])")
_ANY_ESCAPE: Final = re.compile(rb"\\+(?:u00([2-7][0-9a-fA-F]))?")
_UNRESERVED: Final = re.compile(r"[\w.~-]*", re.ASCII)


def whole(status: int, headers: Mapping[str, str], data: Any) -> Answer:
    """Return the response for a tool, without cookies and authentication headers."""
    return Answer(status, visible_headers(headers), data)


def visible_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with lower-case names, without cookies and authentication headers."""
    return {name.lower(): value for name, value in headers.items() if name.lower() not in _KEPT_BACK}


def scrub_token(body: bytes, token: Secret) -> bytes:
    """Return the body with the token masked if the provider echoed it: verbatim, URL-encoded, or in JSON.

    JSON may escape any character, and .NET escapes ``+``. A JSON text inside a JSON text is escaped twice.
    """
    forms = _forms(token.reveal())
    for form in forms:
        if form in body:
            body = body.replace(form, b"***")
    if b"\\" in body and b"\\u00" in body:  # one byte is found much sooner than four
        return _scrub_escaped(body, forms)
    return body


def _scrub_escaped(body: bytes, forms: tuple[bytes, ...]) -> bytes:
    """Return the body with the token masked, even if some of its characters are escaped. No regular expression is made
    from the token, because `re` would cache it."""
    plain = _ESCAPE.sub(lambda code: bytes.fromhex(code[1].decode()), body).translate(None, b"\\")
    found = sorted({key for form in forms for key in _places(plain, form.replace(b"\\", b""))})
    escapes, longer, seen, done, kept = _ANY_ESCAPE.finditer(body), 0, 0, 0, list[bytes]()
    escape = next(escapes, None) if found else None

    def to_body(at: int) -> int:
        """Return the position in the body for a position in the plain text. Call it with ascending positions."""
        nonlocal escape, longer
        while escape and escape.start() - longer < at:
            longer += len(escape[0]) - (escape[1] is not None and escape[1] not in (b"5c", b"5C"))
            escape = next(escapes, None)
        return at + longer

    for begin, end in found:
        if begin >= seen:
            kept += body[done : to_body(begin)], b"***"
        if end > seen:
            seen, done = end, to_body(end)
    return b"".join([*kept, body[done:]]) if found else body


def _places(text: bytes, form: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each occurrence of ``form``."""
    at = text.find(form) if form else -1
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + len(form))


class ScrubbedHeaders(Mapping[str, str]):
    """The headers of a response with the token masked: see `scrub_token`. They are parsed on first use, because most
    successful responses are read without their headers."""

    def __init__(self, answer: httpx.Response, token: Secret) -> None:
        self._answer, self._token = answer, token

    @cached_property
    def _parsed(self) -> httpx.Headers:
        return httpx.Headers([(name, scrub_token(value, self._token)) for name, value in self._answer.headers.raw])

    def __getitem__(self, name: str) -> str:
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed)

    def __len__(self) -> int:
        return len(self._parsed)


def _forms(token: str) -> tuple[bytes, ...]:
    """Return all encodings of a token. Most tokens have only one, because few contain characters that need escaping."""
    if _UNRESERVED.fullmatch(token):
        return (token.encode(),)
    quoted = quote(token, safe="")
    lower = re.sub("%..", lambda code: code[0].lower(), quoted)
    return tuple(form.encode() for form in (token, quoted, lower, quote(token), token.replace("/", "\\/")))
