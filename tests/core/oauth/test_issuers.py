"""A server that settings name by its issuer only: from ``deputize.toml`` to an act, and while it is down."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deputize.core import (
    PROVIDERS,
    Call,
    Deputy,
    ProviderUnavailable,
    Request,
    SettingsError,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.background_loop import portal
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.from_settings import find_providers
from deputize.core.oauth.discover import KnownIssuers, discover
from deputize.core.oauth.server_metadata import check_addresses
from deputize.core.settings import AppSettings, Settings
from deputize.core.tools.catalog import Catalog
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from tests.core.oauth.test_discover import ISSUER, METADATA, OAUTH

APP = AppSettings(
    client_id="a-client", issuer=ISSUER, api={"acme": "https://api.example.test/v1"}, allow_private_network=True
)
CONFIG = f"""
[apps.acme]
client_id = "a-client"
issuer = "{ISSUER}"
label = "Acme"
resource = "https://api.example.test/"
allow_private_network = true
api = {{ acme = "https://api.example.test/v1" }}
"""

acme = Toolkit("acme", provider="acme")


@acme.tool(needs=[any_of("email")])
def me() -> Steps:
    """Who am I at Acme?"""
    found = yield Request("GET", "/me")
    return found["name"]


class Acme(httpx.AsyncBaseTransport):
    """An authorization server with metadata, tokens and an API; ``down`` stops all responses."""

    def __init__(self) -> None:
        self.down, self.forms = False, list[dict[str, list[str]]]()
        self.said: dict[str, Any] = dict(METADATA)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("down")
        url = str(request.url)
        if url == OAUTH:
            return httpx.Response(200, content=json.dumps(self.said).encode())
        if url == f"{ISSUER}/token":
            self.forms.append(parse_qs(request.content.decode()))
            token = {"access_token": "a" * 20, "token_type": "Bearer", "scope": "openid email", "expires_in": 3600}
            return httpx.Response(200, json=token | {"refresh_token": "r" * 20})
        if url == f"{ISSUER}/me":
            return httpx.Response(200, json={"sub": "1", "email": "alice@example.test"})
        if url == "https://api.example.test/v1/me":
            return httpx.Response(200, json={"name": "Alice"})
        return httpx.Response(404)


@pytest.fixture
def server() -> Acme:
    return Acme()


@pytest.fixture
def vault() -> Vault:
    return portal().run(Vault.open(MemoryStore(), [secrets.token_bytes(32)]))


def test_A14_issuer_and_resource_settings_are_enough_for_an_own_toolkit(
    server: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deputize.toml").write_text(CONFIG)
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(tmp_path / "deputize.toml"))
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEPUTIZE_PORT", "0")
    with Deputy.from_settings(transport=server, policy=allow_all) as deputy:
        deputy.resolver.catalog = Catalog([acme])
        (consent,) = deputy.run(deputy.connect("alice", tools=["acme_me"]))
        assert (consent.provider, consent.scope_descriptions) == ("acme", ("see your email address",))
        started = deputy.run(deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser()))
        asked = parse_qs(urlsplit(started.url).query)
        back = {"code": "a-code", "state": asked["state"][0]}
        deputy.run(deputy.consents.finish("acme", back, AnyLocalUser(), started.nonce.reveal()))
        assert deputy.run(deputy.act("acme_me", {}, user="alice", call=Call(id="1"))) == "Alice"
        (grant,) = deputy.run(deputy.vault.list_grants(User("alice")))
        deputy.run(deputy.refresher.get_live(grant, grant.access_token))
    assert asked["resource"] == ["https://api.example.test/"]
    assert [form["grant_type"] for form in server.forms] == [["authorization_code"], ["refresh_token"]]
    assert all(form["resource"] == ["https://api.example.test/"] for form in server.forms)


def test_failed_start_releases_the_vault(server: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deputize.toml").write_text(CONFIG)
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(tmp_path / "deputize.toml"))
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    for bad in (True, False):
        server.down, server.said["issuer"] = bad, "https://evil.example.test"
        with pytest.raises(ProviderUnavailable if bad else SettingsError):
            Deputy.from_settings(transport=server)
    server.said["issuer"] = ISSUER
    with Deputy.from_settings(transport=server) as deputy:
        assert deputy.providers["acme"].label == "Acme"
    assert not [one.name for one in threading.enumerate() if "sqlite" in one.name.lower()]


async def test_resource_is_not_sent_unless_configured(server: Acme, vault: Vault) -> None:
    rows = await find_providers(Settings.load(apps={"acme": APP}), vault, server)
    assert rows["acme"].oauth.resource == ""


async def test_server_down_at_start_uses_stored_metadata(server: Acme, vault: Vault) -> None:
    said = Settings.load(apps={"acme": APP})
    first = (await find_providers(said, vault, server))["acme"]
    server.down = True
    assert (await find_providers(said, vault, server))["acme"] == first
    server.down = False
    server.said["token_endpoint"] = f"{ISSUER}/token2"
    assert (await find_providers(said, vault, server))["acme"].oauth.token_url == f"{ISSUER}/token2"
    server.down = True
    assert (await find_providers(said, vault, server))["acme"].oauth.token_url == f"{ISSUER}/token2"


async def test_server_never_reached_stops_the_start(server: Acme, vault: Vault) -> None:
    server.down = True
    with pytest.raises(ProviderUnavailable):
        await find_providers(Settings.load(apps={"acme": APP}), vault, server)


async def test_metadata_of_one_issuer_is_never_used_for_another(server: Acme, vault: Vault) -> None:
    await find_providers(Settings.load(apps={"acme": APP}), vault, server)
    assert await KnownIssuers(vault).read(f"{ISSUER}/") is None
    server.down = True
    other = APP.model_copy(update={"issuer": f"{ISSUER}2"})
    with pytest.raises(ProviderUnavailable):
        await find_providers(Settings.load(apps={"acme": other}), vault, server)


async def test_server_with_invalid_metadata_keeps_only_the_valid_stored_one(server: Acme, vault: Vault) -> None:
    said = Settings.load(apps={"acme": APP})
    await find_providers(said, vault, server)
    server.said["issuer"] = "https://evil.example.test"
    with pytest.raises(SettingsError):
        await find_providers(said, vault, server)
    kept = await KnownIssuers(vault).read(ISSUER)
    assert kept is not None and kept["issuer"] == ISSUER


async def test_private_addresses_need_the_setting(server: Acme, vault: Vault) -> None:
    inside = AppSettings(client_id="a", issuer="https://127.0.0.1")
    with pytest.raises(SettingsError):
        await find_providers(Settings.load(apps={"acme": inside}), vault, server)


async def test_stored_discovery_with_private_addresses_needs_the_setting(server: Acme, vault: Vault) -> None:
    inside, known = "https://idp.example.test/me", KnownIssuers(vault)
    server.said["userinfo_endpoint"] = inside
    await discover(ISSUER, name="acme", allow_private_network=True, transport=server, known=known)
    server.down = True

    async def resolve(host: str) -> list[str]:
        return ["10.0.0.7"] if host in inside else ["93.184.215.14"]

    with pytest.raises(SettingsError, match="not a public host"):
        await discover(ISSUER, name="acme", transport=server, resolve=resolve, known=known)

    async def none(host: str) -> list[str]:
        raise OSError("no names now")

    row = await discover(ISSUER, name="acme", transport=server, resolve=none, known=known)
    assert row.apis.identity.url == inside


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "device_authorization_endpoint"])
@pytest.mark.parametrize(
    "place", ["https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token"]
)
async def test_server_with_another_providers_endpoint_stops_the_start(
    server: Acme, vault: Vault, name: str, place: str
) -> None:
    """Otherwise people would consent at Google's page, and this server would get the code."""
    server.said[name] = place
    app = APP.model_copy(update={"trusted_origins": ["https://accounts.google.com", "https://oauth2.googleapis.com"]})
    with pytest.raises(SettingsError, match="Google"):
        await find_providers(Settings.load(apps={"acme": app}), vault, server)


async def test_two_realms_of_one_server_are_allowed(server: Acme, vault: Vault) -> None:
    theirs = Settings.load(apps={"acme": APP, "beta": APP.model_copy(update={"label": "Beta"})})
    rows = await find_providers(theirs, vault, server)
    assert rows["acme"].oauth.token_url == rows["beta"].oauth.token_url


def test_issuer_of_a_built_in_provider_must_use_that_provider() -> None:
    theirs = PROVIDERS["google"]
    row = replace(theirs, name="work", oauth=replace(theirs.oauth, issuer="https://accounts.google.com"))
    check_addresses(row, PROVIDERS.values())
    with pytest.raises(SettingsError, match="Google"):
        check_addresses(replace(row, oauth=replace(row.oauth, issuer=ISSUER)), PROVIDERS.values())


@pytest.mark.parametrize("change", [{"par": True}, {"dpop": True}, {"assertion_audience": "token"}, {"resource": "x"}])
def test_apps_of_one_server_must_agree_on_its_settings(change: dict[str, Any]) -> None:
    other = APP.model_copy(update={"provider": "acme", **change})
    with pytest.raises(SettingsError, match="configure it differently"):
        Settings.load(apps={"acme": APP, "second": other}).issuers()
    assert Settings.load(apps={"acme": APP, "second": APP.model_copy(update={"provider": "acme"})}).issuers()


@pytest.mark.parametrize("name", ["par", "dpop", "assertion_audience"])
def test_issuer_only_setting_is_refused_without_an_issuer(name: str) -> None:
    said = {"assertion_audience": "token"}.get(name, True)
    with pytest.raises(SettingsError, match=f"apps.google.*{name}.*issuer"):
        Settings.load(apps={"google": {"client_id": "a", name: said}})
