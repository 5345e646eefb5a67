"""The table of providers: every entry against the provider's documentation, and the two ways to move one elsewhere."""

from __future__ import annotations

import importlib
from dataclasses import fields, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deputize.core import PROVIDERS, App, InvalidInput, Provider, ProviderUnavailable, Request, Secret, SettingsError
from deputize.core.acts.build_request import headers_and_body
from deputize.core.failures import TokenShape, redact
from deputize.core.oauth import messages as flow
from deputize.core.oauth.identity import Permissions
from deputize.core.oauth.provider import NEVER_SET, ApiRules, OAuthEndpoints
from deputize.core.oauth.registry import Registry
from deputize.core.settings import AppSettings, Settings
from tests.support.provider_fields import said_fields, with_fields

GOOGLE, SLACK, GITHUB, GITHUB_APP, LINEAR, SALESFORCE = PROVIDERS.values()
every_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
LOCAL = "http://127.0.0.1:8736"
API = "https://api.github.com"
LOGIN = "https://login.salesforce.com/services/oauth2"
GOOGLE_SCOPES = "https://www.googleapis.com/auth/"

DOCUMENTED: dict[str, dict[str, Any]] = {
    "google": {
        "label": "Google",
        "authorize_url": "https://accounts.google.com/o/oauth2/v2/auth",
        "csp_form_targets": ("https://*.google.com",),
        "incompatible_scopes": {"https://www.googleapis.com/auth/gmail.metadata": "gmail"},
        "token_url": "https://oauth2.googleapis.com/token",
        "revoke_url": "https://oauth2.googleapis.com/revoke",
        "issuer": "https://accounts.google.com",
        "roots": {
            "gmail": "https://gmail.googleapis.com/gmail/v1",
            "gmail_upload": "https://gmail.googleapis.com/upload/gmail/v1",
            "calendar": "https://www.googleapis.com/calendar/v3",
            "people": "https://people.googleapis.com/v1",
            "drive": "https://www.googleapis.com/drive/v3",
            "drive_upload": "https://www.googleapis.com/upload/drive/v3",
        },
        "request_headers": {"x-upload-content-type"},
        "hosts": {
            *("gmail.googleapis.com", "www.googleapis.com", "people.googleapis.com", "openidconnect.googleapis.com"),
        },
        "identity": ("GET", "https://openidconnect.googleapis.com/v1/userinfo", "{sub}", "{email}"),
        "always_scopes": ("openid", "email"),
        "scope_aliases": {f"{GOOGLE_SCOPES}userinfo.{name}": name for name in ("email", "profile")},
        "params": {"access_type": "offline", "include_granted_scopes": "true"},
        "params_consent": {"prompt": "consent"},
        "params_choose": {"prompt": "select_account consent"},
        "login_hint": "login_hint",
        "revokes_all": True,
    },
    "slack": {
        "label": "Slack",
        "authorize_url": "https://slack.com/oauth/v2/authorize",
        "csp_form_targets": ("https://*.slack.com",),
        "token_url": "https://slack.com/api/oauth.v2.access",
        "revoke_url": "https://slack.com/api/auth.revoke",
        "revoke_by": "bearer",
        "roots": {"slack": "https://slack.com/api", "files": "https://files.slack.com"},
        "hosts": {"slack.com", "files.slack.com"},
        "identity": ("POST", "https://slack.com/api/auth.test", "{team_id}:{user_id}", "@{user} in {team}"),
        "pkce": "if_app_enabled",
        "client_auth": "basic",
        "scope_param": "user_scope",
        "scope_separator": ",",
        "fallback_scopes": ("users:read",),
        "absent_scope": "empty",
        "localhost": True,
        "loopback_needs_pkce": True,
        "service_accounts": False,
        "revokes_all": True,
    },
    "github": {
        "refresh_extends": True,
        "service_accounts": False,
        "label": "GitHub",
        "authorize_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token",
        "device_url": "https://github.com/login/device/code",
        "revoke_url": f"{API}/applications/{{client_id}}/grant",
        "revoke_by": "app",
        "revoke_one_url": f"{API}/applications/{{client_id}}/token",
        "revoke_leaked_url": f"{API}/credentials/revoke",
        "roots": {"github": API, "graphql": API},
        "hosts": {"api.github.com"},
        "request_headers": {"x-github-api-version"},
        "identity": ("GET", f"{API}/user", "{id}", "{login}"),
        "absent_scope": "empty",
        "params": {"allow_signup": "false"},
        "params_consent": {"prompt": "select_account"},
        "login_hint": "login",
        "revokes_all": True,
    },
    "linear": {
        "label": "Linear",
        "authorize_url": "https://linear.app/oauth/authorize",
        "token_url": "https://api.linear.app/oauth/token",
        "revoke_url": "https://api.linear.app/oauth/revoke",
        "roots": {"linear": "https://api.linear.app", "uploads": "https://uploads.linear.app"},
        "hosts": {"api.linear.app", "uploads.linear.app"},
        "identity": (
            "POST",
            "https://api.linear.app/graphql",
            "{data.organization.id}:{data.viewer.id}",
            "{data.viewer.name} in {data.organization.urlKey}",
        ),
        "scope_separator": ",",
        "always_scopes": ("read",),
        "params": {"actor": "user"},
        "params_consent": {"prompt": "consent"},
        "ends_replaced": "at_once",
    },
    "salesforce": {
        "label": "Salesforce",
        "authorize_url": f"{LOGIN}/authorize",
        "csp_form_targets": ("https://*.salesforce.com", "https://*.force.com", "https://*.salesforce.mil"),
        "token_url": f"{LOGIN}/token",
        "revoke_url": f"{LOGIN}/revoke",
        "issuer": "https://login.salesforce.com",
        "roots": {"salesforce": "{instance_url}/services"},
        "hosts": set(),
        "request_headers": {"sforce-duplicate-rule-header"},
        "identity": ("GET", f"{LOGIN}/userinfo", "{organization_id}:{user_id}", "{preferred_username|email}"),
        "always_scopes": ("api", "refresh_token", "openid"),
        "scope_aliases": {"offline_access": "refresh_token"},
        "params_consent": {"prompt": "consent"},
        "params_choose": {"prompt": "select_account consent"},
        "login_hint": "login_hint",
        "kept_fields": {"instance_url": r"https://(?:[a-z0-9-]+\.)+salesforce\.(?:com|mil)"},
        "default_lifetime": 7200.0,
        "localhost": True,
        "ends_replaced": "at_once",
    },
}
DOCUMENTED["github_app"] = DOCUMENTED["github"] | {
    "label": "GitHub (App)",
    "scope_param": "",
    "stands_in_for": "github",
}
COMMON: dict[str, Any] = {
    "credential": None,
    "base": "",
    "stands_in_for": "",
    "csp_form_targets": (),
    "jwks_url": "",
    "id_token_algs": set(),
    "par_url": "",
    "device_url": "",
    "resource": "",
    "request_headers": set(),
    "incompatible_scopes": {},
    "revoke_by": "form",
    "revoke_one_url": "",
    "revoke_leaked_url": "",
    "issuer": "",
    "iss_required": False,
    "pkce": "always",
    "client_auth": "post",
    "client_auth_methods": set(),
    "client_auth_algs": set(),
    "assertion_audience": "issuer",
    "scope_param": "scope",
    "scope_separator": " ",
    "always_scopes": (),
    "fallback_scopes": (),
    "more_scopes": False,
    "scope_aliases": {},
    "absent_scope": "requested",
    "params": {},
    "params_consent": {},
    "params_choose": {},
    "login_hint": "",
    "kept_fields": {},
    "default_lifetime": 0.0,
    "refresh_extends": False,
    "localhost": False,
    "loopback_needs_pkce": False,
    "service_accounts": True,
    "revokes_all": False,
    "ends_replaced": "with_grant",
    "dpop": False,
    "plain_http": False,
}
ELSEWHERE = {
    "name",
    "rules",
    "scope_descriptions",
    "sites",
    "shared_hosts",
    "permissions",
    "imports",
    "revoke_note",
    "token_shapes",
}
"""Fields with a test of their own."""


@every_provider
def test_provider_definition_matches_the_documentation(provider: Provider) -> None:
    wanted = COMMON | DOCUMENTED[provider.name] | {"base": provider.name}
    shape = provider.apis.identity
    shown = {name: value for name, value in said_fields(provider).items() if name not in ELSEWHERE}
    shown["identity"] = (shape.method, shape.url, shape.subject, shape.name)
    assert {name: set(v) if isinstance(v, frozenset) else v for name, v in shown.items()} == wanted


@every_provider
def test_provider_is_listed_under_its_name_with_its_rules(provider: Provider) -> None:
    assert PROVIDERS[provider.name] is provider
    name = provider.name.removesuffix("_app")
    own = getattr(importlib.import_module(f"deputize.core.providers.{name}"), f"{name.upper()}_RULES")
    assert provider.rules.api == own.api and provider.rules.token == own.token


@pytest.mark.parametrize("kind", [Provider, OAuthEndpoints, ApiRules])
def test_every_provider_field_is_documented(
    kind: type[Provider | OAuthEndpoints | ApiRules],
) -> None:
    assert all(f"``{one.name}``" in (kind.__doc__ or "") for one in fields(kind) if one.init)


@every_provider
@pytest.mark.parametrize("secret", [Secret("s"), None], ids=["confidential", "public"])
@pytest.mark.parametrize("pkce", [True, False])
def test_A1_every_authorize_url_has_a_challenge_except_slack_without_pkce(
    provider: Provider, secret: Secret | None, pkce: bool
) -> None:
    app = App(provider.name, "id", secret, pkce=pkce)
    url = flow.authorize_url(
        provider,
        app,
        redirect_uri="https://x.example.test/cb",
        scopes=frozenset(),
        state=Secret("s"),
        challenge="c" * 43,
    )
    query = parse_qs(urlsplit(url).query)
    bare = provider.name == "slack" and secret is not None and not pkce
    assert ("code_challenge" not in query) if bare else (query["code_challenge"] == ["c" * 43])
    assert query.get("code_challenge_method") == (None if bare else ["S256"])
    assert query["response_type"] == ["code"] and "response_mode" not in query


@pytest.mark.parametrize(
    ("provider", "query"),
    [
        (GOOGLE, {"scope": "openid email a b"}),
        (SLACK, {"user_scope": "a,b"}),
        (GITHUB, {"scope": "a b"}),
        (GITHUB_APP, {}),
        (LINEAR, {"scope": "read,a,b"}),
        (SALESFORCE, {"scope": "api refresh_token openid a b"}),
    ],
)
def test_A13_scopes_are_requested_in_each_providers_format(provider: Provider, query: dict[str, str]) -> None:
    app = App(provider.name, "id", Secret("s"))
    url = flow.authorize_url(
        provider,
        app,
        redirect_uri="https://x.example.test/cb",
        scopes=frozenset("ab"),
        state=Secret("s"),
        challenge="c",
    )
    asked = {name: value for name, [value] in parse_qs(urlsplit(url).query).items() if "scope" in name}
    assert {name: value for name, value in asked.items() if name != "include_granted_scopes"} == query


# ------------------------------------------------------------- replies

USER = {"id": "U1", "scope": "chat:write,users:read", "access_token": "xoxp", "token_type": "user"}
NESTED = {"ok": True, "app_id": "A1", "authed_user": USER, "team": {"id": "T1"}, "enterprise": None}


@pytest.mark.parametrize(
    "reply",
    [NESTED, {"ok": True, **USER}, NESTED | {"access_token": "xoxb", "token_type": "bot", "scope": "commands"}],
    ids=["nested", "flat", "beside a bot's"],
)
def test_slack_user_token_is_found_in_each_reply(reply: dict[str, Any]) -> None:
    tokens = flow.parse_tokens(SLACK, reply)
    assert tokens.access == Secret("xoxp") and tokens.scopes == frozenset({"chat:write", "users:read"})
    assert (tokens.refresh, tokens.lifetime) == (None, 0.0)


def test_slack_rotating_reply_has_refresh_token_and_twelve_hours() -> None:
    more = {"refresh_token": "xoxe-1", "expires_in": 43200}
    for reply in (NESTED | {"authed_user": USER | more}, {"ok": True, **USER, **more}):
        tokens = flow.parse_tokens(SLACK, reply)
        assert (tokens.refresh, tokens.lifetime) == (Secret("xoxe-1"), 43200)


def test_slack_bot_token_is_not_used_as_the_users() -> None:
    bot = {"ok": True, "access_token": "xoxb", "token_type": "bot", "authed_user": {"id": "U1"}}
    with pytest.raises(ProviderUnavailable):
        flow.parse_tokens(SLACK, bot)


@pytest.mark.parametrize("provider", [GITHUB, GITHUB_APP], ids=["oauth", "app"])
def test_github_token_expires_only_if_the_reply_says_so(provider: Provider) -> None:
    reply = {"access_token": "gho", "scope": "repo,gist", "token_type": "bearer"}
    assert flow.parse_tokens(provider, reply).lifetime == 0
    expiring = reply | {"expires_in": "28800", "refresh_token": "ghr", "refresh_token_expires_in": "15897600"}
    tokens = flow.parse_tokens(provider, expiring)
    assert (tokens.lifetime, tokens.refresh) == (28800, Secret("ghr"))
    assert tokens.scopes == (frozenset({"repo", "gist"}) if provider is GITHUB else None)


@pytest.mark.parametrize("scope", ["read write", "read,write", ["read", "write"]])
def test_linear_scopes_are_read_in_every_format(scope: Any) -> None:
    reply = {"access_token": "lin", "token_type": "Bearer", "expires_in": 86399, "scope": scope, "refresh_token": "r"}
    tokens = flow.parse_tokens(LINEAR, reply)
    assert tokens.scopes == frozenset({"read", "write"}) and tokens.lifetime == 86399


def test_salesforce_token_lives_two_hours_at_its_own_instance() -> None:
    reply = {"access_token": "00D!", "scope": "api refresh_token openid", "token_type": "Bearer"}
    acme = {"instance_url": "https://acme.my.salesforce.com", "issued_at": "1795528800000"}
    tokens = flow.parse_tokens(SALESFORCE, reply | acme)
    assert tokens.lifetime == 7200 and tokens.extra == {"instance_url": "https://acme.my.salesforce.com"}


@pytest.mark.parametrize(
    ("provider", "reply", "subject", "name"),
    [
        (
            SLACK,
            {"ok": True, "team_id": "T1", "user_id": "U1", "user": "alice", "team": "Acme"},
            "T1:U1",
            "@alice in Acme",
        ),
        (GITHUB, {"id": 7, "login": "alice", "email": None}, "7", "alice"),
        (
            LINEAR,
            {"data": {"viewer": {"id": "v", "name": "Alice"}, "organization": {"id": "o", "urlKey": "acme"}}},
            "o:v",
            "Alice in acme",
        ),
        (
            SALESFORCE,
            {"organization_id": "00D", "user_id": "005", "preferred_username": "a@x.test"},
            "00D:005",
            "a@x.test",
        ),
    ],
)
def test_B9_account_subject_is_a_stable_id(provider: Provider, reply: Any, subject: str, name: str) -> None:
    account, _ = flow.parse_identity(provider, reply)
    assert (account.subject, account.name) == (subject, name)


# ------------------------------------------------------------- scopes

GMAIL = "readonly send compose modify labels settings.basic"
CALENDAR = (
    ".readonly .events .events.readonly .events.owned .events.owned.readonly .events.freebusy .freebusy .calendarlist "
    ".calendarlist.readonly .calendars .acls .acls.readonly .settings.readonly"
)
KINDS = ("channels", "groups", "im", "mpim")
USED = {
    "google": [
        *(f"{GOOGLE_SCOPES}gmail.{name}" for name in GMAIL.split()),
        *(f"{GOOGLE_SCOPES}calendar{name}" for name in ["", *CALENDAR.split()]),
    ],
    "slack": [
        *(f"{kind}:{what}" for kind in KINDS for what in ("read", "history", "write", "write.topic")),
        *"channels:write.invites groups:write.invites chat:write search:read users:read users:read.email".split(),
        *(f"search:read.{what}" for what in ("public", "private", "im", "mpim", "files", "users")),
        *"users:write users.profile:write usergroups:read reactions:write files:read files:write pins:read".split(),
        *"pins:write bookmarks:read bookmarks:write canvases:write dnd:write".split(),
    ],
    "github": [
        *"repo public_repo read:org user workflow notifications gist read:project project security_events".split(),
        *"repo:status write:discussion read:user user:email".split(),
    ],
    "github_app": [
        *"issues:write pull_requests:read metadata:read starring:write contents:write members:read".split(),
        *"administration:write checks:read statuses:read actions:write workflows:write gists:write".split(),
        *"discussions:write organization_projects:write security_events:read secret_scanning_alerts:read".split(),
    ],
    "linear": ["read", "write", "issues:create", "comments:create", "admin"],
    "salesforce": ["api", "refresh_token", "openid", "id"],
}


@every_provider
def test_every_scope_used_by_tools_has_a_description(provider: Provider) -> None:
    for scope in (*USED[provider.name], *provider.oauth.always_scopes):
        words = provider.describe(scope)
        assert words != scope and words[0].islower() and not words.endswith(".") and len(words) <= 90, scope


@every_provider
def test_scopes_of_different_reach_have_different_descriptions(provider: Provider) -> None:
    words = [provider.describe(scope) for scope in USED[provider.name]]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("provider", "broad", "narrow"),
    [
        (GITHUB, "repo", "public_repo"),
        (GITHUB, "admin:org", "read:org"),
        (GITHUB_APP, "issues:write", "issues:read"),
        (GITHUB_APP, "members:admin", "members:read"),
        (LINEAR, "admin", "comments:create"),
        (SALESFORCE, "offline_access", "refresh_token"),
    ],
)
def test_broader_scope_covers_a_narrower_one_and_not_vice_versa(provider: Provider, broad: str, narrow: str) -> None:
    assert narrow in provider.implied_scopes(frozenset({broad}))
    if broad not in provider.oauth.scope_aliases:
        assert broad not in provider.implied_scopes(frozenset({narrow}))


# ------------------------------------------------------------- where the browser comes back


@pytest.mark.parametrize(
    ("provider", "pkce", "uri"),
    [
        (GOOGLE, False, f"{LOCAL}/callback/x"),
        (GITHUB, False, f"{LOCAL}/callback/x"),
        (LINEAR, False, f"{LOCAL}/callback/x"),
        (SLACK, True, "http://localhost:8736/callback/x"),
        (SALESFORCE, False, "http://localhost:8736/callback/x"),
    ],
)
def test_A7_loopback_redirect_uri_follows_the_provider(provider: Provider, pkce: bool, uri: str) -> None:
    app = App(provider.name, "id", Secret("s"), "x", pkce)
    assert provider.redirect_uri(LOCAL, app) == uri
    assert provider.redirect_uri("https://x.example.test/in", app) == "https://x.example.test/in/callback/x"


def test_A7_slack_loopback_without_pkce_is_refused() -> None:
    with pytest.raises(SettingsError, match="loopback"):
        SLACK.redirect_uri(LOCAL, App("slack", "id", Secret("s")))
    assert SLACK.redirect_uri("https://x.example.test", App("slack", "id", Secret("s"))).startswith("https://x.")
    assert SLACK.redirect_uri(LOCAL, App("slack", "id")).startswith("http://localhost:8736/")


def test_host_that_only_starts_like_loopback_is_not_renamed() -> None:
    url = "http://127.0.0.1.example.test:8736"
    assert SALESFORCE.redirect_uri(url, App("salesforce", "id")) == f"{url}/callback/salesforce"


# ------------------------------------------------------------- the same software elsewhere


def test_github_enterprise_server_has_all_urls_at_its_own_host() -> None:
    own = GITHUB_APP.at_host("github.example.com", "github_acme")
    assert own.name == "github_acme" and own.apis.hosts == {"github.example.com"}
    assert own.oauth.authorize_url == "https://github.example.com/login/oauth/authorize"
    assert own.apis.roots == {
        "github": "https://github.example.com/api/v3",
        "graphql": "https://github.example.com/api",
    }
    assert own.apis.identity.url == "https://github.example.com/api/v3/user"
    assert own.apis.permissions and own.apis.permissions.url.startswith(
        "https://github.example.com/api/v3/user/installations"
    )
    assert "github.com" not in repr(replace(own, sites=()))


def test_github_with_data_residency_has_its_own_api_host() -> None:
    own = GITHUB.at_host("acme.ghe.com")
    assert (
        own.apis.hosts == {"api.acme.ghe.com"}
        and own.oauth.token_url == "https://acme.ghe.com/login/oauth/access_token"
    )
    assert own.apis.roots["graphql"] == "https://api.acme.ghe.com"


@pytest.mark.parametrize(
    "host", ["test.salesforce.com", "acme.my.salesforce.com", "acme--dev.sandbox.my.salesforce.com"]
)
def test_salesforce_domain_is_the_sign_in_host(host: str) -> None:
    own = SALESFORCE.at_host(host)
    assert own.oauth.token_url == f"https://{host}/services/oauth2/token" and own.oauth.issuer == f"https://{host}"
    assert own.apis.identity.url.startswith(f"https://{host}/") and own.apis.roots == SALESFORCE.apis.roots


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "localhost",
            "127.0.0.1",
            "10.0.0.1",
            "[::1]",
            "2130706433",
            "github.example.com:8443",
            "GitHub.example.com",
        ),
        *(
            "github.example.com/x",
            "https://github.example.com",
            "a@github.example.com",
            "github.example.com.",
            "x..y.test",
        ),
        *("-x.example.com", "x.example.com\n", "é.example.com", "a" * 250 + ".test", "api.github.com", "github.com"),
        *("a.b.ghe.com", "ghe.com", "{host}.example.com", "x_y.example.com"),
    ],
)
def test_D1_invalid_host_name_is_refused(host: str) -> None:
    with pytest.raises(SettingsError):
        GITHUB.at_host(host)


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "salesforce.com", "my.salesforce.com", "acme.my.salesforce.com.evil.test", "x.salesforce.com"],
)
def test_D1_salesforce_is_allowed_at_its_own_hosts_only(host: str) -> None:
    with pytest.raises(SettingsError):
        SALESFORCE.at_host(host)


@pytest.mark.parametrize("provider", [GOOGLE, SLACK, LINEAR])
def test_provider_without_self_hosting_cannot_be_moved(provider: Provider) -> None:
    with pytest.raises(SettingsError):
        provider.at_host("x.example.com")


# ------------------------------------------------------------- where the consent page's form may lead


@pytest.mark.parametrize("host", ["github.example.com", "acme.ghe.com"])
def test_company_single_sign_on_may_be_any_https_host(host: str) -> None:
    assert GITHUB.at_host(host).forms_to("https://d.example.test") == (f"https://{host}", "https:")
    assert GITHUB.forms_to("https://d.example.test") == ("https://github.com",)


def test_form_may_lead_to_localhost_if_the_provider_requires_it() -> None:
    assert SLACK.forms_to("http://127.0.0.1:8736")[-1] == "http://localhost:8736"
    assert "http://localhost" not in " ".join(SLACK.forms_to("https://d.example.test"))
    assert GOOGLE.forms_to("http://127.0.0.1:8736") == ("https://accounts.google.com", "https://*.google.com")


@every_provider
def test_form_action_is_https_and_cannot_end_the_policy(provider: Provider) -> None:
    for source in provider.forms_to("https://d.example.test"):
        assert source.startswith("https:") and not set(source) & set(" ;,'\"\n")


# ------------------------------------------------------------- an API root of a grant's own

ACME = {"instance_url": "https://acme.my.salesforce.com"}


def test_D1_salesforce_grant_may_call_its_own_instance_only() -> None:
    own = SALESFORCE.for_grant(ACME)
    assert own.apis.roots == {"salesforce": "https://acme.my.salesforce.com/services"}
    assert own.apis.hosts == {"acme.my.salesforce.com"}
    assert SALESFORCE.apis.hosts == frozenset() and GOOGLE.for_grant(ACME) is GOOGLE


@pytest.mark.parametrize(
    "value",
    [
        "",
        "https://evil.test",
        "https://salesforce.com.evil.test",
        "https://a.salesforce.com:8443",
        "https://a.salesforce.com\n",
    ],
)
def test_D1_grant_with_a_foreign_instance_has_no_api(value: str) -> None:
    own = SALESFORCE.for_grant({"instance_url": value})
    assert own.apis.roots == {} and own.apis.hosts == frozenset()


def test_api_root_with_an_unstored_field_is_refused() -> None:
    with pytest.raises(SettingsError):
        replace(SALESFORCE, apis=replace(SALESFORCE.apis, kept_fields={}))


def test_salesforce_sandbox_simulates_instances() -> None:
    moved = SALESFORCE.moved_to("http://127.0.0.1:9000")
    reply = {"access_token": "at", "instance_url": "http://127.0.0.1:9000/acme.my.salesforce.com"}
    own = moved.for_grant(flow.parse_tokens(moved, reply).extra)
    assert own.apis.roots == {"salesforce": "http://127.0.0.1:9000/acme.my.salesforce.com/services"}
    assert own.apis.hosts == {"127.0.0.1:9000"}


@every_provider
def test_sandboxed_provider_receives_every_request(provider: Provider) -> None:
    moved = provider.moved_to("http://127.0.0.1:9000")
    rights = [moved.apis.permissions.url] if moved.apis.permissions else []
    roots = [root for root in moved.apis.roots.values() if not root.startswith("{")]
    urls = [
        moved.oauth.authorize_url,
        moved.oauth.token_url,
        moved.oauth.revoke_url,
        moved.apis.identity.url,
        *rights,
        *roots,
    ]
    assert all(url.startswith("http://127.0.0.1:9000/") for url in urls) and moved.apis.hosts == {"127.0.0.1:9000"}
    assert moved.oauth.issuer == provider.oauth.issuer


# ------------------------------------------------------------- as settings say it


def settings(**apps: AppSettings) -> Settings:
    """Return settings with these apps and nothing else."""
    return Settings(apps=apps, vault="memory:")  # type: ignore[call-arg]


def test_settings_choose_a_providers_host_and_slack_pkce() -> None:
    said = settings(
        github=AppSettings(client_id="a", host="github.example.com"), slack=AppSettings(client_id="b", pkce=True)
    )
    assert said.all_providers()["github"].apis.hosts == {"github.example.com"}
    assert said.all_providers()["google"] is GOOGLE
    assert [app.pkce for app in said.all_apps()] == [False, True]


def test_app_at_its_own_host_gets_its_own_provider_for_the_toolkit() -> None:
    said = settings(
        github=AppSettings(client_id="a"),
        work=AppSettings(client_id="b", provider="github", host="github.example.com"),
        robot=AppSettings(client_id="c", provider="github_app", host="acme.ghe.com"),
    )
    rows = said.all_providers()
    assert rows["github"] is GITHUB
    assert (rows["work"].name, rows["work"].base, rows["work"].stands_in_for) == ("work", "github", "github")
    assert (rows["robot"].name, rows["robot"].base, rows["robot"].stands_in_for) == ("robot", "github_app", "github")
    assert rows["work"].apis.hosts == {"github.example.com"} and rows["work"].label == "GitHub (github.example.com)"
    assert [app.provider for app in said.all_apps()] == ["github", "work", "robot"]
    registry = Registry(said.all_apps(), rows)
    assert registry.app("github").name == "github" and registry.app("github", "work").provider == "work"


def test_app_at_its_own_host_is_used_for_the_toolkit_if_it_is_the_only_one() -> None:
    said = settings(work=AppSettings(client_id="b", provider="github", host="github.example.com"))
    assert Registry(said.all_apps(), said.all_providers()).app("github").name == "work"


@pytest.mark.parametrize(
    ("name", "app"),
    [
        ("google", AppSettings(client_id="a", provider="github", host="github.example.com")),
        ("acme", AppSettings(client_id="a", host="github.example.com")),
        ("google", AppSettings(client_id="a", host="google.example.com")),
        ("work", AppSettings(client_id="a", provider="github", host="169.254.169.254")),
    ],
)
def test_app_with_a_taken_name_or_invalid_host_is_refused(name: str, app: AppSettings) -> None:
    with pytest.raises(SettingsError):
        settings(**{name: app}).all_providers()


@pytest.mark.parametrize("more", [{"provider": "google"}, {"host": "github.example.com"}, {"provider": "other"}])
def test_issuer_must_name_a_new_provider_consistently(more: dict[str, str]) -> None:
    other = AppSettings(client_id="x", issuer="https://b.example.test", provider="other")
    one = AppSettings.model_validate({"client_id": "a", "issuer": "https://a.example.test", **more})
    with pytest.raises(SettingsError):
        settings(one=one, two=other).issuers()


def test_token_patterns_of_a_provider_are_redacted_in_every_text() -> None:
    text = "it answered acme-tok-1f2e3d4c5b6a to us"
    assert redact(text) == text
    replace(PROVIDERS["linear"], name="acme", token_shapes=(TokenShape("acme-tok-", r"acme-tok-[0-9a-f]{12}"),))
    assert redact(text) == "it answered [redacted] to us"


@pytest.mark.parametrize("name", sorted(NEVER_SET))
def test_provider_cannot_allow_security_relevant_headers(name: str) -> None:
    with pytest.raises(SettingsError, match=f"apis.request_headers names {name}, which no tool may set"):
        replace(PROVIDERS["linear"], apis=replace(PROVIDERS["linear"].apis, request_headers=frozenset({name})))


def test_header_of_one_provider_is_refused_for_another() -> None:
    request = Request("GET", "/x", headers={"X-GitHub-Api-Version": "2022-11-28"})
    assert ("x-github-api-version", "2022-11-28") in headers_and_body(
        request, PROVIDERS["github"].apis.request_headers
    )[0]
    with pytest.raises(InvalidInput, match="may not set the header 'X-GitHub-Api-Version'"):
        headers_and_body(request, PROVIDERS["linear"].apis.request_headers)


@every_provider
def test_every_api_host_may_receive_tokens(provider: Provider) -> None:
    assert provider.apis.foreign_api() == ""


@pytest.mark.parametrize("place", ["oauth.authorize_url", "oauth.token_url", "oauth.device_url", "oauth.revoke_url"])
def test_oauth_url_without_https_is_refused_with_its_field(place: str) -> None:
    bad = "http://acme.example/x"
    with pytest.raises(SettingsError, match=f"Provider linear: {place} '{bad}' is not an https address"):
        with_fields(PROVIDERS["linear"], **{place.removeprefix("oauth."): bad})


@pytest.mark.parametrize("place", ["apis.roots.linear", "apis.identity.url", "apis.permissions.url"])
def test_api_url_without_https_is_refused_with_its_field(place: str) -> None:
    bad, apis = "http://acme.example/x", PROVIDERS["linear"].apis
    more: dict[str, dict[str, Any]] = {
        "apis.roots.linear": {"roots": {"linear": bad}},
        "apis.identity.url": {"identity": replace(apis.identity, url=bad)},
        "apis.permissions.url": {"permissions": Permissions(bad, "items", "of")},
    }
    with pytest.raises(SettingsError, match=f"Provider linear: {place} '{bad}' is not an https address"):
        with_fields(PROVIDERS["linear"], **more[place])
