"""Salesforce.

Sources: help.salesforce.com, developer.salesforce.com.
"""

from __future__ import annotations

from deputize.core.failures import SERVER_ERROR, Kind, Rules, TokenShape, outcome_of, table, when
from deputize.core.failures.standard import (
    CALLBACK,
    DELETED,
    DONE,
    EXISTS,
    EXPIRED,
    HIDDEN,
    HTTP,
    INACTIVE,
    INPUT,
    LACKS_RIGHTS,
    ORG,
    PLAN,
    SAFE,
    STALE,
    TOKEN,
)
from deputize.core.oauth.provider import ApiRules, Identity, OAuthEndpoints, Provider, Site

SALESFORCE_RULES = Rules(
    callback=table(when(ORG, "OAUTH_APP_BLOCKED", "OAUTH_APP_ACCESS_DENIED"), *CALLBACK),
    token=table(
        when(ORG, "invalid_grant", text="ip restricted"),
        when(ORG, "inactive_org"),
        when(INACTIVE, "invalid_grant", text="inactive user"),
        *TOKEN,
    ),
    revoke=table(when(DONE, "unsupported_token_type", status=(400,)), *TOKEN, when(DONE, status=(400,))),
    api=table(
        when(outcome_of(Kind.RATE_LIMITED, wait=5, about="org"), "REQUEST_LIMIT_EXCEEDED", text="^concurrent"),
        when(outcome_of(Kind.RATE_LIMITED, about="org"), "REQUEST_LIMIT_EXCEEDED"),
        when(ORG, "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"),
        when(PLAN, "STORAGE_LIMIT_EXCEEDED"),
        when(
            outcome_of(Kind.MISSING_SCOPE, needed=("api",), certain=False),
            "INVALID_SESSION_ID",
            text="not valid for use with",
        ),
        when(EXPIRED, "INVALID_SESSION_ID", "Bad_OAuth_Token"),
        when(EXISTS, "DUPLICATES_DETECTED", "DUPLICATE_VALUE"),
        when(EXISTS, status=(300,)),
        when(STALE, "PRECONDITION_FAILED"),
        when(DELETED, "ENTITY_IS_DELETED"),
        when(LACKS_RIGHTS, "INSUFFICIENT_ACCESS*"),
        when(HIDDEN, "NOT_FOUND"),
        when(INPUT, "INVALID_FIELD", "INVALID_TYPE"),  # misspelt, or hidden from this user
        when(INPUT, "MALFORMED_QUERY", "MALFORMED_ID", "JSON_PARSER_ERROR", "INVALID_QUERY_LOCATOR"),
        when(INPUT, "REQUIRED_FIELD_MISSING", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "FIELD_INTEGRITY_EXCEPTION"),
        when(INPUT, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "STRING_TOO_LONG", "INVALID_EMAIL_ADDRESS"),
        when(SAFE, "UNABLE_TO_LOCK_ROW"),
        when(SERVER_ERROR, "UNKNOWN_EXCEPTION", "SERVER_UNAVAILABLE"),
        *HTTP,
    ),
    error_names=("[].errorCode",),
    reason=("[].message",),
    reason_fields=("[].fields[]",),
    implies={"offline_access": frozenset({"refresh_token"}), "refresh_token": frozenset({"offline_access"})},
    still_refused=outcome_of(Kind.ORG_BLOCKED, "session_refused"),
)

SALESFORCE = Provider(  # help.salesforce.com: OAuth 2.0 Web Server Flow, Refresh Token Flow, Revoke OAuth Tokens
    name="salesforce",
    label="Salesforce",
    oauth=OAuthEndpoints(
        authorize_url="https://login.salesforce.com/services/oauth2/authorize",
        csp_form_targets=("https://*.salesforce.com", "https://*.force.com", "https://*.salesforce.mil"),  # My Domain
        token_url="https://login.salesforce.com/services/oauth2/token",
        revoke_url="https://login.salesforce.com/services/oauth2/revoke",
        issuer="https://login.salesforce.com",
        ends_replaced="at_once",
        always_scopes=("api", "refresh_token", "openid"),
        scope_aliases={"offline_access": "refresh_token"},
        params_consent={"prompt": "consent"},
        params_choose={"prompt": "select_account consent"},
        login_hint="login_hint",
        default_lifetime=7200.0,
        localhost=True,
    ),
    apis=ApiRules(
        roots={"salesforce": "{instance_url}/services"},
        hosts=frozenset(),
        shared_hosts=frozenset({"salesforce.com"}),
        identity=Identity(
            "https://login.salesforce.com/services/oauth2/userinfo",
            "{organization_id}:{user_id}",
            "{preferred_username|email}",
        ),
        request_headers=frozenset({"sforce-duplicate-rule-header"}),
        kept_fields={"instance_url": r"https://(?:[a-z0-9-]+\.)+salesforce\.(?:com|mil)"},
    ),
    rules=SALESFORCE_RULES,
    token_shapes=(
        TokenShape("00d", r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{20,}"),
        TokenShape("5aep861", r"\b5Aep861[A-Za-z0-9._]{20,}"),
    ),
    sites=(
        Site(
            r"(?:login|test)\.salesforce\.com|(?:[a-z0-9-]+\.)+my\.salesforce\.(?:com|mil)",
            {"https://login.salesforce.com": "https://{host}"},
        ),
    ),
    scope_descriptions={
        "openid": "know who you are",
        "id": "see your profile",
        "profile": "see your profile",
        "email": "see your email address",
        "api": "see and change all records that you can see and change",
        "full": "everything you can do in Salesforce",
        "refresh_token": "stay connected while you are away",
    },
)
