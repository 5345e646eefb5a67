"""How each provider's answers are read: one `Rules` for each, facts without code.

Names are error names as they stand in the answers; rows of a table are tried from the top, once limits, organization
and scopes have had their turn (`deputize.core.failures.table`). Sources: the providers' API references, RFC 6749,
6750, 8628 and OpenID Connect Core. What nobody has documented is matched by status and name, never by wording alone,
except where a provider has no names (GitHub's REST messages).
"""

from __future__ import annotations

from deputize.core.failures import HICCUP, Budget, Call, Kind, Rules, say, table, when

_DEAD = say(Kind.REAUTH, "grant_dead")
_RESTART = say(Kind.REAUTH, "restart_consent")
_DENIED = say(Kind.REAUTH, "consent_denied")
_INACTIVE = say(Kind.REAUTH, "account_inactive", fix_by="admin")
_EXPIRED = say(Kind.REFRESH_ONCE)
_SCOPE = say(Kind.MISSING_SCOPE)
_ORG = say(Kind.ORG_BLOCKED)
_PLAN = say(Kind.ORG_BLOCKED, "plan_limit")
_HIDDEN = say(Kind.HIDDEN_OR_NOT_FOUND)
_MOVED = say(Kind.HIDDEN_OR_NOT_FOUND, "moved")
_DELETED = say(Kind.HIDDEN_OR_NOT_FOUND, "deleted")
_LACKS_RIGHTS = say(Kind.HIDDEN_OR_NOT_FOUND, "user_lacks_rights")
_DONE = say(Kind.CONFLICT, "already_done")
_EXISTS = say(Kind.CONFLICT, "exists")
_STALE = say(Kind.CONFLICT, "stale")
_INPUT = say(Kind.INVALID_INPUT)
_OPERATOR = say(Kind.INVALID_INPUT, fix_by="operator")
_LIMIT = say(Kind.RATE_LIMITED, backoff=True)
_LIMIT_60 = say(Kind.RATE_LIMITED, wait=60)
_SAFE = say(Kind.TRANSIENT, backoff=True, safe=True)  # refused or rolled back: nothing was done

_WRITES: tuple[Call, ...] = ("idem", "write")

_BUSY = (
    when(_LIMIT, status=(429,)),
    when(HICCUP, status=(302, 303, 408, 425)),
)

_NAMED = when(_SCOPE, header=("www-authenticate", r'^(?=.*\binsufficient_scope\b)(?:.*?\bscope="(?P<needed>[^"]*))?'))

# RFC 9110 15, RFC 6750 3.1, RFC 9470 3: what a status means where nothing says more
_HTTP = (
    when(_MOVED, status=(302, 303), calls=("read",)),
    *_BUSY,
    _NAMED,
    when(_SCOPE, "insufficient_scope"),
    when(say(Kind.REAUTH, "step_up"), header=("www-authenticate", "insufficient_user_authentication")),
    when(_EXPIRED, "invalid_token"),
    when(_EXPIRED, status=(401,)),
    when(say(Kind.CONFLICT), status=(409,)),
    when(_STALE, status=(412,)),
    when(_MOVED, status=(301, 307, 308)),
    when(_DELETED, status=(410,)),
    when(say(Kind.HIDDEN_OR_NOT_FOUND, "legal"), status=(451,)),
    when(_LACKS_RIGHTS, status=(403,)),
    when(_HIDDEN, status=(404,)),
)

# RFC 6749 5.2, RFC 8628 3.5, OpenID Connect Core 3.1.2.6
_TOKEN = (
    *_BUSY,
    when(say(Kind.RATE_LIMITED, wait=5, backoff=True), "slow_down"),
    when(_DEAD, "invalid_grant", "interaction_required"),
    when(_OPERATOR, "invalid_request", "invalid_client", "invalid_client_id", "unauthorized_client", "invalid_scope"),
    when(
        _OPERATOR, "unsupported_grant_type", "redirect_uri_mismatch", "invalid_redirect_uri", "unsupported_token_type"
    ),
    when(HICCUP, "server_error", "temporarily_unavailable"),
    when(HICCUP, status=(301, 307, 308)),
)

# RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6
_CALLBACK = (
    when(_DENIED, "access_denied"),
    when(_RESTART, "login_required", "consent_required", "interaction_required", "account_selection_required"),
    when(_OPERATOR, "invalid_request", "invalid_client", "invalid_scope", "unauthorized_client"),
    when(_OPERATOR, "unsupported_response_type", "redirect_uri_mismatch", "invalid_redirect_uri", "bad_redirect_uri"),
    when(_SAFE, "server_error", "temporarily_unavailable"),
)

GENERIC = Rules(callback=table(*_CALLBACK), token=table(*_TOKEN), revoke=table(*_TOKEN), api=table(*_HTTP))
"""Any OAuth server and API that keep to the RFCs."""


GOOGLE = Rules(
    callback=table(
        when(_ORG, "admin_policy_enforced", "org_internal"),
        when(_OPERATOR, "disallowed_useragent", "deleted_client"),
        *_CALLBACK,
    ),
    token=table(
        when(say(Kind.REAUTH, "org_session_policy"), "invalid_rapt", "rapt_required"),
        when(_OPERATOR, "deleted_client"),
        when(HICCUP, "internal_failure"),
        when(_ORG, "admin_policy_enforced"),
        *_TOKEN,
    ),
    revoke=table(when(_DONE, "invalid_token"), *_TOKEN),
    api=table(
        when(say(Kind.RATE_LIMITED, fix_by="operator"), "dailyLimitExceeded", "dailyLimitExceededUnreg"),
        when(say(Kind.RATE_LIMITED), "quotaExceeded"),
        when(_LIMIT, "rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"),
        when(_ORG, "domainPolicy", "admin_policy_enforced"),
        when(say(Kind.ORG_BLOCKED, "no_mailbox"), "failedPrecondition", text="mail service not enabled"),
        _NAMED,
        when(_SCOPE, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"),
        when(_OPERATOR, "accessNotConfigured", "SERVICE_DISABLED", "CREDENTIALS_MISSING"),
        when(_EXPIRED, "authError", "ACCESS_TOKEN_EXPIRED", "UNAUTHENTICATED"),
        when(_DONE, "duplicate", calls=("idem",)),
        when(_EXISTS, "duplicate", "alreadyExists", "ALREADY_EXISTS"),
        when(_STALE, "conditionNotMet"),
        when(_DONE, "deleted", calls=_WRITES),
        when(_DELETED, "deleted"),
        when(say(Kind.INVALID_INPUT, "drop_sync_token"), "fullSyncRequired", "updatedMinTooLongAgo"),
        when(_LACKS_RIGHTS, "requiredAccessLevel", "forbiddenForNonOrganizer", "forbidden", "PERMISSION_DENIED"),
        when(_HIDDEN, "notFound", "NOT_FOUND"),
        when(_INPUT, "invalidArgument", "invalid", "required", "badRequest", "parseError", "timeRangeEmpty"),
        when(_INPUT, "failedPrecondition", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
        when(HICCUP, "backendError", "internalError", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"),
        *_HTTP,
    ),
    until=r"retry after (\d{4}-\d\d-\d\dT[\d:.]{5,20}Z)",
    implies={
        "email": frozenset({"https://www.googleapis.com/auth/userinfo.email"}),
        "profile": frozenset({"https://www.googleapis.com/auth/userinfo.profile"}),
        "https://www.googleapis.com/auth/userinfo.email": frozenset({"email"}),
        "https://www.googleapis.com/auth/userinfo.profile": frozenset({"profile"}),
    },
)


_SLACK_ANY = (
    when(_LIMIT_60, "ratelimited", "rate_limited"),
    when(say(Kind.TRANSIENT, wait=60, safe=True), "team_added_to_org"),
    when(_SAFE, "request_timeout"),
    when(HICCUP, "fatal_error", "internal_error", "service_unavailable"),
)
_SLACK_API = (
    *_SLACK_ANY,
    when(_ORG, "team_access_not_granted", "org_login_required", "enterprise_is_restricted", "ekm_access_denied"),
    when(_ORG, "restricted_action", "restricted_action_*", "access_denied", "accesslimited", "user_is_restricted"),
    when(_ORG, "two_factor_setup_required", "app_access_restricted"),
    when(_SCOPE, "missing_scope"),
    when(_EXPIRED, "token_expired", "invalid_auth"),
    when(_DEAD, "token_revoked"),
    when(_INACTIVE, "account_inactive"),
    when(_OPERATOR, "not_authed", "not_allowed_token_type"),
    when(_DONE, "already_reacted", "no_reaction", "already_in_channel", "already_archived", "not_archived"),
    when(_DONE, "already_pinned", "no_pin", "already_starred", "not_starred"),
    when(_DONE, "user_not_in_channel", "snooze_not_active"),
    when(_EXISTS, "name_taken"),
    when(_LACKS_RIGHTS, "not_in_channel", "cant_update_message", "cant_delete_message", "no_permission"),
    when(_LACKS_RIGHTS, "not_authorized", "cant_kick_self", "cant_kick_from_general", "cant_archive_general"),
    when(_LACKS_RIGHTS, "cant_leave_general", "last_member", "cant_archive_required"),
    when(_HIDDEN, "channel_not_found", "users_not_found", "user_not_found", "user_not_visible"),
    when(_HIDDEN, "message_not_found", "thread_not_found", "file_not_found", "file_deleted"),
    when(_HIDDEN, "canvas_not_found", "no_such_subteam", "not_found"),
    when(_HIDDEN, "method_not_supported_for_channel_type", "edit_window_closed"),
    when(_INPUT, "is_archived", "msg_too_long", "no_text", "too_many_attachments", "missing_post_type"),
    when(_INPUT, "json_not_object", "msg_blocks_too_long", "time_too_far", "time_in_past", "restricted_too_many"),
    when(_INPUT, "metadata_must_be_sent_from_app", "assistant_search_context_disabled", "feature_not_enabled"),
    when(_INPUT, "cant_invite_self", "too_many_users", "too_long", "bad_timestamp", "too_many_bookmarks"),
    when(_INPUT, "too_many_emoji", "too_many_reactions", "too_many_pins", "users_list_not_supplied"),
    when(_INPUT, "channel_canvas_already_exists", "canvas_creation_failed", "canvas_editing_failed", "snooze_failed"),
    when(_INPUT, "invalid_*"),
    *_HTTP,
)

SLACK = Rules(
    callback=table(*_CALLBACK),
    token=table(
        when(_DEAD, "invalid_refresh_token", "token_expired", "token_revoked"),
        when(_RESTART, "invalid_code", "code_already_used", "code_expired"),
        when(_OPERATOR, "bad_client_secret", "bad_redirect_uri", "invalid_grant_type"),
        *_SLACK_ANY,
        *_TOKEN,
    ),
    revoke=table(when(_DONE, "token_revoked", "invalid_auth", "account_inactive"), *_SLACK_API),
    api=table(*_SLACK_API),
    ok_field="ok",
    roots=("authed_user", ""),
    not_users=frozenset({"bot"}),
    no_token=say(Kind.MISSING_SCOPE, "no_user_token"),
)


GITHUB = Rules(
    callback=table(when(_OPERATOR, "application_suspended"), *_CALLBACK),
    token=table(
        when(_DEAD, "bad_refresh_token"),
        when(_RESTART, "bad_verification_code"),
        when(_OPERATOR, "incorrect_client_credentials", "application_suspended"),
        *_TOKEN,
    ),
    revoke=table(when(_DONE, status=(404, 422)), when(_OPERATOR, status=(401,)), *_TOKEN),
    api=table(
        when(_LIMIT, "RATE_LIMITED"),
        when(_LIMIT, header=("retry-after", r"\w"), status=(403,)),
        when(_LIMIT, header=("x-ratelimit-remaining", r"^0$"), status=(403,)),
        when(say(Kind.RATE_LIMITED, wait=60, backoff=True), text="secondary rate limit", status=(403, 429)),
        when(
            say(Kind.ORG_BLOCKED, fix_by="user"), header=("x-github-sso", r"^required; *url=(?P<url>https://[^\s;,]+)")
        ),
        when(_ORG, header=("x-github-sso", "^required")),
        when(_ORG, "saml_failure"),
        when(_ORG, text=r"(?:the `(?P<about>[\w.-]{1,64})` organization has enabled )?OAuth App access restrictions"),
        when(
            say(Kind.MISSING_SCOPE, fix_by="admin"),
            header=("x-accepted-github-permissions", "^(?P<needed>.+)"),
            text="not accessible by",
        ),
        when(say(Kind.MISSING_SCOPE, fix_by="admin", certain=False), text="not accessible by integration"),
        when(_SCOPE, "INSUFFICIENT_SCOPES", text=r"following scopes: \[(?P<needed>[^\]]+)"),
        when(_SCOPE, "INSUFFICIENT_SCOPES"),
        when(_OPERATOR, text="^requires authentication", status=(401,)),
        when(say(Kind.HIDDEN_OR_NOT_FOUND, "empty_repository"), text="repository is empty", status=(409,)),
        when(_STALE, status=(409,)),
        when(_STALE, "STALE_DATA"),
        when(say(Kind.CONFLICT, "not_mergeable"), status=(405,)),
        when(_EXISTS, "already_exists", status=(422,)),
        when(_EXISTS, text="already exists", status=(422,)),
        when(say(Kind.INVALID_INPUT, "archived"), text="archived", status=(403,)),
        when(_INPUT, status=(410,), calls=_WRITES),
        when(_INPUT, "missing", "missing_field", "invalid", "unprocessable", "UNPROCESSABLE"),
        when(_INPUT, status=(400, 422)),
        when(_HIDDEN, "NOT_FOUND"),
        when(_LACKS_RIGHTS, "FORBIDDEN"),
        when(_OPERATOR, "MAX_NODE_LIMIT_EXCEEDED", "EXCESSIVE_PAGINATION", "undefinedField", "argumentNotAccepted"),
        when(HICCUP, "INTERNAL", "SERVICE_UNAVAILABLE"),
        when(HICCUP, text="^something went wrong while executing", status=(200,)),
        # an App's user token has no scopes to show; most of its 404s are installations that do not cover the object
        when(say(Kind.HIDDEN_OR_NOT_FOUND), header=("x-oauth-scopes", ""), status=(404,)),
        when(say(Kind.HIDDEN_OR_NOT_FOUND, "app_not_installed", certain=False), status=(404,)),
        *_HTTP,
    ),
    graphql=True,
    partial=("x-github-sso", r"^partial-results; *organizations=([\d,]+)", "organizations need SSO"),
    have="x-oauth-scopes",
    accepted="x-accepted-oauth-scopes",
    implies={
        "repo": frozenset({"public_repo", "repo:status", "repo_deployment", "repo:invite", "security_events"}),
        "user": frozenset({"read:user", "user:email", "user:follow"}),
        "admin:org": frozenset({"write:org"}),
        "write:org": frozenset({"read:org"}),
        "project": frozenset({"read:project"}),
        "write:packages": frozenset({"read:packages"}),
    },
    budgets=(Budget("x-ratelimit-remaining", "x-ratelimit-reset", 1, "user"),),
)


LINEAR = Rules(
    callback=table(*_CALLBACK),
    token=table(*_TOKEN),
    revoke=table(when(_DONE, "invalid_request", status=(400,)), *_TOKEN, when(_DONE, status=(400,))),  # of a dead one
    api=table(
        when(_LIMIT_60, "RATELIMITED", "ratelimited"),
        when(_PLAN, "usage limit exceeded", "feature not accessible"),
        when(_SCOPE, text=r"\b(?:invalid|required) (?:\w+ )?scope: *`?(?P<needed>[a-z][\w:.]*)"),
        when(_EXPIRED, "AUTHENTICATION_ERROR", "authentication error"),
        when(_EXISTS, "INPUT_ERROR", "invalid input", text="already exists|conflict on insert"),
        when(_HIDDEN, "INPUT_ERROR", "invalid input", text="entity not found|could not find referenced"),
        when(_OPERATOR, "INPUT_ERROR", "invalid input", text="too complex"),
        when(_OPERATOR, "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "graphql error"),
        when(_LACKS_RIGHTS, "FORBIDDEN", "forbidden"),
        when(_INPUT, "INPUT_ERROR", "INVALID_INPUT", "invalid input", "user error"),
        when(_SAFE, "lock timeout"),
        when(HICCUP, "INTERNAL_SERVER_ERROR", "internal error", "network error", "bootstrap error", "unknown", "other"),
        *_HTTP,
    ),
    graphql=True,
    implies={
        "write": frozenset({"read", "issues:create", "comments:create", "timeSchedule:write"}),
        "admin": frozenset({"write"}),
    },
    budgets=(
        Budget("x-ratelimit-requests-remaining", "x-ratelimit-requests-reset", 0.001, "requests"),
        Budget("x-ratelimit-complexity-remaining", "x-ratelimit-complexity-reset", 0.001, "complexity", always=True),
    ),
)


SALESFORCE = Rules(
    callback=table(when(_ORG, "OAUTH_APP_BLOCKED", "OAUTH_APP_ACCESS_DENIED"), *_CALLBACK),
    token=table(
        when(_ORG, "invalid_grant", text="ip restricted"),
        when(_ORG, "inactive_org"),
        when(_INACTIVE, "invalid_grant", text="inactive user"),
        *_TOKEN,
    ),
    revoke=table(when(_DONE, "unsupported_token_type", status=(400,)), *_TOKEN, when(_DONE, status=(400,))),
    api=table(
        when(say(Kind.RATE_LIMITED, wait=5, about="org"), "REQUEST_LIMIT_EXCEEDED", text="^concurrent"),
        when(say(Kind.RATE_LIMITED, about="org"), "REQUEST_LIMIT_EXCEEDED"),
        when(_ORG, "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"),
        when(_PLAN, "STORAGE_LIMIT_EXCEEDED"),
        when(
            say(Kind.MISSING_SCOPE, needed=("api",), certain=False), "INVALID_SESSION_ID", text="not valid for use with"
        ),
        when(_EXPIRED, "INVALID_SESSION_ID", "Bad_OAuth_Token"),
        when(_EXISTS, "DUPLICATES_DETECTED", "DUPLICATE_VALUE"),
        when(_EXISTS, status=(300,)),
        when(_STALE, "PRECONDITION_FAILED"),
        when(_DELETED, "ENTITY_IS_DELETED"),
        when(_LACKS_RIGHTS, "INSUFFICIENT_ACCESS*"),
        when(_HIDDEN, "NOT_FOUND"),
        when(say(Kind.INVALID_INPUT, "field_level_security", certain=False), "INVALID_FIELD", "INVALID_TYPE"),
        when(_INPUT, "MALFORMED_QUERY", "MALFORMED_ID", "JSON_PARSER_ERROR", "INVALID_QUERY_LOCATOR"),
        when(_INPUT, "REQUIRED_FIELD_MISSING", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "FIELD_INTEGRITY_EXCEPTION"),
        when(_INPUT, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "STRING_TOO_LONG", "INVALID_EMAIL_ADDRESS"),
        when(_SAFE, "UNABLE_TO_LOCK_ROW"),
        when(HICCUP, "UNKNOWN_EXCEPTION", "SERVER_UNAVAILABLE"),
        *_HTTP,
    ),
    implies={"offline_access": frozenset({"refresh_token"}), "refresh_token": frozenset({"offline_access"})},
    still_refused=say(Kind.ORG_BLOCKED, "session_refused"),
)
