"""Providers of other packages: found by their entry point, and never replacing a built-in one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from deputize.core import PROVIDERS, App, Deputy, SettingsError
from deputize.core.oauth.registry import Registry
from deputize.core.providers import PLUGINS, known_providers
from deputize.core.settings import Settings
from tests.support.packages import put
from tests.support.sandbox_deputy import new_vault

ROW: Final = """
from deputize.core import ApiRules, Identity, OAuthEndpoints, Provider

PROVIDER = Provider(
    name={name!r},
    label="Acme",
    oauth=OAuthEndpoints(
        authorize_url="https://acme.example/oauth/authorize",
        token_url="https://acme.example/oauth/token",
    ),
    apis=ApiRules(
        roots={{"acme": "https://api.acme.example/v1"}},
        hosts=frozenset({{"api.acme.example"}}),
        identity=Identity("https://api.acme.example/v1/me", subject="{{id}}", name="{{email}}"),
    ),
)
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution with providers on the path: ``install("acme-x", "x = acme_x", acme_x="code")``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(distribution: str, *points: str, **modules: str) -> None:
        for name in modules:
            monkeypatch.delitem(sys.modules, name, raising=False)
        put(tmp_path, distribution, "deputize.providers", points, modules)
        PLUGINS.forget()

    PLUGINS.forget()
    yield add
    PLUGINS.forget()


@pytest.mark.parametrize("value", ["acme_row", "acme_row:PROVIDER"])
def test_entry_point_is_a_provider_or_a_module_with_one(install: Install, value: str) -> None:
    install("acme-oauth", f"acme = {value}", acme_row=ROW.format(name="acme"))
    assert known_providers()["acme"].label == "Acme" and list(known_providers())[:-1] == list(PROVIDERS)


def test_settings_know_provider_from_a_package(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-oauth", "acme = acme_row", acme_row=ROW.format(name="acme"))
    monkeypatch.setenv("DEPUTIZE_APPS__ACME__CLIENT_ID", "id")
    settings = Settings.load(home=tmp_path)
    assert Registry(settings.all_apps(), settings.all_providers()).app("acme").client_id == "id"


async def test_deputy_without_providers_argument_knows_package_providers(install: Install) -> None:
    install("acme-oauth", "acme = acme_row", acme_row=ROW.format(name="acme"))
    async with Deputy(await new_vault(), [App("acme", "id")], pages="http://127.0.0.1:8736") as deputy:
        [asked] = await deputy.connect("alice", "acme", scopes=["tasks:read"])
        assert asked.provider == "acme"


def test_package_cannot_replace_a_built_in_provider(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("evil", "google = evil_row", evil_row=ROW.format(name="google"))
    with caplog.at_level(logging.WARNING):
        assert known_providers() == PROVIDERS and known_providers()["google"] is PROVIDERS["google"]
    [told] = [record.getMessage() for record in caplog.records]
    assert told == "The provider 'google' of evil 1.2 is skipped: a provider of this name is built in."


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("PROVIDER = 1", "exports no PROVIDER"),
        ("raise RuntimeError('boom')", "RuntimeError: boom."),
        (ROW.format(name="acme").replace('frozenset({"api.acme.example"})', "None"), "TypeError: "),
        (ROW.format(name="acme").replace("oauth=OAuthEndpoints(", "oauth=dict("), "AttributeError: "),
        (ROW.format(name="other"), "its provider is called 'other'"),
        (
            ROW.format(name="acme").replace("https://acme", "http://acme"),
            "oauth.authorize_url 'http://acme.example/oauth/authorize'",
        ),
        (
            ROW.format(name="acme").replace("https://acme", "https://me:hunter2@acme"),
            "oauth.authorize_url 'https://...@acme.ex",
        ),
        (
            ROW.format(name="acme").replace("https://acme.example/", "https://acme.example;x "),
            "is not an https address",
        ),
        (ROW.format(name="acme").replace("{id}", "me"), "its subject names no field of the reply"),
        (ROW.format(name="acme").replace('({"api.acme', '({"web.acme'), "the host of its API 'acme' is not among"),
    ],
)
def test_invalid_package_provider_is_reported_and_skipped(install: Install, code: str, reason: str) -> None:
    install("acme-oauth", "acme = acme_row", acme_row=code)
    assert known_providers() == PROVIDERS
    [skipped] = PLUGINS.skipped()
    assert reason in skipped.reason and skipped.distribution == "acme-oauth 1.2"


@pytest.mark.parametrize("name", ["Google", "git_hub", "g\u043e\u043egle", "github-app"])
def test_package_provider_named_like_a_built_in_one_is_skipped(install: Install, name: str) -> None:
    install("evil", f"{name} = evil_row", evil_row=ROW.format(name=name))
    assert known_providers() == PROVIDERS
    [skipped] = PLUGINS.skipped()
    assert "letters a-z" in skipped.reason or "too much like" in skipped.reason


def test_unknown_provider_error_lists_known_ones_and_how_to_add() -> None:
    with pytest.raises(SettingsError, match="Unknown provider 'acme'; known: google, slack, ") as caught:
        Registry([App("acme", "id")], PROVIDERS)
    assert "Install its package, or register it under `deputize.providers`" in caught.value.hint
