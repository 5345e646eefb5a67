"""The check of a whole trail: which acts had no permission that counted, and what rows do not prove."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deputize.core.audit import verify
from deputize.core.audit.compression import IDLE_CHAIN_SECONDS, closed_files, compress_file
from deputize.core.audit.rows import Key
from deputize.core.audit.verify_permissions import CLOCK_MARGIN, LATE, Misuse, PermissionCheck, find_misuses
from tests.core.audit.audit_files import KEY, Make, files

SECOND = 10**9
SHOWN, OTHER = "1" * 64, "2" * 64
YES = "a" * 40 + "-00000001"
GRANT = {"provider": "google", "app": "google", "account_hash": "h"}
Row = dict[str, Any]


class Trail:
    """Rows of several writers. ``now``: seconds of the clocks, by writer; another writer is ``at`` another machine."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._numbers: dict[str, Iterator[int]] = {}

    def __call__(self, event: str, at: float, writer: str = "w", **facts: Any) -> None:
        number = next(self._numbers.setdefault(writer, count()))
        common = {"user": "u", "tool": "send", "thread": "t", "call_id": "c"}
        common = {name: value for name, value in (common | facts).items() if value is not None}
        self.rows.append({"event": event, "ts": int(at * SECOND), "writer": writer, "seq": number, **common})

    def ask(self, at: float = 0, *, answer: str = "approved", by: str = "page", show: str = SHOWN, **more: Any) -> None:
        """A question and its answer."""
        self("approval.requested", at, approval_id=YES, show=show, **more)
        if answer:
            self(f"approval.{answer}", at + 1, by, approval_id=YES, show=show, **more)

    def give(self, at: float = 0, **more: Any) -> None:
        """A mandate."""
        facts = {"most": 2, "valid_until": 1000, "agent": "inbox", "tools": ["send"]} | more
        self("mandate.given", at, "page", mandate_id="m", call_id=None, thread=None, tool=None, **facts)

    def act(
        self, at: float, writer: str = "w", *, by: str = YES, ends: str = "done", ms: int = 500, **more: Any
    ) -> None:
        """An act: its use of a permission, its intent and its result. ``ends``: "" if it was killed."""
        facts = {"show": SHOWN, "act_id": "act", "agent": "inbox", "grant_gen": 3, **GRANT, **more}
        own = {name: facts[name] for name in ("show", "call_id", "thread", "tool", "user") if name in facts}
        if by == YES:
            self("approval.used", at, writer, approval_id=by, **own)
        elif by != "policy":
            self("mandate.used", at, writer, mandate_id=by, **own)
        self("act.intent", at, writer, answered_by=by, **facts)
        if ends:
            self("act.result", at + ms / 1000, writer, answered_by=by, decision=ends, duration_ms=ms, **facts)

    def found(self) -> list[Misuse]:
        check = PermissionCheck()
        for row in sorted(self.rows, key=lambda row: row["ts"]):
            check.take(row)
        return check.misuses()

    def kinds(self) -> list[str]:
        return [one.kind if one.proven else f"{one.kind}?" for one in self.found()]


@pytest.fixture
def trail() -> Trail:
    return Trail()


# ----------------------------------------------------------------- approvals


def test_act_under_its_approval_is_no_misuse(trail: Trail) -> None:
    trail.ask()
    trail.act(2)
    assert trail.kinds() == []


def test_second_call_of_an_act_that_is_cut_off_does_not_end_the_first(trail: Trail) -> None:
    """It waited for the first one, which then did nothing and released the approval, and was repeated."""
    trail.ask()
    trail.act(2, ends="")
    trail("act.result", 3, act_id="act", decision="interrupted", duration_ms=1000, **GRANT)
    trail("approval.released", 4, approval_id=YES, show=SHOWN)
    trail("act.result", 5, act_id="act", answered_by=YES, decision="provider_unavailable", duration_ms=3000, show=SHOWN)
    trail.act(6)
    assert trail.kinds() == []


@pytest.mark.parametrize("second", ["w", "other"])
@pytest.mark.parametrize("restored", [False, True])
def test_act_repeated_under_a_replayed_approval_is_named(trail: Trail, second: str, restored: bool) -> None:
    trail.ask()
    trail.act(2)
    if restored:
        trail("vault.restored", 3, copied_at=0, grants=1)
    trail.act(60, second)
    [found] = trail.found()
    assert (found.kind, found.permission, found.act, found.replayed) == ("used_twice", YES, "act", restored)
    assert YES in found.detail and found.detail.count("act act") == 2 and "1970-01-01 00:01:00 UTC" in found.detail


def test_approval_used_by_another_act_is_named_in_any_order_of_clocks(trail: Trail) -> None:
    trail.ask()
    trail.act(2)
    trail.act(1.5, "ahead", act_id="forged", call_id="d")
    assert trail.kinds() == ["used_twice"]


def test_second_intent_of_another_act_is_named_without_a_row_of_its_use(trail: Trail) -> None:
    trail.ask()
    trail.act(2)
    trail("act.intent", 9, "x", answered_by=YES, show=SHOWN, act_id="forged", agent="inbox", call_id="d")
    assert trail.kinds() == ["used_twice"]


def test_act_done_twice_after_its_ledger_record_was_restored_is_reported(trail: Trail) -> None:
    trail.ask()
    trail.act(2)
    again = {"answered_by": YES, "show": SHOWN, "act_id": "act", "agent": "inbox"}
    trail("act.intent", 9, "x", **again)
    trail("act.result", 10, "x", decision="done", **again)
    assert trail.kinds() == ["used_twice"]


def test_act_done_twice_is_reported_without_the_row_of_its_request(trail: Trail) -> None:
    trail.act(2)
    again = {"answered_by": YES, "show": SHOWN, "act_id": "act", "agent": "inbox"}
    trail("act.intent", 9, "x", **again)
    trail("act.result", 10, "x", decision="done", **again)
    assert trail.kinds() == ["used_twice"]


def test_restore_before_the_first_use_explains_no_repeat(trail: Trail) -> None:
    trail("vault.restored", 0, copied_at=0, grants=1)
    trail.ask(1)
    trail.act(3)
    trail.act(60)
    [found] = trail.found()
    assert found.kind == "used_twice" and not found.replayed


@pytest.mark.parametrize("ends", ["not_found", "rate_limited", "policy_denied"])
def test_approval_of_an_act_that_did_nothing_may_be_used_again(trail: Trail, ends: str) -> None:
    trail.ask()
    trail.act(2, ends=ends)
    trail.act(60, "x")
    assert trail.kinds() == []


def test_kill_after_a_release_is_no_misuse_but_a_kill_without_one_is(trail: Trail) -> None:
    trail.ask()
    trail.act(2, ends="")
    trail("approval.released", 3, approval_id=YES, show=SHOWN)
    trail.act(60, "x")
    assert trail.kinds() == []
    trail.rows = [row for row in trail.rows if row["event"] != "approval.released"]
    assert trail.kinds() == ["used_twice"]


def test_run_that_completes_an_interrupted_act_is_not_reported(trail: Trail) -> None:
    trail.ask()
    trail.act(2, ends="")
    facts = {"answered_by": YES, "show": SHOWN, "act_id": "act", "agent": "inbox"}
    trail("act.intent", 20, "x", **facts)
    trail("act.result", 21, "x", decision="done", **facts)
    assert trail.kinds() == []


def test_act_whose_outcome_could_not_be_saved_may_be_looked_up_again(trail: Trail) -> None:
    trail.ask()
    facts = {"answered_by": YES, "show": SHOWN, "act_id": "act", "agent": "inbox"}
    trail("approval.used", 2, approval_id=YES, show=SHOWN)
    trail("act.intent", 2, **facts)
    trail("ledger.save_failed", 3, call_id=None, thread=None)
    trail("act.result", 3, decision="done", **facts)
    trail("act.intent", 20, "x", **facts)
    trail("act.result", 21, "x", decision="done", **facts)
    assert trail.kinds() == []


@pytest.mark.parametrize("ends", ["done", ""])
def test_act_after_a_rejection_is_reported_despite_clock_differences(trail: Trail, ends: str) -> None:
    trail.ask(answer="rejected")
    trail.act(30, ends=ends)
    assert trail.kinds() == ["after_no"]
    for row in trail.rows:
        row["ts"] += 100 * SECOND if row["event"] == "approval.rejected" else 0
    assert trail.kinds() == ["after_no"]


def test_rejection_after_a_refused_act_and_one_that_is_too_late_are_no_misuses(trail: Trail) -> None:
    trail.ask()
    trail.act(2, ends="not_found")
    trail("approval.rejected", 5, "page", approval_id=YES, show=SHOWN)
    assert trail.kinds() == []
    late = Trail()
    late.ask()
    late.act(2)
    late("approval.too_late", 5, "page", approval_id=YES, show=SHOWN)
    assert late.kinds() == []


def test_act_with_another_preview_than_approved_is_reported(trail: Trail) -> None:
    trail.ask()
    trail.act(2, show=OTHER)
    assert trail.kinds() == ["different"]
    answered = Trail()
    answered("approval.requested", 0, approval_id=YES, show=OTHER)
    answered("approval.approved", 1, approval_id=YES, show=SHOWN)
    answered.act(2)
    assert answered.kinds() == ["different"]


def test_edit_is_compared_with_the_row_of_its_use(trail: Trail) -> None:
    trail.ask(answer="edited")
    trail.act(2, show=OTHER)
    assert trail.kinds() == []
    trail("act.intent", 1.9, "x", answered_by=YES, show="3" * 64, act_id="act", agent="inbox")
    assert "different" in trail.kinds()


def test_approval_of_another_tool_is_named(trail: Trail) -> None:
    trail.ask(tool="read")
    trail.act(2)
    assert trail.kinds() == ["outside"]


def test_approval_of_another_user_is_named_only_if_both_are_known(trail: Trail) -> None:
    trail.ask(user="eve", pseudonym="e")
    trail.act(2, user="alice", pseudonym="a")
    assert trail.kinds() == ["outside"]
    for row in trail.rows:
        row.pop("pseudonym", None)
    assert trail.kinds() == []


def test_approved_read_may_be_read_again_by_its_own_call_only(trail: Trail) -> None:
    trail.ask()
    trail("approval.used", 2, approval_id=YES)
    read = {"answered_by": YES, "effect": "reads", "decision": "done"}
    trail("act.result", 3, **read)
    trail("act.result", 9, **read)
    assert trail.kinds() == []
    trail("act.result", 12, **read | {"call_id": "d"})
    assert trail.kinds() == ["used_twice"]


# ----------------------------------------------------------------- mandates


def mandated(trail: Trail, at: float, number: int, **more: Any) -> None:
    facts: Row = {"by": "m", "act_id": f"act{number}", "call_id": f"c{number}"}
    trail.act(at, **facts | more)


def test_acts_beyond_a_mandate_are_named(trail: Trail) -> None:
    trail.give(most=2)
    mandated(trail, 10, 1, ends="not_found")
    for number in (2, 3, 4):
        mandated(trail, number * 10, number)
    [found] = trail.found()
    assert (found.kind, found.act, found.permission) == ("beyond", "act4", "m") and "2 acts" in found.detail


def test_released_use_of_a_killed_act_does_not_count(trail: Trail) -> None:
    trail.give(most=1)
    mandated(trail, 10, 1, ends="")
    trail("mandate.released", 11, mandate_id="m", call_id="c1")
    mandated(trail, 20, 2)
    assert trail.kinds() == []


def resumed(trail: Trail, at: float, call: str, act: str) -> None:
    facts = {"answered_by": "m", "show": SHOWN, "act_id": act, "agent": "inbox", "call_id": call}
    trail("act.intent", at, "x", **facts)
    trail("act.result", at + 1, "x", decision="done", **facts)


def test_noted_run_that_is_resumed_counts_once(trail: Trail) -> None:
    trail.give(most=1)
    mandated(trail, 10, 1, ends="rate_limited")
    resumed(trail, 20, "c1", "act1")
    assert trail.kinds() == []
    mandated(trail, 40, 2)
    assert trail.kinds() == ["beyond"]


def test_run_that_finishes_a_killed_one_may_follow_the_end_of_its_mandate(trail: Trail) -> None:
    trail.give()
    mandated(trail, 10, 1, ends="")
    trail("mandate.ended", 12, "page", mandate_id="m", call_id=None)
    resumed(trail, 60, "c1", "act1")
    assert trail.kinds() == []


def test_act_after_a_mandates_expiry_is_named(trail: Trail) -> None:
    trail.give(valid_until=100)
    mandated(trail, 100 + LATE / SECOND - 1, 1)
    mandated(trail, 100 + LATE / SECOND + 1, 2)
    [found] = trail.found()
    assert (found.kind, found.act) == ("late", "act2") and "expired at 1970-01-01 00:01:40 UTC" in found.detail


@pytest.mark.parametrize(("name", "value"), [("agent", "other"), ("tool", "delete")])
def test_act_of_another_agent_or_tool_is_outside_the_mandate(trail: Trail, name: str, value: str) -> None:
    trail.give()
    mandated(trail, 10, 1, **{name: value})
    [found] = trail.found()
    assert found.kind == "outside" and f"for another {name}" in found.detail


def test_target_that_the_mandate_does_not_name_is_outside(trail: Trail) -> None:
    trail.give(targets=["bob|x", "acme|y"])
    for number, reached in enumerate((["bob"], ["carol|acme", "bob"], ["mallory"], ["bob", "... 7 more"])):
        mandated(trail, 10 + number, number, ends="" if number > 1 else "not_found")
        trail.rows[-2 if number > 1 else -3]["reached"] = reached
    assert [(one.kind, one.act) for one in trail.found()] == [("outside", "act2")]


def test_mandate_without_digests_of_targets_accuses_nobody(trail: Trail) -> None:
    trail.give()
    mandated(trail, 10, 1)
    trail.rows[-3]["reached"] = ["mallory"]
    assert trail.kinds() == []


def test_act_begun_after_its_mandate_ended_is_reported(trail: Trail) -> None:
    trail.give()
    trail("mandate.ended", 10, "page", mandate_id="m", call_id=None)
    mandated(trail, 12, 1)
    assert trail.kinds() == []  # the clocks of two programs may differ by that
    mandated(trail, 10 + CLOCK_MARGIN / SECOND + 1, 2)
    assert [(one.kind, one.act) for one in trail.found()] == [("after_end", "act2")]


def test_same_writer_orders_rows_without_a_margin(trail: Trail) -> None:
    trail.give()
    trail("mandate.ended", 10, "w", mandate_id="m", call_id=None)
    mandated(trail, 10.1, 1, ms=50)
    assert trail.kinds() == ["after_end"]


def test_acts_under_a_mandate_without_an_audit_row_are_not_reported(trail: Trail) -> None:
    for number in range(9):
        mandated(trail, number, number)
    assert trail.kinds() == []


# ----------------------------------------------------------------- grants


def revoke(trail: Trail, at: float, generation: int = 4, event: str = "grant.revoked", **more: Any) -> None:
    facts = {"call_id": None, "thread": None, "tool": None, "grant_gen": generation} | GRANT
    trail(event, at, "page", **facts | more)


@pytest.mark.parametrize("event", ["grant.revoked", "grant.lost"])
def test_act_after_a_disconnect_is_named(trail: Trail, event: str) -> None:
    revoke(trail, 10, event=event)
    trail.act(20, by="policy")
    [found] = trail.found()
    assert (found.kind, found.act) == ("after_end", "act")
    assert "google had been disconnected or lost at 1970-01-01 00:00:10 UTC" in found.detail


def test_act_begun_before_the_disconnect_counts_as_concurrent(trail: Trail) -> None:
    revoke(trail, 10)
    trail.act(25, by="policy", ms=500)
    trail.rows[-1]["duration_ms"] = 12_000
    assert trail.kinds() == []


def test_refused_act_after_a_disconnect_is_no_misuse(trail: Trail) -> None:
    revoke(trail, 10)
    trail.act(20, by="policy", ends="token_refused")
    assert trail.kinds() == []


def test_new_consent_allows_acts_again_even_if_its_row_is_lost(trail: Trail) -> None:
    revoke(trail, 10, generation=4)
    trail.act(20, by="policy", grant_gen=5)
    assert trail.kinds() == []


def test_grant_that_a_restore_brought_back_is_named(trail: Trail) -> None:
    revoke(trail, 10, generation=7)
    trail("vault.restored", 20, call_id=None, copied_at=0)
    revoke(trail, 21, generation=3, event="grant.restored")
    trail.act(40, by="policy", grant_gen=3)
    [found] = trail.found()
    assert found.kind == "after_end" and found.replayed


@pytest.mark.parametrize("rows", [["grant.restored"], []])
def test_consent_after_a_restore_is_accepted_with_restarted_generations(trail: Trail, rows: list[str]) -> None:
    revoke(trail, 10, generation=7)
    trail("vault.restored", 20, call_id=None, copied_at=0)
    for event in rows:
        revoke(trail, 21, generation=3, event=event)
    trail.act(40, by="policy", grant_gen=4)
    assert trail.kinds() == []


def test_grant_that_was_consented_to_before_the_restored_backup_counts(trail: Trail) -> None:
    revoke(trail, 10, generation=4)
    trail("vault.restored", 20, call_id=None, copied_at=0)
    revoke(trail, 21, generation=6, event="grant.restored")
    trail.act(40, by="policy", grant_gen=6)
    assert trail.kinds() == []


def test_row_of_an_earlier_consent_does_not_excuse_an_act(trail: Trail) -> None:
    revoke(trail, 10, generation=7)
    revoke(trail, 12, generation=5, event="consent.granted")  # by a clock that is late
    trail.act(40, by="policy", grant_gen=5)
    assert trail.kinds() == ["after_end"]


def test_service_account_is_not_the_callers_own(trail: Trail) -> None:
    revoke(trail, 10)
    trail.act(20, by="policy", organisation="acme")
    assert trail.kinds() == []


def test_misuse_that_only_a_clock_shows_is_unproven_if_the_clock_was_set_back(trail: Trail) -> None:
    revoke(trail, 10)
    trail.act(3600, by="policy")
    assert trail.kinds() == ["after_end"]
    trail("act.intent", 30, answered_by="policy", act_id="later", call_id="d")
    rows = trail.rows
    check = PermissionCheck()
    for row in rows:
        check.take(row)
    assert [(one.kind, one.proven) for one in check.misuses()] == [("after_end", False)]


# ----------------------------------------------------------------- whole trails


def test_findings_do_not_depend_on_how_two_writers_rows_interleave() -> None:
    chance = random.Random(20261201)  # noqa: S311 - no secret
    for _ in range(50):
        trail = Trail()
        trail.ask()
        trail.act(2)
        trail.act(9, "x", act_id="forged", call_id="d")
        skew = chance.uniform(-8, 8)
        for row in trail.rows:
            row["ts"] += int(skew * SECOND) if row["writer"] == "x" else 0
        assert trail.kinds() == ["used_twice"]


def write_trail(make: Make, trail: Trail) -> None:
    """Write the rows into files, with an audit for each writer."""
    now = [0.0]
    audits = {row["writer"]: make(clock=lambda: now[0], rotate_bytes=5000) for row in trail.rows}
    for row in sorted(trail.rows, key=lambda row: row["ts"]):
        facts = {name: value for name, value in row.items() if name not in ("event", "ts", "writer", "seq")}
        now[0] = 10**9 + row["ts"] / SECOND
        audits[row["writer"]]._append(row["event"], **facts)
        audits[row["writer"]].flush()
    for audit in audits.values():
        audit.close()


def replayed(fill: int = 0) -> Trail:
    trail = Trail()
    trail.ask()
    trail.act(2)
    for number in range(fill):
        trail.act(3 + number, by="policy", act_id=f"f{number}", call_id=f"f{number}")
    trail.act(5000, "x")
    return trail


def test_verify_names_a_replay_whose_approval_is_in_a_compressed_file(folder: Path, make: Make) -> None:
    write_trail(make, replayed(fill=40))
    ring = [Key(KEY)]
    for path in closed_files(folder, time.time() + IDLE_CHAIN_SECONDS + 1):
        compress_file(path, ring)
    assert list(folder.glob("*.gz"))
    for full in (False, True):
        report = verify(folder, [KEY], full=full)
        assert report.whole and not report.ok and report.by_checkpoint == 0 if full else report.by_checkpoint
        assert [one.kind for one in report.misuses] == ["used_twice"]


def test_deleted_audit_file_is_reported_as_a_gap_and_no_act_is_reported(folder: Path, make: Make) -> None:
    trail = Trail()
    trail.ask()
    trail.give(most=1)
    for number in range(30):
        trail.act(3 + number, by="policy", act_id=f"f{number}", call_id=f"f{number}")
    trail.act(100)
    trail.act(200, by="m", call_id="d", act_id="other")
    write_trail(make, trail)
    for path in files(folder)[:2]:
        path.unlink()
    report = verify(folder, [KEY])
    assert not report.whole and not report.misuses and not report.unproven


def test_rows_of_nobodys_key_neither_accuse_nor_excuse(folder: Path, make: Make) -> None:
    write_trail(make, replayed())
    forger = make(b"f" * 32, clock=lambda: 10**9 + 3.0)
    forger._append("approval.released", approval_id=YES, user="u", tool="send", thread="t", call_id="c")
    forger._append("approval.rejected", approval_id=YES, user="u", tool="send", thread="t", call_id="c")
    forger.close()
    report = verify(folder, [KEY])
    assert [one.kind for one in report.misuses] == ["used_twice"] and not report.whole


def test_restore_that_was_accepted_lists_the_repeat_and_only_that(folder: Path, make: Make) -> None:
    trail = replayed()
    trail("vault.restored", 60, "op", call_id=None, copied_at=0)
    write_trail(make, trail)
    [misuse] = find_misuses(folder, [Key(KEY)])
    operator = make(clock=lambda: 10**9 + 6000.0)
    operator._append("restore.accepted", justification="disk", replayed=[misuse.ref])
    operator.flush()
    report = verify(folder, [KEY])
    assert report.ok and report.replayed == (misuse,) and not report.misuses
    more = make(clock=lambda: 10**9 + 7000.0)
    more._append("approval.used", approval_id=YES, user="u", tool="send", thread="t", call_id="c", show=SHOWN)
    more.flush()
    report = verify(folder, [KEY])
    assert not report.ok and [one.kind for one in report.misuses] == ["used_twice"]


def test_acceptance_does_not_excuse_a_repeat_without_a_restore(folder: Path, make: Make) -> None:
    write_trail(make, replayed())
    [misuse] = find_misuses(folder, [Key(KEY)])
    operator = make(clock=lambda: 10**9 + 6000.0)
    operator._append("restore.accepted", justification="trust me", replayed=[misuse.ref])
    operator.flush()
    report = verify(folder, [KEY])
    assert not report.ok and report.misuses == (misuse,)


def test_memory_does_not_grow_with_the_acts_that_a_policy_allowed() -> None:
    check, trail = PermissionCheck(), Trail()
    held: Callable[[PermissionCheck], Sequence[int]] = lambda check: [  # noqa: E731
        len(value) for value in vars(check).values() if hasattr(value, "__len__")
    ]
    for number in range(300):
        trail.rows = []
        trail.act(number, by="policy", act_id=f"a{number}", call_id=f"c{number}")
        for row in trail.rows:
            check.take(row)
    assert sum(held(check)) < 5
