"""Every request of every Slack tool, and every response of the sandbox, against Slack's own types."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from deputize.toolkits.slack import TOOLKIT
from tests.support.slack_types import complaints, typed
from tests.toolkits.slack_calls import CASES, Played, play
from tests.toolkits.slack_world import arguments_of, method_of

pytestmark = pytest.mark.counterpart
KNOWN = {  # the package's answer types are gathered from samples; docs.slack.dev shows both of these
    "chat.postMessage": "error TS2322: Type '\"divider\"' is not assignable to type 'BlockType | undefined'.",
    "conversations.info": "error TS2353: Object literal may only specify known properties, and '\"user\"' does not "
    "exist in type 'Channel'.",
}


@pytest.fixture(scope="module")
def played() -> list[Played]:
    """All cases, each in its own world."""

    async def run() -> list[Played]:
        return [await play(case) for case in CASES]

    return asyncio.run(run())


def calls_of(played: list[Played]) -> list[tuple[str, dict[str, Any]]]:
    """Return every request once, except those to the file host."""
    requests = [one for case in played for one in case.requests if one.url.host == "slack.com"]
    made = {(method_of(one), json.dumps(typed(arguments_of(one)), sort_keys=True)) for one in requests}
    return [(method, json.loads(arguments)) for method, arguments in sorted(made)]


def test_every_request_fits_slacks_published_types(played: list[Played], capsys: pytest.CaptureFixture[str]) -> None:
    calls = calls_of(played)
    found = complaints(calls)
    failures = {f"{method} {arguments}": said for (method, arguments), said in zip(calls, found, strict=True) if said}
    with capsys.disabled():
        print("\ntoolkit | tools | methods | requests checked | failures")
        print(f"slack | {len(TOOLKIT.tools)} | {len({m for m, _ in calls})} | {len(calls)} | {len(failures)}")
    assert not failures
    assert {f"slack_{case.tool}" for case in CASES} == set(TOOLKIT.tools)


def test_invalid_request_is_detected() -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("chat.postMessage", {"text": "no channel"}),
        ("chat.postMessage", {"channel": "C1", "txt": "misspelt"}),
        ("reactions.add", {"channel": "C1", "name": "+1"}),
        ("conversations.history", {"channel": "C1", "limit": "many"}),
        ("conversations.list", {"page_token": "x"}),
        ("users.setPresence", {"presence": "gone"}),
        ("files.completeUploadExternal", {"files": [], "channel_id": "C1"}),
        ("bookmarks.add", {"channel_id": "C1", "title": "t", "type": "file", "link": "https://x.test"}),
        ("canvases.edit", {"canvas_id": "F1", "changes": [{"operation": "insert_at_end"}]}),
        ("assistant.search.context", {"query": "x", "content_types": ["mails"]}),
        ("search.messages", {"query": "x", "sort": "newest"}),
    ]
    assert all(complaints(wrong))


def test_sandbox_answers_fit_slacks_published_types(played: list[Played]) -> None:
    answers = {
        (method, json.dumps(body, sort_keys=True))
        for case in played
        for method, body in case.answers
        if body.get("ok") and not method.startswith(("assistant.", "/"))
    }
    calls = [(method, json.loads(body)) for method, body in sorted(answers)]
    found = complaints(calls, "Response")
    failures = {method: said for (method, _), said in zip(calls, found, strict=True) if said}
    assert failures == KNOWN
    assert len(Counter(method for method, _ in calls)) > 45


def test_invalid_answer_is_detected() -> None:
    assert all(complaints([("conversations.info", {"ok": True, "channel": {"id": 7}})], "Response"))
