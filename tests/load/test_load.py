"""Two servers under mixed load for twenty seconds; and its oracle detects what it exists for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.sandbox import Sandbox
from tests.load.course import GROWS, Plan, played
from tests.load.figures import shown, warmed
from tests.load.outcomes import Log, Told, judged
from tests.load.witness import Exchange, Family, Witness

GMAIL = "/gmail.googleapis.com/gmail/v1/users/me"


@pytest.mark.every(4)
@pytest.mark.processes
@pytest.mark.counterpart
async def test_mixed_load_neither_loses_repeats_nor_crosses_acts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o700)
    report = await played(Plan(20, users=20, seed=1, rate=8, lives=8), tmp_path)
    with capsys.disabled():
        print(f"\n{shown(report)}")
    assert not report.wrong
    assert len(report.troubles) == 2 and report.counts["refreshes"]
    assert sum(told.what == "done" for told in report.log.writes.values()) > 5
    lived_through_all = next(iter(report.memory.values()))
    assert lived_through_all[-1][1] - warmed(report, lived_through_all)[0][1] < GROWS


def mail(subject: str) -> bytes:
    raw = base64.urlsafe_b64encode(f"Subject: {subject}\r\n\r\nHello".encode()).decode().rstrip("=")
    return json.dumps({"message": {"raw": raw}}).encode()


def saved(witness: Witness, subject: str, token: str) -> None:
    """Create a draft with this token."""
    seen = Exchange("POST", f"{GMAIL}/drafts", "", mail(subject), token)
    family = witness.arrives(seen)
    seen.status, seen.answer = 200, b'{"id": "r1"}'
    witness.answered(seen, family)


@pytest.fixture
def witness() -> Witness:
    alice = Family("user1")
    return Witness(Sandbox(), codes={"a code": alice}, tokens={"a token": alice, "to refresh": alice})


@pytest.mark.parametrize(
    ("told", "times", "wrong"),
    [
        ("done", 0, True),
        ("done", 1, False),
        ("done", 2, True),
        ("refused", 0, False),
        ("refused", 1, True),
        ("unknown", 0, False),
        ("unknown", 1, False),
        ("unknown", 2, True),
        ("unanswered", 2, True),
        ("abandoned", 1, True),
    ],
)
def test_write_happens_as_often_as_its_caller_was_told(witness: Witness, told: Any, times: int, wrong: bool) -> None:
    for _ in range(times):
        saved(witness, "user1-draft-7", "a token")
    assert bool(judged(Log(writes={"user1-draft-7": Told(told)}), witness)) is wrong


def test_sent_draft_counts_once_and_an_unrequested_effect_is_found(witness: Witness) -> None:
    for path, body in (("drafts", mail("user1-send-1")), ("drafts/send", b'{"id": "r1"}')):
        seen = Exchange("POST", f"{GMAIL}/{path}", "", body, "a token")
        family = witness.arrives(seen)
        seen.status, seen.answer = 200, b'{"id": "r1"}'
        witness.answered(seen, family)
    assert witness.effects == {"user1-send-1": 1}
    assert judged(Log(), witness) == ["user1-send-1 happened, and nobody asked for it"]


def test_token_of_another_user_or_an_ended_consent_is_found(witness: Witness) -> None:
    saved(witness, "user2-draft-1", "a token")
    witness.arrives(Exchange("GET", f"{GMAIL}/messages", "q=subject%3Auser3-read-1", b"", "a token"))
    witness.arrives(Exchange("GET", f"{GMAIL}/messages", "", b"", "nobody's"))
    witness.disconnected("user1")
    witness.arrives(Exchange("GET", f"{GMAIL}/messages", "", b"", "a token"))
    assert [words.partition(",")[0] for words in witness.wrong] == [
        "user2-draft-1 was asked with the token of user1",
        "user3-read-1 was asked with the token of user1",
        f"GET {GMAIL}/messages with a token that no consent brought",
        f"GET {GMAIL}/messages as user1",
    ]


@pytest.mark.parametrize("lost", [False, True])
def test_refresh_token_is_used_once_unless_its_answer_may_be_lost(witness: Witness, lost: bool) -> None:
    for _ in range(2):
        seen = Exchange("POST", "/oauth2.googleapis.com/token", "", b"refresh_token=to+refresh", "")
        family = witness.arrives(seen)
        seen.status, seen.answer = 200, b'{"access_token": "new"}'
        witness.answered(seen, family)
        witness.troubles += [(0, 9e9)] * lost
    assert bool(witness.wrong) is not lost


async def test_witness_passes_requests_unchanged() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Witness(Sandbox())), base_url="http://here") as http:
        refused = await http.post("/oauth2.googleapis.com/token", data={"grant_type": "refresh_token"})
    assert refused.status_code == 401 and refused.json()["error"] == "invalid_client"
