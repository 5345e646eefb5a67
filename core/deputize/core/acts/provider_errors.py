"""Conversion of provider responses into tool results and typed errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from deputize.core.errors import (
    Conflict,
    DeputizeError,
    InvalidInput,
    NotFound,
    OrgBlocked,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
)
from deputize.core.failures import Kind, Outcome, outcome_of, outcome_without_answer
from deputize.core.oauth.provider import Provider
from deputize.core.tools.steps import Answer, Repeat, Request
from deputize.core.vault.grant import Secret

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEPT_BACK: Final = frozenset(
    {
        *("set-cookie", "set-cookie2", "authorization", "proxy-authorization"),
        *("www-authenticate", "proxy-authenticate", "authentication-info", "proxy-authentication-info"),
    }
)
_ESCAPE: Final = re.compile(rb"\\+u00([2-7][0-9a-fA-F])")
_ANY_ESCAPE: Final = re.compile(rb"\\+(?:u00([2-7][0-9a-fA-F]))?")
_UNRESERVED: Final = re.compile(r"[\w.~-]*", re.ASCII)
TOO_LONG: Final = "answer_too_long"
_SHARE: Final = 4  # of the rows that were asked for and are too long
_CONFLICTS: Final = {
    "already_done": "it is done already",
    "exists": "one exists already",
    "not_mergeable": "it cannot be merged as it is",
    "stale": "the object changed since it was read",
}


class MissingScope(Exception):
    """The provider reports that the token lacks a scope, even if the vault recorded it as granted.

    ``needed``: the scopes, any one of which suffices. ``named``: True if the provider named the scopes itself.
    """

    def __init__(self, needed: tuple[str, ...], *, named: bool = False) -> None:
        super().__init__("missing scope")
        self.needed = needed
        self.named = named


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
    """Return the body with the token masked even if some of its characters are escaped. The token is not made into a
    regular expression, because `re` would cache it."""
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
    successful responses are understood without them."""

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
    """Return the encodings of a token. Most tokens have one, because few contain characters that need escaping."""
    if _UNRESERVED.fullmatch(token):
        return (token.encode(),)
    quoted = quote(token, safe="")
    lower = re.sub("%..", lambda code: code[0].lower(), quoted)
    return tuple(form.encode() for form in (token, quoted, lower, quote(token), token.replace("/", "\\/")))


def own_address(provider: Provider, url: str) -> str:
    """Return the URL if it is https at the provider's own host, else "". A sandbox may use any URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    own = {urlsplit(provider.oauth.authorize_url).netloc, *provider.apis.hosts}
    return url if provider.plain_http or (parts.scheme == "https" and parts.netloc in own) else ""


def lost_response(call: Repeat, failure: ProviderUnavailable) -> Outcome:
    """Return the outcome of a request without a usable response. A read with a response too long is not repeated."""
    if failure.reason == "too_long" and call == "read":
        return outcome_of(Kind.INVALID_INPUT, TOO_LONG)
    return outcome_without_answer(call, sent=failure.sent)


def less_to_ask_for(outcome: Outcome, request: Request, arguments: Mapping[str, Any]) -> str:
    """Return a hint for a response that is too long: a smaller ``limit`` if the tool has this argument, else ""."""
    limit = arguments.get("limit")
    if outcome.detail != TOO_LONG:
        return ""
    if request.raw or not isinstance(limit, int):
        return f"It has more than {request.max_bytes:,} bytes. Ask for less of it, or open it at the provider."
    if limit <= 1:
        return "One row alone is too long, so a smaller limit does not help. Ask for less of it."
    return f"Call it again with limit={max(limit // _SHARE, 1)}, and with next as cursor for the rest."


def error_of(outcome: Outcome, label: str) -> DeputizeError:
    """Return the typed error for a refusal, in words that a model may read. ``label``: name of the refusing party."""
    match outcome.kind:
        case Kind.RATE_LIMITED:
            return RateLimited(f"{label} asks to wait before the next request.", retry_after=outcome.wait)
        case Kind.HIDDEN_OR_NOT_FOUND:
            if outcome.detail == "user_lacks_rights":
                return NotFound(f"{label}: this user has no right to do that.", reason=outcome.detail)
            return NotFound(f"{label}: not found, or not visible to this user.", reason=outcome.detail)
        case Kind.CONFLICT:
            why, what = outcome.detail or "conflict", _CONFLICTS.get(outcome.detail, "the object is not as assumed")
            return Conflict(f"{label}: conflict ({why}): {what}.", reason=outcome.detail)
        case Kind.ORG_BLOCKED | Kind.MISSING_SCOPE:
            return _org_blocked(outcome, label)
        case Kind.AMBIGUOUS_WRITE:
            return OutcomeUnknown(f"{label}: the response to a write was lost, so it may have been done.")
        case Kind.INVALID_INPUT:
            said = f"{label} refused the request ({outcome.detail or 'invalid'})."
            return InvalidInput(said, fix_by=outcome.fix_by, reason=outcome.detail)
        case _:
            return ProviderUnavailable(f"{label} is not available now. Nothing was done.")


def _org_blocked(outcome: Outcome, label: str) -> OrgBlocked:
    """Return the error for a block that an administrator must lift, or the user by signing in to the organization."""
    if outcome.kind is Kind.MISSING_SCOPE:
        what = ", ".join(outcome.needed) or "what this needs"
        return OrgBlocked(
            f"{label}: the app lacks the permission for this call. The user's consent is not enough.",
            hint=f"Ask an administrator to give the app this permission at {label}: {what}.",
        )
    if outcome.fix_by != "user":
        return OrgBlocked(f"{label}: the organization forbids this.", url=outcome.url, hint="Ask an administrator.")
    where = f" at {outcome.url}" if outcome.url else f" at {label}"
    return OrgBlocked(
        f"{label}: the organization requires the user to sign in (single sign-on).",
        url=outcome.url,
        hint=f"Let the user sign in to the organization{where}, then call again.",
    )
