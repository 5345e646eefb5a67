"""The table: one entry a provider, facts from the providers' own documentation.

Rows end where their differences end: what all have in common (code flow, S256, rotation, expiry) is the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from deputize.core.oauth.provider import Identity, Permissions, Provider, Site
from deputize.core.oauth.rules import GITHUB as GITHUB_RULES
from deputize.core.oauth.rules import GOOGLE as GOOGLE_RULES
from deputize.core.oauth.rules import LINEAR as LINEAR_RULES
from deputize.core.oauth.rules import SALESFORCE as SALESFORCE_RULES
from deputize.core.oauth.rules import SLACK as SLACK_RULES

_GOOGLE: Final = "https://www.googleapis.com/auth/"
_GMAIL: Final = f"{_GOOGLE}gmail."
_CALENDAR: Final = f"{_GOOGLE}calendar"

GOOGLE = Provider(  # developers.google.com/identity/protocols/oauth2/native-app and .../web-server
    name="google",
    label="Google",
    authorize="https://accounts.google.com/o/oauth2/v2/auth",
    leads_to=("https://*.google.com",),
    token="https://oauth2.googleapis.com/token",
    revoke="https://oauth2.googleapis.com/revoke",
    issuer="https://accounts.google.com",
    api={
        "gmail": "https://gmail.googleapis.com/gmail/v1",
        "gmail_upload": "https://gmail.googleapis.com/upload/gmail/v1",
        "calendar": "https://www.googleapis.com/calendar/v3",
    },
    hosts=frozenset({"gmail.googleapis.com", "www.googleapis.com", "openidconnect.googleapis.com"}),
    identity=Identity("https://openidconnect.googleapis.com/v1/userinfo", "{sub}", "{email}", {"hd": "{hd}"}),
    rules=GOOGLE_RULES,
    always=("openid", "email"),
    spoils={f"{_GMAIL}metadata": "gmail"},  # Gmail refuses queries and bodies then, though others allow them
    aliases={f"{_GOOGLE}userinfo.email": "email", f"{_GOOGLE}userinfo.profile": "profile"},
    scope_words={
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
    },
    params={"access_type": "offline", "include_granted_scopes": "true"},
    params_consent={"prompt": "consent"},
    params_choose={"prompt": "select_account consent"},
    login_hint="login_hint",
    loopback="any_port",
    revokes_all=True,
)


def _by_kind(scopes: Mapping[str, str]) -> dict[str, str]:
    """Slack's scopes that exist once for each kind of conversation: ``{}:read`` and words with ``{}``."""
    kinds = {
        "channels": "public channels",
        "groups": "private channels",
        "im": "direct messages",
        "mpim": "group direct messages",
    }
    return {scope.format(k): words.format(of) for scope, words in scopes.items() for k, of in kinds.items()}


SLACK = Provider(  # docs.slack.dev/authentication/installing-with-oauth, .../using-token-rotation, .../using-pkce
    name="slack",
    label="Slack",
    authorize="https://slack.com/oauth/v2/authorize",
    leads_to=("https://*.slack.com",),  # the workspace's own pages
    token="https://slack.com/api/oauth.v2.access",
    revoke="https://slack.com/api/auth.revoke",
    revoke_by="bearer",
    api={"slack": "https://slack.com/api", "files": "https://files.slack.com"},
    hosts=frozenset({"slack.com", "files.slack.com"}),
    identity=Identity(
        "https://slack.com/api/auth.test",
        "{team_id}:{user_id}",
        "@{user} in {team}",
        {"enterprise_id": "{enterprise_id}", "url": "{url}"},
        method="POST",
    ),
    rules=SLACK_RULES,
    pkce="if_app_enabled",
    client_auth="basic",
    scope_param="user_scope",
    scope_separator=",",
    absent_scope="empty",
    localhost=True,
    loopback_needs_pkce=True,
    revokes_all=True,  # a user has one token for an app and workspace, however often they consent
    scope_words={
        **_by_kind(
            {
                "{}:read": "see which {} you are in, and who else is",
                "{}:history": "read messages in {}",
                "{}:write": "open and manage {} for you",
                "{}:write.topic": "change the topic and purpose of {}",
            }
        ),
        "channels:write.invites": "invite people to public channels",
        "groups:write.invites": "invite people to private channels",
        "chat:write": "send messages as you",
        "search:read": "search messages and files you can see",
        "search:read.public": "search messages in public channels",
        "search:read.private": "search messages in your private channels",
        "search:read.im": "search your direct messages",
        "search:read.mpim": "search your group direct messages",
        "search:read.files": "search files you can see",
        "search:read.users": "search people in your workspace",
        "users:read": "see people in your workspace",
        "users:read.email": "see people's email addresses",
        "users:write": "set whether you are shown as away",
        "users.profile:write": "change your profile and status",
        "usergroups:read": "see user groups and who is in them",
        "reactions:write": "add and remove your reactions",
        "files:read": "see files shared with you",
        "files:write": "upload and change files as you",
        "pins:read": "see pinned messages",
        "pins:write": "pin and unpin messages",
        "bookmarks:read": "see bookmarks of channels",
        "bookmarks:write": "add and remove bookmarks of channels",
        "canvases:write": "make and change canvases as you",
        "dnd:write": "snooze and resume your notifications",
    },
)

_GITHUB_HOSTS: Final = (
    Site(
        r"[a-z0-9-]+\.ghe\.com",
        {"https://github.com": "https://{host}", "https://api.github.com": "https://api.{host}"},
        leads_to=("https:",),  # single sign-on at the company's own server
    ),
    Site(
        r"(?!(?:.*\.)?(?:github|ghe)\.com$).*",
        {"https://github.com": "https://{host}", "https://api.github.com": "https://{host}/api/v3"},
        {"graphql": "https://{host}/api"},
        leads_to=("https:",),
    ),
)

GITHUB = Provider(  # docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
    name="github",
    label="GitHub",
    authorize="https://github.com/login/oauth/authorize",
    token="https://github.com/login/oauth/access_token",
    device="https://github.com/login/device/code",
    revoke="https://api.github.com/applications/{client_id}/grant",
    revoke_one="https://api.github.com/applications/{client_id}/token",  # .../en/rest/apps/oauth-applications
    revoke_by="app",
    revoke_leaked="https://api.github.com/credentials/revoke",  # docs.github.com/en/rest/credentials/revoke
    api={"github": "https://api.github.com", "graphql": "https://api.github.com"},
    hosts=frozenset({"api.github.com"}),
    identity=Identity("https://api.github.com/user", "{id}", "{login}"),
    rules=GITHUB_RULES,
    absent_scope="empty",
    params={"allow_signup": "false"},
    params_consent={"prompt": "select_account"},
    login_hint="login",
    loopback="any_port_same_path",
    revokes_all=True,
    sites=_GITHUB_HOSTS,
    scope_words={
        "repo": "read and change all repositories you can reach, private ones too",
        "public_repo": "read and change public repositories",
        "repo:status": "see and set the status of commits",
        "repo_deployment": "see and change deployments",
        "repo:invite": "accept and decline invitations to repositories",
        "security_events": "see and change security alerts",
        "workflow": "change the workflows of GitHub Actions",
        "gist": "make and change gists as you",
        "notifications": "see your notifications and mark them as read",
        "read:user": "see your profile",
        "user:email": "see your email addresses",
        "user:follow": "follow and unfollow people as you",
        "user": "see and change your profile",
        "read:org": "see your organizations, teams and their members",
        "write:org": "change memberships of your organizations and their projects",
        "admin:org": "manage your organizations and teams",
        "read:project": "see your projects",
        "project": "see and change your projects",
        "write:discussion": "write in team discussions as you",
        "read:packages": "see packages",
        "write:packages": "publish packages",
        "offline_access": "stay connected while you are away",
    },
)

_PERMISSIONS: Final = {  # docs.github.com/en/rest/authentication/permissions-required-for-github-apps
    "actions": "workflow runs",
    "administration": "repositories and their settings",
    "checks": "checks of commits",
    "contents": "files, commits and releases",
    "dependabot_alerts": "alerts about dependencies",
    "discussions": "discussions",
    "gists": "your gists",
    "issues": "issues",
    "members": "members and teams of organizations",
    "metadata": "names and descriptions of repositories",
    "organization_projects": "projects of organizations",
    "pull_requests": "pull requests",
    "secret_scanning_alerts": "alerts about leaked secrets",
    "security_events": "alerts from code scanning",
    "starring": "your stars",
    "statuses": "statuses of commits",
    "vulnerability_alerts": "alerts about vulnerable dependencies",
    "workflows": "workflows of GitHub Actions",
}

GITHUB_APP = replace(  # docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
    GITHUB,
    name="github_app",
    kind="github_app",
    label="GitHub (App)",
    plays="github",
    rules=replace(
        GITHUB_RULES,
        implies={
            **{f"{name}:write": frozenset({f"{name}:read"}) for name in _PERMISSIONS},
            **{f"{name}:admin": frozenset({f"{name}:write"}) for name in _PERMISSIONS},
        },
    ),
    scope_param="",
    permissions=Permissions("https://api.github.com/user/installations?per_page=100", "installations", "permissions"),
    scope_words={
        **{f"{name}:read": f"see {words}, where the app is installed" for name, words in _PERMISSIONS.items()},
        **{
            f"{name}:write": f"see and change {words}, where the app is installed"
            for name, words in _PERMISSIONS.items()
        },
        **{f"{name}:admin": f"manage {words}, where the app is installed" for name, words in _PERMISSIONS.items()},
    },
)

_WHO_IN_LINEAR: Final = "query Whoami { viewer { id name email } organization { id name urlKey } }"

LINEAR = Provider(  # linear.app/developers/oauth-2-0-authentication
    name="linear",
    label="Linear",
    authorize="https://linear.app/oauth/authorize",
    token="https://api.linear.app/oauth/token",
    revoke="https://api.linear.app/oauth/revoke",
    api={"linear": "https://api.linear.app"},
    hosts=frozenset({"api.linear.app"}),
    identity=Identity(
        "https://api.linear.app/graphql",
        "{data.organization.id}:{data.viewer.id}",
        "{data.viewer.name} in {data.organization.urlKey}",
        {"email": "{data.viewer.email}", "organization": "{data.organization.urlKey}"},
        method="POST",
        json={"query": _WHO_IN_LINEAR},
    ),
    rules=LINEAR_RULES,
    scope_separator=",",
    always=("read",),
    params={"actor": "user"},
    params_consent={"prompt": "consent"},
    scope_words={
        "read": "see everything you can see in the workspace",
        "write": "change issues, projects and everything else you can change",
        "issues:create": "create issues as you",
        "comments:create": "comment as you",
        "timeSchedule:write": "make and change schedules",
        "admin": "everything an administrator may do",
    },
)

SALESFORCE = Provider(  # help.salesforce.com: OAuth 2.0 Web Server Flow, Refresh Token Flow, Revoke OAuth Tokens
    name="salesforce",
    label="Salesforce",
    authorize="https://login.salesforce.com/services/oauth2/authorize",
    leads_to=("https://*.salesforce.com", "https://*.force.com", "https://*.salesforce.mil"),  # My Domain
    token="https://login.salesforce.com/services/oauth2/token",
    revoke="https://login.salesforce.com/services/oauth2/revoke",
    issuer="https://login.salesforce.com",
    api={"salesforce": "{instance_url}/services"},
    hosts=frozenset(),
    identity=Identity(
        "https://login.salesforce.com/services/oauth2/userinfo",
        "{organization_id}:{user_id}",
        "{preferred_username|email}",
    ),
    rules=SALESFORCE_RULES,
    always=("api", "refresh_token", "openid"),
    aliases={"offline_access": "refresh_token"},
    params_consent={"prompt": "consent"},
    params_choose={"prompt": "select_account consent"},
    login_hint="login_hint",
    keep={"instance_url": r"https://(?:[a-z0-9-]+\.)+salesforce\.(?:com|mil)"},
    default_lifetime=7200.0,
    localhost=True,
    sites=(
        Site(
            r"(?:login|test)\.salesforce\.com|(?:[a-z0-9-]+\.)+my\.salesforce\.(?:com|mil)",
            {"https://login.salesforce.com": "https://{host}"},
        ),
    ),
    scope_words={
        "openid": "know who you are",
        "id": "see your profile",
        "profile": "see your profile",
        "email": "see your email address",
        "api": "see and change all records that you can see and change",
        "full": "everything you can do in Salesforce",
        "refresh_token": "stay connected while you are away",
    },
)

PROVIDERS: Final = {provider.name: provider for provider in (GOOGLE, SLACK, GITHUB, GITHUB_APP, LINEAR, SALESFORCE)}
