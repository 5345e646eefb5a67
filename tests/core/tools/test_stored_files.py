"""Stored files: no other user's handle opens one, each expires within a day, and quotas hold."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.core import DeputizeError, File, InvalidInput, NotFound, StoreUnavailable, Take, User, UserRequired
from deputize.core.tools.steps import MIB
from deputize.core.tools.stored_files import FILE_TTL, MAX_FILE_NAME_CHARACTERS, PIECE, Files, one_segment
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.sweeper import Sweeper
from deputize.core.vault.vault import Vault
from tests.support.canary import files as files_in
from tests.support.faults import FaultyStore, Meddler
from tests.support.probe_toolkit import probing
from tests.support.sandbox_deputy import Clock, build, new_vault

ALICE, BOB = User("alice"), User("bob")
KEY = bytes(range(32))


async def some(**more: Any) -> tuple[Files, FaultyStore, Clock]:
    """Files in memory, with a store that can refuse and a clock that can be set."""
    store, clock = FaultyStore(MemoryStore()), Clock(1_800_000_000.0)
    return Files(await Vault.open(store, [KEY]), clock, **more), store, clock


def sweeper(files: Files) -> Sweeper:
    return Sweeper(files.vault, files.remove, files.clock)


def text(content: bytes = b"hello", name: str = "a.txt") -> File:
    return File(name, "text/plain", content)


async def rows(store: FaultyStore) -> int:
    """Return how many records of files there are, rows and pieces."""
    return len(await store.scan("file")) + len(await store.scan("filepart"))


# ------------------------------------------------------------- what comes back


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 25 * MIB])
async def test_file_of_any_size_is_loaded_unchanged(size: int) -> None:
    files, _, _ = await some()
    content = secrets.token_bytes(size)
    kept = await files.keep(ALICE, text(content))
    assert await files.take(ALICE, kept["file"]) == text(content)


async def test_stored_file_is_described_by_handle_name_type_size_and_expiry() -> None:
    files, _, _ = await some()
    kept = await files.keep(ALICE, text())
    assert re.fullmatch("file_[a-z2-7]{10}", kept.pop("file"))
    assert kept == {"name": "a.txt", "mime": "text/plain", "size": 5, "expires": "2027-01-16T08:00:00Z"}


async def test_equal_content_gets_different_handles() -> None:
    files, _, _ = await some()
    assert len({(await files.keep(ALICE, text()))["file"] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "mime", ["", "text", "text/plain; charset=utf-8", "a/b\r\nx: y", "a/b/c", "/", "ä/b", "x" * 99]
)
async def test_invalid_mime_type_becomes_octet_stream(mime: str) -> None:
    files, _, _ = await some()
    assert (await files.keep(ALICE, File("a", mime, b"")))["mime"] == "application/octet-stream"


async def test_application_stores_and_loads_files_for_a_user() -> None:
    deputy = await build()
    kept = await deputy.store_file("alice", "a.PDF", "application/PDF", b"%PDF")
    assert await deputy.get_file("alice", kept["file"]) == File("a.PDF", "application/pdf", b"%PDF")
    with pytest.raises(NotFound):
        await deputy.get_file("bob", kept["file"])
    for nobody in (None, ""):
        with pytest.raises(UserRequired):
            await deputy.store_file(nobody, "a", "text/plain", b"")
        with pytest.raises(UserRequired):
            await deputy.get_file(nobody, kept["file"])
    await deputy.close()


@pytest.mark.parametrize("content", ["text", None, 7, bytearray(b"x"), [1]])
async def test_only_bytes_can_be_stored(content: Any) -> None:
    files, store, _ = await some()
    with pytest.raises(InvalidInput):
        await files.keep(ALICE, File("a", "text/plain", content))
    assert await rows(store) == 0


# ------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\a.exe", "a.exe"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("a/", "file"),
        (".bashrc", "bashrc"),
        ("a\x00b\r\n.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("  a b.txt ", "a b.txt"),
        ("Ünïcödé 文.txt", "Ünïcödé 文.txt"),
        ("x" * 200 + ".pdf", "x" * 116 + ".pdf"),
        ("x." + "y" * 200, ("x." + "y" * 200)[:120]),
        ("\ud800a", "a"),
    ],
)
def test_file_name_becomes_one_plain_segment(name: str, kept: str) -> None:
    assert one_segment(name) == kept


@given(st.text(st.sampled_from("./\\:~$ab \t\r\n\x00\x7f\x85\u202e\ufeff\ud800"), max_size=300))
def test_file_name_has_no_folder_or_invisible_character(name: str) -> None:
    kept = one_segment(name)
    assert (
        0 < len(kept) <= MAX_FILE_NAME_CHARACTERS
        and not kept.startswith(".")
        and not set(kept) & set("/\\\r\n\t\x00\x7f\u202e")
    )
    kept.encode()


# ------------------------------------------------------------- whose it is


@pytest.mark.parametrize("other", [BOB, User("alice", "acme"), User("alice "), User("Alice"), User("alic")])
async def test_another_users_handle_is_unknown(other: User) -> None:
    files, _, _ = await some()
    kept = await files.keep(ALICE, text())
    with pytest.raises(NotFound) as caught:
        await files.take(other, kept["file"])
    with pytest.raises(NotFound) as unknown:
        await files.take(other, "file_aaaaaaaaaa")
    assert (str(caught.value), caught.value.hint) == (str(unknown.value), unknown.value.hint)


async def test_tool_given_another_users_handle_gets_nothing() -> None:
    async with probing() as probe:
        theirs = await probe.deputy.store_file("bob", "b.txt", "text/plain", b"bob's")
        with pytest.raises(NotFound):
            await probe.run(Take(theirs["file"]))


@pytest.mark.parametrize(
    "handle",
    [
        *(
            "",
            "file_",
            "file_aaaa",
            "file_AAAAAAAAAA",
            "file_aaaaaaaaaa1",
            "aaaaaaaaaa",
            "file_aaaaaaaaa/",
            "file_../../../x",
        ),
        *(
            "file_aaaaaaaaaa\n",
            " file_aaaaaaaaaa",
            "file_aaaaaaaaa.",
            "file_aaaaaaaaaa.000",
            "/etc/passwd",
            "file:///etc/passwd",
        ),
        *(None, 7, b"file_aaaaaaaaaa", ["file_aaaaaaaaaa"], {"file": "file_aaaaaaaaaa"}),
    ],
)
async def test_invalid_handle_is_unknown(handle: Any) -> None:
    files, _, _ = await some()
    with pytest.raises(NotFound):
        await files.take(ALICE, handle)


async def test_record_moved_to_another_user_cannot_be_opened() -> None:
    files, store, _ = await some()
    kept = await files.keep(ALICE, text())
    for kind in ("file", "filepart"):
        for key, sealed in await store.scan(kind):
            theirs = files.vault.key_prefix(BOB) + key.partition(".")[2]
            assert await store.insert(kind, theirs, sealed)
    with pytest.raises(DeputizeError) as caught:
        await files.take(BOB, kept["file"])
    assert caught.value.code == "vault_error"


async def test_swapped_file_pieces_cannot_be_opened() -> None:
    files, store, _ = await some()
    kept = await files.keep(ALICE, text(b"a" * PIECE + b"b" * PIECE))
    (one, first), (two, second) = await store.scan("filepart")
    assert await store.swap("filepart", one, first, second) and await store.swap("filepart", two, second, first)
    with pytest.raises(DeputizeError):
        await files.take(ALICE, kept["file"])


async def test_file_with_a_missing_piece_is_unknown() -> None:
    files, store, _ = await some()
    kept = await files.keep(ALICE, text(b"a" * PIECE + b"b"))
    key, sealed = (await store.scan("filepart"))[1]
    await store.delete("filepart", key, sealed)
    with pytest.raises(NotFound):
        await files.take(ALICE, kept["file"])


# ------------------------------------------------------------- how long


async def test_file_expires_after_a_day() -> None:
    files, store, clock = await some()
    kept = await files.keep(ALICE, text())
    clock.now += FILE_TTL - 1
    assert await files.take(ALICE, kept["file"])
    clock.now += 1
    with pytest.raises(NotFound):
        await files.take(ALICE, kept["file"])
    assert await sweeper(files).turn() == 1 and await rows(store) == 0


async def test_files_are_erased_with_their_user_only() -> None:
    files, store, _ = await some()
    for user in (ALICE, ALICE, BOB):
        await files.keep(user, text(b"x" * (PIECE + 1)))
    assert await files.erase(ALICE) == 2 and await rows(store) == 3
    assert await files.erase(ALICE) == 0


# ------------------------------------------------------------- how much


async def test_file_size_is_limited() -> None:
    files, store, _ = await some()
    with pytest.raises(InvalidInput, match="25 MiB"):
        await files.keep(ALICE, text(bytes(25 * MIB + 1)))
    assert await rows(store) == 0


async def test_total_file_size_per_user_is_limited_and_freed_on_expiry() -> None:
    files, _, clock = await some(quota=10)
    await files.keep(ALICE, text(b"12345"))
    await files.keep(BOB, text(b"1234567890"))
    clock.now += 10
    await files.keep(ALICE, text(b"12345"))
    with pytest.raises(InvalidInput):
        await files.keep(ALICE, text(b"1"))
    clock.now += FILE_TTL - 10
    await files.keep(ALICE, text(b"12345"))
    with pytest.raises(InvalidInput):
        await files.keep(ALICE, text(b"1"))


async def test_fifty_concurrent_files_do_not_exceed_the_limit() -> None:
    files, store, _ = await some(quota=10)
    store.pause = 0.0005
    kept = await asyncio.gather(*(files.keep(ALICE, text(b"xx")) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(one, dict) for one in kept) == 5
    assert all(isinstance(one, dict | InvalidInput) for one in kept)


RIVAL = """
import asyncio, json, sys, time
from pathlib import Path
from deputize.core import File, InvalidInput, User
from deputize.core.tools.stored_files import Files
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault

async def main(path, at):
    vault = await Vault.open(open_store(path, create=False), [bytes(range(32))])
    files, kept = Files(vault, quota=20_000), []
    time.sleep(max(0.0, float(at) - time.time()))
    for _ in range(12):
        try:
            kept.append((await files.keep(User("alice"), File("a", "text/plain", bytes(1000))))["file"])
        except InvalidInput:
            pass
    print(json.dumps(kept))
    await vault.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.processes
async def test_two_processes_do_not_exceed_the_file_limit_together(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    vault = await new_vault(path, KEY)
    began = str(time.time() + 1.5)
    rivals = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", RIVAL, str(path), began, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    kept: list[str] = []
    for rival in rivals:
        out, _ = await rival.communicate()
        assert rival.returncode == 0
        kept += json.loads(out)
    assert len(kept) == len(set(kept)) == 20
    files = Files(vault)
    assert {len((await files.take(ALICE, handle)).content) for handle in kept} == {1000}
    await vault.close()


# ------------------------------------------------------------- what is left where


async def test_L1_file_is_encrypted_on_disk_and_gone_after_erasure(tmp_path: Path) -> None:
    canary, name = secrets.token_hex(32).encode(), f"canary-{secrets.token_hex(8)}.txt"
    folder = tmp_path / "home"
    deputy = await build(vault=await new_vault(folder / "vault.sqlite"))
    kept = await deputy.store_file("alice", name, "text/x-canary", canary * 50_000)
    assert canary in (await deputy.get_file("alice", kept["file"])).content
    for where, data in files_in(folder).items():
        for secret in (canary, name.encode(), b"text/x-canary", b"alice"):
            assert secret not in data, where
    sealed = [value for _, value in await deputy.vault.store.scan("filepart")]
    await deputy.erase("alice")
    await deputy.close()
    left = b"".join(files_in(folder).values())
    assert sealed and left and not any(value[40:80] in left for value in sealed)


def test_file_content_is_hidden_from_repr() -> None:
    assert "hello" not in repr(text()) and "a.txt" in repr(text())


async def test_failed_piece_write_leaves_nothing_and_raises() -> None:
    files, store, _ = await some()
    store.failing["insert", "filepart"] = 1
    with pytest.raises(StoreUnavailable):
        await files.keep(ALICE, text(b"x" * (PIECE + 1)))
    assert await rows(store) == 0
    store.failing["insert", "filepart"] = 1
    store.failing["delete", "file"] = 1
    with pytest.raises(StoreUnavailable):
        await files.keep(ALICE, text())
    assert await rows(store) == 1  # until it expires


async def test_cancelled_storing_leaves_nothing_readable() -> None:
    files, store, _ = await some()
    store.pause = 0.01
    task = asyncio.create_task(files.keep(ALICE, text(b"x" * (5 * PIECE))))
    while not await store.inner.scan("filepart"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await rows(store) == 0


# ------------------------------------------------------------- what a stranger finds


async def test_erasure_during_storing_leaves_no_piece() -> None:
    """At whatever moment it happens."""
    for at in range(2, 30):
        files, store, _ = await some()
        store.meddler = Meddler(at, lambda files=files: Files(files.vault).erase(ALICE))  # type: ignore[misc]
        with suppress(DeputizeError):
            await files.keep(ALICE, text(b"x" * (4 * PIECE)))
        meddled, store.meddler = store.meddler.acted, None
        kept = await store.scan("file")
        assert await rows(store) == (5 if kept else 0), at
        if not meddled:
            assert at > 7 and kept
            return
    raise AssertionError("the meddler never came too late")


@pytest.mark.parametrize("at", range(1, 12))
async def test_storing_during_erasure_leaves_no_piece(at: int) -> None:
    """The other order: a file is stored during the erasure."""
    files, store, _ = await some()
    slow = FaultyStore(store.inner)
    mine = Files(Vault(slow, files.vault.sealer, files.vault.keys), files.clock)
    slow.pause = 0.001
    keeping = asyncio.create_task(mine.keep(ALICE, text(b"x" * (4 * PIECE))))
    for _ in range(at):
        await asyncio.sleep(0.001)
    store.pause = 0.0005
    await files.erase(ALICE)
    with suppress(DeputizeError):
        await keeping
    store.pause = 0
    assert await rows(store) == (5 if await store.scan("file") else 0)


async def test_number_of_files_is_limited_without_content() -> None:
    files, store, _ = await some(most=20)
    for _ in range(20):
        await files.keep(ALICE, text(b""))
    with pytest.raises(InvalidInput) as caught:
        await files.keep(ALICE, text(b""))
    assert "20 files" in str(caught.value) and await rows(store) == 20
    await files.keep(BOB, text(b""))


async def test_unreadable_record_stops_neither_sweep_nor_other_files() -> None:
    files, store, clock = await some()
    await files.keep(BOB, text())
    [(key, sealed)] = await store.scan("file")
    assert await store.swap("file", key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    clock.now += FILE_TTL
    kept = await files.keep(ALICE, text())
    clock.now += FILE_TTL
    assert await sweeper(files).turn() == 1
    assert kept["size"] == 5


async def test_clock_set_back_does_not_end_the_sweep() -> None:
    files, store, clock = await some()
    clock.now += 10 * FILE_TTL
    await files.keep(BOB, text())
    assert await sweeper(files).turn() == 0  # swept, in the future
    clock.now -= 10 * FILE_TTL
    await files.keep(BOB, text())
    clock.now += FILE_TTL
    await files.keep(ALICE, text())
    assert await sweeper(files).turn() == 1
    assert await rows(store) == 4  # Bob's of today is gone; that of the future stays, and Alice's


@pytest.mark.parametrize(
    "unseen", ["\U000e0041\U000e0042", "\u00ad", "\u180e", "\U000e0100", "\ufff9", "\u206a", "\u3164"]
)
def test_invisible_characters_are_removed_from_file_names(unseen: str) -> None:
    assert one_segment(f"in{unseen}voice{unseen}.pdf") == "invoice.pdf"
