"""From facts to an audit line: what a row contains, and what it never contains."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import deputize.core.audit.sinks as sinks
from deputize.core.audit import Audit, verify
from deputize.core.errors import InvalidInput
from tests.core.audit.audit_files import CANARY, KEY, OLD, Make, lines, write


def test_U1_row_contains_time_event_user_and_all_facts(make: Make) -> None:
    audit = make(clock=lambda: 1_700_000_000.25)
    audit._append(
        "act.result", user="alice", tenant="", run=None, scopes_granted=[], n=0, ok=False, **{"http.status": 200}
    )
    (row,) = audit.rows()
    assert list(row) == ["ts", "writer", "seq", "event", "user", "n", "ok", "http.status", "prev", "mac"]
    assert row["ts"] == 1_700_000_000_250_000_000
    assert (row["writer"], row["seq"], row["event"]) == (audit.writer, 0, "act.result")
    assert (row["user"], row["n"], row["ok"], row["http.status"]) == ("alice", 0, False, 200)


def test_U1_facts_of_every_type_become_plain_json(make: Make) -> None:
    class Kind(str):
        __slots__ = ()

    given: dict[str, Any] = {
        "status": HTTPStatus.NOT_FOUND,
        "kind": Kind("sends"),
        "list": ["a", 'b"'],
        "tuple": ("c",),
        "set": {"z", "y"},
        "ms": 12.5,
        "nan": float("nan"),
        "huge": 1 << 20_000,
        "mixed": ["a", b"b", 3],
    }
    audit = make()
    audit._append("e", **given)
    (row,) = audit.rows()
    assert {name: row[name] for name in ("status", "kind", "list", "tuple", "set", "ms", "nan", "mixed")} == {
        "status": 404,
        "kind": "sends",
        "list": ["a", 'b"'],
        "tuple": ["c"],
        "set": ["y", "z"],
        "ms": 12.5,
        "nan": "nan",
        "mixed": ["a", "<bytes>", "<int>"],
    }
    assert row["huge"].startswith("0x1000") and len(row["huge"]) == 4096


@pytest.mark.parametrize("name", ["ts", "writer", "seq", "event", "prev", "mac"])
def test_U1_fact_cannot_replace_a_standard_field(name: str, audit: Audit) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}'"):
        audit._append("act.result", **{name: "forged"})
    assert audit.rows() == []


def test_U1_list_may_change_after_it_was_written(make: Make) -> None:
    audit, scopes = make(), ["read"]
    audit._append("consent.granted", scopes=scopes)
    scopes.append("admin")
    assert audit.rows()[0]["scopes"] == ["read"]


def test_U2_digest_is_keyed_and_deterministic() -> None:
    ours, theirs = Audit(None, KEY), Audit(None, OLD)
    email = "alice@example.test"
    assert ours.digest(email) == ours.digest(email.encode()) == Audit(None, KEY).digest(email)
    assert ours.digest(email) != theirs.digest(email)
    guesses = {hashlib.new(name, email.encode()).hexdigest()[:32] for name in ("md5", "sha256", "blake2b", "sha512")}
    assert ours.digest(email) not in guesses | {hashlib.blake2b(email.encode(), digest_size=16).hexdigest()}
    assert ours.digest("ab", "c") != ours.digest("a", "bc") != ours.digest("abc")
    assert len(ours.digest("\ud800")) == 32


def test_U2_unsupported_object_shows_only_its_type(make: Make, folder: Path) -> None:
    class Token:
        def __repr__(self) -> str:
            return CANARY

    audit = make()
    write(audit, 1, token=Token(), raw=CANARY.encode(), table={"a": CANARY}, several=[Token()])
    (row,) = audit.rows()
    assert (row["token"], row["raw"], row["table"], row["several"]) == ("<Token>", "<bytes>", "<dict>", ["<Token>"])
    assert CANARY.encode() not in b"".join(lines(folder))


@pytest.mark.parametrize(
    "text", ["a\r\nb", "a\u2028b\u2029c", "\x1b[31mred\x1b[0m", "\x00\x07\x7f\x85", "\ud800", '","mac":"']
)
def test_U9_row_stays_on_one_printable_ascii_line(folder: Path, text: str, audit: Audit) -> None:
    audit._append(text, target=text, scopes=[text], **{f"name {text}": text})
    audit.flush()
    (line,) = lines(folder)
    assert all(0x20 <= byte < 0x7F for byte in line[:-1]) and line.endswith(b"\n")
    row = json.loads(line)
    assert (row["event"], row["target"], row["scopes"], row[f"name {text}"]) == (text, text, [text], text)
    assert verify(folder, [KEY]).ok


def test_U9_long_value_is_truncated_with_its_length(folder: Path, audit: Audit) -> None:
    audit._append("act.result", target="x" * 1_000_000, ids=["y" * 1_000_000] * 500, n=7)
    audit._append("act.result", target="z" * 4096)
    audit._append("act.result", target="z" * 4097)
    first, second, third = audit.rows()
    assert len(first["target"]) == 4096 and first["target"].endswith("x... 1000000 characters")
    assert len(first["ids"]) == 101 and first["ids"][-1] == "... 400 more" and len(first["ids"][0]) == 256
    assert second["target"] == "z" * 4096 and third["target"].endswith("z... 4097 characters") and first["n"] == 7
    assert max(map(len, lines(folder))) < 50_000 and verify(folder, [KEY]).ok


def test_rows_without_a_folder_stay_in_memory_without_a_thread() -> None:
    before = set(threading.enumerate())
    audit = Audit(None, KEY)
    write(audit, 3)
    asyncio.run(audit.settle())
    assert [row["seq"] for row in audit.rows()] == [0, 1, 2]
    assert set(threading.enumerate()) <= before


def test_memory_keeps_only_the_latest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "MAX_ROWS", 5)
    audit = Audit(None, KEY)
    write(audit, 9)
    assert [row["n"] for row in audit.rows()] == [4, 5, 6, 7, 8]
