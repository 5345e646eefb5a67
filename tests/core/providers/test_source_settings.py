"""[apps.NAME.source]: its valid settings, their effect, and the errors of invalid ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deputize.core import PROVIDERS, App, Secret, SettingsError
from deputize.core.oauth.app import IdentityAssertion, ServiceAccount, TokenExchange
from deputize.core.oauth.registry import Registry
from deputize.core.settings import Settings

BOT = "bot@acme.iam.gserviceaccount.example"


def source_of(tmp_path: Path, source: dict[str, Any], client_id: str = "an-id") -> Any:
    """Return the source of an app with this table."""
    app = {"client_id": client_id, "client_secret": "a-secret", "source": source}
    [made] = Settings.load(home=tmp_path, apps={"google": app}).all_apps()
    return made.source


def googles_file(tmp_path: Path, **changed: Any) -> Path:
    """Return a service account's key file as Google's console creates it."""
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = {"type": "service_account", "client_email": BOT, "private_key_id": "k-1", "private_key": pem.decode()}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(file | changed))
    path.chmod(0o600)
    return path


def test_each_grant_source_is_read_from_settings(tmp_path: Path) -> None:
    assert source_of(tmp_path, {"kind": "exchange", "token_audience": "crm"}) == TokenExchange(token_audience="crm")
    assert source_of(tmp_path, {"kind": "on_behalf_of", "user_claim": "oid"}).kind == "on_behalf_of"
    assertion = {"kind": "identity_assertion", "identity_app": "okta", "token_audience": "https://auth.example/"}
    assert source_of(tmp_path, assertion) == IdentityAssertion("okta", "https://auth.example/")
    account = source_of(tmp_path, {"kind": "service_account", "organisation": "Acme Ltd", "scopes": ["a", "b"]})
    assert account == ServiceAccount("Acme Ltd", frozenset({"a", "b"}))


def test_google_key_file_is_read(tmp_path: Path) -> None:
    account = {"kind": "service_account", "organisation": "Acme Ltd", "scopes": ["a"]}
    found = source_of(tmp_path, account | {"key_file": str(googles_file(tmp_path))}, BOT)
    assert (found.key.alg, found.key.kid) == ("RS256", "k-1")
    assert "PRIVATE" not in repr(found)


@pytest.mark.parametrize(
    ("client_id", "changed", "says"),
    [
        ("else@acme.example", {}, "another account"),
        (BOT, {"private_key": None}, "no private_key"),
        (BOT, {"private_key": "no PEM"}, "neither PEM nor"),
    ],
)
def test_key_file_of_another_account_is_refused(
    tmp_path: Path, client_id: str, changed: dict[str, Any], says: str
) -> None:
    account = {"kind": "service_account", "organisation": "Acme Ltd", "scopes": ["a"]}
    path = googles_file(tmp_path, **changed)
    with pytest.raises(SettingsError, match=says):
        source_of(tmp_path, account | {"key_file": str(path)}, client_id)


def test_key_file_readable_by_others_is_refused(tmp_path: Path) -> None:
    path = googles_file(tmp_path)
    path.chmod(0o644)
    account = {"kind": "service_account", "organisation": "Acme Ltd", "scopes": ["a"], "key_file": str(path)}
    with pytest.raises(SettingsError, match="service account 'google'"):
        source_of(tmp_path, account, BOT)


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"kind": "magic"},
        {"kind": "exchange", "scopes": ["a"]},
        {"kind": "on_behalf_of", "token_audience": "crm"},
        {"kind": "identity_assertion", "identity_app": "okta"},
        {"kind": "service_account", "organisation": "Acme Ltd", "scopes": []},
        {"kind": "service_account", "organisation": " ", "scopes": ["a"]},
        {"kind": "service_account", "scopes": ["a"]},
    ],
)
def test_invalid_source_setting_is_refused(tmp_path: Path, source: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        source_of(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({}, "apps.google.source.kind: Field required"),
        ({"kind": "magic"}, "apps.google.source.kind: Input should be one of 'exchange', 'on_behalf_of'"),
        ({"kind": "exchange", "audiance": "crm"}, "apps.google.source.audiance: Extra inputs"),
        ({"kind": "service_account", "scopes": ["a"]}, "apps.google.source.organisation: Field required"),
    ],
)
def test_settings_error_names_the_place_of_the_mistake(tmp_path: Path, source: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=f"Settings: {re.escape(says)}"):
        source_of(tmp_path, source)


@pytest.mark.parametrize("file", [{"installed": {"client_id": "x"}}, {"type": "authorized_user", "client_id": "x"}])
def test_other_google_key_file_type_is_named(tmp_path: Path, file: dict[str, Any]) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(file))
    path.chmod(0o600)
    account = {"kind": "service_account", "organisation": "Acme Ltd", "scopes": ["a"], "key_file": str(path)}
    with pytest.raises(SettingsError, match="service account says service_account as its type") as refused:
        source_of(tmp_path, account, BOT)
    assert refused.value.hint == str(path)


@pytest.mark.parametrize("provider", ["github", "github_app", "slack"])
def test_provider_without_service_accounts_stops_the_start(provider: str) -> None:
    source = ServiceAccount("Acme Ltd", frozenset({"a"}))
    with pytest.raises(SettingsError, match="has no service accounts, so the app 'bot' cannot be one"):
        Registry([App(provider, "an-id", Secret("a-secret"), name="bot", source=source)], PROVIDERS)
