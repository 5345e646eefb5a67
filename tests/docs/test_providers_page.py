"""docs/providers.md: its settings load, its code runs, its commands exist, and its table equals the provider table."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.main import get_command

from deputize import core
from deputize.cli.app import app as cli
from deputize.core import PROVIDERS, App, Consent, Provider, Toolkit, User
from deputize.core.settings import Settings
from deputize.sandbox import Sandbox
from tests.core.oauth.test_discover import METADATA
from tests.docs.blocks import block, blocks, run, text
from tests.support.sandbox_deputy import build, connect, consent

PAGE: Final = "docs/providers.md"
ANY_PORT: Final = {"google", "github", "github_app"}
"""Google's "native app" guide and GitHub's "Authorizing OAuth apps" allow any port in a loopback redirect URI."""
ISSUER: Final = "https://acme.okta.com/oauth2/default"


class Okta(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ends = {name: f"{ISSUER}/v1/{name}" for name in METADATA if name.endswith("_endpoint")}
        said = METADATA | {"issuer": ISSUER, "scopes_supported": ["openid", "profile"]} | ends
        return httpx.Response(200, json=said)


async def resolved(host: str) -> list[str]:
    return ["93.184.215.14"]


def test_every_block_is_executed_here() -> None:
    assert len(blocks(PAGE, "python")) == 3 and len(blocks(PAGE, "toml")) == 3 and len(blocks(PAGE, "bash")) == 2


def test_documented_settings_load_as_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deputize.toml").write_text(block(PAGE, "[apps.okta]", "toml"))
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(tmp_path / "deputize.toml"))
    said = Settings.load()
    rows = said.all_providers()
    assert rows["github"] is PROVIDERS["github"] and rows["work"].apis.hosts == {"github.example.com"}
    assert {name: app.issuer for name, app in said.issuers().items()} == {"okta": ISSUER}
    assert [app.provider for app in said.all_apps()] == ["github", "work", "okta"]


def test_documented_signing_app_loads_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    key = tmp_path / "bank.pem"
    key.write_bytes(pem)
    key.chmod(0o600)
    said = block(PAGE, "private_key_file", "toml").replace("/etc/deputize/bank.pem", str(key))
    (tmp_path / "deputize.toml").write_text(said)
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(tmp_path / "deputize.toml"))
    [app] = Settings.load().all_apps()
    assert app.key is not None and (app.key.alg, app.key.kid) == ("ES256", "2026-11")


def test_provider_without_code_is_a_usual_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deputize.toml").write_text(block(PAGE, "[providers.acme]", "toml"))
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(tmp_path / "deputize.toml"))
    said = Settings.load()
    row = said.all_providers()["acme"]
    assert row.apis.hosts == {"api.acme.example"} and row.describe("tasks:read") == "read your tasks"
    assert [app.provider for app in said.all_apps()] == ["acme"]


async def test_documented_server_is_discovered_and_has_a_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = core.discover

    async def played(issuer: str, **more: Any) -> Provider:
        return await real(issuer, transport=Okta(), resolve=resolved, **more)

    monkeypatch.setattr(core, "discover", played)
    names = await run(block(PAGE, "await discover(ISSUER"), {})
    assert names["providers"]["okta"].label == "Acme"
    people: Toolkit = names["people"]
    assert list(people.tools) == ["people_me"] and people.provider == "okta"


async def test_scopes_of_tools_are_requested_in_advance() -> None:
    sandbox = Sandbox()
    names: dict[str, Any] = {"deputy": await build(sandbox)}

    async def visited(number: int) -> None:
        if number == 1:
            [asked] = names["consents"]
            names["seen"] = await consent(names["deputy"], sandbox, asked)

    await run(block(PAGE, "tools=["), names, visited)
    assert [one.status for one in names["ended"]] == ["granted"]


async def test_accounts_are_added_switched_selected_and_named() -> None:
    sandbox = Sandbox()
    deputy = await build(sandbox)
    await connect(deputy, sandbox, "readonly")
    code = block(PAGE, "add_account=True").replace("alice@work.example", "bob@example.test")
    code = code.replace("alice@home.example", "alice@example.test")
    seen: list[Consent] = []

    async def visited(number: int) -> None:
        for one in await deputy.consents.list_pending(User("alice")):
            seen.append(await consent(deputy, sandbox, one, as_="bob@example.test"))

    await run(code, {"deputy": deputy}, visited)
    assert [one.status for one in seen] == ["granted", "granted"]
    assert {one.account: one.default for one in await deputy.connections("alice")} == {
        "alice@example.test": False,
        "bob@example.test": True,
    }


def options(command: str) -> set[str]:
    """Return the options of a command."""
    group: Any = get_command(cli)
    return {option for parameter in group.get_command(None, command).params for option in parameter.opts}


def test_documented_commands_and_options_exist() -> None:
    for line in "".join(blocks(PAGE, "bash")).splitlines():
        program, name, *words = shlex.split(line)
        assert program == "deputize" and {word for word in words if word.startswith("--")} <= options(name)
    assert {"--another", "--switch"} <= options("connect")


def test_redirect_uri_table_matches_each_provider() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(http://[^`]+)`, (any port|exactly) \|$", text(PAGE), re.MULTILINE)
    assert [name for name, _, _ in rows] == list(PROVIDERS)
    for name, url, how in rows:
        app = App(name, "id", None, pkce=True)
        assert PROVIDERS[name].redirect_uri("http://127.0.0.1:8736", app) == url
        assert (how == "any port") is (name in ANY_PORT), name


def test_form_target_hosts_match_the_providers() -> None:
    assert "https://*.slack.com" in PROVIDERS["slack"].oauth.csp_form_targets
    assert PROVIDERS["github"].at_host("github.example.com").oauth.csp_form_targets == ("https:",)
