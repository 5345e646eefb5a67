"""Answers of providers that misbehave, ready to be put into `Switches.faults`.

    sandbox.switches.faults["POST", "/repos/"] = [faults.github_secondary_limit()]

Each is (status, headers, body) as the provider's API reference has it. Where a limit names the moment it ends,
``now`` is the sandbox's clock in epoch seconds and ``wait`` how many seconds from then.
"""

from __future__ import annotations

from typing import Any

from deputize.sandbox.switches import Fault

SSO_URL = "https://github.com/orgs/acme/sso?authorization_request=AZ1"


def google_rate_limited() -> Fault:
    """Too many requests of one user; no word on how long to wait."""
    rows = [{"domain": "usageLimits", "reason": "userRateLimitExceeded"}]
    return 403, {}, {"error": {"code": 403, "errors": rows}}


def google_resource_exhausted(wait: int = 30) -> Fault:
    """429 with ``Retry-After``."""
    return 429, {"Retry-After": str(wait)}, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}


def google_daily_limit() -> Fault:
    """The project's quota for today is gone."""
    rows = [{"domain": "usageLimits", "reason": "dailyLimitExceeded"}]
    return 403, {}, {"error": {"code": 403, "errors": rows}}


def google_domain_policy() -> Fault:
    """The administrator has closed this to apps."""
    return 403, {}, {"error": {"code": 403, "errors": [{"domain": "global", "reason": "domainPolicy"}]}}


def slack_rate_limited(wait: int = 30) -> Fault:
    """429 with ``Retry-After``."""
    return 429, {"Retry-After": str(wait)}, _slack("ratelimited")


def slack_rate_limited_in_200() -> Fault:
    """A limit that comes as 200, without a word on how long to wait."""
    return 200, {}, _slack("rate_limited")


def slack_sso_required() -> Fault:
    """The organization wants the person to sign in anew."""
    return 200, {}, _slack("org_login_required")


def slack_fatal_error() -> Fault:
    """Something broke; a write may have happened."""
    return 200, {}, _slack("fatal_error")


def slack_account_inactive() -> Fault:
    """The person has left the workspace."""
    return 200, {}, _slack("account_inactive")


def github_rate_limited(now: float, wait: int = 90) -> Fault:
    """The hourly limit: 403 with the moment it ends."""
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(now) + wait)}
    return 403, headers, {"message": "API rate limit exceeded for user ID 1."}


def github_secondary_limit(wait: int = 60) -> Fault:
    """Too much at once: 403 with ``retry-after``, while the hourly limit is far."""
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return 403, {"retry-after": str(wait), "x-ratelimit-remaining": "4999"}, {"message": message}


def github_sso_required(url: str = SSO_URL) -> Fault:
    """The organization wants the token authorized by SAML single sign-on; the link is short-lived."""
    message = (
        "Resource protected by organization SAML enforcement. "
        "You must grant your OAuth token access to this organization."
    )
    return 403, {"X-GitHub-SSO": f"required; url={url}"}, {"message": message}


def github_partial_results() -> Fault:
    """A list that leaves out what two organizations keep behind single sign-on."""
    return 200, {"X-GitHub-SSO": "partial-results; organizations=21955855,20582480"}, []


def github_app_restricted() -> Fault:
    """The organization lets only apps in that it has approved."""
    message = (
        "Although you appear to have the correct authorization credentials, the `acme` organization has enabled "
        "OAuth App access restrictions, meaning that data access to third-parties is limited."
    )
    return 403, {}, {"message": message}


def linear_rate_limited(now: float, wait: int = 90) -> Fault:
    """The hourly number of requests: 400 with the moment it ends, in milliseconds."""
    headers = {
        "x-ratelimit-requests-remaining": "0",
        "x-ratelimit-requests-reset": str((int(now) + wait) * 1000),
    }
    return 400, headers, _linear("Rate limit exceeded", code="RATELIMITED")


def linear_complexity_limited(now: float, wait: int = 1800) -> Fault:
    """The hourly complexity does not suffice for this document."""
    headers = {
        "x-ratelimit-requests-remaining": "800",
        "x-complexity": "9000",
        "x-ratelimit-complexity-remaining": "1200",
        "x-ratelimit-complexity-reset": str((int(now) + wait) * 1000),
    }
    return 400, headers, _linear("Rate limit exceeded", type="ratelimited")


def linear_plan_limit() -> Fault:
    """The workspace's plan is used up."""
    return 200, {}, _linear("x", type="usage limit exceeded")


def salesforce_rate_limited() -> Fault:
    """The org's requests of 24 hours are gone."""
    message = "TotalRequests Limit exceeded."
    return 403, {"Sforce-Limit-Info": "api-usage=15000/15000"}, _salesforce(message, "REQUEST_LIMIT_EXCEEDED")


def salesforce_concurrent_limit() -> Fault:
    """Too many long requests of the org at once."""
    return 403, {}, _salesforce("ConcurrentPerOrgLongTxn Limit exceeded.", "REQUEST_LIMIT_EXCEEDED")


def salesforce_row_locked() -> Fault:
    """Somebody else is changing the record; nothing was done."""
    body = _salesforce("unable to obtain exclusive access to this record", "UNABLE_TO_LOCK_ROW")
    return 400, {}, [body[0] | {"fields": []}]


def salesforce_api_disabled() -> Fault:
    """The org's edition has no API."""
    return 403, {}, _salesforce("The REST API is not enabled for this Organization.", "API_DISABLED_FOR_ORG")


def token_rate_limited(wait: int = 3) -> Fault:
    """Any token endpoint, asked too often."""
    return 429, {"Retry-After": str(wait)}, {"error": "rate_limited"}


def bad_gateway() -> Fault:
    """Any token endpoint behind a broken proxy."""
    return 502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>"


def captive_portal() -> Fault:
    """A network that answers in the provider's place."""
    return 200, {"Content-Type": "text/html"}, b"<html>login</html>"


def _slack(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _linear(message: str, **extensions: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": extensions}]}


def _salesforce(message: str, code: str) -> list[dict[str, Any]]:
    return [{"message": message, "errorCode": code}]
