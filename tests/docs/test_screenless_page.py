"""The page on grants without a screen: its settings load unchanged, and mean what the text says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from deputize.core import PROVIDERS, App, Request, Secret, Steps, Toolkit, User, any_of
from deputize.core.oauth.app import IdentityAssertion, ServiceAccount, TokenExchange
from deputize.core.settings import Settings
from deputize.core.tools.plugins import find_toolkits
from deputize.core.tools.required_scopes import asks_of
from tests.core.providers.test_source_settings import googles_file
from tests.docs.blocks import blocks, run, text
from tests.support.sandbox_deputy import Clock
from tests.support.token_sources import EXCHANGE, READ, World, app, bot_app, deputy_with, provider

PAGE: Final = "docs/grants-without-a-screen.md"
BOT: Final = "bot@YOUR-PROJECT.iam.gserviceaccount.com"


@pytest.mark.parametrize("number", range(len(blocks(PAGE, "toml"))))
def test_each_settings_table_is_valid(tmp_path: Path, number: int) -> None:
    key = googles_file(tmp_path, client_email=BOT)
    said = tomllib.loads(blocks(PAGE, "toml")[number].replace("/etc/agents/bot.json", str(key)))
    settings = Settings.load(home=tmp_path, **said)
    sources = [one.source for one in settings.all_apps() if one.source]
    wanted: list[Any] = [
        TokenExchange(token_audience="crm"),
        TokenExchange(on_behalf_of=True, user_claim="oid"),
        IdentityAssertion("company", "https://auth.crm.example.com/", "https://crm.example.com/api"),
    ]
    if number < len(wanted):
        assert sources == [wanted[number]]
    else:
        assert isinstance(sources[0], ServiceAccount) and sources[0].organisation == "Acme Ltd"
    assert settings.all_providers()


calendar = Toolkit("calendar", provider="api")


@calendar.tool(needs=[any_of(READ)])
def list_events() -> Steps:
    """Events."""
    found = yield Request("GET", "/notes", api="notes")
    return found


async def test_each_snippet_runs() -> None:
    session, bot, imports = blocks(PAGE, "python")
    world = World(Clock(1_800_000_000.0))
    async with await deputy_with(world, app(EXCHANGE), bot_app(world), toolkits=[calendar]) as deputy:
        token = world.session("alice")
        made = SimpleNamespace(from_settings=lambda: deputy)
        await run(session, {"Deputy": made, "session_token": lambda user: token if user.id == "alice" else None})
        assert (await deputy.act("notes_count_notes", {}, user="alice"))["user"] == "alice"
        assert (await run(bot, {"deputy": deputy}))["report"]["user"] == "bot@acme.test"
    github = App("github", "deputy", Secret("a-secret"))
    async with await deputy_with(world, github, row=provider(name="github")) as deputy:
        access, refresh = world.tokens_of("octocat", READ)
        found = (await run(imports, {"deputy": deputy, "access": access, "refresh": refresh}))["found"]
        assert (found.account, found.rotated) == ("octocat@acme.test", True)


def test_service_account_scopes_are_enough_for_the_example() -> None:
    [bot] = [tomllib.loads(one) for one in blocks(PAGE, "toml") if "service_account" in one]
    may = PROVIDERS["google"].implied_scopes(frozenset(bot["apps"]["bot"]["source"]["scopes"]))
    assert asks_of(find_toolkits()["calendar"].tools["calendar_list_events"].usual_needs(), may) == ()


async def test_documented_approval_text_matches_the_page() -> None:
    assert "acting for: Acme Ltd (service account ...), not for you" in " ".join(text(PAGE).split())
    world = World(Clock(1_800_000_000.0))
    async with await deputy_with(world, app(EXCHANGE), bot_app(world)) as deputy:
        await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        [grant] = [one for one in await deputy.vault.list_grants(User("\x1fbot")) if one.status == "active"]
        assert grant.account.name.startswith("Acme Ltd (service account ")
