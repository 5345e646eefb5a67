"""A flipped bit in a vault's file or log hides no record unnoticed. ``python -m tests.faults.flips`` tries many."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.flips import FILES, Specimen, flips


async def test_flipped_bit_never_loses_a_record_silently(tmp_path: Path) -> None:
    result = await flips(20, 20261201, tmp_path / "flips")
    assert (result.silent, result.broken) == ([], [])
    assert result.flips == 40 and result.lost > 13


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    made = Specimen(tmp_path_factory.mktemp("flips") / "vault")
    asyncio.run(made.fill())
    return made


@pytest.fixture
def specimen(filled: Specimen) -> Specimen:
    filled.reset()
    return filled


async def test_log_with_a_damaged_frame_is_kept_and_named(specimen: Specimen) -> None:
    size = len(specimen.pristine[FILES[1]])
    specimen.flip(FILES[1], size // 3, 2)
    found, lost = await specimen.examine()
    assert lost and any("log was damaged" in line for line in found)
    [kept] = specimen.work.glob("vault.sqlite.damaged-log-*")
    assert len(kept.read_bytes()) == size and kept.stat().st_mode & 0o777 == 0o600
    found, _ = await specimen.examine()  # SQLite has overwritten the log by now
    assert any(str(kept) in line for line in found)
    assert len(list(specimen.work.glob("vault.sqlite.damaged-log-*"))) == 1


@pytest.mark.parametrize(
    "place", ["the last frame", "the header", "the salt of a frame", "the checksum of the last frame"]
)
async def test_damage_at_the_edges_of_the_log_is_named(specimen: Specimen, place: str) -> None:
    log = specimen.pristine[FILES[1]]
    step = int.from_bytes(log[8:12]) + 24
    last = 32 + ((len(log) - 32) // step - 1) * step
    byte = {
        "the last frame": last + 24 + 100,
        "the header": 17,
        "the salt of a frame": 32 + step + 9,
        "the checksum of the last frame": last + 20,
    }[place]
    specimen.flip(FILES[1], byte, 1)
    found, _ = await specimen.examine()
    assert any("log was damaged" in line for line in found)


async def test_log_of_a_process_that_died_in_a_transaction_is_not_damaged(specimen: Specimen) -> None:
    log = specimen.pristine[FILES[1]]
    step = int.from_bytes(log[8:12]) + 24
    begun = bytearray(log[32 : 32 + step])
    begun[4:8] = bytes(4)  # no commit
    for more in (bytes(begun), bytes(begun[:700]), bytes(2 * step)):
        specimen.reset()
        (specimen.work / FILES[1]).write_bytes(log + more)
        assert await specimen.examine() == ([], set())


@pytest.mark.parametrize("kind", ["grant", "act", "approval", "mandate", "consent", "outbox"])
async def test_deleted_record_is_named_by_its_kind(specimen: Specimen, kind: str) -> None:
    with closing(sqlite3.connect(specimen.work / FILES[0], isolation_level=None)) as db:
        db.execute("DELETE FROM vault WHERE key LIKE ?", (f"{kind}/%",))
    found, lost = await specimen.examine()
    assert lost == {kind} and any(kind in line for line in found), found


async def test_rolled_back_vault_lacks_audited_records_of_each_kind(specimen: Specimen) -> None:
    (specimen.work / FILES[1]).unlink()  # the vault of a while ago
    found, lost = await specimen.examine()
    for kind in ("grant", "act", "mandate", "consent", "outbox"):
        assert kind in lost and any(kind in line for line in found), (kind, found)


async def test_flipped_bit_in_one_grant_keeps_the_check_of_all_others(specimen: Specimen) -> None:
    with closing(sqlite3.connect(specimen.work / FILES[0], isolation_level=None)) as db:
        db.execute("UPDATE vault SET value = 'text' WHERE key = (SELECT min(key) FROM vault WHERE key LIKE 'grant/%')")
        db.execute("DELETE FROM vault WHERE key LIKE 'outbox/%'")
    found, _ = await specimen.examine()
    assert any("kind grant" in line for line in found) and any("not a record" in line for line in found), found


async def test_damaged_audit_heads_record_hides_no_other_finding(specimen: Specimen) -> None:
    with closing(sqlite3.connect(specimen.work / FILES[0], isolation_level=None)) as db:
        db.execute("UPDATE vault SET value = substr(value, 1, length(value) - 1) || x'00' WHERE key = 'meta/chains'")
    found, _ = await specimen.examine()
    assert any("kind meta" in line for line in found) and any("compared" in line for line in found), found
