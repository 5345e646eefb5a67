"""The page on sign-in: its settings are accepted, and its snippet serves pages to users of several tenants."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette

from deputize.core import Deputy
from deputize.core.roles import RoleMap
from deputize.core.settings import Settings
from tests.cli.serving_world import KEY
from tests.docs.blocks import block, blocks, run

PAGE: Final = "docs/sign-in.md"


def test_every_block_is_executed_here() -> None:
    assert (len(blocks(PAGE, "python")), len(blocks(PAGE, "toml"))) == (1, 4)


def test_documented_roles_are_accepted() -> None:
    assert RoleMap.of(tomllib.loads(blocks(PAGE, "toml")[0])["roles"])


def test_documented_step_up_is_accepted() -> None:
    given = Settings.load(**tomllib.loads(block(PAGE, "step_up_seconds", "toml")))
    assert (given.serve.step_up_seconds, given.serve.step_up_acr) == (300, ["phr"])


def test_documented_saml_is_accepted() -> None:
    given = Settings.load(**tomllib.loads(block(PAGE, "saml_metadata_file", "toml"))).signin["gamma"]
    assert given.uses_saml and given.saml_name_id == "persistent"


def test_documented_attribute_names_end_where_the_page_says() -> None:
    for name, value in (
        ("urn:oid:1.3.6.1.4.1.5923.1.1.1.7", "urn:mace:gamma.example:finance"),
        ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "Finance"),
        ("groups", "finance"),
    ):
        assert f"`{name}:{value}`" in Path(PAGE).read_text()
        assert RoleMap.of({"finance": [f"{name}:{value}"]}).entries == {"finance": ((name, value),)}


async def test_documented_application_sends_users_to_the_issuer_of_their_tenant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("a-client-secret")
    (tmp_path / "secret").chmod(0o600)
    text = block(PAGE, "[signin.acme]", "toml").replace("/run/secrets/acme", f"{tmp_path}/secret")
    file = tmp_path / "deputize.toml"
    file.write_text(text.replace("/run/secrets/beta", f"{tmp_path}/secret"))
    file.chmod(0o600)
    for name, value in (("CONFIG", str(file)), ("HOME", str(tmp_path / "home")), ("KEY", KEY)):
        monkeypatch.setenv(f"DEPUTIZE_{name}", value)
    monkeypatch.setenv("DEPUTIZE_BASE_URL", "https://app.example.com/agents")
    app = Starlette()
    made: dict[str, Any] = await run(blocks(PAGE, "python")[0], {"app": app})
    deputy: Deputy = made["deputy"]
    async with deputy:
        assert list(Settings.load().sign_ins()) == ["acme", "beta"]
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://app.example.com") as browser:
            page = await browser.get("/agents/sign-in?next=/agents/activity")
            form = page.text.partition('name="form" value="')[2].partition('"')[0]
            fields = {"form": form, "next": "/agents/activity", "email": "alice@acme.example"}
            chosen = await browser.post("/agents/sign-in", data=fields)
            assert chosen.headers["location"] == "/agents/sign-in/acme?next=%2Fagents%2Factivity"
