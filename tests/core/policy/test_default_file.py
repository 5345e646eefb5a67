"""The default policy as a file gives the same answers as the function."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from deputize.core import Audience, Danger, Preview, Untrusted, ask_before_sending
from deputize.core.policy.policy_file import DEFAULT_FILE
from deputize.core.policy.policy_tests import act_of, facts_of
from deputize.core.policy.rules import parse_rules
from deputize.core.tools.untrusted import How
from tests.support.preview_coverage import shown_world
from tests.toolkits.shown_rows import ROWS, Row

RULES = parse_rules(DEFAULT_FILE.read_text(encoding="utf-8"), DEFAULT_FILE.name)
FIRST = {row.tool: row for row in reversed(ROWS)}


@pytest.mark.parametrize("effect", ["reads", "writes", "sends", "destructive"])
def test_file_answers_like_the_function_for_every_kind_of_act(effect: str) -> None:
    hows: list[How | None] = [None, "named", "wrote", "forgotten", "untold"]
    shows = [
        Preview("Do", audience=audience, destroys=destroys, dangers=dangers)
        for audience, destroys, dangers in product(Audience, (True, False), ((), (Danger.RUNS_CODE,)))
    ]
    links: list[dict[str, Any]] = [{}, {"url": "x"}, {"a": {"b": ["https://x.example"]}}]
    for how, show, link, named in product(hows, [None, *shows], links, (True, False)):
        if not named and how not in (None, "untold"):
            continue
        content = {"tool": "acme_do", "effect": effect, "args": link, "previewed": show is not None}
        content["conversation"] = named
        act = act_of(content, lambda name: None)
        act = act.having(outside=(Untrusted("v", "w", how),) if how else ())
        if show is not None and act.shows:
            act = act.having(show=show)
        assert RULES.decide(facts_of(act, 0.0)).verdict is ask_before_sending(act), (how, show and show.kept, link)


@pytest.mark.sweep
@pytest.mark.parametrize("row", FIRST.values(), ids=list(FIRST))
async def test_file_answers_like_the_function_for_the_preview_of_every_tool(row: Row) -> None:
    async with shown_world(**row.world) as world:
        await world.unseen(row.tool, row.make)
        act = act_of({"tool": row.tool, "effect": "writes"}, lambda name: None).having(show=world.shown[0])
        assert RULES.decide(facts_of(act, 0.0)).verdict is ask_before_sending(act)
