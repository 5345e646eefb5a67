"""deputize serve and doctor with tenants that sign in by SAML."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.cli.http_app import application, findings
from deputize.cli.serve import _tell
from deputize.core.settings import Settings
from tests.cli.serving_world import KEY
from tests.support.saml_provider import KEYS, SamlProvider, key_file

BASE = "https://agents.example.test"


def settings(folder: Path, *, days: int = 60, **more: Any) -> Settings:
    (folder / "acme.xml").write_bytes(
        SamlProvider("https://idp.acme.test", KEYS["acme"], time.time).metadata(days=days)
    )
    acme = {"saml_metadata_file": str(folder / "acme.xml"), "saml_key_file": str(key_file(folder))} | more
    return Settings.load(home=folder / "home", key=KEY, base_url=BASE, signin={"acme": acme})


async def test_server_signs_users_in_by_saml_and_has_no_endpoint_for_their_tokens(tmp_path: Path) -> None:
    app = application(settings(tmp_path))
    async with (
        app.state.deputy,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as browser,
    ):
        there = await browser.get("/sign-in/acme")
        assert there.status_code == 303 and there.headers["location"].startswith("https://idp.acme.test/sso?SAMLReq")
        assert (await browser.get("/sign-in/acme/metadata")).status_code == 200
        assert [(await browser.post(path)).status_code for path in ("/mcp", "/mcp/acme")] == [404, 404]


@pytest.mark.parametrize(("days", "state"), [(60, "ok"), (20, "open"), (-1, "bad")])
def test_doctor_reports_how_long_the_certificate_is_valid(tmp_path: Path, days: int, state: str) -> None:
    [found] = findings(settings(tmp_path, days=days))
    assert (found.what, found.state) == ("serve acme", state) and "https://idp.acme.test" in found.found


def test_doctor_reports_unusable_metadata(tmp_path: Path) -> None:
    given = settings(tmp_path)
    (tmp_path / "acme.xml").write_text("<x/>")
    [found] = findings(given)
    assert found.state == "bad" and "EntityDescriptor" in found.found


def test_start_names_the_metadata_to_register(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _tell(settings(tmp_path), ":8080")
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"Register {BASE}/sign-in/acme/metadata there." in said
    assert f"Serving the pages at {BASE}" in said and "/mcp" not in said
