"""Who acts, who is asked and who may decide: every identity at every shape of a run, in each framework.

In each cell an identity first starts a run of the same shape itself, unless it could do so for itself, and then answers
the run of Alice with an approval. Everybody's account is connected, so that whoever could act would succeed.
``python -m tests.support.identity.table ADAPTER FOLDER BASE`` answers the run that is stored in the folder from a
process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from deputize.core import Approval, DeputizeError, Deputy
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.support.mcp_process import beside
from tests.support.sandbox_deputy import build, connect

OWNER: Final = "alice"
COLUMNS: Final = {"owner": OWNER, "another user": "bob", "nobody": "", "API key": "key"}
"""The identities by name. An API key belongs to a program, and its id could be a user's."""
ACCOUNTS: Final = {"alice": "alice@example.test", "bob": "bob@example.test", "key": "decoy@example.test"}
OWN: Final = frozenset({OWNER, "bob"})
"""Users, who can start a run for themselves."""
ROUNDS: Final = 3
ROOT: Final = Path(__file__).parents[3]


class Refused(Exception):
    """A server's refusal: its status or error code."""


class Run(Protocol):
    """One conversation about one mail, which waits for Alice after `begin`."""

    @property
    def deputy(self) -> Deputy:
        """A deputy with the run's vault."""
        ...

    @property
    def sandbox(self) -> Sandbox:
        """Where the mail is sent."""
        ...

    @property
    def lacks(self) -> Mapping[str, str]:
        """The columns that the framework does not have, with the reason."""
        ...

    @property
    def own(self) -> frozenset[str]:
        """Who may start such a run for themselves."""
        ...

    async def begin(self, who: str) -> None:
        """Start a run as this identity. Alice's is the one that is answered later."""
        ...

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """Answer Alice's run as this identity, in every way that its client could, with these approvals."""
        ...


@dataclass(frozen=True)
class Cell:
    """Whose account was used, whose requests are open, and who has decided; and how an attempt was refused."""

    acts: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    decides: frozenset[str] = frozenset()
    how: str = ""

    def __str__(self) -> str:
        facts = {"acts": self.acts, "asked": self.asked, "decides": self.decides}
        parts = (f"{name} {', '.join(sorted(who)) or '-'}" for name, who in facts.items())
        return "; ".join(parts) + (f" ({self.how})" if self.how else "")

    @property
    def facts(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """The cell without how an attempt was refused."""
        return self.acts, self.asked, self.decides


Row = dict[str, Cell | str]
"""A cell for each column, or why there is none."""


HERS: Final = frozenset({OWNER})
NOBODY: Final = frozenset[str]()


def lines_of(adapter: str, shape: str, row: Mapping[str, Cell | str]) -> str:
    """Return the lines of the table."""
    return "\n".join(f"{adapter:22} | {shape:26} | {column:12} | {cell}" for column, cell in row.items())


def faults_in(row: Row, expected: Mapping[str, Cell]) -> list[str]:
    """Return the columns that differ from what is expected: Alice acts and decides, and nobody else is asked."""
    usual = {column: Cell(NOBODY, HERS, NOBODY) for column in COLUMNS} | {"owner": Cell(HERS, HERS, HERS)}
    wanted = {**usual, **expected}
    return [column for column, cell in row.items() if isinstance(cell, Cell) and cell.facts != wanted[column].facts]


async def connect_all(deputy: Deputy, sandbox: Sandbox) -> None:
    """Connect everybody's account."""
    for user, account in ACCOUNTS.items():
        await connect(deputy, sandbox, "readonly", "send", user=user, as_=account)


async def row_of(run: Run) -> Row:
    """Play each identity against one run of Alice, hers at the end."""
    began = await attempted(run.begin(OWNER))
    asked = await _asked(run)
    found: Row = {}
    for column, who in reversed(COLUMNS.items()):
        if column in run.lacks:
            found[column] = run.lacks[column]
            continue
        cell = await _cell(run, who)
        found[column] = cell if who != OWNER else Cell(cell.acts, asked, cell.decides, began or cell.how)
    return {column: found[column] for column in COLUMNS}


async def _cell(run: Run, who: str) -> Cell:
    requests, sent, decided = len(run.sandbox.requests), _sent(run), await _decided(run)
    refusals = [] if who in run.own else [await attempted(run.begin(who))]
    for _ in range(ROUNDS if who == OWNER else 1):  # another user's attempt may have renewed what Alice was asked
        waiting = [one.id for one in await run.deputy.pending(OWNER)]
        if who != OWNER:
            refusals += [await attempted(_decide(run, one, who)) for one in waiting]
        if waiting:
            refusals.append(await attempted(run.answer(who, waiting)))
    users = {account: user for user, account in ACCOUNTS.items()}
    callers = {users.get(one.who, "") for one in run.sandbox.requests[requests:] if one.host == "gmail.googleapis.com"}
    acts = {user for user, count in _sent(run).items() if count > sent[user]} | (callers - {OWNER, ""})
    decides = {who or "nobody"} if await _decided(run) != decided else set[str]()
    how = ", ".join(dict.fromkeys(filter(None, refusals)))
    return Cell(frozenset(acts), await _asked(run), frozenset(decides), how)


async def _decide(run: Run, approval: str, who: str) -> None:
    await run.deputy.decide(approval, "approve", by=who)


async def attempted(attempt: Awaitable[None]) -> str:
    """Return how this was refused, or an empty string."""
    try:
        await attempt
    except DeputizeError as error:
        return error.code
    except Refused as refused:
        return str(refused)
    return ""


def _sent(run: Run) -> dict[str, int]:
    return {user: len(run.sandbox.sent(account)) for user, account in ACCOUNTS.items()}


async def _asked(run: Run) -> frozenset[str]:
    """Return who has open requests. Everybody is asked about their own account only."""
    found = set[str]()
    for user, account in ACCOUNTS.items():
        waiting = await run.deputy.pending(user)
        assert all(not isinstance(one, Approval) or one.account == account for one in waiting), waiting
        found |= {user} if waiting else set()
    return frozenset(found)


async def _decided(run: Run) -> set[tuple[str, str]]:
    """Return the approvals that have been decided, with their status."""
    records = [record.json for record in await run.deputy.vault.scan("approval")]
    return {(one["id"], one["status"]) for one in records if one["status"] != "pending"}


async def in_turn(*ways: Awaitable[Any]) -> None:
    """Try each way. Raises the first refusal after all were tried."""
    errors = list[Exception]()
    for way in ways:
        try:
            await way
        except (DeputizeError, Refused) as error:
            errors.append(error)
    if errors:
        raise errors[0]


# ------------------------------------------------------------- where a run is played

Make = Callable[[Deputy, Sandbox, Path | None], Run]
"""Builds a run. With a folder, everything between two steps is stored there."""
Play = Callable[[Path], AbstractAsyncContextManager[Run]]
"""Creates the place of a run, with this empty folder."""


def here(make: Make) -> Play:
    """Play a run in this process, in memory."""

    @asynccontextmanager
    async def played(folder: Path) -> AsyncIterator[Run]:
        sandbox = Sandbox()
        async with await build(sandbox) as deputy:
            await connect_all(deputy, sandbox)
            yield make(deputy, sandbox, None)

    return played


@dataclass
class Restored:
    """A run that is begun in this process and answered in another, which reads it from disk."""

    run: Run
    child: asyncio.subprocess.Process

    @property
    def deputy(self) -> Deputy:
        """The deputy of this process."""
        return self.run.deputy

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox of both."""
        return self.run.sandbox

    @property
    def lacks(self) -> Mapping[str, str]:
        """See `Run`."""
        return self.run.lacks

    @property
    def own(self) -> frozenset[str]:
        """See `Run`."""
        return self.run.own

    async def begin(self, who: str) -> None:
        """See `Run`."""
        await self.run.begin(who)

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`."""
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(json.dumps([who, *approvals]).encode() + b"\n")
        line = await asyncio.wait_for(self.child.stdout.readline(), 120)
        if how := json.loads(line):
            raise Refused(how)


def restored(adapter: str) -> Play:
    """Play a run of this adapter whose answers come from another process."""
    return partial(_restored, adapter)


@asynccontextmanager
async def _restored(adapter: str, folder: Path) -> AsyncIterator[Run]:
    sandbox = Sandbox()
    async with serve(sandbox.app) as base, await beside(folder, base) as deputy:
        await connect_all(deputy, sandbox)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.identity.table", adapter, str(folder), base,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        try:
            yield Restored(made(adapter)(deputy, sandbox, folder), child)
            assert child.stdin
            child.stdin.close()
            assert await asyncio.wait_for(child.wait(), 20) == 0
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


def made(adapter: str) -> Make:
    """Return what builds a flat run of this adapter."""
    module, _, way = adapter.partition(":")
    found: Callable[..., Run] = import_module(f"tests.support.identity.{module}").run_of
    return partial(found, *filter(None, [way]))


async def answering(adapter: str, folder: Path, base: str) -> None:
    """Answer the stored run once for each line of stdin: an identity, and approvals."""
    async with await beside(folder, base) as deputy:
        run = made(adapter)(deputy, Sandbox(), folder)
        while line := await asyncio.to_thread(sys.stdin.readline):
            who, *approvals = json.loads(line)
            print(json.dumps(await attempted(run.answer(who, approvals))), flush=True)


if __name__ == "__main__":
    asyncio.run(answering(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
