"""Anchors and intents reveal what a chain alone cannot: a truncated end, and a missing outcome."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deputize.core.audit import Audit, verify
from tests.core.audit.audit_files import CANARY, KEY, Make, files, imitate, kinds, lines, write


def test_U4_truncated_chain_is_found_only_with_an_anchor(make: Make, folder: Path) -> None:
    anchors: list[str] = []
    write(audit := make(anchor=anchors.append), 5)
    audit.close()
    (anchor,) = anchors
    assert json.loads(anchor)["event"] == "chain.anchor" and json.loads(anchor)["seq"] == 5
    logged = f"<14>Nov 24 10:00:00 host deputize: {anchor}\n"
    assert verify(folder, [KEY], anchors=[logged, "\n"]).ok
    files(folder)[0].write_bytes(b"".join(lines(folder)[:3]))
    assert verify(folder, [KEY]).ok
    (finding,) = verify(folder, [KEY], anchors=[logged]).findings
    assert (finding.kind, finding.seq) == ("truncated", 3)
    files(folder)[0].unlink()
    (finding,) = verify(folder, [KEY], anchors=[logged]).findings
    assert (finding.kind, finding.writer, finding.seq) == ("truncated", audit.writer, 0)


def test_U4_anchors_are_logged_every_thousand_rows_after_the_row_is_on_disk(make: Make, folder: Path) -> None:
    on_disk: list[bool] = []
    seqs: list[int] = []

    def keep(line: str) -> None:
        on_disk.append(line.encode() + b"\n" in lines(folder))
        seqs.append(json.loads(line)["seq"])

    audit = make(anchor=keep)
    write(audit, 2500)
    audit.flush()
    assert seqs == [1000, 2001] and all(on_disk)
    audit.close()
    audit.close()
    assert seqs == [1000, 2001, 2502] and verify(folder, [KEY]).rows == 2503


def test_U4_forged_anchor_and_rewritten_chain_are_found(make: Make, folder: Path) -> None:
    anchors: list[str] = []
    write(audit := make(anchor=anchors.append), 5)
    audit.close()
    forged = anchors[0].replace('"seq":5', '"seq":9')
    assert kinds(verify(folder, [KEY], anchors=[forged])) == {"anchor"}
    assert kinds(verify(folder, [KEY], anchors=["no anchor"])) == {"anchor"}
    rewritten = imitate(KEY, audit.writer, json.loads(lines(folder)[0])["prev"], 0, 6, user="decoy")
    files(folder)[0].write_bytes(b"".join(rewritten))
    assert verify(folder, [KEY]).ok
    assert kinds(verify(folder, [KEY], anchors=anchors)) == {"anchor"}


def test_U4_anchor_sink_failure_is_logged_and_stops_nothing(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(line: str) -> None:
        raise ConnectionError(CANARY)

    audit = make(anchor=fail)
    write(audit, 1500)
    audit.close()
    assert verify(folder, [KEY]).rows == 1502
    assert "ConnectionError" in caplog.text and CANARY not in caplog.text


def test_U8_intent_without_result_is_an_unknown_outcome(folder: Path, audit: Audit) -> None:
    for act in ("a", "b", "c"):
        audit._append("act.intent", act=act)
        audit._append("act.intent", user="alice", thread="t", call_id=act, tool="gmail_send_email")
    audit._append("act.result", act="a", decision="done")
    audit._append("act.reported", act="b", decision="done")  # no other row of an act ends it
    audit._append("act.result", act="c", decision="outcome_unknown")
    audit._append("act.result", user="alice", thread="t", call_id="a", tool="gmail_send_email", decision="rate_limited")
    audit._append("act.result", user="bob", thread="t", call_id="b", tool="gmail_send_email", decision="done")
    audit.close()
    report = verify(folder, [KEY])
    assert report.ok
    assert [row.get("act") or row["call_id"] for row in report.orphans] == ["b", "b", "c", "c"]


@pytest.mark.parametrize(("decision", "orphans"), [("done", 0), ("outcome_unknown", 1), ("policy_denied", 1)])
def test_U8_other_process_closes_an_intent_only_if_it_found_it_done(
    make: Make, folder: Path, decision: str, orphans: int
) -> None:
    crashed, later = make(), make()
    crashed._append("act.intent", act="a")
    later._append("act.result", act="a", decision=decision)
    crashed.close()
    later.close()
    assert len(verify(folder, [KEY]).orphans) == orphans
