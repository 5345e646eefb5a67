"""Rotated keys: a new key closes the chains of the old one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deputize.core.audit import Audit, read, verify
from deputize.core.errors import SettingsError
from tests.core.audit.audit_files import KEY, OLD, OLDER, Make, files, imitate, kinds, lines, write


def test_U10_new_key_closes_old_chains_and_old_keys_verify_old_rows(make: Make, folder: Path) -> None:
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


def test_U10_chain_verifies_after_two_key_rotations(make: Make, folder: Path) -> None:
    for key, older in ((OLDER, []), (OLD, [OLDER]), (KEY, [OLD, OLDER])):
        write(audit := make(key, old_keys=older), 2)
        audit.close()
    assert [row["event"] for row in read(folder)].count("key.rotated") == 2
    assert verify(folder, [KEY, OLD, OLDER]).findings == ()


@pytest.mark.parametrize("kept", [1, 3, 5])
def test_U10_stolen_old_key_cannot_rewrite_closed_chains(make: Make, folder: Path, kept: int) -> None:
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


def test_U10_stolen_old_key_cannot_extend_or_replace_a_newer_chain(make: Make, folder: Path) -> None:
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
def test_U10_chain_without_a_newer_key_is_not_vouched_for(make: Make, folder: Path, made_by: bytes, key: bytes) -> None:
    write(new := make(made_by), 4)
    new.close()
    (path,) = files(folder)
    rows = lines(folder)
    path.write_bytes(b"".join(rows[2:]))
    row = {"closed": new.writer, "closed_seq": 1, "closed_mac": json.loads(rows[1])["mac"]}
    thief = make(key)
    thief._append("key.rotated", **row)
    thief.close()
    assert ("beginning", new.writer) in {(f.kind, f.writer) for f in verify(folder, [KEY, OLD]).findings}


def test_U10_process_that_kept_the_old_key_is_closed_at_the_next_start(make: Make, folder: Path) -> None:
    write(old := make(OLD), 2)
    old.flush()
    make(KEY, old_keys=[OLD]).close()
    write(old, 1)
    old.close()
    assert kinds(verify(folder, [KEY, OLD])) == {"old_key"}
    make(KEY, old_keys=[OLD]).close()
    assert verify(folder, [KEY, OLD]).findings == ()


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 65, "k" * 32])
def test_key_of_wrong_size_stops_the_start_and_is_not_shown(folder: Path, key: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        Audit(folder, key)
    assert "kkk" not in f"{caught.value} {caught.value.hint}" and not folder.exists()
    with pytest.raises(SettingsError):
        Audit(None, KEY, old_keys=[key])


def test_unknown_mode_stops_the_start(folder: Path) -> None:
    with pytest.raises(SettingsError, match="strict"):
        Audit(folder, KEY, mode="strikt")  # type: ignore[arg-type]
