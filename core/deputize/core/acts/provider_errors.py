"""Typed errors for refusals of providers, in words that a model may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

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
from deputize.core.tools.steps import Repeat, Request

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
TOO_LONG: Final = "answer_too_long"
SILENT: Final = "silent"
"""Reason of a request whose response brought no message for its ``idle_timeout``."""
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


def own_address(provider: Provider, url: str) -> str:
    """Return the URL if it is https at the provider's own host, else "". A sandbox may use any URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    own = {urlsplit(provider.oauth.authorize_url).netloc, *provider.apis.hosts}
    return url if provider.plain_http or (parts.scheme == "https" and parts.netloc in own) else ""


def lost_response(call: Repeat, failure: ProviderUnavailable) -> Outcome:
    """Return the outcome of a request without a usable response. A read is not repeated because its response is too
    long, or because a server that may take long was silent."""
    if failure.reason == "too_long" and call == "read":
        return outcome_of(Kind.INVALID_INPUT, TOO_LONG)
    outcome = outcome_without_answer(call, sent=failure.sent)
    return once_only(outcome) if failure.reason == SILENT else outcome


def once_only(outcome: Outcome) -> Outcome:
    """Return the outcome of a request that a server was silent about, which is not repeated for that."""
    return replace(outcome, detail=SILENT, safe=False) if outcome.kind is Kind.TRANSIENT else outcome


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
        case Kind.TRANSIENT if outcome.detail == SILENT:
            hint = "It may be slow: ask for less, or try again later. The operator can allow it more time."
            return ProviderUnavailable(f"{label} said nothing for too long.", hint=hint, sent=True, reason=SILENT)
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
