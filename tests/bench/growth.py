"""What a vault costs as it grows: ``python -m tests.bench.growth [1000 100000 1000000] [--store sqlite postgres]``.

Fills a vault with so many grants, each of another user, a tenth as many rows of acts (every second one expired), and
prints for each of a program's works how long it took, how much CPU, and how much memory beyond that of the start: a
line of JSON each, and a table. Every work runs in a process of its own, one after the other, on the same vault; the
provider answers at once, in that process. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from deputize.core import PROVIDERS, Account, Deputy, Secret, User, allow_all
from deputize.core.audit import Audit
from deputize.core.providers.origin import origin_of
from deputize.core.vault.backup import back_up
from deputize.core.vault.encoding import encode
from deputize.core.vault.grant import Grant
from deputize.core.vault.rotation import reseal
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.common import place
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.stores.sqlite.file import TABLE
from deputize.core.vault.stores.sqlite.table import pack
from deputize.core.vault.vault import Vault
from tests.bench.__main__ import KIT, SCOPE, TOKEN
from tests.support.postgres import postgres_server
from tests.support.sandbox_deputy import build, google_app

KEYS: Final = (b"n" * 32, b"k" * 32)
"""The new root key, and the one that the vault is filled with."""
ACTS: Final = 200
Rows = Iterator[tuple[str, bytes]]


# ------------------------------------------------------------- a vault of that size


def rows(vault: Vault, grants: int) -> Rows:
    """Sealed records by their places: a grant for each user, and what acts left."""
    row, app, now, sealer = PROVIDERS["google"], google_app(), time.time(), vault.sealer
    came_from = origin_of(row, app)
    for n in range(grants):
        grant = Grant(User(f"user{n}"), "google", "google", Account(f"{n}", f"user{n}@example.test"),
                      frozenset({SCOPE}), Secret(TOKEN), Secret("1//" + "y" * 100), now + 86400, now,
                      origin=came_from, family=f"{n:032x}")  # fmt: skip
        key = vault.record_key(grant)
        yield place("grant", key), sealer.seal("grant", key, 1, grant.pack())
        if n % 10 == 0:
            key = vault.key_prefix(grant.user) + f"{n:064x}"
            left = {"state": "done", "at": now, "expires": now + (1 if n % 20 else -1) * 86400, "arguments": "x" * 32}
            yield place("act", key), sealer.seal("act", key, 1, encode(left | {"account": "1", "result": {"id": "m"}}))


def into_sqlite(url: str, records: Rows) -> None:
    """All at once, in the order of their places, as a vault that grew has them."""
    with sqlite3.connect(url) as connection:
        while some := [(key, pack(sealed)) for key, sealed in islice(records, 10_000)]:
            connection.executemany(f'INSERT INTO "{TABLE}" (key, value) VALUES (?, ?)', some)  # noqa: S608
            connection.commit()
    connection.close()


def into_postgres(url: str, records: Rows) -> None:
    """All at once, with the statistics that a server keeps of a table that grew."""
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor().copy("COPY deputize_record (place, value) FROM STDIN") as copy:
            for record in records:
                copy.write_row(record)
        connection.execute("VACUUM ANALYZE deputize_record")


async def fill(url: str, grants: int) -> None:
    vault = await Vault.open(open_store(url, create="//" not in url), [KEYS[1]])
    (into_postgres if "//" in url else into_sqlite)(url, rows(vault, grants))
    await vault.close()


# ------------------------------------------------------------- what is measured


async def _acts(deputy: Deputy, grants: int, folder: Path) -> float:
    """The median of some acts, each of another user."""
    took = []
    for n in range(ACTS):
        began = time.perf_counter()
        await deputy.act("gmail_list_emails", {}, user=f"user{n * 7919 % grants}")
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _once(work: Callable[[Deputy, Path], Awaitable[object]]) -> Callable[[Deputy, int, Path], Awaitable[float]]:
    async def timed(deputy: Deputy, grants: int, folder: Path) -> float:
        began = time.perf_counter()
        await work(deputy, folder)
        return time.perf_counter() - began

    return timed


async def _key_change(deputy: Deputy, folder: Path) -> None:
    deputy.vault.rekey(KEYS)
    assert (await reseal(deputy.vault)).shut == 0


async def _nothing(deputy: Deputy, folder: Path) -> None:
    """The start alone."""


WORKS: Final = {
    "start": _once(_nothing),
    "act": _acts,
    "sweep": _once(lambda deputy, folder: deputy.sweeper.turn()),
    "key change": _once(_key_change),
    "backup": _once(lambda deputy, folder: back_up(deputy.vault, folder / "backup.sqlite", time.time())),
    "revoke all": _once(lambda deputy, folder: deputy.revoker.many.end(None, leaked=False, progress=_progress())),
}
"""In the order in which they are done: the last one leaves nothing."""
AFTER: Final = ("backup", "revoke all")
"""What comes after the key change."""


def _progress() -> Any:
    from deputize.core.grants.mass_revocation import EndProgress

    return EndProgress()


def _answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={})


async def measure(work: str, url: str, grants: int, folder: Path) -> dict[str, float]:
    """One work, in this process: seconds, and MiB of memory after the start and at most."""
    began = time.perf_counter()
    vault = await Vault.open(open_store(url, create=False), Sealer(KEYS if work in AFTER else KEYS[1:]))
    audit = Audit(folder / "audit", vault.keys.audit)
    deputy = await build(
        vault=vault, audit=audit, toolkits=[KIT], policy=allow_all, transport=lambda: httpx.MockTransport(_answer)
    )
    await deputy.connections("user0")
    started, before, cpu = time.perf_counter() - began, _mebibytes(), time.process_time()
    took = await WORKS[work](deputy, grants, folder)
    used = _mebibytes()
    await deputy.close()
    came = {"seconds": started if work == "start" else took, "cpu_seconds": time.process_time() - cpu}
    return {**came, "start_mib": before, "more_mib": used - before}


def _mebibytes() -> float:
    """The most that this process has had in memory so far. What ``getrusage`` says begins with what its parent had."""
    said = Path("/proc/self/status").read_text()
    return int(said.partition("VmHWM:")[2].split()[0]) / 1024


# ------------------------------------------------------------- the table


@contextmanager
def vault_at(store: str) -> Iterator[tuple[str, Path]]:
    """The address of an empty place for a vault, and a folder beside it."""
    with tempfile.TemporaryDirectory() as made:
        if store == "sqlite":
            yield str(Path(made) / "vault" / "vault.sqlite"), Path(made)
            return
        with postgres_server() as server:
            migrate(Address.of(server.url))
            yield server.url, Path(made)


def table(sizes: Iterable[int], stores: Iterable[str], works: Iterable[str]) -> None:
    """Fill and measure, size by size, and print it."""
    lines = []
    for store in stores:
        for grants in sizes:
            with vault_at(store) as (url, folder):
                began = time.perf_counter()
                asyncio.run(fill(url, grants))
                print(f"# {store}: {grants} grants made in {time.perf_counter() - began:.0f} s", flush=True)
                for work in (one for one in works if (store, one) != ("postgres", "backup")):
                    given = json.dumps([work, url, grants, str(folder)])
                    command = [sys.executable, "-m", "tests.bench.growth", "--one", given]
                    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                    print(json.dumps({"store": store, "grants": grants, "work": work} | said), flush=True)
                    took, cpu = _time(said["seconds"]), _time(said["cpu_seconds"])
                    lines.append(
                        f"| {store} | {grants:>9,} | {work:10} | {took:>9} | {cpu:>9} | {said['more_mib']:4.0f} |"
                    )
    print("| store | grants | work | time | CPU here | MiB beyond the start |\n|---|---:|---|---:|---:|---:|")
    print("\n".join(lines))


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.bench.growth")
    asked.add_argument("sizes", type=int, nargs="*", default=[1000, 100_000])
    asked.add_argument("--store", nargs="*", default=["sqlite", "postgres"])
    asked.add_argument("--work", nargs="*", default=[*WORKS])
    asked.add_argument("--one", help="measure one work in this process")
    chosen = asked.parse_args()
    if chosen.one:
        name, where, count, beside = json.loads(chosen.one)
        print(json.dumps(asyncio.run(measure(name, where, count, Path(beside)))))
    else:
        table(chosen.sizes, chosen.store, chosen.work)
