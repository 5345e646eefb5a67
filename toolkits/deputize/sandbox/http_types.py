"""Requests and replies of a simulated service, independent of servers and clients."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit, urlunsplit

JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to one production host; ``path`` stays percent-encoded, header names are lower case.

    ``base``: the sandbox's own address, such as ``http://127.0.0.1:8737``; "" if it was called by the host's name.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    base: str = ""

    def origin_of(self, host: str) -> str:
        """Return the origin at which the caller reaches a simulated host."""
        return f"{self.base}/{host}" if self.base else f"https://{host}"

    def one(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def every(self, name: str) -> tuple[str, ...]:
        """Return all values of a repeated query parameter."""
        return tuple(self.query.get(name, ()))

    def form(self) -> dict[str, list[str]]:
        """Return the form-encoded body, or an empty dict for any other body."""
        if not self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return {}
        return parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    def single(self) -> dict[str, str]:
        """Return the form's parameters, the last value of each."""
        return {name: values[-1] for name, values in self.form().items()}

    def content(self) -> dict[str, Any]:
        """Return the body as a JSON object, or an empty dict for any other body."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def bearer(self) -> str:
        """Return the token of ``Authorization: Bearer``, or ""."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def basic(self) -> tuple[str, str] | None:
        """Return client id and secret of ``Authorization: Basic`` (RFC 6749 2.3.1), or None."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return unquote(name), unquote(secret)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. ``who``: the address of its person, for the list of requests.

    ``changes`` is False if nothing changed although the method was not GET.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    who: str = ""
    gives_tokens: bool = False
    changes: bool = True


class Refused(Exception):
    """The end of a request with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"refused with {reply.status}")
        self.reply = reply


def read_query(raw: str) -> dict[str, list[str]]:
    """Parse a query string; empty values stay."""
    return parse_qs(raw, keep_blank_values=True)


def in_json(
    content: Any,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    *,
    who: str = "",
    gives_tokens: bool = False,
    changes: bool = True,
) -> Reply:
    """Return a JSON reply."""
    kind = ("content-type", JSON)
    return Reply(status, (kind, *headers), json.dumps(content).encode(), who, gives_tokens, changes)


def in_html(page: str, status: int = 200, *, who: str = "") -> Reply:
    """Return an HTML reply."""
    kept_private = (("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY"))
    return Reply(status, (("content-type", HTML), *kept_private), page.encode(), who)


def redirect(url: str, params: Iterable[tuple[str, str]], *, who: str = "") -> Reply:
    """Return a 302 to ``url`` with more query parameters."""
    parts = urlsplit(url)
    query = "&".join(piece for piece in (parts.query, urlencode(list(params))) if piece)
    target = urlunsplit(parts._replace(query=query))
    return Reply(302, (("location", target), ("cache-control", "no-store")), b"", who)
