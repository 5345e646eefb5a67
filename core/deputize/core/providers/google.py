"""Google: Gmail, Calendar, contacts (the People API) and Drive.

Sources: developers.google.com/identity/protocols/oauth2, the APIs' references and discovery documents.
"""

from __future__ import annotations

from typing import Final

from deputize.core.failures import SERVER_ERROR, Kind, Rules, TokenShape, outcome_of, table, when
from deputize.core.failures.standard import (
    CALLBACK,
    DELETED,
    DONE,
    EXISTS,
    EXPIRED,
    HIDDEN,
    HTTP,
    INPUT,
    LACKS_RIGHTS,
    LIMIT,
    NAMED,
    OPERATOR,
    ORG,
    SCOPE,
    STALE,
    TOKEN,
    WRITES,
)
from deputize.core.oauth.provider import ApiRules, Identity, Imports, OAuthEndpoints, Provider

MAILBOX_DOMAINS: Final = ("gmail.com", "googlemail.com")
"""Domains of one mailbox: dots in its name do not count."""
_GOOGLE: Final = "https://www.googleapis.com/auth/"
_FULL: Final = ("storageQuotaExceeded", "teamDriveFileLimitExceeded", "activeItemCreationLimitExceeded")
GOOGLE_RULES = Rules(
    callback=table(
        when(ORG, "admin_policy_enforced", "org_internal"),
        when(OPERATOR, "disallowed_useragent", "deleted_client"),
        *CALLBACK,
    ),
    token=table(
        when(outcome_of(Kind.REAUTH, "org_session_policy"), "invalid_rapt", "rapt_required"),
        when(OPERATOR, "deleted_client"),
        when(SERVER_ERROR, "internal_failure"),
        when(ORG, "admin_policy_enforced"),
        *TOKEN,
    ),
    revoke=table(when(DONE, "invalid_token"), *TOKEN),
    api=table(
        when(outcome_of(Kind.RATE_LIMITED, fix_by="operator"), "dailyLimitExceeded", "dailyLimitExceededUnreg"),
        when(outcome_of(Kind.RATE_LIMITED), "quotaExceeded"),
        when(outcome_of(Kind.RATE_LIMITED, fix_by="user"), "sharingRateLimitExceeded"),
        when(LIMIT, "rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"),
        when(ORG, "domainPolicy", "admin_policy_enforced", "publishOutNotPermitted", "cannotShareTeamDriveWith*"),
        when(ORG, "invalidSharingRequest", text="acl change not allowed"),
        when(outcome_of(Kind.ORG_BLOCKED, "no_mailbox"), "failedPrecondition", text="mail service not enabled"),
        NAMED,
        when(SCOPE, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"),
        when(outcome_of(Kind.MISSING_SCOPE, needed=(f"{_GOOGLE}drive",)), "appNotAuthorizedToFile"),
        when(OPERATOR, "accessNotConfigured", "SERVICE_DISABLED", "CREDENTIALS_MISSING"),
        when(EXPIRED, "authError", "ACCESS_TOKEN_EXPIRED", "UNAUTHENTICATED"),
        when(DONE, "duplicate", calls=("idem",)),
        when(EXISTS, "duplicate", "alreadyExists", "ALREADY_EXISTS"),
        when(STALE, "conditionNotMet"),
        when(DONE, "deleted", calls=WRITES),
        when(DELETED, "deleted"),
        when(outcome_of(Kind.INVALID_INPUT, "drop_sync_token"), "fullSyncRequired", "updatedMinTooLongAgo"),
        when(DONE, "invalidSharingRequest", text="successfully shared", calls=WRITES),  # only the emails failed
        when(outcome_of(Kind.INVALID_INPUT, "storage_full", fix_by="user"), *_FULL),
        when(outcome_of(Kind.INVALID_INPUT, "too_large"), "exportSizeLimitExceeded"),
        when(outcome_of(Kind.INVALID_INPUT, "other_format"), "fileNotDownloadable", "fileNotExportable"),
        when(INPUT, "invalidSharingRequest", "teamDrivesFolderMoveInNotSupported", "*HierarchyTooDeep"),
        when(INPUT, "numChildrenInNonRootLimitExceeded"),
        when(LACKS_RIGHTS, "requiredAccessLevel", "forbiddenForNonOrganizer", "forbidden", "PERMISSION_DENIED"),
        when(HIDDEN, "notFound", "NOT_FOUND"),
        when(INPUT, "invalidArgument", "invalid", "required", "badRequest", "parseError", "timeRangeEmpty"),
        when(INPUT, "failedPrecondition", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
        when(SERVER_ERROR, "backendError", "internalError", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"),
        *HTTP,
    ),
    until=r"retry after (\d{4}-\d\d-\d\dT[\d:.]{5,20}Z)",
    reason=("error.message", "error.errors[].message", "error.details[].fieldViolations[].description"),
    reason_fields=("error.errors[].location", "error.details[].fieldViolations[].field"),
    error_names=("error.details[].reason", "error.errors[].reason", "error.status", "error_subtype"),
    implies={
        "email": frozenset({"https://www.googleapis.com/auth/userinfo.email"}),
        "profile": frozenset({"https://www.googleapis.com/auth/userinfo.profile"}),
        "https://www.googleapis.com/auth/userinfo.email": frozenset({"email"}),
        "https://www.googleapis.com/auth/userinfo.profile": frozenset({"profile"}),
    },
)

_GMAIL: Final = f"{_GOOGLE}gmail."
_CALENDAR: Final = f"{_GOOGLE}calendar"

GOOGLE = Provider(  # developers.google.com/identity/protocols/oauth2/native-app and .../web-server
    name="google",
    label="Google",
    oauth=OAuthEndpoints(
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        csp_form_targets=("https://*.google.com",),
        token_url="https://oauth2.googleapis.com/token",
        revoke_url="https://oauth2.googleapis.com/revoke",
        issuer="https://accounts.google.com",
        always_scopes=("openid", "email"),
        scope_aliases={f"{_GOOGLE}userinfo.email": "email", f"{_GOOGLE}userinfo.profile": "profile"},
        params={"access_type": "offline", "include_granted_scopes": "true"},
        params_consent={"prompt": "consent"},
        params_choose={"prompt": "select_account consent"},
        login_hint="login_hint",
        revokes_all=True,
    ),
    apis=ApiRules(
        roots={
            "gmail": "https://gmail.googleapis.com/gmail/v1",
            "gmail_upload": "https://gmail.googleapis.com/upload/gmail/v1",
            "calendar": "https://www.googleapis.com/calendar/v3",
            "people": "https://people.googleapis.com/v1",
            "drive": "https://www.googleapis.com/drive/v3",
            "drive_upload": "https://www.googleapis.com/upload/drive/v3",
        },
        hosts=frozenset(
            {"gmail.googleapis.com", "www.googleapis.com", "people.googleapis.com", "openidconnect.googleapis.com"}
        ),
        shared_hosts=frozenset({"google.com"}),
        request_headers=frozenset({"x-upload-content-type"}),
        identity=Identity("https://openidconnect.googleapis.com/v1/userinfo", "{sub}", "{email}", {"hd": "{hd}"}),
        imports=Imports(unique_names=True),
        # Gmail refuses queries and bodies then, though others allow them
        incompatible_scopes={f"{_GMAIL}metadata": "gmail"},
    ),
    rules=GOOGLE_RULES,
    token_shapes=(
        TokenShape("ya29.", r"\bya29\.[A-Za-z0-9_\-.]{20,}"),
        TokenShape("1//", r"(?<![A-Za-z0-9/])1//[A-Za-z0-9_\-]{20,}"),
        TokenShape("4/0", r"(?<![A-Za-z0-9/])4/0[A-Za-z0-9_\-]{20,}"),
        TokenShape("gocspx-", r"\bGOCSPX-[A-Za-z0-9_\-]{20,}"),
    ),
    scope_descriptions={
        "openid": "know who you are",
        "email": "see your email address",
        "profile": "see your name and picture",
        f"{_GMAIL}readonly": "read your email",
        f"{_GMAIL}send": "send email as you",
        f"{_GMAIL}compose": "write drafts and send email as you",
        f"{_GMAIL}modify": "read, write, send and move your email to the bin",
        f"{_GMAIL}labels": "see and change your email labels",
        f"{_GMAIL}settings.basic": "see and change your email settings and filters",
        f"{_GMAIL}metadata": "see who writes to you and about what, not the text of your email",
        "https://mail.google.com/": "read, write, send and delete all your email for good",
        _CALENDAR: "see, change, share and delete all your calendars",
        f"{_CALENDAR}.readonly": "see all your calendars and their events",
        f"{_CALENDAR}.events": "see and change events on all your calendars",
        f"{_CALENDAR}.events.readonly": "see events on all your calendars",
        f"{_CALENDAR}.events.owned": "see and change events on calendars you own",
        f"{_CALENDAR}.events.owned.readonly": "see events on calendars you own",
        f"{_CALENDAR}.events.freebusy": "see when you and others are free on calendars you can open",
        f"{_CALENDAR}.freebusy": "see when you are free on your calendars",
        f"{_CALENDAR}.calendarlist": "see, add and remove calendars in your list",
        f"{_CALENDAR}.calendarlist.readonly": "see the list of your calendars",
        f"{_CALENDAR}.calendars": "make calendars and change their names and settings",
        f"{_CALENDAR}.app.created": "make calendars, and manage those and their events, but no others",
        f"{_CALENDAR}.acls": "see and change who may use your calendars",
        f"{_CALENDAR}.acls.readonly": "see who may use your calendars",
        f"{_CALENDAR}.settings.readonly": "see your calendar settings, such as the time zone",
        f"{_GOOGLE}contacts": "see, change and delete your contacts",
        f"{_GOOGLE}contacts.readonly": "see your contacts",
        f"{_GOOGLE}contacts.other.readonly": "see who wrote to you and is not among your contacts",
        f"{_GOOGLE}directory.readonly": "see who is in your organisation's directory",
        f"{_GOOGLE}drive.file": "see and change the files in your Drive that you open or create with it",
        f"{_GOOGLE}drive.readonly": "see and download all your files in Drive",
        f"{_GOOGLE}drive.metadata.readonly": "see all your files in Drive and who can see them, not their contents",
        f"{_GOOGLE}drive.metadata": "see, rename, move and trash all your files in Drive, not read their contents",
        f"{_GOOGLE}drive": "see, change, share and delete all your files in Drive",
    },
    revoke_note="Google ends everything that this application may do with the account at once, not only for one agent: "
    "mail, calendar, contacts and files alike.",
)
