"""The parts read by following references add up to the stored text, however it was written."""

from __future__ import annotations

import random
from typing import Any

import pytest

from deputize.core import Call, Deputy, allow_all
from deputize.sandbox import Sandbox
from deputize.sandbox.pytest_plugin import Granting
from deputize.sandbox.salesforce.seed import record_id
from deputize.toolkits._shared.long_text import digest
from tests.toolkits.github_play import SITE, Play

PIECES = (
    *(
        "word ",
        "\n\n",
        "\t",
        "<!-- hidden -->",
        "![shot](https://x.test/a.png)",
        "[a](javascript:x)",
        "https://x.test/a?b=c ",
    ),
    *(
        "\U0001f469\u200d\U0001f4bb",
        "\u2764\ufe0f",
        "e\u0301",
        "\u200b",
        "\u202eabc",
        "\u05e9\u05dc\u05d5\u05dd ",
        "\u65e5\u672c",
        "\U0001f600",
    ),
    *('"', "\\", "\\u0041", "&amp;", "<b>x</b>", "| a | b |\n", "```\ncode\n```\n", "x" * 300, "\U000e0041", "\u2028"),
)


def hostile(seed: int, pieces: int = 1_500) -> str:
    """Return a hostile text of a few parts."""
    chosen = random.Random(seed)  # noqa: S311 - the same in each run
    return "Begin " + "".join(chosen.choice(PIECES) for _ in range(pieces)) + "x\u200d" * 3_000 + " end"


@pytest.fixture
def alice(deputy: Deputy, grant: Granting) -> Deputy:
    grant("alice", "read", provider="linear")
    grant("alice", "api", provider="salesforce")
    grant("alice", "calendar.events.owned", provider="google")
    deputy.policy = allow_all
    return deputy


async def whole(deputy: Deputy, tool: str, field: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Return a text as its references give it, and its last part."""
    kit = tool.partition("_")[0]
    text, told = "", await deputy.act(tool, arguments, user="alice", call=Call("t", "m", "c"))
    for _ in range(100):
        row = told.get("fields", told)
        text += row[field]
        if "more" not in told:
            return text, told
        assert row[field], "a part with nothing in it"
        told = await deputy.act(f"{kit}_read_more", {"ref": told["more"]}, user="alice", call=Call("t", "m", "c"))
    raise AssertionError("the text does not end")


@pytest.mark.parametrize("seed", range(3))
async def test_raw_text_equals_the_stored_one(alice: Deputy, sandbox: Sandbox, seed: int) -> None:
    text, services = hostile(seed), sandbox._world.services
    services["linear"]["issues"][0]["description"] = text
    told, last = await whole(alice, "linear_get_issue", "description", issue="ENG-1", raw=True)
    assert told == text and last["text_digest"] == digest(text)
    services["salesforce"]["records"]["Lead"][0]["Description"] = text
    lead = {"object": "Lead", "record": record_id("Lead", 1), "fields": ["Description"]}
    told, last = await whole(alice, "salesforce_get_record", "Description", **lead, raw=True)
    assert told == text and last["text_digest"] == digest(text)
    services["calendar"]["events"]["alice@example.test/holiday0001"]["data"]["description"] = text
    told, last = await whole(alice, "calendar_get_event", "description", event_id="holiday0001", raw=True)
    assert told == text and last["text_digest"] == digest(text)


@pytest.mark.parametrize("seed", range(3))
async def test_raw_github_text_equals_the_stored_one(seed: int) -> None:
    play, text = await Play.begin(), hostile(seed)
    play.store["issues"][SITE][0]["body"] = text
    told, last = await whole(play.deputy, "github_get_issue", "body", repo=SITE, number=1, raw=True)
    assert told == text and last["text_digest"] == digest(text)
