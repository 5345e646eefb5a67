"""Failures of providers, for `Switches.faults`.

    sandbox.switches.faults["POST", "/repos/"] = [faults.github_secondary_limit()]

Each is (status, headers, body) as in the provider's API reference. For limits that name their end, ``now`` is the
sandbox's clock in epoch seconds, and ``wait`` the seconds until the end.
"""

from __future__ import annotations

from typing import Any

from deputize.sandbox.switches import Fault

SSO_URL = "https://github.com/orgs/acme/sso?authorization_request=AZ1"


def google_rate_limited() -> Fault:
    """Return the 403 of a user's rate limit, without ``Retry-After``."""
    rows = [{"domain": "usageLimits", "reason": "userRateLimitExceeded"}]
    return 403, {}, {"error": {"code": 403, "errors": rows}}


def google_resource_exhausted(wait: int = 30) -> Fault:
    """Return a 429 with ``Retry-After``."""
    return 429, {"Retry-After": str(wait)}, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}


def google_daily_limit() -> Fault:
    """Return the 403 of the project's daily limit."""
    rows = [{"domain": "usageLimits", "reason": "dailyLimitExceeded"}]
    return 403, {}, {"error": {"code": 403, "errors": rows}}


def google_domain_policy() -> Fault:
    """Return the 403 of an administrator who does not allow apps."""
    return 403, {}, {"error": {"code": 403, "errors": [{"domain": "global", "reason": "domainPolicy"}]}}


def slack_rate_limited(wait: int = 30) -> Fault:
    """Return a 429 with ``Retry-After``."""
    return 429, {"Retry-After": str(wait)}, _slack("ratelimited")


def slack_rate_limited_in_200() -> Fault:
    """Return a rate limit with status 200 and without ``Retry-After``."""
    return 200, {}, _slack("rate_limited")


def slack_sso_required() -> Fault:
    """Return the error of an organization that requires the person to sign in again."""
    return 200, {}, _slack("org_login_required")


def slack_fatal_error() -> Fault:
    """Return an internal error; a write may have happened."""
    return 200, {}, _slack("fatal_error")


def slack_account_inactive() -> Fault:
    """Return the error of a person who has left the workspace."""
    return 200, {}, _slack("account_inactive")


def github_rate_limited(now: float, wait: int = 90) -> Fault:
    """Return the 403 of the hourly limit, with its end."""
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(now) + wait)}
    return 403, headers, {"message": "API rate limit exceeded for user ID 1."}


def github_secondary_limit(wait: int = 60) -> Fault:
    """Return the 403 of the secondary limit with ``retry-after``; the hourly limit is not reached."""
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return 403, {"retry-after": str(wait), "x-ratelimit-remaining": "4999"}, {"message": message}


def github_sso_required(url: str = SSO_URL) -> Fault:
    """Return the 403 of an organization that requires SAML single sign-on for the token; the link is short-lived."""
    message = (
        "Resource protected by organization SAML enforcement. "
        "You must grant your OAuth token access to this organization."
    )
    return 403, {"X-GitHub-SSO": f"required; url={url}"}, {"message": message}


def github_partial_results() -> Fault:
    """Return a list without the rows of two organizations that require single sign-on."""
    return 200, {"X-GitHub-SSO": "partial-results; organizations=21955855,20582480"}, []


def github_app_restricted() -> Fault:
    """Return the 403 of an organization that allows approved apps only."""
    message = (
        "Although you appear to have the correct authorization credentials, the `acme` organization has enabled "
        "OAuth App access restrictions, meaning that data access to third-parties is limited."
    )
    return 403, {}, {"message": message}


def linear_rate_limited(now: float, wait: int = 90) -> Fault:
    """Return the 400 of the hourly number of requests, with its end in milliseconds."""
    headers = {
        "x-ratelimit-requests-remaining": "0",
        "x-ratelimit-requests-reset": str((int(now) + wait) * 1000),
    }
    return 400, headers, _linear("Rate limit exceeded", code="RATELIMITED")


def linear_complexity_limited(now: float, wait: int = 1800) -> Fault:
    """Return the 400 of the hourly complexity, with its end in milliseconds."""
    headers = {
        "x-ratelimit-requests-remaining": "800",
        "x-complexity": "9000",
        "x-ratelimit-complexity-remaining": "1200",
        "x-ratelimit-complexity-reset": str((int(now) + wait) * 1000),
    }
    return 400, headers, _linear("Rate limit exceeded", type="ratelimited")


def linear_plan_limit() -> Fault:
    """Return the error of a workspace whose plan's limit is reached."""
    return 200, {}, _linear("x", type="usage limit exceeded")


def salesforce_rate_limited() -> Fault:
    """Return the 403 of the org's limit of requests in 24 hours."""
    message = "TotalRequests Limit exceeded."
    return 403, {"Sforce-Limit-Info": "api-usage=15000/15000"}, _salesforce(message, "REQUEST_LIMIT_EXCEEDED")


def salesforce_concurrent_limit() -> Fault:
    """Return the 403 of too many long requests at once."""
    return 403, {}, _salesforce("ConcurrentPerOrgLongTxn Limit exceeded.", "REQUEST_LIMIT_EXCEEDED")


def salesforce_row_locked() -> Fault:
    """Return the 400 of a record that another user is changing; nothing was done."""
    body = _salesforce("unable to obtain exclusive access to this record", "UNABLE_TO_LOCK_ROW")
    return 400, {}, [body[0] | {"fields": []}]


def salesforce_api_disabled() -> Fault:
    """Return the 403 of an org whose edition has no API."""
    return 403, {}, _salesforce("The REST API is not enabled for this Organization.", "API_DISABLED_FOR_ORG")


def token_rate_limited(wait: int = 3) -> Fault:
    """Return the 429 of any token endpoint."""
    return 429, {"Retry-After": str(wait)}, {"error": "rate_limited"}


def bad_gateway() -> Fault:
    """Return the 502 of a broken proxy in front of any token endpoint."""
    return 502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>"


def captive_portal() -> Fault:
    """Return the login page of a network that intercepts requests."""
    return 200, {"Content-Type": "text/html"}, b"<html>login</html>"


def _slack(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _linear(message: str, **extensions: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": extensions}]}


def _salesforce(message: str, code: str) -> list[dict[str, Any]]:
    return [{"message": message, "errorCode": code}]
