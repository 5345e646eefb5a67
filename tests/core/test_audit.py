"""The audit: what is written stays, in order, on disk when somebody waits for it, and no hand without the key shows."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import itertools
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import deputize.core.audit as module
from deputize.core.audit import Audit, Finding, Report, read, verify
from deputize.core.errors import InvalidInput, SettingsError, StoreUnavailable

KEY, OLD, OLDER = b"k" * 32, b"o" * 32, b"p" * 32
CANARY = "canary-token-alice"
Make = Callable[..., Audit]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """An Audit on the folder, closed after the test."""
    made: list[Audit] = []

    def begin(key: bytes = KEY, **options: Any) -> Audit:
        made.append(Audit(folder, key, **options))
        return made[-1]

    yield begin
    for audit in made:
        with contextlib.suppress(StoreUnavailable):
            audit.close()


class Disk:
    """The disk under the audit's files, to be slowed, counted, filled and broken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.room: int | None = None  # bytes until it is full
        self.sync_fails = False
        self.open = threading.Event()
        self.open.set()
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, fd: int, data: bytes) -> int:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return self._write(fd, data)
        assert self.open.wait(10)
        if self.room is None:
            return self._write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self._write(fd, data[: self.room])
        self.room -= done
        return done

    def fsync(self, fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            self.syncs += 1
            if self.sync_fails:
                raise OSError(errno.EIO, "Input/output error")
        self._fsync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def files(folder: Path) -> list[Path]:
    """Oldest first, where one writer has few files."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: int(path.stem.rpartition(".")[2]))


def lines(folder: Path) -> list[bytes]:
    return [line for path in files(folder) for line in path.read_bytes().splitlines(keepends=True)]


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def write(audit: Audit, count: int, **facts: Any) -> None:
    for n in range(count):
        audit.write("token.refreshed", n=n, **facts)


def run(code: str, *arguments: object, complaints: str = "") -> str:
    """What another Python process prints, if it complains of no more than this."""
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(code)]
    done = subprocess.run([*command, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60)
    assert complaints in done.stderr and bool(complaints) == bool(done.stderr)
    return done.stdout


def imitate(key: bytes, writer: str, prev: str, seq: int, count: int, **facts: Any) -> list[bytes]:
    """Rows that somebody with a key puts into a writer's chain."""
    audit = Audit(None, key)
    audit.writer, audit._prev, audit._seq = writer, prev, seq
    write(audit, count, **facts)
    assert isinstance(audit._sink, module._Memory)
    return list(audit._sink.lines)


# --- rows ---------------------------------------------------------------------------------------------------------


def test_U1_a_row_says_when_who_what_and_every_fact_that_there_is(make: Make) -> None:
    audit = make(clock=lambda: 1_700_000_000.25)
    audit.write(
        "act.result", user="alice", tenant="", run=None, scopes_granted=[], n=0, ok=False, **{"http.status": 200}
    )
    (row,) = audit.rows()
    assert list(row) == ["ts", "writer", "seq", "event", "user", "n", "ok", "http.status", "prev", "mac"]
    assert row["ts"] == 1_700_000_000_250_000_000
    assert (row["writer"], row["seq"], row["event"]) == (audit.writer, 0, "act.result")
    assert (row["user"], row["n"], row["ok"], row["http.status"]) == ("alice", 0, False, 200)


def test_U1_facts_of_every_kind_become_plain_json(make: Make) -> None:
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
    audit.write("e", **given)
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
def test_U1_a_fact_cannot_take_the_place_of_a_field(make: Make, name: str) -> None:
    audit = make()
    with pytest.raises(InvalidInput, match=f"'{name}'"):
        audit.write("act.result", **{name: "forged"})
    assert audit.rows() == []


def test_U1_a_list_may_change_after_it_was_written(make: Make) -> None:
    audit, scopes = make(), ["read"]
    audit.write("consent.granted", scopes=scopes)
    scopes.append("admin")
    assert audit.rows()[0]["scopes"] == ["read"]


def test_U2_a_digest_cannot_be_guessed_without_the_key_and_is_the_same_for_the_same_values() -> None:
    ours, theirs = Audit(None, KEY), Audit(None, OLD)
    email = "alice@example.test"
    assert ours.digest(email) == ours.digest(email.encode()) == Audit(None, KEY).digest(email)
    assert ours.digest(email) != theirs.digest(email)
    guesses = {hashlib.new(name, email.encode()).hexdigest()[:32] for name in ("md5", "sha256", "blake2b", "sha512")}
    assert ours.digest(email) not in guesses | {hashlib.blake2b(email.encode(), digest_size=16).hexdigest()}
    assert ours.digest("ab", "c") != ours.digest("a", "bc") != ours.digest("abc")
    assert len(ours.digest("\ud800")) == 32


def test_U2_an_object_that_is_no_fact_shows_only_its_type(make: Make, folder: Path) -> None:
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
def test_U9_whatever_a_fact_holds_it_stays_on_its_line_as_printable_ascii(make: Make, folder: Path, text: str) -> None:
    audit = make()
    audit.write(text, target=text, scopes=[text], **{f"name {text}": text})
    audit.flush()
    (line,) = lines(folder)
    assert all(0x20 <= byte < 0x7F for byte in line[:-1]) and line.endswith(b"\n")
    row = json.loads(line)
    assert (row["event"], row["target"], row["scopes"], row[f"name {text}"]) == (text, text, [text], text)
    assert verify(folder, [KEY]).ok


def test_U9_a_megabyte_is_cut_and_says_so(make: Make, folder: Path) -> None:
    audit = make()
    audit.write("act.result", target="x" * 1_000_000, ids=["y" * 1_000_000] * 500, n=7)
    audit.write("act.result", target="z" * 4096)
    audit.write("act.result", target="z" * 4097)
    first, second, third = audit.rows()
    assert len(first["target"]) == 4096 and first["target"].endswith("x... 1000000 characters")
    assert len(first["ids"]) == 101 and first["ids"][-1] == "... 400 more" and len(first["ids"][0]) == 256
    assert second["target"] == "z" * 4096 and third["target"].endswith("z... 4097 characters") and first["n"] == 7
    assert max(map(len, lines(folder))) < 50_000 and verify(folder, [KEY]).ok


def test_rows_without_a_folder_stay_in_memory_and_need_no_thread() -> None:
    before = threading.active_count()
    audit = Audit(None, KEY)
    write(audit, 3)
    asyncio.run(audit.settle())
    assert [row["seq"] for row in audit.rows()] == [0, 1, 2]
    assert threading.active_count() == before


def test_memory_keeps_only_the_latest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 5)
    audit = Audit(None, KEY)
    write(audit, 9)
    assert [row["n"] for row in audit.rows()] == [4, 5, 6, 7, 8]


# --- the chain ----------------------------------------------------------------------------------------------------


def edit(rows: list[bytes]) -> list[bytes]:
    return [*rows[:2], rows[2].replace(b'"user":"alice"', b'"user":"decoy"'), *rows[3:]]


def forge(rows: list[bytes]) -> list[bytes]:
    """A row that looks right, chained as one would without the key."""
    row = json.loads(rows[1])
    body = rows[2].split(b',"prev"')[0] + f',"prev":"{row["mac"]}"'.encode()
    mac = hashlib.blake2b(row["mac"].encode() + body, digest_size=16).hexdigest()
    return [*rows[:2], body + f',"mac":"{mac}"}}\n'.encode(), *rows[2:]]


TAMPERING: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "edit": (edit, "altered"),
    "edit the first": (lambda rows: [rows[0].replace(b"alice", b"decoy"), *rows[1:]], "altered"),
    "edit the last": (lambda rows: [*rows[:-1], rows[-1].replace(b"alice", b"decoy")], "altered"),
    "edit the mac": (lambda rows: [*rows[:-1], rows[-1][:-4] + b'0"}\n'], "altered"),
    "delete": (lambda rows: [*rows[:2], *rows[3:]], "missing"),
    "delete the first": (lambda rows: rows[1:], "beginning"),
    "insert a copy": (lambda rows: [*rows[:4], rows[1], *rows[4:]], "moved"),
    "insert a forgery": (forge, "altered"),
    "reorder": (lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]], "moved"),
    "double the last": (lambda rows: [*rows, rows[-1]], "moved"),
    "garble": (lambda rows: [*rows[:2], b"\xff\xfe}\n", *rows[3:]], "unreadable"),
    "empty line": (lambda rows: [*rows[:2], b"\n", *rows[2:]], "unreadable"),
    "add a space": (lambda rows: [*rows[:2], rows[2].replace(b',"event"', b', "event"'), *rows[3:]], "altered"),
    "hide in escapes": (
        lambda rows: [*rows[:2], rows[2].replace(b'"prev":"', b'"prev":"\\u00e9'), *rows[3:]],
        "unreadable",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_U3_no_change_goes_unseen(make: Make, folder: Path, name: str) -> None:
    audit = make()
    write(audit, 6, user="alice")
    audit.close()
    untouched = verify(folder, [KEY])
    assert untouched.ok and untouched.findings == () and (untouched.rows, untouched.writers) == (6, 1)
    change, kind = TAMPERING[name]
    (path,) = files(folder)
    path.write_bytes(b"".join(change(lines(folder))))
    report = verify(folder, [KEY])
    assert not report.ok and kind in kinds(report)
    assert all(finding.writer == audit.writer for finding in report.findings)


def test_U3_one_edit_is_one_finding_at_its_row(make: Make, folder: Path) -> None:
    audit = make()
    write(audit, 6, user="alice")
    audit.close()
    files(folder)[0].write_bytes(b"".join(edit(lines(folder))))
    assert verify(folder, [KEY]).findings == (Finding("altered", audit.writer, 2, "its mac does not fit"),)


def test_U3_rows_cannot_change_writers(make: Make, folder: Path) -> None:
    first, second = make(), make()
    write(first, 3)
    write(second, 3)
    first.close()
    second.close()
    a, b = files(folder)
    ours, theirs = a.read_bytes().splitlines(keepends=True), b.read_bytes().splitlines(keepends=True)
    a.write_bytes(ours[0] + theirs[1] + ours[2])
    b.write_bytes(theirs[0] + ours[1] + theirs[2])
    assert "foreign" in kinds(verify(folder, [KEY]))
    a.write_bytes(b"".join(theirs))
    b.write_bytes(b"".join(ours))
    assert kinds(verify(folder, [KEY])) == {"foreign"}


def test_U3_every_mac_covers_the_one_before_and_its_own_line(make: Make, folder: Path) -> None:
    write(audit := make(), 3)
    audit.close()
    prev = hashlib.blake2b(audit.writer.encode(), key=KEY, digest_size=16, person=b"deputize.first").hexdigest()
    for line in lines(folder):
        body, _, mac = line.partition(b',"mac":')
        covered = prev.encode() + body
        assert body.endswith(f',"prev":"{prev}"'.encode())
        prev = hashlib.blake2b(covered, key=KEY, digest_size=16, person=b"deputize.row").hexdigest()
        assert mac == f'"{prev}"}}\n'.encode()


def test_U3_rows_of_another_past_do_not_fit(make: Make, folder: Path) -> None:
    anchors: list[str] = []
    write(audit := make(anchor=anchors.append), 5)
    audit.close()
    (path,), rows = files(folder), lines(folder)
    other = imitate(KEY, audit.writer, "0" * 32, 0, 8)
    path.write_bytes(b"".join([*rows[:3], *other[3:]]))
    assert [(f.kind, f.seq) for f in verify(folder, [KEY]).findings] == [("broken", 3)]
    path.write_bytes(b"".join(other))
    assert [(f.kind, f.seq) for f in verify(folder, [KEY]).findings] == [("broken", 0)]
    path.write_bytes(b"".join(other[6:]))
    assert [(f.kind, f.seq) for f in verify(folder, [KEY], anchors=anchors).findings] == [("beginning", 6)]


def test_U3_a_whole_chain_by_somebody_else_is_not_ours(make: Make, folder: Path) -> None:
    write(ours := make(), 2)
    write(theirs := make(OLD), 3)
    ours.close()
    theirs.close()
    (finding,) = verify(folder, [KEY]).findings
    assert (finding.kind, finding.writer) == ("unknown_key", theirs.writer)


def test_U3_a_chain_copied_to_another_name_is_not_that_writers(make: Make, folder: Path) -> None:
    write(audit := make(), 3)
    audit.close()
    files(folder)[0].rename(folder / "abcdef0123456789.0.jsonl")
    assert kinds(verify(folder, [KEY])) == {"foreign"}


@pytest.mark.parametrize("keys", [[], [b"short"], ["k" * 32]])
def test_a_missing_or_useless_key_proves_nothing(folder: Path, keys: list[Any]) -> None:
    folder.mkdir()
    with pytest.raises(SettingsError):
        verify(folder, keys)


def test_a_folder_that_is_not_there_is_not_a_clean_one(folder: Path) -> None:
    with pytest.raises(StoreUnavailable):
        verify(folder, [KEY])
    with pytest.raises(StoreUnavailable):
        list(read(folder))


# --- anchors ------------------------------------------------------------------------------------------------------


def test_U4_a_cut_tail_shows_against_an_anchor_and_only_there(make: Make, folder: Path) -> None:
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


def test_U4_anchors_come_every_thousand_rows_and_only_when_the_row_is_on_disk(make: Make, folder: Path) -> None:
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


def test_U4_a_forged_anchor_is_found_and_so_is_a_rewritten_chain(make: Make, folder: Path) -> None:
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


def test_U4_an_anchor_that_cannot_be_kept_stops_nothing_and_is_logged(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(line: str) -> None:
        raise ConnectionError(CANARY)

    audit = make(anchor=fail)
    write(audit, 1500)
    audit.close()
    assert verify(folder, [KEY]).rows == 1502
    assert "ConnectionError" in caplog.text and CANARY not in caplog.text


# --- many writers -------------------------------------------------------------------------------------------------

WRITER = """
    import sys
    from pathlib import Path
    from deputize.core.audit import Audit
    audit = Audit(Path(sys.argv[1]), b"k" * 32)
    print(audit.writer, flush=True)
    for n in range(10_000_000):
        audit.write("token.refreshed", n=n, filler="x" * 2000)
        if n % 50 == 49:
            audit.flush()
            print(n, flush=True)
"""


def test_U5_eight_processes_killed_while_they_write_leave_chains_that_verify(folder: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    promised: dict[str, int] = {}
    names = [process.stdout.readline().strip() for process in writers if process.stdout]
    for process in writers:
        assert process.stdout and process.stdout.readline().strip() == "49"
    for n, process in enumerate(writers):
        time.sleep(0.013 * n)
        process.send_signal(signal.SIGKILL)
    for name, process in zip(names, writers, strict=True):
        told = process.communicate(timeout=30)[0].split()
        promised[name] = int(told[-1]) if told else 49
    report = verify(folder, [KEY])
    assert report.ok and report.writers == 8 and kinds(report) <= {"partial"}
    whole = [row for row in read(folder)]
    assert len(whole) == report.rows
    for name in names:
        written = [row["n"] for row in whole if row["writer"] == name]
        assert written == list(range(len(written))) and len(written) > promised[name]


def test_U5_a_line_that_a_crash_left_unfinished_is_tolerated_and_reported(make: Make, folder: Path) -> None:
    cut, whole = make(), make()
    write(cut, 5)
    write(whole, 5)
    cut.close()
    whole.close()
    path = folder / f"{cut.writer}.0.jsonl"
    for left in (1, 40, 100):
        path.write_bytes(path.read_bytes()[:-left])
        report = verify(folder, [KEY])
        assert report.ok and [(f.kind, f.writer, f.seq) for f in report.findings] == [("partial", cut.writer, 4)]
        assert report.rows == 9 and sum(row["writer"] == cut.writer for row in read(folder)) == 4


def test_U5_threads_share_a_chain_without_gaps(make: Make, folder: Path) -> None:
    audit = make()
    with ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            pool.submit(write, audit, 250, thread=str(thread))
    audit.flush()
    rows = [json.loads(line) for line in lines(folder)]
    assert [row["seq"] for row in rows] == list(range(2000))
    for thread in range(8):
        assert [row["n"] for row in rows if row["thread"] == str(thread)] == list(range(250))
    assert verify(folder, [KEY]).ok


def test_a_forked_child_is_another_writer_and_loses_nothing_of_its_own(folder: Path) -> None:
    parent, child = run(
        """
        import os, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        audit.write("before.fork", side="parent")
        audit.flush()
        audit.write("waits.at.fork", side="parent")
        if os.fork() == 0:
            audit.write("in.child", side="child")
            audit.flush()
            audit.write("at.exit", side="child")
        else:
            os.wait()
            audit.write("after.fork", side="parent")
        print(audit.writer)
        """,
        folder,
    ).split()[::-1]
    assert verify(folder, [KEY]) == Report(5, 2, (), ())
    seen = sorted((row["writer"], row["seq"], row["event"]) for row in read(folder))
    assert seen == sorted(
        [
            (parent, 0, "before.fork"),
            (parent, 1, "waits.at.fork"),
            (parent, 2, "after.fork"),
            (child, 0, "in.child"),
            (child, 1, "at.exit"),
        ]
    )


# --- when rows are durable ----------------------------------------------------------------------------------------


async def test_U6_thirty_two_tasks_share_their_syncs_and_keep_their_order(make: Make, folder: Path, disk: Disk) -> None:
    audit = make()

    async def act(task: int) -> None:
        for n in range(10):
            audit.write("act.intent", task=task, n=n)
            await audit.settle()

    await asyncio.gather(*map(act, range(32)))
    rows = [json.loads(line) for line in lines(folder)]
    assert len(rows) == 320 and len(rows) / disk.syncs >= 8
    for task in range(32):
        assert [row["n"] for row in rows if row["task"] == task] == list(range(10))


async def test_U6_what_was_settled_is_on_disk(make: Make, folder: Path) -> None:
    audit = make(mode="strict")
    for n in range(1, 20):
        audit.write("act.intent", n=n)
        await audit.settle()
        assert len(lines(folder)) == n
    assert audit.mode == "strict"


def test_U6_two_event_loops_settle_at_once(make: Make, folder: Path) -> None:
    audit = make()

    async def settle(side: str) -> None:
        for n in range(50):
            audit.write("act.intent", side=side, n=n)
            await asyncio.gather(audit.settle(), audit.settle())
            assert f'"side":"{side}","n":{n},'.encode() in b"".join(lines(folder))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(asyncio.run, settle(side)) for side in ("a", "b")]:
            done.result(30)
    assert len(lines(folder)) == 100 and verify(folder, [KEY]).ok


async def test_U6_a_cancelled_or_vanished_waiter_disturbs_nobody(make: Make, disk: Disk) -> None:
    audit = make()
    disk.open.clear()
    audit.write("act.intent")
    cancelled, kept = asyncio.ensure_future(audit.settle()), asyncio.ensure_future(audit.settle())

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()
        with contextlib.suppress(TimeoutError):
            loop.run_until_complete(asyncio.wait_for(audit.settle(), 0.01))
        loop.close()

    await asyncio.to_thread(elsewhere)
    cancelled.cancel()
    await asyncio.sleep(0.01)
    disk.open.set()
    await asyncio.wait_for(kept, 5)
    assert cancelled.cancelled()


def test_U6_writing_never_waits_for_the_disk(make: Make, folder: Path, disk: Disk) -> None:
    audit = make()
    disk.open.clear()
    audit.write("act.intent")
    flushed = threading.Thread(target=audit.flush)
    flushed.start()
    write(audit, 1000)
    assert flushed.is_alive() and not b"".join(lines(folder))
    disk.open.set()
    flushed.join(10)
    audit.flush()
    assert not flushed.is_alive() and len(lines(folder)) == 1001


def test_U7_in_standard_mode_a_row_is_on_disk_within_a_second(make: Make, folder: Path, disk: Disk) -> None:
    audit = make()
    write(audit, 100)
    began = time.monotonic()
    while not files(folder) or len(lines(folder)) < 100:
        assert time.monotonic() - began < 1
        time.sleep(0.02)
    assert disk.syncs == 1


# --- when the disk says no ----------------------------------------------------------------------------------------


async def test_U7_on_a_full_disk_a_strict_act_is_refused_and_no_row_is_lost(
    make: Make, folder: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    audit = make(mode="strict")
    audit.write("act.intent", n=0)
    await audit.settle()
    disk.room = 100
    for n in (1, 2, 3):
        audit.write("act.intent", n=n)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            await audit.settle()
        with pytest.raises(StoreUnavailable):
            audit.flush()
    assert len(lines(folder)) == 1 and verify(folder, [KEY]).findings == ()
    assert len(files(folder)) == 1
    disk.room = None
    audit.write("act.intent", n=4)
    await audit.settle()
    assert [row["n"] for row in read(folder)] == [0, 1, 2, 3, 4]
    assert verify(folder, [KEY]).findings == ()
    levels = [record.levelno for record in caplog.records if record.name == module.__name__]
    assert levels == [logging.ERROR, logging.WARNING]


async def test_U7_after_a_failed_sync_the_file_is_not_trusted_again(make: Make, folder: Path, disk: Disk) -> None:
    audit = make()
    audit.write("act.intent", n=0)
    await audit.settle()
    disk.sync_fails = True
    audit.write("act.intent", n=1)
    with pytest.raises(StoreUnavailable):
        await audit.settle()
    disk.sync_fails = False
    await audit.settle()
    assert [path.read_bytes().count(b"\n") for path in files(folder)] == [1, 1]
    assert verify(folder, [KEY]).findings == () and [row["n"] for row in read(folder)] == [0, 1]


def test_U7_standard_mode_keeps_what_it_can_and_says_how_much_it_could_not(
    make: Make, folder: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 10)
    audit = make()
    disk.room = 0
    write(audit, 25)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    write(audit, 2)
    disk.room = None
    audit.flush()
    write(audit, 1)
    audit.flush()
    rows = list(read(folder))
    assert (rows[0]["event"], rows[0]["rows"]) == ("audit.lost", 15)
    assert [row["n"] for row in rows[1:]] == [*range(15, 25), 0, 1, 0]
    assert verify(folder, [KEY]).findings == ()


def test_U7_without_anybody_waiting_the_rows_follow_when_there_is_room_again(
    make: Make, folder: Path, disk: Disk
) -> None:
    audit = make()
    disk.room = 0
    write(audit, 3)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    disk.room = None
    began = time.monotonic()
    while len(lines(folder)) < 3:
        assert time.monotonic() - began < 2
        time.sleep(0.02)
    assert verify(folder, [KEY]).ok


@pytest.mark.parametrize("replaced", [False, True])
async def test_U7_a_folder_taken_away_does_not_swallow_rows(make: Make, folder: Path, replaced: bool) -> None:
    audit = make(mode="strict")
    audit.write("act.intent", n=0)
    await audit.settle()
    taken = folder.with_name("taken")
    os.rename(folder, taken)
    audit.write("act.intent", n=1)
    if not replaced:
        with pytest.raises(StoreUnavailable, match="No such file"):
            await audit.settle()
    os.mkdir(folder, 0o700)
    await audit.settle()
    assert [row["n"] for row in read(folder)] == [1] and [row["n"] for row in read(taken)] == [0]
    assert kinds(verify(folder, [KEY])) == {"beginning"}
    files(taken)[0].rename(folder / files(taken)[0].name)
    assert verify(folder, [KEY]).findings == ()


def test_U7_a_limit_of_the_system_refuses_like_a_full_disk(folder: Path) -> None:
    told = run(
        """
        import asyncio, resource, sys
        from pathlib import Path
        from deputize.core.audit import Audit, read, verify
        from deputize.core.errors import StoreUnavailable
        folder, key = Path(sys.argv[1]), b"k" * 32
        audit, calls = Audit(folder, key, mode="strict"), 0
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))

        async def act():
            global calls
            audit.write("act.intent", filler="x" * 700)
            await audit.settle()
            calls += 1

        for _ in range(3):
            try:
                asyncio.run(act())
            except StoreUnavailable as e:
                print(e)
        print(calls, len(list(read(folder))), verify(folder, [key]).ok)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        asyncio.run(act())
        print(calls, len(list(read(folder))), verify(folder, [key]).ok)
        """,
        folder,
        complaints="Audit rows can be written again.",
    ).splitlines()
    assert told == ["The audit cannot be written: File too large."] * 3 + ["0 0 True", "1 4 True"]


# --- unknown outcomes ---------------------------------------------------------------------------------------------


def test_U8_an_intent_without_a_result_is_an_unknown_outcome(make: Make, folder: Path) -> None:
    audit = make()
    for act in ("a", "b", "c"):
        audit.write("act.intent", act=act)
        audit.write("act.intent", user="alice", thread="t", call_id=act, tool="gmail_send_email")
    audit.write("act.result", act="a", decision="done")
    audit.write("act.result", act="c", decision="outcome_unknown")
    audit.write("act.result", user="alice", thread="t", call_id="a", tool="gmail_send_email", decision="rate_limited")
    audit.write("act.result", user="bob", thread="t", call_id="b", tool="gmail_send_email", decision="done")
    audit.close()
    report = verify(folder, [KEY])
    assert report.ok
    assert [row.get("act") or row["call_id"] for row in report.orphans] == ["b", "b", "c", "c"]


@pytest.mark.parametrize(("decision", "orphans"), [("done", 0), ("outcome_unknown", 1), ("policy_denied", 1)])
def test_U8_another_process_closes_an_intent_only_if_it_found_it_done(
    make: Make, folder: Path, decision: str, orphans: int
) -> None:
    crashed, later = make(), make()
    crashed.write("act.intent", act="a")
    later.write("act.result", act="a", decision=decision)
    crashed.close()
    later.close()
    assert len(verify(folder, [KEY]).orphans) == orphans


# --- keys ---------------------------------------------------------------------------------------------------------


def test_U10_a_new_key_closes_the_chains_of_the_old_one_in_a_row_and_old_keys_verify_old_rows(
    make: Make, folder: Path
) -> None:
    write(old := make(OLD), 3)
    old.close()
    write(new := make(KEY, old_keys=[OLD]), 2)
    new.close()
    rotated, *_ = rows = [row for row in read(folder) if row["writer"] == new.writer]
    assert (rotated["event"], rotated["closed"], rotated["closed_seq"]) == ("key.rotated", old.writer, 2)
    assert len(rows) == 3 and rotated["key"] != rotated["old_key"]
    assert OLD.hex() not in str(rows) and KEY.hex() not in str(rows)
    assert verify(folder, [KEY, OLD]).findings == ()
    assert [(f.kind, f.writer) for f in verify(folder, [KEY]).findings] == [("unknown_key", old.writer)]
    again = make(KEY, old_keys=[OLD])
    write(again, 1)
    again.close()
    assert sum(row["event"] == "key.rotated" for row in read(folder)) == 1


def test_U10_keys_change_twice(make: Make, folder: Path) -> None:
    for key, older in ((OLDER, []), (OLD, [OLDER]), (KEY, [OLD, OLDER])):
        write(audit := make(key, old_keys=older), 2)
        audit.close()
    assert [row["event"] for row in read(folder)].count("key.rotated") == 2
    assert verify(folder, [KEY, OLD, OLDER]).findings == ()


@pytest.mark.parametrize("kept", [1, 3, 5])
def test_U10_a_stolen_old_key_cannot_rewrite_what_was_closed(make: Make, folder: Path, kept: int) -> None:
    write(old := make(OLD), 3, user="alice")
    old.close()
    (path,) = files(folder)
    write(new := make(KEY, old_keys=[OLD]), 2)
    new.close()
    first = json.loads(path.read_bytes().splitlines()[0])
    path.write_bytes(b"".join(imitate(OLD, old.writer, first["prev"], 0, kept, user="decoy")))
    report = verify(folder, [KEY, OLD])
    assert not report.ok and {f.writer for f in report.findings} == {old.writer}
    assert kinds(report) & {"anchor", "truncated"}


def test_U10_a_stolen_old_key_cannot_continue_or_replace_a_newer_chain(make: Make, folder: Path) -> None:
    write(new := make(KEY), 3)
    new.close()
    (path,) = files(folder)
    ours = path.read_bytes()
    path.write_bytes(ours + imitate(OLD, new.writer, json.loads(lines(folder)[-1])["mac"], 3, 1)[0])
    assert kinds(verify(folder, [KEY, OLD])) == {"altered"}
    path.write_bytes(ours)
    write(extra := make(OLD), 1)
    extra.close()
    assert [(f.kind, f.writer) for f in verify(folder, [KEY, OLD]).findings] == [("old_key", extra.writer)]


@pytest.mark.parametrize(("made_by", "key"), [(KEY, OLD), (KEY, b"x" * 32), (OLD, b"x" * 32)])
def test_U10_nobody_without_a_newer_key_vouches_for_a_chain(
    make: Make, folder: Path, made_by: bytes, key: bytes
) -> None:
    write(new := make(made_by), 4)
    new.close()
    (path,) = files(folder)
    rows = lines(folder)
    path.write_bytes(b"".join(rows[2:]))
    row = {"closed": new.writer, "closed_seq": 1, "closed_mac": json.loads(rows[1])["mac"]}
    thief = make(key)
    thief.write("key.rotated", **row)
    thief.close()
    assert ("beginning", new.writer) in {(f.kind, f.writer) for f in verify(folder, [KEY, OLD]).findings}


def test_U10_a_process_that_went_on_under_the_old_key_is_closed_at_the_next_start(make: Make, folder: Path) -> None:
    write(old := make(OLD), 2)
    old.flush()
    make(KEY, old_keys=[OLD]).close()
    write(old, 1)
    old.close()
    assert kinds(verify(folder, [KEY, OLD])) == {"old_key"}
    make(KEY, old_keys=[OLD]).close()
    assert verify(folder, [KEY, OLD]).findings == ()


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 65, "k" * 32])
def test_a_key_of_the_wrong_size_stops_the_start_and_is_not_shown(folder: Path, key: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        Audit(folder, key)
    assert "kkk" not in f"{caught.value} {caught.value.hint}" and not folder.exists()
    with pytest.raises(SettingsError):
        Audit(None, KEY, old_keys=[key])


def test_an_unknown_mode_stops_the_start(folder: Path) -> None:
    with pytest.raises(SettingsError, match="strict"):
        Audit(folder, KEY, mode="strikt")  # type: ignore[arg-type]


# --- files --------------------------------------------------------------------------------------------------------


def fill(make: Make) -> tuple[Audit, list[str]]:
    """A chain over five small files, and its anchors."""
    anchors: list[str] = []
    audit = make(anchor=anchors.append, rotate_bytes=500)
    for _ in range(5):
        write(audit, 5)
        audit.flush()
    audit.close()
    return audit, anchors


def test_U11_the_chain_goes_on_from_file_to_file(make: Make, folder: Path) -> None:
    audit, anchors = fill(make)
    assert [path.name for path in files(folder)] == [f"{audit.writer}.{n}.jsonl" for n in range(5)]
    for before, after in itertools.pairwise(files(folder)):
        last, first = before.read_bytes().splitlines()[-1], after.read_bytes().splitlines()[0]
        assert json.loads(first)["prev"] == json.loads(last)["mac"]
    assert verify(folder, [KEY], anchors=anchors) == Report(30, 1, (), ())


def test_U11_the_oldest_files_may_go_if_an_anchor_tells_where_they_ended(make: Make, folder: Path) -> None:
    _, anchors = fill(make)
    for gone in files(folder)[:2]:
        gone.unlink()
    assert kinds(verify(folder, [KEY])) == {"beginning"}
    assert kinds(verify(folder, [KEY], anchors=anchors[:1])) == {"beginning"}
    assert verify(folder, [KEY], anchors=anchors).findings == ()
    path = files(folder)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert kinds(verify(folder, [KEY], anchors=anchors)) == {"beginning"}


@pytest.mark.parametrize(("gone", "kind"), [(2, "missing"), (4, "truncated")])
def test_U11_no_other_file_may_go(make: Make, folder: Path, gone: int, kind: str) -> None:
    _, anchors = fill(make)
    files(folder)[gone].unlink()
    assert kinds(verify(folder, [KEY], anchors=anchors)) == {kind}


def test_files_are_for_their_owner_alone_whatever_the_umask(make: Make, folder: Path) -> None:
    before = os.umask(0)
    try:
        write(audit := make(), 1)
        audit.flush()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(folder)] == [0o600]


def test_a_folder_or_file_that_others_can_open_stops_the_start(make: Make, folder: Path) -> None:
    write(audit := make(), 1)
    audit.close()
    for path, wide in ((folder, 0o750), (files(folder)[0], 0o604)):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(wide)
        with pytest.raises(SettingsError, match="open to others") as caught:
            make()
        assert "0700" in caught.value.hint
        path.chmod(mode)
    make()


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="Not a directory"):
        Audit(tmp_path / "file" / "audit", KEY)


def test_an_existing_file_is_never_written_to(make: Make, folder: Path) -> None:
    audit = make()
    planted = folder / f"{audit.writer}.0.jsonl"
    planted.symlink_to(folder.with_name("elsewhere"))
    audit.write("act.intent")
    with pytest.raises(StoreUnavailable, match="File exists"):
        audit.flush()
    assert not folder.with_name("elsewhere").exists()
    planted.unlink()
    audit.flush()


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_process_that_ends_without_closing_loses_nothing(folder: Path) -> None:
    run(
        """
        import atexit, sys
        atexit.register(lambda: audit.write("after.the.end"))
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        atexit.register(lambda: audit.write("at.the.end"))
        for n in range(5000):
            audit.write("token.refreshed", n=n)
        """,
        folder,
    )
    events = [row["event"] for row in read(folder)]
    assert events == ["token.refreshed"] * 5000 + ["at.the.end", "after.the.end"]
    assert verify(folder, [KEY]).ok


def test_a_first_row_at_exit_is_not_lost(folder: Path) -> None:
    run(
        """
        import atexit, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        atexit.register(lambda: audit.write("at.the.end"))
        """,
        folder,
    )
    assert [row["event"] for row in read(folder)] == ["at.the.end"]


def test_an_exit_with_a_full_disk_ends_and_says_what_is_lost(folder: Path) -> None:
    run(
        """
        import resource, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        audit.write("act.intent")
        """,
        folder,
        complaints="Audit rows are lost: The audit cannot be written: File too large.",
    )
    assert list(read(folder)) == []


def test_where_no_thread_can_start_rows_are_written_at_once(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    audit = make()
    for n in range(1, 4):
        write(audit, 1)
        assert len(lines(folder)) == n


def test_closing_ends_the_thread_and_a_late_row_is_written_at_once(make: Make, folder: Path) -> None:
    before = threading.active_count()
    audit = make()
    write(audit, 3)
    assert threading.active_count() == before + 1
    audit.close()
    audit.close()
    assert threading.active_count() == before and len(lines(folder)) == 3
    audit.write("late")
    assert [row["event"] for row in read(folder)][3:] == ["late"]
    asyncio.run(audit.settle())
    assert verify(folder, [KEY]).ok


def test_a_row_after_a_close_that_had_to_wait_is_written_too(make: Make, folder: Path, disk: Disk) -> None:
    audit = make()
    disk.open.clear()
    write(audit, 1)
    flushing, closing = threading.Thread(target=audit.flush), threading.Thread(target=audit.close)
    flushing.start()
    while audit._queue:  # until its thread has taken the row, and hangs in the write
        time.sleep(0.001)
    write(audit, 1)
    closing.start()
    while not audit._inline:
        time.sleep(0.001)
    disk.open.set()
    flushing.join(10)
    closing.join(10)
    write(audit, 1)
    assert len(lines(folder)) == 3


def test_rows_written_while_it_closes_are_kept(make: Make, folder: Path) -> None:
    audit = make()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(write, audit, 500)
        audit.close()
    assert len(lines(folder)) == 2000 and verify(folder, [KEY]).ok


# --- reading ------------------------------------------------------------------------------------------------------


def test_reading_merges_writers_by_time(make: Make, folder: Path) -> None:
    now = 1000.0
    audits = [make(clock=lambda: now, rotate_bytes=1) for _ in range(3)]
    for n in range(9):
        now = 1000.0 + n
        audits[n % 3].write("e", n=n)
        audits[n % 3].flush()
    assert [row["n"] for row in read(folder)] == list(range(9))


def test_reading_shows_that_a_line_cannot_be_read(make: Make, folder: Path) -> None:
    write(audit := make(), 3)
    audit.close()
    files(folder)[0].write_bytes(b"".join([lines(folder)[0], b"garbage\n", lines(folder)[2]]))
    assert [row["event"] for row in read(folder)] == ["token.refreshed", "unreadable", "token.refreshed"]


def test_following_shows_rows_as_they_come_once_each_from_new_writers_too(make: Make, folder: Path) -> None:
    first = make()
    write(first, 2)
    first.flush()
    follow = read(folder, follow=True, poll=0.01)
    assert [row["n"] for row in itertools.islice(follow, 2)] == [0, 1]
    first.write("e", n=2)
    first.flush()
    assert next(follow)["n"] == 2
    second = make()
    second.write("e", n=3)
    second.flush()
    path = folder / f"{second.writer}.0.jsonl"
    assert next(follow)["n"] == 3
    with path.open("ab") as file:  # a line that is still being written
        file.write(b'{"ts":1')
    first.write("e", n=4)
    first.flush()
    assert next(follow)["n"] == 4


def test_long_rows_span_the_blocks_that_are_read(make: Make, folder: Path) -> None:
    audit = make()
    for n in range(20):
        audit.write("e", n=n, **{f"f{i}": "\u00e9" * 4000 for i in range(8)})
    audit.close()
    assert min(map(len, lines(folder))) > module._BLOCK
    assert [row["n"] for row in read(folder)] == list(range(20)) and verify(folder, [KEY]).rows == 20
    assert verify(folder, [KEY]).ok
