"""The token cost of Gmail's results, counted by a real tokenizer of the o200k family, whatever the mail contains."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.counterparts.test_token_budgets import counted
from tests.toolkits.mailbox import Mailbox, container, leaf, message
from tests.toolkits.test_gmail_budgets import READER, TEXTS, box
from tests.toolkits.test_gmail_whole import TABLE

pytestmark = pytest.mark.counterpart
SCRIPTS = TEXTS | {
    "japanese": "先日お送りした資料について、いくつか確認したい点がございます。",
    "arabic": "المبلغ الإجمالي لهذا الشهر أعلى من المتوقع بكثير ",
    "hindi": "इस महीने की कुल राशि अपेक्षा से बहुत अधिक है ",
    "table": TABLE[:1_000],
    "links": "https://click.example.test/ls?upn=u001.aZ09-bY18_cX27dW36eV45fU54gT63&e=Q1w2E3r4 ",
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("search_emails", {"limit": 100}),
    ("search_emails", {"limit": 100, "detail": "full"}),
    ("search_emails", {"limit": 100, "group": "thread", "detail": "full"}),
    ("get_thread", {"thread_id": "18f0a1b2c3d4e5f6", "limit": 50}),
    ("get_email", {"message_id": "18f0a1b2c3d4e500"}),
    ("get_email", {"message_id": "18f0a1b2c3d4e500", "part": "headers"}),
    ("list_drafts", {"limit": 100}),
]


def test_every_result_costs_at_most_four_thousand_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, Any] = {}
    for script, text in SCRIPTS.items():
        for n, (tool, arguments) in enumerate(CALLS):
            told[f"{script} {n} {tool}"] = READER.run(tool, arguments, box(text)).result
        file = container("mixed", leaf("text/plain", "x"), leaf("text/csv", text * 4_000, filename="a.csv"))
        told[f"{script} file"] = READER.run(
            "get_attachment", {"message_id": "m1", "part": "1"}, Mailbox.of(message("m1", file))
        ).result
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in told.values()]
    costs = dict(zip(told, counted(lines), strict=True))
    with capsys.disabled():
        print(f"\nthe largest of {len(costs)} results: {sorted(costs.items(), key=lambda one: -one[1])[:3]}")
    assert {name: cost for name, cost in costs.items() if cost > 4_000} == {}
    assert min(cost for name, cost in costs.items() if name.endswith("file")) > 2_000
