"""``deputize audit query`` and ``deputize audit export``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Deputy
from deputize.core.audit.common_fields import OfApproval, OfCall
from deputize.core.audit.events import ActResult, ApprovalApproved, KeyAdded
from deputize.core.settings import Settings
from tests.cli.conftest import Command

USERS = (("alice", "acme"), ("bob", "acme"), ("carol", "globex"))


@pytest.fixture
def deputy(home: Path) -> Iterator[Deputy]:
    with Deputy.from_settings(Settings.load(home=home / "deputize", port=0)) as deputy:
        yield deputy


@pytest.fixture
def rows(deputy: Deputy) -> Deputy:
    """Three acts, an approval and a row without a user."""
    for user, tenant in USERS:
        decision = "policy_denied" if user == "bob" else "done"
        call = OfCall(tenant=tenant, user=user, agent="inbox", tool="gmail_send_email", call_id=f"call-{user}")
        deputy.run(deputy.audit.record(ActResult(call, decision, 5)))
    approval = OfApproval(
        tenant="acme", user="alice", tool="gmail_send_email", approval_id="ap-1", call_id="call-alice"
    )
    deputy.run(deputy.audit.record(ApprovalApproved(approval)))
    deputy.audit.write(KeyAdded("k1"))
    deputy.audit.flush()
    return deputy


def queried(cli: Command, *words: str) -> list[dict[str, Any]]:
    result = cli("audit", "query", "--json", *words)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("rows")
def test_query_returns_rows_that_match_all_filters(cli: Command) -> None:
    assert [row["event"] for row in queried(cli, "--user", "alice")] == ["act.result", "approval.approved"]
    assert [row["user"] for row in queried(cli, "--tenant", "globex")] == ["carol"]
    assert [row["user"] for row in queried(cli, "--outcome", "policy_denied")] == ["bob"]
    assert [row["user"] for row in queried(cli, "--event", "act.*", "--tenant", "acme")] == ["alice", "bob"]
    assert [row["event"] for row in queried(cli, "--act", "call-alice")] == ["act.result", "approval.approved"]
    assert [row["event"] for row in queried(cli, "--id", "ap-")] == ["approval.approved"]
    assert [row["user"] for row in queried(cli, "--tool", "gmail_*", "--agent", "inbox", "-n", "1")] == ["carol"]
    assert queried(cli, "--since", "1h", "--until", "2000-01-01") == [] == queried(cli, "--until", "1d")
    assert len(queried(cli, "--since", "1h")) == 5
    table = cli("audit", "query", "--user", "carol").stdout
    assert "gmail_send_email" in table and "carol" in table and "bob" not in table


@pytest.mark.parametrize("time", ["soon", "999999d", "9999999d", "2026-13-01", "24"])
@pytest.mark.usefixtures("rows")
def test_query_refuses_what_is_no_time(cli: Command, time: str) -> None:
    result = cli("audit", "query", "--since", time)
    assert result.exit_code == 2 and "--since" in result.stderr and "Traceback" not in result.stderr


def exported(cli: Command, form: str, *words: str) -> tuple[list[Any], str]:
    result = cli("audit", "export", "--format", form, *words)
    assert result.exit_code == 0, result.stderr
    cursor = re.search(r"next cursor: (\S+)", result.stderr.replace("\n", ""))
    lines = result.stdout.splitlines()
    return [json.loads(line) for line in lines] if form != "syslog" else lines, cursor[1] if cursor else ""


def test_export_continues_at_its_cursor(cli: Command, rows: Deputy) -> None:
    first, cursor = exported(cli, "jsonl")
    assert [row["event"] for row in first].count("act.result") == 3
    assert exported(cli, "jsonl", "--since", cursor)[0] == []
    rows.audit.write(KeyAdded("k2"))
    rows.audit.flush()
    [more], _ = exported(cli, "ocsf", "--since", cursor)
    assert more["metadata"]["uid"] == f"{rows.audit.writer}.{len(first)}"
    everything, _ = exported(cli, "ocsf")
    uids = [event["metadata"]["uid"] for event in everything]
    assert len(uids) == len(set(uids)) == len(first) + 1


@pytest.mark.usefixtures("rows")
def test_export_has_pseudonyms_only(cli: Command) -> None:
    for form in ("jsonl", "ocsf", "syslog"):
        text = cli("audit", "export", "--format", form).stdout
        assert '"u' in text and not re.search(r'"(alice|bob|carol)"', text)


@pytest.mark.usefixtures("rows")
def test_export_of_a_tenant_has_no_row_of_others(cli: Command) -> None:
    found, cursor = exported(cli, "jsonl", "--tenant", "acme")
    assert len(found) == 3 and {row["tenant"] for row in found} == {"acme"}
    assert exported(cli, "ocsf", "--tenant", "acme", "--since", cursor)[0] == []
    other = cli("audit", "export", "--format", "jsonl", "--tenant", "globex", "--since", cursor)
    assert other.exit_code and other.stdout == "" and "of the tenant 'acme'" in other.stderr


def test_cursor_file_is_read_and_replaced(cli: Command, home: Path, rows: Deputy) -> None:
    place = home / "cursor"
    first, _ = exported(cli, "jsonl", "--cursor-file", str(place))
    assert first and exported(cli, "jsonl", "--cursor-file", str(place))[0] == []
    rows.audit.write(KeyAdded("k2"))
    rows.audit.flush()
    assert len(exported(cli, "jsonl", "--cursor-file", str(place))[0]) == 1
    assert place.stat().st_mode & 0o777 == 0o600 and list(home.glob("cursor*")) == [place]


def test_forged_line_is_not_exported_but_told(cli: Command, home: Path, rows: Deputy) -> None:
    [path] = (home / "deputize" / "audit").glob("*.jsonl")
    line = json.loads(path.read_bytes().splitlines()[0])
    with path.open("a") as to:
        to.write(json.dumps({**line, "seq": 999, "event": "act.result", "decision": "forged"}) + "\n")
    result = cli("audit", "export", "--format", "jsonl")
    assert "forged" not in result.stdout and "1 line left out that deputize did not write" in result.stderr


@pytest.mark.usefixtures("rows")
def test_syslog_lines_are_messages_of_rfc_5424(cli: Command) -> None:
    lines, _ = exported(cli, "syslog")
    form = re.compile(r"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (\S+) deputize [0-9a-f]{16} (\S+) - (\{.*\})")
    for line in lines:
        found = form.fullmatch(line)
        assert found is not None and json.loads(found[4])["metadata"]["event_code"] == found[3]
    assert {line[: line.index(">") + 1] for line in lines if "act.result" in line} == {"<110>", "<109>"}
