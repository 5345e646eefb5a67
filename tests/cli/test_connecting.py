"""The ways to connect from a terminal: by tool, an additional account, another account, and a device code."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest

from deputize.sandbox import Browser
from deputize.sandbox.github import GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET, device
from tests.cli.conftest import Command, Provider
from tests.cli.terminal import LINK, click, talk

BOB = "bob@example.test"


def enter(address: str, code: str, *, as_: str = "alice@example.test", decision: str = "allow") -> None:
    """On another device: open the address, enter the code, and allow or deny."""

    async def visit() -> None:
        async with httpx.AsyncHTTPTransport() as transport:
            browser = Browser(transport)
            page = await browser.open(address)
            page = await browser.submit(page, page.forms[0], user_code=code)
            await browser.submit(page, page.forms[0], account=as_, decision=decision)

    asyncio.run(visit())


def with_github(provider: Provider) -> dict[str, str]:
    """Return settings with a GitHub OAuth App beside Google's."""
    return provider.settings() | {
        "DEPUTIZE_APPS__GITHUB__CLIENT_ID": GITHUB_CLIENT_ID,
        "DEPUTIZE_APPS__GITHUB__CLIENT_SECRET": GITHUB_CLIENT_SECRET,
    }


@pytest.mark.processes
def test_scopes_of_named_tools_are_requested_in_one_link(home: Path, provider: Provider) -> None:
    words = ["connect", "--tool", "gmail_search_emails", "--tool", "gmail_send_email"]
    with talk(*words, home=home, terminal=False, env=provider.settings()) as connecting:
        link = connecting.hear(LINK)[1]
        click(link)
        assert connecting.ends() == 0, connecting.heard
    assert connecting.heard.count("/connect/") == 1
    assert "read your email" in connecting.heard and "send email as you" in connecting.heard


def test_already_granted_tool_is_not_requested_again(cli: Command, settings: dict[str, str]) -> None:
    again = cli("connect", "google", "--tool", "gmail_search_emails", **settings)
    assert (again.exit_code, "/connect/" in again.stderr) == (0, False) and "alice@example.test" in again.stdout


@pytest.mark.parametrize("words", [["connect"], ["connect", "--another"]])
def test_connect_needs_a_provider_or_tool(cli: Command, provider: Provider, words: list[str]) -> None:
    found = cli(*words, **provider.settings())
    assert found.exit_code == 2 and "--tool" in found.output


def test_connect_names_an_unknown_tool_and_asks_nothing(cli: Command, provider: Provider) -> None:
    found = cli("connect", "--tool", "gmail_serch_emails", **provider.settings())
    assert found.exit_code == 1 and "gmail_search_emails" in found.stderr and "/connect/" not in found.stderr


@pytest.mark.processes
@pytest.mark.parametrize(("way", "default"), [("--another", "alice@example.test"), ("--switch", BOB)])
def test_connect_can_add_another_account(
    cli: Command, home: Path, way: str, default: str, settings: dict[str, str]
) -> None:
    words = ["connect", "google", "--scopes", "gmail.readonly", way]
    with talk(*words, home=home, terminal=False, env=settings) as connecting:
        click(connecting.hear(LINK)[1], as_=BOB)
        assert connecting.ends() == 0, connecting.heard
    held = json.loads(cli("accounts", "--json", **settings).stdout)
    assert {one["account"]: one["default"] for one in held}[default] is True and len(held) == 2


@pytest.mark.processes
def test_device_code_is_shown_without_a_browser(
    home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "INTERVAL", 1)
    words = ["connect", "github", "--scopes", "gist", "--device"]
    with talk(*words, home=home, terminal=False, env=with_github(provider)) as connecting:
        address = connecting.hear(r"(http://127\.0\.0\.1:\d+/github\.com/login/device)")[1]
        code = connecting.hear(r"enter the code\s+([A-Z]{4}-[A-Z]{4})")[1]
        connecting.hear("Only if you started this yourself")
        enter(address, code)
        assert connecting.ends() == 0, connecting.heard
    assert "make and change gists as you" in connecting.heard and re.search(r"github\s+alice\b", connecting.heard)
    assert "/connect/" not in connecting.heard


@pytest.mark.processes
def test_denial_on_another_device_ends_connect(home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "INTERVAL", 1)
    with talk("connect", "github", "--device", home=home, terminal=False, env=with_github(provider)) as connecting:
        address = connecting.hear(r"(http://127\.0\.0\.1:\d+/github\.com/login/device)")[1]
        enter(address, connecting.hear(r"enter the code\s+([A-Z]{4}-[A-Z]{4})")[1], decision="deny")
        assert connecting.ends() == 1
    assert "[declined]" in connecting.heard and "Traceback" not in connecting.heard


def test_connect_waits_for_the_device_code_as_long_as_requested(cli: Command, provider: Provider) -> None:
    found = cli("connect", "github", "--device", "--wait", "0.2", **with_github(provider))
    assert found.exit_code == 1 and "was not used in time" in found.stderr


def test_provider_without_device_codes_is_reported(cli: Command, provider: Provider) -> None:
    found = cli("connect", "google", "--device", **provider.settings())
    assert found.exit_code == 1 and "gives no codes" in found.stderr and "enter the code" not in found.stderr
    away = with_github(provider) | {"DEPUTIZE_BASE_URL": "https://deputy.example.test"}
    found = cli("connect", "github", "--device", **away)
    assert found.exit_code == 1 and "local mode only" in found.stderr and "enter the code" not in found.stderr


def test_doctor_knows_a_server_configured_by_its_issuer(cli: Command, provider: Provider) -> None:
    said = {"DEPUTIZE_APPS__ACME__CLIENT_ID": "a", "DEPUTIZE_APPS__ACME__ISSUER": "https://login.example.test"}
    found = cli("doctor", "--offline", **provider.settings(), **said)
    assert "redirect URI to register: http://127.0.0.1:0/callback/acme" in found.stdout
    assert "no provider is called" not in found.stdout
    wrong = said | {"DEPUTIZE_APPS__ACME__PROVIDER": "google"}
    assert "is known without one" in cli("doctor", "--offline", **provider.settings(), **wrong).stdout


def test_doctor_names_the_localhost_redirect_uri_to_register(cli: Command) -> None:
    said = {"DEPUTIZE_APPS__SLACK__CLIENT_ID": "a", "DEPUTIZE_APPS__SLACK__PKCE": "true"}
    found = cli("doctor", "--offline", **said).stdout
    assert "app slack: redirect URI to register: http://localhost:8736/callback/slack" in found
    plain = {"DEPUTIZE_APPS__SLACK__CLIENT_ID": "a", "DEPUTIZE_APPS__SLACK__CLIENT_SECRET": "b"}
    found = cli("doctor", "--offline", **plain).stdout
    assert "redirect URI" not in found and "switch PKCE on" in found
