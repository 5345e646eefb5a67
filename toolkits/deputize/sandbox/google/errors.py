"""Google's error formats: those of its APIs and of its token endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deputize.sandbox.http_types import Reply, in_json

REALM = 'Bearer realm="https://accounts.google.com/"'


def api_error(
    code: int,
    message: str,
    reason: str,
    status: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    details: list[dict[str, Any]] | None = None,
    where: dict[str, str] | None = None,
) -> Reply:
    """Return an error of a Google API: ``status`` is the canonical name, ``reason`` the older one inside ``errors``."""
    row = {"message": message, "domain": "global", "reason": reason, **(where or {})}
    error: dict[str, Any] = {"code": code, "message": message, "errors": [row], "status": status}
    if details is not None:
        error["details"] = details
    return in_json({"error": error}, code, headers)


def invalid_token() -> Reply:
    """Return the 401 of a missing, unknown or expired token."""
    return api_error(
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        "authError",
        "UNAUTHENTICATED",
        headers=[("www-authenticate", f'{REALM}, error="invalid_token"')],
        where={"location": "Authorization", "locationType": "header"},
    )


def scope_missing(service: str, rpc: str, scopes: Iterable[str]) -> Reply:
    """Return the 403 of a valid token without any of the sufficient scopes."""
    return api_error(
        403,
        "Request had insufficient authentication scopes.",
        "insufficientPermissions",
        "PERMISSION_DENIED",
        headers=[("www-authenticate", f'{REALM}, error="insufficient_scope", scope="{" ".join(scopes)}"')],
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "domain": "googleapis.com",
                "metadata": {"service": service, "method": rpc},
            }
        ],
    )


def token_error(code: int, error: str, description: str, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """Return an error of the token or revocation endpoint (RFC 6749 5.2)."""
    return in_json({"error": error, "error_description": description}, code, headers)


def not_found(path: str) -> Reply:
    """Return the 404 of a path and verb that this host does not serve."""
    return api_error(404, f"The requested URL {path} was not found on this server.", "notFound", "NOT_FOUND")
