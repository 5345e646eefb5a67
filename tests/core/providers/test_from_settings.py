"""A provider in ``[providers.acme]``: checked like one in code, and every error names the field."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deputize.core import (
    ApiRules,
    App,
    Identity,
    InvalidInput,
    OAuthEndpoints,
    Provider,
    Request,
    SettingsError,
    Steps,
    Toolkit,
    any_of,
)
from deputize.core.oauth.messages import authorize_url
from deputize.core.providers import PROVIDERS
from deputize.core.providers.origin import origin_change, origin_of
from deputize.core.settings import Settings
from deputize.core.vault.grant import Secret
from deputize.core.web.app import pages_app
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.deputies import apps
from tests.support.sandbox_deputy import PAGES, build, consent, new_vault

ACME: Final[dict[str, Any]] = {
    "label": "Acme",
    "oauth": {
        "authorize_url": "https://acme.example/oauth/authorize",
        "token_url": "https://acme.example/oauth/token",
        "revoke_url": "https://acme.example/oauth/revoke",
    },
    "apis": {
        "roots": {"acme": "https://api.acme.example/v1/"},
        "identity": {"url": "https://id.acme.example/me", "subject": "{id}", "name": "{email}"},
    },
    "scope_descriptions": {"tasks:read": "read your tasks"},
}
TOML: Final = """
[providers.acme]
label = "Acme"
scope_descriptions = { "tasks:read" = "read your tasks" }

[providers.acme.oauth]
authorize_url = "https://acme.example/oauth/authorize"
token_url = "https://acme.example/oauth/token"
revoke_url = "https://acme.example/oauth/revoke"

[providers.acme.apis]
roots = { acme = "https://api.acme.example/v1" }
identity = { url = "https://id.acme.example/me", subject = "{id}", name = "{email}" }

[apps.acme]
client_id = "acme-client"
"""
APP: Final = App("acme", "acme-client")


def load(home: Path, changes: Mapping[str, Any] | None = None) -> Settings:
    """Load settings with this provider, changed at these paths (``oauth.token_url``); None removes a field."""
    row = deepcopy(ACME)
    for place, value in (changes or {}).items():
        *parts, last = place.split(".")
        table = row
        for part in parts:
            table = table.setdefault(part, {})
        table[last] = value
        if value is None:
            del table[last]
    return Settings.load(home=home, providers={"acme": row}, apps={"acme": {"client_id": "acme-client"}})


def test_provider_from_a_file_equals_one_written_in_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deputize.toml").write_text(TOML)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path))
    settings = Settings.load()
    assert settings.all_providers()["acme"] == Provider(
        name="acme",
        label="Acme",
        oauth=OAuthEndpoints(
            authorize_url="https://acme.example/oauth/authorize",
            token_url="https://acme.example/oauth/token",
            revoke_url="https://acme.example/oauth/revoke",
        ),
        apis=ApiRules(
            roots={"acme": "https://api.acme.example/v1"},
            hosts=frozenset({"api.acme.example", "id.acme.example"}),
            identity=Identity("https://id.acme.example/me", subject="{id}", name="{email}"),
        ),
        scope_descriptions={"tasks:read": "read your tasks"},
    )
    assert [app.provider for app in settings.all_apps()] == ["acme"]


def test_provider_from_settings_asks_with_pkce(tmp_path: Path) -> None:
    row = load(tmp_path, {"oauth.params": {"audience": "tasks"}}).all_providers()["acme"]
    url = authorize_url(
        row, APP, redirect_uri="https://x.example/callback/acme", scopes=frozenset(), state=Secret("s"), challenge="c"
    )
    assert "code_challenge_method=S256" in url and "audience=tasks" in url


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("oauth.authorize_url", "http://acme.example/oauth/authorize"),
        ("oauth.token_url", "acme.example/oauth/token"),
        ("oauth.token_url", "https://user@acme.example/token"),
        ("oauth.token_url", "https://:evil@acme.example/token"),
        ("oauth.token_url", "https://acme.example:evil"),
        ("oauth.token_url", "https://acme.example\\.evil.example/token"),
        ("oauth.token_url", "https://acme.example:99999/token"),
        ("oauth.authorize_url", "https://acme.example;script-src 'unsafe-inline'/"),
        ("oauth.authorize_url", "https://acme.example/\r\nX-Evil: 1"),
        ("oauth.revoke_url", "ftp://acme.example/revoke"),
        ("oauth.device_url", "http://localhost/device"),
        ("apis.roots.acme", "http://api.acme.example"),
        ("apis.roots.acme", "{instance_url}/v1"),
        ("apis.identity.url", "http://acme.example/me"),
        ("apis.roots.acme", "https://api.acme.example/v1?evil="),
        ("apis.identity.subject", ""),
        ("apis.identity.subject", "everybody"),
        ("apis.hosts.0", "https://api.acme.example"),
        ("oauth.pkce", "never"),
        ("oauth.client_auth", "jwt"),
        ("oauth.default_lifetime", -1),
        ("oauth.params", {"redirect_uri": "https://evil.example"}),
        ("oauth.params", {"Redirect_URI": "https://evil.example"}),
        ("oauth.params_consent", {"client_secret": "evil"}),
        ("oauth.login_hint", "state"),
        ("oauth.csp_form_targets.0", "*; script-src *"),
        ("plain_http", True),
        ("oauth.plain_http", True),
        ("apis.request_headers", ["authorization"]),
        ("token", "https://acme.example/token"),
        ("stands_in_for", "google"),
        ("oauth.tokne", "https://acme.example/token"),
    ],
)
def test_invalid_value_is_refused_with_its_field_name(tmp_path: Path, field: str, value: Any) -> None:
    change = {field.removesuffix(".0"): [value]} if field.endswith(".0") else {field: value}
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, change)
    assert f"providers.acme.{field}: " in caught.value.message and "evil" not in caught.value.message


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_built_in_provider_name_is_refused(tmp_path: Path, name: str) -> None:
    settings = Settings.load(home=tmp_path, providers={name: ACME})
    with pytest.raises(SettingsError, match=rf"\[providers.{name}\]: there is a provider of this name already"):
        settings.all_providers()


@pytest.mark.parametrize("name", ["", "Acme", "a b", "a/b", "-a", "a" * 61, "Google", "google ", "g\u043e\u043egle"])
def test_invalid_provider_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be called"):
        Settings.load(home=tmp_path, providers={name: ACME}).all_providers()


@pytest.mark.parametrize("name", ["github-app", "git-hub", "google_", "githubapp"])
def test_name_differing_from_a_built_in_one_by_a_dash_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="too much like that of the built-in"):
        Settings.load(home=tmp_path, providers={name: ACME}).all_providers()


def test_host_is_case_insensitive(tmp_path: Path) -> None:
    row = load(
        tmp_path, {"apis.roots.acme": "https://API.acme.example/v1", "apis.hosts": ["Files.Acme.Example"]}
    ).all_providers()
    assert row["acme"].apis.hosts == {"api.acme.example", "id.acme.example", "files.acme.example"}


def test_http_is_for_loopback_and_then_for_all_urls(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="all are http on loopback"):
        load(tmp_path, {"apis.roots.acme": "http://127.0.0.1:9000/v1"})
    base = "http://127.0.0.1:9000"
    oauth = ("oauth.authorize_url", "oauth.token_url", "oauth.revoke_url")
    places = {name: f"{base}/{name}" for name in (*oauth, "apis.roots.acme", "apis.identity.url")}
    row = load(tmp_path, places).all_providers()["acme"]
    assert row.plain_http and row.apis.hosts == {"127.0.0.1:9000"}


def test_grant_is_of_another_origin_after_its_provider_moved(tmp_path: Path) -> None:
    before = origin_of(load(tmp_path).all_providers()["acme"], APP)
    for change in ({"oauth.token_url": "https://evil.example/token"}, {"oauth.revoke_url": "https://evil.example/r"}):
        assert origin_change(before, load(tmp_path, change).all_providers()["acme"], APP) == "place"
    assert origin_change(None, load(tmp_path).all_providers()["acme"], APP) == "place"  # not of a time before origins


def test_server_with_an_issuer_cannot_have_a_defined_providers_name(tmp_path: Path) -> None:
    apps = {"acme": {"client_id": "a", "issuer": "https://acme.example"}}
    with pytest.raises(SettingsError, match="'acme' is known without one"):
        Settings.load(home=tmp_path, providers={"acme": ACME}, apps=apps).issuers()


TASKS: Final = Toolkit("tasks", provider="acme", api="acme")


@TASKS.tool(needs=[any_of("tasks:read")])
def mine() -> Steps:
    """Whose tasks these are."""
    found = yield Request("GET", "/tasks")
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"oauth.token_url": "https://evil.example/token"},
        {"oauth.authorize_url": "https://evil.example/authorize"},
        {"oauth.revoke_url": "https://evil.example/revoke"},
        {"oauth.issuer": "https://evil.example"},
        {"apis.roots.acme": "https://evil.example/v1"},
    ],
    ids=lambda change: str(*change),
)
async def test_token_never_goes_to_the_changed_urls_of_a_provider(tmp_path: Path, change: dict[str, Any]) -> None:
    sandbox = Sandbox()
    sandbox.play(load(tmp_path).all_providers()["acme"], lambda call: {"who": call.person.email})
    evil = load(tmp_path, change).all_providers()["acme"]
    vault, ours = await new_vault(), [one for one in apps(sandbox) if one.provider == "acme"]
    before = await build(sandbox, vault=vault, apps=ours, providers=sandbox_rows(sandbox), toolkits=[TASKS])
    [asked] = await before.connect("alice", "acme", scopes=["tasks:read"])
    await consent(before, sandbox, asked)
    assert await before.act("tasks_mine", {}, user="alice") == {"who": "alice@example.test"}

    async def stolen(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url.host} was called")

    after = await build(
        vault=vault, apps=ours, providers={"acme": evil}, toolkits=[TASKS], transport=httpx.MockTransport(stolen)
    )
    with pytest.raises(InvalidInput) as refused:
        await after.act("tasks_mine", {}, user="alice")
    assert refused.value.reason == "moved"
    await vault.close()


async def test_account_of_a_removed_provider_can_be_disconnected(tmp_path: Path) -> None:
    sandbox = Sandbox()
    sandbox.play(load(tmp_path).all_providers()["acme"], lambda call: {})
    vault, ours = await new_vault(), [one for one in apps(sandbox) if one.provider == "acme"]
    before = await build(sandbox, vault=vault, apps=ours, providers=sandbox_rows(sandbox), toolkits=[TASKS])
    [asked] = await before.connect("alice", "acme", scopes=["tasks:read"])
    await consent(before, sandbox, asked)
    after = await build(sandbox, vault=vault)
    [held] = await after.connections("alice")
    with pytest.raises(InvalidInput, match="Unknown provider 'acme'"):
        await after.revoke("bob", "acme")  # not one of his
    page = Browser(httpx.ASGITransport(pages_app(after, verifier=lambda _: "alice")), base_url=PAGES)
    asking = await page.open("/connections")
    [form] = [one for one in asking.forms if one.action.endswith("/revoke")]
    sure = await page.submit(asking, form)
    told = await page.submit(sure, sure.forms[0], sure="yes")
    assert told.status == 200 and await after.connections("alice") == []
    [ended] = await before.revoker.retry()  # sent once the row is back
    assert (held.provider, ended) == ("acme", "done")


def sandbox_rows(sandbox: Sandbox) -> dict[str, Provider]:
    return {name: one.row for name, one in sandbox.played.items()}


def test_provider_with_a_key_set_needs_an_issuer_instead_of_identity(tmp_path: Path) -> None:
    keys = {"oauth.jwks_url": "https://acme.example/keys", "oauth.id_token_algs": ["ES256"]}
    given, issuer = keys | {"apis.identity": None}, {"oauth.issuer": "https://acme.example"}
    row = load(tmp_path, given | issuer).all_providers()["acme"]
    assert (row.oauth.jwks_url, row.apis.identity.subject) == ("https://acme.example/keys", "{sub}")
    assert row.oauth.id_token_algs == {"ES256"}
    assert row.apis.hosts == {"api.acme.example"}
    with pytest.raises(SettingsError, match=r"oauth\.jwks_url requires oauth\.issuer"):
        load(tmp_path, given)
    with pytest.raises(SettingsError, match=r"apis\.identity\.url"):
        load(tmp_path, {"apis.identity": None})
    with pytest.raises(SettingsError, match="an https address"):
        load(tmp_path, issuer | {"oauth.jwks_url": "http://acme.example/keys"})
