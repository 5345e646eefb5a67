"""``deputize audit explain``: the history of one act, and whether the approved content was executed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Audience,
    Call,
    Declined,
    Deputy,
    Effect,
    MandateOffer,
    Preview,
    Request,
    Steps,
    Toolkit,
    any_of,
)
from deputize.core.audit.events import DatabaseFailedOver
from deputize.core.audit.explain import SHORTEST, stories
from deputize.core.settings import Settings
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.cli.conftest import Command, Provider, connected
from tests.support.gmail_toolkit import SEND, SENDING, raw

KIT = Toolkit("gmail", provider="google", shows=True)
SAYS = {"text": "Hello"}
"""What the tool reads, which may change after the approval."""


@KIT.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
def tell(to: str = "bob@acme.example") -> Steps:
    """Send somebody what is written elsewhere."""
    text = SAYS["text"]
    yield Preview("Tell them", audience=Audience.PEOPLE, people=[to], text=text)
    yield Request("POST", SENDING, json={"raw": raw(to, "Hi", text)})
    return {"told": to}


@contextmanager
def opened(home: Path, provider: Provider) -> Iterator[Deputy]:
    settings = Settings.load(
        home=home / "deputize",
        sandbox_url=provider.url,
        port=0,
        apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
    )
    with Deputy.from_settings(settings, toolkits=[KIT], agent="inbox") as deputy:
        yield deputy


def act(deputy: Deputy, id: str, **arguments: Any) -> Any:
    return deputy.run(deputy.act("gmail_tell", arguments, user="alice", call=Call("thread-1", "m", id)))


def asked(deputy: Deputy, id: str) -> Any:
    with pytest.raises(ApprovalRequired) as needed:
        act(deputy, id)
    return needed.value.approval


def decide(deputy: Deputy, approval: Any, decision: Any, **more: Any) -> None:
    deputy.run(deputy.decide(approval, decision, by="alice", **more))


@pytest.fixture
def settings(home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setitem(SAYS, "text", "Hello")
    return connected(home, provider, "gmail.send")


def explained(cli: Command, word: str, settings: dict[str, str], code: int = 0) -> tuple[dict[str, Any], str]:
    """Return the only history that a word selects, as JSON and as text."""
    found, told = (cli("audit", "explain", word, *more, **settings) for more in (["--json"], []))
    assert found.exit_code == told.exit_code == code, found.stderr
    [story] = json.loads(found.stdout)
    return story, told.stdout


@pytest.mark.processes
def test_explain_shows_a_changed_preview_approved_again(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    with opened(home, provider) as deputy:
        first = asked(deputy, "one")
        decide(deputy, first, "approve")
        SAYS["text"] = "Something else"
        second = asked(deputy, "one")
        decide(deputy, second, "approve")
        act(deputy, "one")
        act(deputy, "one")
    story, told = explained(cli, "one", settings)
    assert (story["verdict"], story["outcome"], story["answered_by"]) == ("same", "done", second.id)
    assert story["approved"] == story["done"] == second.digest != first.digest
    lines = [line.split("  ")[-1] for line in told.splitlines()]
    assert lines[0] == "gmail_tell for alice by inbox"
    assert [line for line in lines if "asked" in line] == [
        f"alice was asked about digest {first.digest[:12]}, by approval {first.id}.",
        f"alice was asked again, no longer about digest {first.digest[:12]} but about digest {second.digest[:12]}, "
        f"by approval {second.id}.",
    ]
    assert f"It began to write digest {second.digest[:12]}, allowed by the approval {second.id}." in lines
    assert "It was run again: the recorded outcome was returned, and nothing was done." in lines
    assert lines[-1] == "Proved: what was approved is what was done."
    for word in (second.id, second.digest[:SHORTEST], story["act_id"], first.id):
        assert explained(cli, word, settings)[0]["rows"] == story["rows"]


def test_explain_shows_rejected_and_mandated_acts(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    with opened(home, provider) as deputy:
        decide(deputy, asked(deputy, "no"), "reject")
        with pytest.raises(Declined):
            act(deputy, "no")
        decide(deputy, asked(deputy, "yes"), "approve", mandate=MandateOffer(3, deputy.clock() + 3600))
        act(deputy, "more")
        [mandate] = deputy.run(deputy.mandates("alice"))
    story, told = explained(cli, "no", settings)
    assert (story["verdict"], story["outcome"]) == ("nothing_done", "declined")
    assert "alice rejected digest" in told and "Nothing was written." in told
    story, told = explained(cli, "more", settings)
    assert (story["verdict"], story["answered_by"], story["outcome"]) == ("mandate", mandate.id, "done")
    assert f"allowed by the mandate {mandate.id}." in told
    assert f"It used the mandate {mandate.id}, given for 3 acts by alice." in told


@pytest.mark.processes
def test_explain_verifies_an_edit_by_its_preview(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    with opened(home, provider) as deputy:
        decide(deputy, asked(deputy, "edited"), "edit", arguments={"to": "carol@acme.example"})
        decide(deputy, asked(deputy, "edited"), "approve")
        act(deputy, "edited")
    story, told = explained(cli, "edited", settings)
    assert story["verdict"] == "same" and "approved, with other arguments" in told


def test_explain_reports_an_unknown_act(cli: Command, settings: dict[str, str]) -> None:
    for word in ("nothing", "0" * 40, ""):
        found = cli("audit", "explain", word, **settings)
        assert found.exit_code == 1 and "[not_found]" in found.stderr


# ----------------------------------------------------------------- rows that do not fit


def row(event: str, ts: int, **facts: Any) -> dict[str, Any]:
    return {"event": event, "ts": ts, "seq": ts, "user": "u", "tool": "t", "thread": "", "call_id": "c", **facts}


ASK = row("approval.requested", 0, approval_id="a-1", show="1" * 64)
YES = row("approval.approved", 1, approval_id="a-1", show="1" * 64)
EDIT = row("approval.edited", 1, approval_id="a-1", show="1" * 64)


def on_yes(ts: int, ends: str = "done", show: str = "1" * 64, **more: Any) -> list[dict[str, Any]]:
    """Return the audit rows of an act with an approval."""
    return [
        row("approval.used", ts, approval_id="a-1", show=show, **more),
        row("act.intent", ts + 1, answered_by="a-1", show=show, **more),
        row("act.result", ts + 2, decision=ends, **more),
    ]


def on_mandate(ts: int, call: str, ends: str = "done") -> list[dict[str, Any]]:
    """Return the audit rows of an act under the mandate."""
    return [
        row("mandate.used", ts, mandate_id="m", show="1" * 64, call_id=call),
        row("act.intent", ts + 1, answered_by="m", show="1" * 64, call_id=call),
        row("act.result", ts + 2, decision=ends, call_id=call),
    ]


def given(most: int, until: int = 10**9) -> dict[str, Any]:
    facts = {"mandate_id": "m", "most": most, "valid_until": until}
    return {"event": "mandate.given", "ts": 1, "seq": 1, "user": "u", **facts}


GIVEN, ENDED = (
    {"event": f"mandate.{e}", "ts": ts, "seq": ts, "mandate_id": "m"} for e, ts in (("given", 1), ("ended", 2))
)
RELEASED = row("approval.released", 4, approval_id="a-1")
USED = row("mandate.used", 3, mandate_id="m", show="1" * 64)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([ASK, YES, *on_yes(2)], "same"),
        ([ASK, YES, *on_yes(2), row("act.result", 5, decision="done")], "same"),
        ([ASK, YES, *on_yes(2, "not_found"), *on_yes(5)], "same"),
        ([ASK, YES, *on_yes(2)[:2], *on_yes(5)[1:]], "same"),  # a run that was taken up
        ([ASK, YES, *on_yes(2), *on_yes(5)], "used_up"),
        ([ASK, YES, *on_yes(2, "outcome_unknown"), *on_yes(5)], "used_up"),
        ([ASK, YES, *on_yes(2)[:2], *on_yes(5)], "used_up"),
        ([ASK, YES, *on_yes(2, call_id="d"), row("act.intent", 6, answered_by="a-1", show="1" * 64)], "used_up"),
        ([ASK, YES, *on_yes(2, show="2" * 64)], "different"),
        ([ASK, YES, *on_yes(2, show="2" * 64), row("act.intent", 6, answered_by="policy")], "different"),
        ([ASK | {"show": "2" * 64}, YES, *on_yes(2)], "different"),
        ([YES, *on_yes(2)], "not_compared"),
        ([ASK, EDIT, *on_yes(2, show="2" * 64)], "edited"),
        ([ASK, EDIT, *on_yes(2, show="2" * 64), *on_yes(5, show="2" * 64)], "used_up"),
        ([ASK | {"show": "3" * 64}, EDIT, *on_yes(2, show="2" * 64)], "different"),
        ([ASK, EDIT, *on_yes(2)[:1], *on_yes(2, show="2" * 64)[1:]], "different"),
        ([ASK, EDIT, *on_yes(2)[1:]], "not_compared"),
        ([EDIT, *on_yes(2)], "not_compared"),
        ([given(1), *on_mandate(2, "c")], "mandate"),
        ([given(1), *on_mandate(2, "b"), *on_mandate(5, "c")], "used_up"),
        ([given(1), *on_mandate(2, "b", "not_found"), *on_mandate(5, "c")], "mandate"),
        ([given(2), *on_mandate(2, "b"), *on_mandate(5, "c")], "mandate"),
        ([given(9, until=0), *on_mandate(61 * 10**9, "c")], "used_up"),
        ([given(9, until=0), *on_mandate(59 * 10**9, "c")], "mandate"),
        ([row("act.intent", 2, answered_by="a-1", show="1" * 64)], "not_compared"),
        ([ASK, YES, row("act.intent", 2, show="1" * 64)], "not_compared"),
        ([row("act.intent", 2, answered_by="policy", show="1" * 64)], "policy"),
        ([GIVEN, USED, row("act.intent", 4, answered_by="m", show="1" * 64)], "mandate"),
        ([GIVEN, ENDED, USED, row("act.intent", 4, answered_by="m", show="1" * 64)], "mandate"),  # concurrent
        ([GIVEN, ENDED, *on_mandate(6 * 10**9, "c")], "not_allowed"),
        ([ASK, YES, row("approval.rejected", 2, approval_id="a-1"), *on_yes(3)], "not_allowed"),
        ([ASK, YES, *on_yes(2, "not_found"), row("approval.rejected", 5, approval_id="a-1")], "same"),
        ([ASK, YES, *on_yes(2)[:2], RELEASED, *on_yes(5)], "same"),  # killed after the release
        ([USED, row("act.intent", 4, answered_by="m", show="1" * 64)], "not_compared"),
        ([GIVEN, USED, row("act.intent", 4, answered_by="m", show="2" * 64)], "different"),
    ],
)
def test_explain_claims_only_what_rows_prove(rows: list[dict[str, Any]], verdict: str) -> None:
    [story] = stories(lambda: rows, "c")
    assert story.verdict == verdict


def test_explain_separates_calls_of_other_users_and_threads() -> None:
    rows = [row("act.result", n, decision="done", **{what: "x"}) for n, what in enumerate(("user", "thread", "tool"))]
    assert len(stories(lambda: rows, "c")) == 3


# ----------------------------------------------------------------- a disk that was replayed


class Disk:
    """The vault's files, which somebody can put back to an earlier state. The audit stays."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "deputize"
        self.kept = {path: path.read_bytes() for path in self.folder.glob("vault*") if path.is_file()}
        assert self.kept

    def replay(self) -> None:
        for path in [*self.folder.glob("vault*")]:
            path.unlink() if path.is_file() and path not in self.kept else None
        for path, content in self.kept.items():
            path.write_bytes(content)


def verified(cli: Command, settings: dict[str, str], code: int) -> str:
    found = cli("audit", "verify", **settings)
    assert found.exit_code == code, found.output
    return str(found.stdout)


def test_replayed_approval_is_found_and_stays_found(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    with opened(home, provider) as deputy:
        approval = asked(deputy, "one")
        decide(deputy, approval, "approve")
    disk = Disk(home)
    with opened(home, provider) as deputy:
        act(deputy, "one")
    story, _ = explained(cli, "one", settings)
    assert story["verdict"] == "same" and "whole." in verified(cli, settings, 0)
    disk.replay()
    with opened(home, provider) as deputy:
        act(deputy, "one")
    story, told = explained(cli, "one", settings, code=1)
    assert story["verdict"] == "used_up" and told.count("It began to write") == 2
    assert f"approval {approval.id} is for one act, but gmail_tell (act {story['act_id']})" in told
    for _ in range(2):
        with opened(home, provider) as deputy:
            act(deputy, "one")  # returns the outcome
        said = verified(cli, settings, 1)
        assert f"used twice  approval {approval.id} is for one act, but gmail_tell (act {story['act_id']}) at" in said
        assert "whole.\n1 act without a permission that counted." in said
        doctor = cli("doctor", "--offline", **settings)
        assert doctor.exit_code == 1 and "acts without a permission: 1" in doctor.stdout
        checked = cli("store", "check", **settings)
        assert "1 act without a permission that counted" in checked.stdout
    refused = cli("audit", "accept-restore", "--reason", "mine", "--yes", **settings)
    assert refused.exit_code == 1 and "no restore explains" in refused.stderr and approval.id in refused.stderr


def test_repeat_after_a_failover_is_listed_once_an_operator_accepts_it(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    with opened(home, provider) as deputy:
        approval = asked(deputy, "one")
        decide(deputy, approval, "approve")
    disk = Disk(home)
    with opened(home, provider) as deputy:
        act(deputy, "one")
        deputy.audit.write(DatabaseFailedOver("2", 0))
    disk.replay()
    with opened(home, provider) as deputy:
        act(deputy, "one")
    assert "accept-restore" in cli("audit", "verify", **settings).stderr
    accepted = cli("audit", "accept-restore", "--reason", "failover", "--yes", **settings)
    assert accepted.exit_code == 0 and f"replayed  approval {approval.id}" in accepted.stdout, accepted.output
    said = verified(cli, settings, 0)
    assert f"replayed, accepted  approval {approval.id}" in said and "failover" in said
    assert explained(cli, "one", settings)[0]["verdict"] == "replayed"
    disk.replay()
    with opened(home, provider) as deputy:
        act(deputy, "one")
    said = verified(cli, settings, 1)
    assert "replayed, accepted" in said and "used twice" in said


def test_replayed_mandate_is_found(cli: Command, home: Path, provider: Provider, settings: dict[str, str]) -> None:
    with opened(home, provider) as deputy:
        decide(deputy, asked(deputy, "zero"), "approve", mandate=MandateOffer(2, deputy.clock() + 3600))
        [mandate] = deputy.run(deputy.mandates("alice"))
    disk = Disk(home)
    for number in range(2):
        with opened(home, provider) as deputy:
            act(deputy, f"a{number}")
            act(deputy, f"b{number}")
            if not number:
                with pytest.raises(ApprovalRequired):
                    act(deputy, "c")
                assert "whole." in verified(cli, settings, 0)
        disk.replay() if not number else None
    said = verified(cli, settings, 1)
    assert said.count(f"began under mandate {mandate.id}, which is for 2 acts, all used before") == 2
    assert explained(cli, "a1", settings, code=1)[0]["verdict"] == "used_up"
    assert explained(cli, "a0", settings)[0]["verdict"] == "mandate"
