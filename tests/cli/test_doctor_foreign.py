"""``doctor`` and ``mcp list`` on foreign MCP servers: tools that need review, and what prevents calls."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deputize.cli import doctor_foreign
from deputize.cli.doctor_foreign import foreign
from deputize.core import Call, DeputizeError, Deputy, PolicyDenied, allow_all
from deputize.core.background_loop import portal
from deputize.core.mcp_client import discovery as found
from deputize.core.settings import Settings
from tests.cli.conftest import Command
from tests.cli.test_mcp_servers import Terminal, home, terminal  # noqa: F401
from tests.support.mcp_world import ISSUER, URL
from tests.support.sandbox_deputy import public_names

NAME = "MCP server acme"


@pytest.fixture
def added(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:  # noqa: F811
    """A terminal whose operator has added the server."""
    check = partial(found.check, transport=terminal.house.world, resolve=public_names)
    monkeypatch.setattr(found, "check", check)
    assert terminal.run("add", "acme", URL, "--yes").exit_code == 0
    return terminal


def findings_about(one: Terminal, *, reach: bool = True) -> dict[str, tuple[str, str]]:
    """Return the findings by subject: the state of each, and its whole text."""
    deputy = portal().run(one.house.process())
    lines = list(foreign(Settings.load(), deputy.vault, reach=reach))
    return {line.what: (line.state, f"{line.found} {line.todo}".strip()) for line in lines}


def acting(one: Terminal, tool: str = "send") -> None:
    """Make a call in its own process, as the user who has signed in."""

    async def once() -> None:
        deputy: Deputy = await one.house.process()
        deputy.judge.policy = allow_all
        await deputy.act(f"acme_{tool}", {"to": "bob"}, user="ops", call=Call(id="1"))

    portal().run(once())


def test_doctor_prints_one_line_for_a_healthy_server_and_sends_no_token(added: Terminal) -> None:
    before = len(added.house.world.forms), len(added.house.foreign.asked)
    assert findings_about(added) == {NAME: ("ok", f"mcp.example.test answers; people sign in at {ISSUER}")}
    assert findings_about(added, reach=False) == {}
    assert (len(added.house.world.forms), len(added.house.foreign.asked)) == before


def test_doctor_reports_definitions_changed_since_they_were_pinned(added: Terminal) -> None:
    added.house.foreign.tools[1]["description"] = "Send it, and read the keys."
    with pytest.raises(PolicyDenied):
        acting(added)
    state, words = findings_about(added, reach=False)["definitions of acme"]
    assert state == "open" and words.startswith("1 tool changed since somebody looked, and is refused: send")
    assert "deputize mcp pin acme" in words and "keys" not in words
    listed = added.run("list").output
    assert "acme  https://mcp.example.test/v1/mcp  2 tools pinned, 1 user; 1 changed: deputize mcp pin acme" in listed
    assert json.loads(added.run("list", "--json").stdout)[0]["waiting"] == ["send"]
    assert added.run("pin", "acme", "--yes").exit_code == 0
    assert "definitions of acme" not in findings_about(added, reach=False)


def test_call_of_one_tool_lets_doctor_report_changes_of_other_tools(added: Terminal) -> None:
    added.house.foreign.tools[1]["description"] = "Send it elsewhere."
    acting(added, "look")
    assert "send" in findings_about(added, reach=False)["definitions of acme"][1]


def test_doctor_drops_a_definition_change_that_was_reverted(added: Terminal) -> None:
    before = added.house.foreign.tools[1]["description"]
    added.house.foreign.tools[1]["description"] = "Another."
    acting(added, "look")
    added.house.foreign.tools[1]["description"] = before
    assert "definitions of acme" in findings_about(added, reach=False)
    added.run("tools", "acme", "--diff")
    assert findings_about(added, reach=False) == {}


def test_doctor_reports_a_changed_authorization_server_and_the_fix(added: Terminal) -> None:
    added.house.world.issuers = ["https://elsewhere.example"]
    state, words = findings_about(added)[NAME]
    assert state == "bad" and "names another authorization server than before: https://elsewhere.example" in words
    assert "deputize mcp pin acme" in words
    added.house.world.issuers, added.house.world.said = [ISSUER], {"token_endpoint": f"{ISSUER}/other"}
    state, words = findings_about(added)[NAME]
    assert state == "bad" and "leads elsewhere than before: its token_endpoint" in words
    added.house.world.said = {}
    assert findings_about(added)[NAME][0] == "ok"  # and what was found is not what is kept


def test_doctor_names_a_silent_server_in_time(added: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    added.house.world.down = True
    assert findings_about(added)[NAME][0] == "bad" and "does not answer" in findings_about(added)[NAME][1]
    added.house.world.down = False

    async def for_ever(*given: Any, **more: Any) -> None:
        import asyncio

        await asyncio.sleep(60)

    monkeypatch.setattr(found, "check", for_ever)
    monkeypatch.setattr(doctor_foreign, "SERVER_TIMEOUT_SECONDS", 0.05)
    began = time.monotonic()
    assert "does not answer" in findings_about(added)[NAME][1] and time.monotonic() - began < 5


def test_doctor_reports_a_server_without_connected_users(added: Terminal) -> None:
    deputy = portal().run(added.house.process())
    portal().run(deputy.revoke("ops", "acme"))
    assert findings_about(added, reach=False) == {
        "users of acme": ("open", "nobody is connected deputize connect acme")
    }
    assert "2 tools pinned, 0 users" in added.run("list").output


@pytest.mark.parametrize(("ends", "word"), [(86400, "ends at"), (-60, "ended at")])
def test_doctor_reports_an_expiring_client_secret_and_its_effect(added: Terminal, ends: int, word: str) -> None:
    async def secret_ends() -> None:
        deputy: Deputy = await added.house.process()
        for row in await deputy.vault.scan("meta", "client."):
            await deputy.vault.swap(row, row.json | {"expires": time.time() + ends})

    portal().run(secret_ends())
    state, words = findings_about(added, reach=False)["client secret of acme"]
    assert state == "open" and word in words and "1 user) is asked to connect again" in words
    if ends < 0:  # and so it is
        with pytest.raises(DeputizeError, match="connected again"):
            acting(added, "look")


def test_doctor_ignores_a_client_secret_that_does_not_expire_soon(added: Terminal) -> None:
    async def secret_ends() -> None:
        deputy: Deputy = await added.house.process()
        for row in await deputy.vault.scan("meta", "client."):
            await deputy.vault.swap(row, row.json | {"expires": time.time() + 30 * 86400})

    portal().run(secret_ends())
    assert findings_about(added, reach=False) == {}


def test_doctor_command_reports_a_server_without_pinned_tools(cli: Command, home: Path) -> None:  # noqa: F811
    settings = {"DEPUTIZE_PORT": "0", "DEPUTIZE_MCP": '{"gone": {"url": "http://127.0.0.1:1/mcp"}}'}
    found_there = cli("doctor", "--json", **settings)
    lines = {line["what"]: line for line in map(json.loads, found_there.stdout.splitlines())}
    assert found_there.exit_code == 1 and lines["MCP server gone"]["state"] == "bad"
    assert "deputize mcp pin gone" in lines["tools of gone"]["todo"]
    assert "MCP server gone" not in cli("doctor", "--json", "--offline", **settings).stdout
