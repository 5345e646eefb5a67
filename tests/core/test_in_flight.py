"""A refresh or a consent in progress is not lost when a deputy is closed, or its process is terminated."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from deputize.core import InvalidInput, exit_on_sigterm
from deputize.core import in_flight as module
from deputize.core.background_loop import portal
from deputize.core.vault.record import KINDS
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import ALICE, BOB
from tests.core.grants.test_refresh import Refreshing, served
from tests.support.faults import TOKEN
from tests.support.gmail_toolkit import ALL, gmail
from tests.support.sandbox_deputy import build, connect, new_vault, played


class Kept(Refreshing):
    """A house whose records can be read after its deputy was closed."""

    def keep(self) -> None:
        """Keep the records as they are when the store closes."""
        self.left: dict[tuple[str, str], bytes] = {}

        async def closing() -> None:
            self.left = {(kind, key): sealed for kind in KINDS for key, sealed in await self.store.scan(kind)}

        self.store.close = closing  # type: ignore[method-assign]

    async def next(self) -> Vault:
        """Return the vault as the next process finds it."""
        store = MemoryStore()
        for (kind, key), sealed in self.left.items():
            await store.insert(kind, key, sealed)
        return await Vault.open(store, [b"k" * 32])


@pytest.fixture
async def house() -> Kept:
    made = Kept()
    await made.ready()
    made.sandbox.switches.rotate = made.sandbox.switches.reuse_kills_family = True
    made.keep()
    return made


async def closed_meanwhile(house: Kept) -> None:
    """Close the deputy while the provider's response is on its way, which arrives a moment later."""
    closing = asyncio.create_task(house.deputy.close())
    await asyncio.sleep(0.05)
    house.line.release()
    await closing


async def test_close_saves_a_refresh_in_flight_of_a_cancelled_caller(house: Kept) -> None:
    before = await house.now()
    house.expire()
    house.line.held, house.line.held_after = TOKEN, True
    acting = asyncio.create_task(house.act())
    await house.line.until_held()
    acting.cancel()
    await closed_meanwhile(house)
    saved = await (await house.next()).find_grant(ALICE, "google", "google")
    assert saved and saved.refresh_token != before.refresh_token and saved.generation == before.generation + 1


async def test_close_finishes_a_consent_in_flight(house: Kept) -> None:
    asked = await house.ask("readonly", user="bob")
    started = await house.start(asked)
    back = await house.allowed(started, as_="bob@example.test")
    house.line.held, house.line.held_after = TOKEN, True
    finishing = asyncio.create_task(house.finish(back, started))
    await house.line.until_held()
    finishing.cancel()
    await closed_meanwhile(house)
    assert await (await house.next()).find_grant(BOB, "google", "google")


async def test_close_waits_a_bounded_time_for_work_in_flight(house: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_SECONDS", 0.05)
    house.expire()
    house.line.held = TOKEN
    acting = asyncio.create_task(house.act())
    await house.line.until_held()
    async with asyncio.timeout(5):
        await house.deputy.close()
    house.line.release()
    with suppress(Exception):
        await acting


def test_close_without_work_in_flight_does_not_wait() -> None:
    async def use() -> None:
        async with await build():
            pass

    asyncio.run(use())
    with portal().run(build()):
        pass


async def test_forked_child_does_not_wait_for_its_parents_work() -> None:
    in_flight, elsewhere = module.InFlight(), asyncio.new_event_loop()
    parents = elsewhere.create_task(asyncio.sleep(60))
    in_flight._tasks.add(parents)
    async with asyncio.timeout(30):
        await in_flight.wait()
    parents.cancel()
    await asyncio.to_thread(elsewhere.run_until_complete, asyncio.wait({parents}))
    elsewhere.close()


# ------------------------------------------------------------- told to end


PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from deputize.core import PROVIDERS, exit_on_sigterm
from tests.support.sandbox_deputy import build, new_vault
from tests.support.gmail_toolkit import gmail

path, base, asked = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

async def opened():
    return await build(vault=await new_vault(path, b"k" * 32), toolkits=[gmail], transport=network(),
                       providers={"google": PROVIDERS["google"].moved_to(base)})

def network():
    import httpx
    return lambda: httpx.AsyncHTTPTransport()

async def acting():
    await (await opened()).act("gmail_search", {}, user="alice")

def blocking():
    from deputize.core.background_loop import portal
    with portal().run(opened()) as deputy:
        deputy.run(deputy.act("gmail_search", {}, user="alice"))

if asked != "unasked":
    exit_on_sigterm()
print("ready", flush=True)
blocking() if asked == "blocking" else asyncio.run(acting())
"""


def told_to_end(sandbox: Sandbox, arguments: list[str]) -> int:
    """Return the exit code of the program after a SIGTERM during its refresh."""
    before = sandbox.count(*TOKEN)
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE)
    try:
        assert program.stdout and program.stdout.readline() == b"ready\n"
        while sandbox.count(*TOKEN) == before:
            assert program.poll() is None
            time.sleep(0.01)
        program.send_signal(signal.SIGTERM)
        return program.wait(30)
    finally:
        program.kill()
        program.communicate()


async def ended_while_refreshing(folder: Path, how: str) -> tuple[int, bool]:
    """Return the exit code of a program terminated during its refresh, and whether the rotated token is in the
    vault."""
    sandbox, path = Sandbox(), folder / "vault" / "vault.sqlite"
    vault = await new_vault(path, b"k" * 32)
    deputy = await build(sandbox, vault=vault, toolkits=[gmail])
    await connect(deputy, sandbox, *ALL)
    grant = await vault.find_grant(ALICE, "google", "google")
    assert grant
    before = await vault.replace(grant, replace(grant, expires_at=1.0, origin=played()))
    await deputy.close()
    sandbox.expire_access_tokens()
    sandbox.switches.rotate, sandbox.switches.token_delay = True, 0.7
    with served(sandbox) as base:
        code = await asyncio.to_thread(told_to_end, sandbox, [str(path), base, how])
    vault = await new_vault(path, b"k" * 32)
    after = await vault.find_grant(ALICE, "google", "google")
    await vault.close()
    assert before and after
    return code, after.generation > before.generation


@pytest.mark.processes
@pytest.mark.parametrize("how", ["async", "blocking"])
async def test_sigterm_saves_the_refresh_if_exit_on_sigterm_was_called(tmp_path: Path, how: str) -> None:
    assert await ended_while_refreshing(tmp_path, how) == (143, True)


@pytest.mark.processes
async def test_sigterm_keeps_pythons_default_unless_requested(tmp_path: Path) -> None:
    assert await ended_while_refreshing(tmp_path, "unasked") == (-signal.SIGTERM, False)


DROPPED = """
import os, signal, time, weakref
from deputize.core import exit_on_sigterm

class Thing: ...

def told(reference):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)  # the handler runs in here, where Python drops what it raises

exit_on_sigterm()
thing = Thing()
reference = weakref.ref(thing, told)
del thing
time.sleep(30)
print("lives on")
"""


def test_sigterm_in_the_callback_of_a_weak_reference_ends_the_program() -> None:
    ended = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")


def test_existing_sigterm_handler_is_kept() -> None:
    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        exit_on_sigterm()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_exit_on_sigterm_in_another_thread_is_an_error_with_a_hint() -> None:
    met: list[BaseException] = []

    def ask() -> None:
        try:
            exit_on_sigterm()
        except InvalidInput as error:
            met.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert [error.fix_by for error in met if isinstance(error, InvalidInput)] == ["operator"]
