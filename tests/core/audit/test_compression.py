"""Closed files are compressed, whatever happens meanwhile, and every change of a compressed file is detected."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from deputize.core.audit import Audit, Report, compression, read, verify
from deputize.core.audit import compressed_file as format_
from deputize.core.audit.compressed_file import DamagedFile, compressed_path, pack, unpack
from deputize.core.audit.compression import IDLE_CHAIN_SECONDS, closed_files, compress_file
from deputize.core.audit.copy_trail import copy_rows
from deputize.core.audit.reader import files_of
from deputize.core.audit.rows import Head, Key
from deputize.core.audit.tail import read_newest
from tests.core.audit.audit_files import KEY, OLD, Make, files, imitate, kinds, run, write

RING = [Key(KEY)]
ROWS = 25


def fill(audit: Audit, parts: int = 5) -> Audit:
    """Write files of some kilobytes: acts with and without an outcome, some across two files, and a final row."""
    for number in range(parts):
        for n in range(ROWS):
            act = f"{number}-{n}"
            audit._append("act.intent", act=act, user="alice", answered_by="policy", tool="t" * 100)
            earlier = f"{number - (n % 3 == 0)}-{n}"
            if n % 5:
                audit._append("act.result", act=earlier, user="alice", answered_by="policy", decision="done")
            audit._append("act.result", user="bob", call_id=act, effect="reads", decision="done")
        audit.flush()
    return audit


def compress(folder: Path, ring: list[Key] | None = None) -> int:
    """Compress all closed files, as if the last row were old."""
    return sum(compress_file(path, ring or RING) for path in closed_files(folder, time.time() + IDLE_CHAIN_SECONDS + 1))


def packed(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl.gz"), key=lambda path: int(path.name.split(".")[-3]))


def comparable(report: Report) -> tuple[object, ...]:
    """Return the report without the fields on how it was computed."""
    return (*report[:5], report.since)


@pytest.fixture
def chain(make: Make, folder: Path) -> Audit:
    """Return a closed chain of five full files and a small last one; all full files are compressed."""
    audit = fill(make(anchor=lambda line: None, rotate_bytes=8000))
    audit.close()
    assert compress(folder) == 5
    return audit


def test_compressed_files_keep_their_bytes_for_any_gzip_program(make: Make, folder: Path) -> None:
    fill(make(rotate_bytes=8000)).close()
    before, report = {path.name: path.read_bytes() for path in files(folder)}, verify(folder, [KEY])
    times = {path.name: path.stat().st_mtime_ns for path in files(folder)}
    rows = list(read(folder))
    assert compress(folder) == len(before) == 5 and not files(folder)
    for path in packed(folder):
        name = path.name.removesuffix(".gz")
        assert gzip.decompress(path.read_bytes()) == before[name]
        assert path.stat().st_mtime_ns == times[name] and path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_size * 5 < len(before[name])
    together = b"".join(path.read_bytes() for path in packed(folder))  # as `gzip -dc` of them all reads them
    assert gzip.decompress(together) == b"".join(before.values())
    assert list(read(folder)) == rows
    assert comparable(verify(folder, [KEY], full=True)) == comparable(report)
    assert compress(folder) == 0


def test_verify_reports_the_same_with_a_checkpoint_as_with_the_rows(chain: Audit, folder: Path) -> None:
    quick, full = verify(folder, [KEY]), verify(folder, [KEY], full=True)
    assert comparable(quick) == comparable(full) and quick.ok and quick.orphans
    assert full.by_checkpoint == 0 and quick.by_checkpoint > quick.rows - 10
    assert quick.open == () and len(quick.orphans) == len({row["seq"] for row in quick.orphans})


def test_checkpoint_closes_the_intents_of_other_processes(make: Make, folder: Path) -> None:
    crashed, later = make(rotate_bytes=8000), make(rotate_bytes=8000)
    write(crashed, 40)
    crashed._append("act.intent", act="a", user="u" * 4000)
    crashed.close()
    later._append("act.result", act="a", decision="done")
    later._append("act.result", act="b", decision="policy_denied")
    write(later, 40)
    later.close()
    assert compress(folder) == 2
    assert verify(folder, [KEY]).orphans == verify(folder, [KEY], full=True).orphans == ()


def test_anchors_and_heads_are_compared_with_checkpoints(make: Make, folder: Path) -> None:
    anchors: list[str] = []
    fill(make(anchor=anchors.append, rotate_bytes=8000)).close()
    rows = list(read(folder))
    assert compress(folder) == 5
    report = verify(folder, [KEY], anchors=anchors)
    assert report.ok and report.by_checkpoint
    middle, last = rows[30], rows[-1]
    for row in (middle, last):
        head = Head(row["writer"], row["seq"], row["mac"], row["ts"], False)
        assert verify(folder, [KEY], heads=[head]).ok
        assert kinds(verify(folder, [KEY], heads=[head._replace(mac="0" * 32)])) == {"anchor"}


def test_chain_of_an_older_key_is_compressed_under_that_key(make: Make, folder: Path) -> None:
    old = fill(make(OLD, rotate_bytes=8000))
    old.close()
    new = make(old_keys=[OLD])
    write(new, 60)
    new.close()
    ring = [Key(KEY), Key(OLD)]
    assert compress(folder, ring) == 6
    report = verify(folder, [KEY, OLD])
    assert report.ok and report.by_checkpoint == report.rows
    assert kinds(verify(folder, [KEY])) == {"unknown_key"}


# ------------------------------------------------------------- attacks


def repack(path: Path, change: Callable[[bytes], bytes], *, keep_checkpoint: bool = True) -> None:
    """Change the content of a compressed file without the key, keeping or dropping its checkpoint."""
    whole = path.read_bytes()
    note = whole[16 : 16 + int.from_bytes(whole[14:16], "little")]
    data = change(gzip.decompress(whole))
    path.write_bytes(pack(data, lambda digest: note) if keep_checkpoint else gzip.compress(data))


def swap(first: Path, second: Path) -> None:
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)


def move_checkpoint(at: Path, to: Path) -> None:
    """Move the checkpoint of one file to another one, which lacks its last rows."""
    note = at.read_bytes()
    note = note[16 : 16 + int.from_bytes(note[14:16], "little")]
    lines = gzip.decompress(to.read_bytes()).splitlines(keepends=True)
    to.write_bytes(pack(b"".join(lines[:-3]), lambda digest: note))


def forge_checkpoint(path: Path) -> None:
    """Edit a row, and make a checkpoint for the result with another key."""
    from deputize.core.audit.checkpoint import check_rows

    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    point = check_rows(path.name.split(".")[0], lines, RING)
    assert point
    edited = b"".join(lines).replace(b'"user":"alice"', b'"user":"decoy"')
    path.write_bytes(pack(edited, lambda digest: point.sign(Key(b"x" * 32), digest)))


def older(path: Path) -> None:
    """Return the file without its last rows."""
    repack(path, lambda data: b"".join(data.splitlines(keepends=True)[:-2]), keep_checkpoint=False)


def hide_behind_original(path: Path) -> None:
    path.with_suffix("").write_bytes(b"")


ATTACKS: dict[str, tuple[Callable[[list[Path]], object], set[str]]] = {
    "delete the first": (lambda all_: all_[0].unlink(), {"beginning"}),
    "delete one": (lambda all_: all_[2].unlink(), {"missing"}),
    "swap two": (lambda all_: swap(all_[1], all_[2]), {"missing", "moved"}),
    "an older state": (lambda all_: older(all_[2]), {"missing"}),
    "edit a row": (lambda all_: repack(all_[1], lambda data: data.replace(b'"bob"', b'"eve"', 1)), {"altered"}),
    "edit and drop the checkpoint": (
        lambda all_: repack(all_[1], lambda data: data.replace(b'"bob"', b'"eve"', 1), keep_checkpoint=False),
        {"altered"},
    ),
    "drop rows": (lambda all_: repack(all_[1], lambda data: data[data.index(b"\n") + 1 :]), {"missing"}),
    "forge the checkpoint": (lambda all_: forge_checkpoint(all_[1]), {"altered"}),
    "move the checkpoint forward": (lambda all_: move_checkpoint(all_[2], all_[1]), {"missing"}),
    "an empty original": (lambda all_: hide_behind_original(all_[2]), {"missing"}),
    "another file's place": (lambda all_: all_[3].write_bytes(all_[1].read_bytes()), {"moved", "missing"}),
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_U3_every_change_of_a_compressed_file_is_found(chain: Audit, folder: Path, name: str, full: bool) -> None:
    attack, expected = ATTACKS[name]
    attack(packed(folder))
    report = verify(folder, [KEY], full=full)
    assert not report.ok and kinds(report) == expected, report.findings
    assert report.findings == verify(folder, [KEY], full=True).findings


def test_U3_compressed_file_under_another_writers_name_is_foreign(chain: Audit, folder: Path) -> None:
    packed(folder)[0].rename(folder / "abcdef0123456789.0.jsonl.gz")
    assert kinds(verify(folder, [KEY])) == {"foreign", "beginning"}


def test_U3_chain_is_truncated_when_its_last_compressed_file_is_missing(make: Make, folder: Path) -> None:
    fill(make(rotate_bytes=8000)).close()
    last = list(read(folder))[-1]
    head = Head(last["writer"], last["seq"], last["mac"], last["ts"], False)
    assert compress(folder) == 5 and verify(folder, [KEY], heads=[head]).ok
    packed(folder)[-1].unlink()
    assert kinds(verify(folder, [KEY], heads=[head])) == {"truncated"}


def test_U3_file_recompressed_by_others_is_verified_row_by_row(chain: Audit, folder: Path) -> None:
    before = verify(folder, [KEY])
    path = packed(folder)[1]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())))
    report = verify(folder, [KEY])
    assert comparable(report) == comparable(before) and report.by_checkpoint < before.by_checkpoint


@pytest.mark.parametrize("part", range(3))
def test_flipped_bit_is_found_or_changes_no_row(chain: Audit, folder: Path, part: int) -> None:
    path = packed(folder)[1]
    whole, rows = path.read_bytes(), list(read(folder))
    step = max(1, len(whole) // 25)
    for at in range(part, len(whole), step):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        for report in (verify(folder, [KEY]), verify(folder, [KEY], full=True)):
            if report.ok:  # in the checkpoint or the header: then every row is walked
                assert list(read(folder)) == rows
            else:
                assert kinds(report) & {"damaged", "altered"}


@pytest.mark.parametrize("left", [0, 5, 40, -9, -1])
def test_truncated_file_is_reported_by_every_reader(chain: Audit, folder: Path, left: int, tmp_path: Path) -> None:
    path = packed(folder)[2]
    path.write_bytes(path.read_bytes()[:left])
    for full in (False, True):
        [damage] = [one for one in verify(folder, [KEY], full=full).findings if one.kind == "damaged"]
        assert path.name in damage.detail and damage.writer == chain.writer
    for reader in (lambda: list(read(folder)), lambda: copy_rows(folder, tmp_path / "copy")):
        with pytest.raises(DamagedFile, match=path.name) as caught:
            reader()
        assert str(path) in caught.value.hint
    assert not read_newest(folder, ["alice"], RING).whole
    Audit(folder, b"n" * 32, old_keys=[KEY]).close()  # a start is not refused


def test_data_after_the_gzip_end_is_damage(chain: Audit, folder: Path) -> None:
    path = packed(folder)[1]
    path.write_bytes(path.read_bytes() + gzip.compress(b"x"))
    assert kinds(verify(folder, [KEY])) == {"damaged"}


def test_decompression_bomb_is_stopped(chain: Audit, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = folder / "abcdef0123456789.0.jsonl.gz"
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb.write_bytes(b"".join(deflate.compress(zeros) for _ in range(50)) + deflate.flush())
    bomb.chmod(0o600)
    assert bomb.stat().st_size < 1 << 16
    monkeypatch.setattr(format_, "MAX_FILE_BYTES", 2 << 20)
    read_so_far = 0
    with pytest.raises(DamagedFile, match="expands to more than 2 MiB"):
        for data in unpack(bomb.with_suffix(""), 0):
            read_so_far += len(data)
            assert len(data) <= format_.BLOCK
    assert read_so_far <= format_.MAX_FILE_BYTES
    assert [one.kind for one in verify(folder, [KEY]).findings if one.writer == "abcdef0123456789"] == ["damaged"]
    with pytest.raises(DamagedFile):
        list(read(folder))


# ------------------------------------------------------------- crashes, rivals and readers


def test_open_or_recent_last_file_is_not_compressed(make: Make, folder: Path) -> None:
    audit = make(rotate_bytes=100_000)
    fill(audit)
    assert closed_files(folder, time.time()) == []
    [path] = closed_files(folder, time.time() + IDLE_CHAIN_SECONDS + 1)
    assert not compress_file(path, RING), "its writer has it open"
    write(audit, 3)
    audit.close()
    assert compress_file(path, RING) and verify(folder, [KEY]).ok
    write(audit, 3)  # after the end: in another file
    audit.flush()
    assert verify(folder, [KEY]).ok and len(files(folder)) == 1


@pytest.mark.processes
def test_file_of_a_killed_process_is_compressed(folder: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        for n in range(200):
            audit._append("token.refreshed", n=n)
        audit.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with pytest.raises(subprocess.CalledProcessError):
        run(program, folder)
    assert compress(folder) == 1 and verify(folder, [KEY]).rows == 200


def test_files_with_findings_are_not_compressed(make: Make, folder: Path) -> None:
    fill(make(rotate_bytes=8000)).close()
    before = verify(folder, [KEY])
    path = files(folder)[1]
    path.write_bytes(path.read_bytes().replace(b'"bob"', b'"eve"', 1))
    with files(folder)[3].open("ab") as file:
        file.write(b'{"ts":1')
    rows = files(folder)[2].read_bytes().splitlines(keepends=True)
    files(folder)[2].write_bytes(b"".join([*rows[:9], *rows[10:]]))
    found = verify(folder, [KEY])
    assert before.ok and kinds(found) == {"altered", "partial", "missing"}
    assert compress(folder) == 2 and len(files(folder)) == 3
    assert verify(folder, [KEY]).findings == found.findings


def test_planted_symlinks_are_not_followed(make: Make, folder: Path, tmp_path: Path) -> None:
    fill(make(rotate_bytes=8000)).close()
    other = tmp_path / "other"
    other.write_bytes(bytes(5000))
    first, second, *_ = files(folder)
    first.rename(tmp_path / "moved")
    first.symlink_to(tmp_path / "moved")
    for name in (compressed_path(second), folder / f"{second.name}.gz.part"):
        name.symlink_to(other)
    assert compress(folder) == 4 and first.is_symlink() and other.read_bytes() == bytes(5000)
    assert not compressed_path(second).is_symlink() and (tmp_path / "moved").exists()


STEPS = ("rename", "unlink")


@pytest.mark.parametrize("step", STEPS)
def test_crash_during_compression_loses_nothing_and_the_next_run_completes(
    make: Make, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make(rotate_bytes=8000)).close()
    rows, report = list(read(folder)), verify(folder, [KEY])
    with monkeypatch.context() as patch:

        def crash(path: Path, *arguments: object, **options: object) -> None:
            if step == "rename" or not path.name.endswith(".part"):
                raise KeyboardInterrupt

        patch.setattr(Path, step, crash)
        with pytest.raises(KeyboardInterrupt):
            compress(folder)
    assert (len(files(folder)), len(packed(folder))) == (5, step == "unlink")
    assert list(read(folder)) == rows and comparable(verify(folder, [KEY])) == comparable(report)
    assert compress(folder) == 5 and not files(folder) and not list(folder.glob("*.part"))
    assert list(read(folder)) == rows and comparable(verify(folder, [KEY])) == comparable(report)


def test_file_dropped_during_compression_stays_dropped(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make(rotate_bytes=8000)).close()
    first, *others = files(folder)
    write_durably = compression._write

    def drop_meanwhile(path: Path, data: bytes, like: os.stat_result) -> None:
        first.unlink(missing_ok=True)
        write_durably(path, data, like)

    monkeypatch.setattr(compression, "_write", drop_meanwhile)
    assert not compress_file(first, RING) and not compressed_path(first).exists()
    assert compress(folder) == len(others) == 4


def test_partial_copy_after_a_crash_is_replaced(make: Make, folder: Path) -> None:
    fill(make(rotate_bytes=8000)).close()
    rows = list(read(folder))
    for path in files(folder):
        compressed_path(path).write_bytes(b"half a file")
        (folder / f"{path.name}.gz.part").write_bytes(b"half a file")
    assert list(read(folder)) == rows and verify(folder, [KEY]).ok
    assert compress(folder) == 5 and list(read(folder)) == rows and verify(folder, [KEY]).ok


def test_reader_continues_in_the_compressed_file_when_it_replaces_the_original(make: Make, folder: Path) -> None:
    fill(make(), 20).close()
    [path] = files(folder)
    rows = list(read(folder))
    reading = read(folder)
    some = list(itertools.islice(reading, 30))
    assert path.stat().st_size > 3 * format_.BLOCK
    assert compress(folder) == 1 and not path.exists()
    assert some + list(reading) == rows


def test_follow_yields_each_row_once_across_compression(make: Make, folder: Path) -> None:
    audit = make(rotate_bytes=8000)
    fill(audit, 2)
    count = len(list(read(folder)))
    follow = read(folder, follow=True, poll=0.01)
    seen = list(itertools.islice(follow, count))
    assert compress(folder) == 1, "the writer has the other one open"
    audit._append("e", n="last")
    audit.flush()
    assert [row["seq"] for row in [*seen, next(follow)]] == list(range(count + 1))


def test_listing_includes_files_compressed_in_between(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make(rotate_bytes=8000)).close()
    before, paths, glob = files_of(folder), files(folder), Path.glob

    def compress_between(path: Path, pattern: str) -> list[Path]:
        listed = list(glob(path, pattern))
        while paths:
            compress_file(paths.pop(), RING)
        return listed

    monkeypatch.setattr(Path, "glob", compress_between)
    assert files_of(folder) == before and not list(glob(folder, "*.jsonl"))


def test_listing_is_complete_during_compression(make: Make, folder: Path) -> None:
    fill(make(rotate_bytes=8000), 30).close()
    rows, wrong = len(list(read(folder))), list[int]()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            if (number := len(list(read(folder)))) != rows:
                wrong.append(number)

    looking = threading.Thread(target=look)
    looking.start()
    assert compress(folder) == 30
    ended.set()
    looking.join()
    assert wrong == []


@pytest.mark.processes
def test_two_processes_that_write_rotate_and_compress_lose_nothing(folder: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from deputize.core.audit import Audit
        from deputize.core.audit.compression import closed_files, compress_file
        from deputize.core.audit.rows import Key
        folder, ring = Path(sys.argv[1]), [Key(b"k" * 32)]
        audit = Audit(folder, b"k" * 32, rotate_bytes=6000)
        done = 0
        for n in range(40):
            for m in range(20):
                audit._append("token.refreshed", n=n, m=m)
            audit.flush()
            for path in closed_files(folder, time.time() + 10_000):
                try:
                    done += compress_file(path, ring)
                except FileNotFoundError:
                    pass
        audit.close()
        print(done)
    """
    folder.mkdir(mode=0o700)
    command = [sys.executable, "-c", "import textwrap\nexec(textwrap.dedent('''" + program + "'''))", str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(one.communicate(timeout=60)[0]) for one in both]
    assert all(one.returncode == 0 for one in both)
    report = verify(folder, [KEY])
    assert report.ok and report.rows == 1600 and report.writers == 2
    assert sum(counts) == len(packed(folder)) > 20 and all(
        part.suffix == ".jsonl" for parts in files_of(folder).values() for part in parts
    )


@pytest.mark.processes
@pytest.mark.parametrize("seed", range(3))
def test_process_killed_during_compression_loses_nothing(make: Make, folder: Path, seed: int) -> None:
    fill(make(rotate_bytes=8000), 30).close()
    rows = list(read(folder))
    program = """
        import sys, time
        from pathlib import Path
        from deputize.core.audit.compression import closed_files, compress_file
        from deputize.core.audit.rows import Key
        print("ready", flush=True)
        for path in closed_files(Path(sys.argv[1]), time.time() + 10_000):
            compress_file(path, [Key(b"k" * 32)])
    """
    command = [sys.executable, "-c", "import textwrap\nexec(textwrap.dedent('''" + program + "'''))", str(folder)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert killed.stdout and killed.stdout.readline() == "ready\n"
    time.sleep(0.013 * (seed + 1))
    killed.kill()
    killed.communicate()
    assert list(read(folder)) == rows and verify(folder, [KEY]).ok
    compress(folder)
    assert list(read(folder)) == rows and verify(folder, [KEY]).ok and len(packed(folder)) == 30


def test_tail_reads_compressed_files(chain: Audit, folder: Path) -> None:
    newest = read_newest(folder, ["alice"], RING)
    own = [row for row in read(folder) if row.get("user") == "alice"]
    assert newest.whole and newest.rows == own[::-1]
    some = read_newest(folder, ["alice"], RING, most_bytes=9000)
    assert not some.whole and some.rows and some.rows == own[::-1][: len(some.rows)]


def test_copied_trail_keeps_compressed_files_unchanged(chain: Audit, folder: Path, tmp_path: Path) -> None:
    count = copy_rows(folder, tmp_path / "copy")
    assert count == verify(folder, [KEY]).rows == verify(tmp_path / "copy", [KEY]).rows
    assert list(read(tmp_path / "copy")) == list(read(folder))


def test_file_with_too_many_open_acts_is_compressed_without_checkpoint(make: Make, folder: Path) -> None:
    audit = make()
    for n in range(3000):
        audit._append("act.intent", act=os.urandom(16).hex(), user=os.urandom(16).hex(), n=n)
    audit.close()
    assert compress(folder) == 1
    report = verify(folder, [KEY])
    assert report.ok and report.by_checkpoint == 0 and len(report.orphans) == 3000


def test_checkpoint_does_not_hide_rows_forged_with_the_key(chain: Audit, folder: Path) -> None:
    """The key's holder can write anything, but a head stored elsewhere still contradicts it."""
    rows = list(read(folder))
    path = packed(folder)[-1].with_suffix("")
    first = json.loads(gzip.decompress(packed(folder)[-1].read_bytes()).splitlines()[0])
    forged = imitate(KEY, chain.writer, first["prev"], first["seq"], 60, user="decoy")
    path.write_bytes(b"".join(forged))
    for later in files(folder):
        if later != path:
            later.unlink()
    compressed_path(path).unlink()
    assert compress(folder) == 1
    head = Head(chain.writer, rows[-1]["seq"], rows[-1]["mac"], 0, True)
    assert kinds(verify(folder, [KEY], heads=[head])) in ({"truncated"}, {"anchor"})


def test_rows_of_the_same_time_are_read_newest_first(make: Make, folder: Path) -> None:
    fill(make(clock=lambda: 1_800_000_000.0), 1).close()
    newest = read_newest(folder, ["alice"], RING)
    assert [row["seq"] for row in newest.rows] == sorted((row["seq"] for row in newest.rows), reverse=True)
    assert len({row["ts"] for row in newest.rows}) == 1 and len(newest.rows) > ROWS
