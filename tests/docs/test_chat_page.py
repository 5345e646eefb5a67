"""The page on approvals in chat: its snippets run, and its paths and limits are those of the code."""

from __future__ import annotations

import base64
import os
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.chat import slack_cards
from deputize.core import question_feed
from deputize.core.settings import ServeSettings
from tests.chat.slack_workspace import SECRET, TOKEN
from tests.core.web.web_application import SEND, make, signed_in
from tests.docs.blocks import blocks, run, text

PAGE: Final = "docs/approvals-in-chat.md"


def test_every_block_is_executed_here() -> None:
    assert [len(blocks(PAGE, kind)) for kind in ("python", "toml", "yaml")] == [2, 1, 1]


async def test_documented_cards_are_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    base = {"DEPUTIZE_HOME": str(tmp_path), "DEPUTIZE_KEY": key, "DEPUTIZE_BASE_URL": "https://agents.example.com"}
    for name, value in base.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("SLACK_SIGNING_SECRET", SECRET)
    names: dict[str, Any] = await run(blocks(PAGE, "python")[0], {"current_user": signed_in})
    async with names["deputy"] as deputy:
        assert deputy.services.question_feed.functions == [names["cards"].receive]


async def test_documented_function_receives_the_question() -> None:
    world, sent = await make(), list[tuple[str, str]]()

    async def mail(user: str, *, subject: str, link: str) -> None:
        sent.append((user, link))

    await run(blocks(PAGE, "python")[1], {"deputy": world.deputy, "mail": mail})
    [consent] = await world.deputy.connect("alice", "google", scopes=[SEND])
    await world.deputy.services.question_feed.wait()
    assert sent == [("alice", consent.link)]


def test_documented_settings_paths_and_limits_are_those_of_the_code() -> None:
    assert set(tomllib.loads(blocks(PAGE, "toml")[0])["serve"]) <= ServeSettings.model_fields.keys()
    manifest, page = blocks(PAGE, "yaml")[0], text(PAGE)
    assert manifest.count(f"https://agents.example.com{slack_cards.PATH}\n") == 2
    assert f"above {slack_cards.MAX_TEXT:,} characters, or more than {slack_cards.MAX_LINES} lines" in page
    assert (slack_cards.LINK_TTL, slack_cards.MAX_TRIES, question_feed.MAX_WAITING) == (600, 5, 1000)
    assert question_feed.FUNCTION_SECONDS == 30
