"""Flip bits in a vault's files, one at a time, and count what is lost without a word.

python -m tests.faults.flips 4000 [SEED]      so many flips in the file of the vault, and so many in its log

A vault is filled through a deputy: grants, outcomes, approvals, a mandate, an open consent, a queued revocation. Its
last writes are in the log only, as after a crash. Each flip is made in a fresh copy, which is then opened and examined
as ``deputize doctor`` and ``deputize store check`` do. A record is lost if it can no longer be read by its key and by a
scan. Exit code 1 if a record was lost and nothing was found, or if an error was raised that is not one of deputize's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deputize.cli.store_check import contents
from deputize.core import ApprovalRequired, Call, DeputizeError, Deputy
from deputize.core.from_settings import open_audit, open_vault
from deputize.core.settings import Settings
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.toolkits.gmail import TOOLKIT
from tests.support.sandbox_deputy import build, connect

MAIL: Final = {"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes, gladly."}
SCOPES: Final = ("readonly", "send")
FILES: Final = ("vault.sqlite", "vault.sqlite-wal")
Rows = dict[tuple[str, str], bytes]

COPY = "import shutil, sys; [shutil.copy2(one, sys.argv[-1]) for one in sys.argv[1:-1]]"


@dataclass
class Result:
    """The outcome.

    ``kinds_lost``: flips that lost records of a kind while the vault still opened; ``kinds_named``: those whose
    findings name that kind. ``silent``, ``broken``: file, byte and bit of flips that lost records unnoticed, or that
    raised another error.
    """

    flips: int = 0
    lost: int = 0
    found: int = 0
    kinds_lost: Counter[str] = field(default_factory=Counter)
    kinds_named: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    silent: list[tuple[str, int, int, str]] = field(default_factory=list)
    broken: list[tuple[str, int, int, str]] = field(default_factory=list)


class Specimen:
    """A vault in a folder, and a second folder for its damaged copies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder / "whole", folder / "work"
        self.rows: Rows = {}
        self.pristine: dict[str, bytes] = {}

    async def fill(self) -> None:
        """Fill the vault through a deputy, the last part after the log was emptied."""
        settings, sandbox = Settings.load(home=self.folder), Sandbox()
        self.folder.mkdir(mode=0o700, parents=True)
        KeyFile(self.folder / "key").make_key()
        vault = await open_vault(settings)
        audit = open_audit(settings, vault)
        deputy = await build(sandbox, vault=vault, audit=audit, toolkits=[TOOLKIT])
        for number in range(12):
            await connect(deputy, sandbox, *SCOPES, user=f"user{number}")
        await self._act(deputy, 0)
        await asyncio.sleep(1.2)  # the log is emptied
        await self._act(deputy, 20)
        sandbox.switches.down = True
        await deputy.revoke("user3", "google")
        sandbox.switches.down = False
        await deputy.connect("user4", "google", scopes=["gmail.settings.basic"])
        until = time.time() + 9000
        await deputy.create_mandate(
            "user5", tools=["gmail_send_email"], targets=["bob@example.test"], max_acts=3, expires_at=until
        )
        await connect(deputy, sandbox, *SCOPES, user="late")
        await audit.settle()
        files = [str(self.folder / name) for name in FILES]
        self.work.mkdir(mode=0o700)
        # in a process of its own: a close here would end SQLite's locks
        copy = [sys.executable, "-S", "-c", COPY, *files, str(self.work)]
        await asyncio.to_thread(subprocess.run, copy, check=True)
        await deputy.close()
        for name in FILES:
            self.pristine[name] = (self.work / name).read_bytes()
        shutil.copytree(self.folder / "audit", self.work / "audit")
        shutil.copyfile(self.folder / "key", self.work / "key")
        (self.work / "key").chmod(0o600)
        self.reset()
        with closing(sqlite3.connect(self.work / FILES[0])) as db:
            for key, value in db.execute("SELECT key, value FROM vault WHERE key LIKE '%/%'"):
                kind, _, name = key.partition("/")
                self.rows[kind, name] = value[1:]
        assert {"grant", "act", "approval", "mandate", "consent", "outbox"} <= {kind for kind, _ in self.rows}

    async def _act(self, deputy: Deputy, first: int) -> None:
        for number in range(first, first + 6):
            user, call = f"user{number % 6}", Call("t", f"m{number}", "c")
            try:
                await deputy.act("gmail_send_email", MAIL, user=user, call=call)
            except ApprovalRequired as asked:
                if number % 6:
                    await deputy.decide(asked.approval, "approve", by=user)
                    await deputy.act("gmail_send_email", MAIL, user=user, call=call)

    def reset(self) -> None:
        """Restore the copies."""
        for file in self.work.glob("vault.sqlite*"):
            file.unlink()
        for name, content in self.pristine.items():
            (self.work / name).write_bytes(content)
            (self.work / name).chmod(0o600)

    def flip(self, name: str, byte: int, bit: int) -> None:
        """Flip one bit of a fresh copy."""
        self.reset()
        content = bytearray(self.pristine[name])
        content[byte] ^= 1 << bit
        (self.work / name).write_bytes(content)

    async def examine(self) -> tuple[list[str], set[str]]:
        """Return the findings of a check, and the kinds of the records that are lost."""
        settings = Settings.load(home=self.work)
        try:
            vault = await open_vault(settings)
        except DeputizeError as refused:
            return [f"refused: {refused.code}: {refused.message}"], {kind for kind, _ in self.rows}
        try:
            try:
                found = [what async for fine, what, _ in contents(settings, vault, []) if not fine]
            except DeputizeError as refused:
                found = [f"{refused.code}: {refused.message}"]
            return found, await self._lost(vault)
        finally:
            await vault.close()

    async def _lost(self, vault: Vault) -> set[str]:
        scanned: Rows = {}
        for kind in {kind for kind, _ in self.rows}:
            try:
                scanned |= {(kind, key): value for key, value in await vault.store.scan(kind)}
            except DeputizeError:
                continue
        lost = set[str]()
        for (kind, key), value in self.rows.items():
            try:
                got = await vault.store.get(kind, key)
            except DeputizeError:
                got = None
            if not (got == scanned.get((kind, key)) == value):
                lost.add(kind)
        return lost


async def flips(number: int, seed: int, folder: Path) -> Result:
    """Flip this many bits in each file, and return what happened."""
    specimen, result, chance = Specimen(folder), Result(), random.Random(seed)  # noqa: S311
    await specimen.fill()
    found, lost = await specimen.examine()
    assert (found, lost) == ([], set()), found
    for name in FILES:
        for _ in range(number):
            byte, bit = chance.randrange(len(specimen.pristine[name])), chance.randrange(8)
            specimen.flip(name, byte, bit)
            result.flips += 1
            try:
                found, lost = await specimen.examine()
            except Exception:
                result.broken.append((name, byte, bit, traceback.format_exc()))
                continue
            result.lost += bool(lost)
            result.found += bool(found)
            if not any(line.startswith("refused: ") for line in found):
                result.kinds_lost.update(lost)
                result.kinds_named.update(kind for kind in lost if any(kind in line for line in found))
            result.findings.update(line.partition(":")[0][:60] for line in found[:1])
            if lost and not found:
                result.silent.append((name, byte, bit, ", ".join(sorted(lost))))
    return result


def main() -> int:
    """Run the command."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20261201
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(flips(number, seed, Path(folder) / "flips"))
    print(f"seed {seed}: {result.flips} flips, {result.lost} lost records, {result.found} were found")
    for what, times in result.findings.most_common():
        print(f"  {times:6}  {what}")
    for kind, times in result.kinds_lost.most_common():
        print(f"  {times:6}  lost {kind}, {result.kinds_named[kind]} of them named by kind")
    for name, byte, bit, what in result.silent:
        print(f"SILENT  {name} byte {byte} bit {bit}: {what}")
    for name, byte, bit, what in result.broken:
        print(f"BROKEN  {name} byte {byte} bit {bit}: {what}")
    return 1 if result.silent or result.broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
