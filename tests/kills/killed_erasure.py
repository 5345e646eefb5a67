"""Processes of a trial in which a tenant is erased: one that is killed (SIGKILL) at a step, and one that works on."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final
from unittest import mock

from deputize.core import Call, ConsentRequired, DeputizeError, Deputy, User
from deputize.core.audit import verify
from deputize.core.vault import data_keys
from deputize.core.vault.check_records import try_all
from deputize.core.vault.data_key import tenant_place
from deputize.core.vault.record import KINDS
from deputize.core.vault.rotation import reseal
from deputize.core.vault.tenants import tenants_being_erased
from deputize.sandbox import Sandbox
from tests.kills.killed_process import Doom, Place, allow, killed_audit, leave
from tests.kills.trial import FORK, PATIENCE
from tests.support.gmail_toolkit import MAIL, PREFIX
from tests.support.kill_points import When

CAROL: Final = User("carol", "acme")
DAVE: Final = User("dave", "zenith")
ALLOWED: Final = {"consent_required", "declined", "store_unavailable", "vault_error"}
"""Errors of calls for a tenant that is being erased."""
CACHED_SECONDS: Final = 0.2
WAIT_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Kill:
    """Where the process that erases the tenant is killed: ``at`` 0 for nowhere."""

    at: int
    when: When


def run(work: Callable[..., Any], place: Place, kill: Kill, ours: Connection) -> None:
    """Do the work in this process, with short waits, and answer with its result."""
    with (
        mock.patch.object(data_keys, "DATA_KEY_TTL", CACHED_SECONDS),
        mock.patch("deputize.core.base_deputy.ERASURE_WAIT_SECONDS", WAIT_SECONDS),
        suppress(BrokenPipeError),
    ):
        ours.send(asyncio.run(work(place, kill, ours)))


async def erase(place: Place, kill: Kill, ours: Connection) -> int:
    """Erase the tenant, and return how many steps that took."""
    fate = Doom(kill.at, kill.when)
    fate.trace = place.trace
    with killed_audit(fate):
        deputy = await place.deputy(Doom(0, "before"))
        deputy.vault.store.fate = fate  # type: ignore[attr-defined]
        await deputy.erase_tenant("acme")
        deputy.vault.store.fate = Doom(0, "before")  # type: ignore[attr-defined]
    steps = len(fate.steps)
    await leave(deputy)
    return steps


async def work_on(place: Place, kill: Kill, ours: Connection) -> dict[str, int]:
    """Act for the tenant's user, and change the root keys now and then, until told to stop. Return the errors."""
    deputy, errors, turn = await place.deputy(), Counter[str](), 0
    while not ours.poll():
        turn += 1
        for work in (
            deputy.act("gmail_search", {}, user=CAROL, call=Call("chat", "m", str(turn))),
            deputy.act("gmail_send", MAIL, user=CAROL, call=Call("chat", "m", str(turn))),
            deputy.store_file(CAROL, "note.txt", "text/plain", b"note"),
            deputy.pending(CAROL),
            deputy.act("gmail_search", {}, user=DAVE),
        ):
            try:
                await work
            except DeputizeError as error:
                errors[error.code] += 1
        if turn % 5 == 0:
            place.renew_keys()
            await reseal(deputy.vault)
        await asyncio.sleep(0.01)
    await leave(deputy)
    return dict(errors)


class Process:
    """One process of a trial."""

    def __init__(self, work: Callable[..., Any], place: Place, kill: Kill = Kill(0, "before")) -> None:
        self.ours, theirs = FORK.Pipe()
        self._process = FORK.Process(target=run, args=(work, place, kill, theirs), daemon=True)
        self._process.start()
        theirs.close()

    async def ended(self) -> Any:
        """Return its result, or None if it was killed."""
        return await asyncio.to_thread(self._ended)

    def _ended(self) -> Any:
        try:
            if not self.ours.poll(PATIENCE):
                raise TimeoutError("A process hung.")
            return self.ours.recv()
        except EOFError:
            return None
        finally:
            self._process.join(PATIENCE)
            self.ours.close()


async def connect(deputy: Deputy, user: User, mail: str) -> None:
    """Connect the user's mail, send one, and store a file."""
    for asked in await deputy.connect(user, "google", scopes=[f"{PREFIX}readonly", f"{PREFIX}send"]):
        await allow(deputy, asked, mail)
    await deputy.act("gmail_send", MAIL, user=user, call=Call("chat", "m", "first"))
    await deputy.store_file(user, "note.txt", "text/plain", b"note")


async def played(place: Place, sandbox: Sandbox, kill: Kill) -> str:
    """Erase a tenant while its user's process works on, with a kill, and once more. Return what went wrong."""
    place.key_file.touch(mode=0o600)
    place.key_file.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    deputy = await place.deputy()
    await connect(deputy, CAROL, "alice@example.test")
    await connect(deputy, DAVE, "bob@example.test")
    worker = Process(work_on, place)
    await asyncio.sleep(0.3)
    steps = await Process(erase, place, kill).ended()
    before = await tenants_being_erased(deputy.vault)
    if steps is None:
        await Process(erase, place).ended()
    await asyncio.sleep(2 * CACHED_SECONDS)
    worker.ours.send("stop")
    errors, wrong = await worker.ended(), list[str]()
    found = await try_all(deputy.vault)
    if not found.whole or found.erased:
        wrong.append(f"{found.damaged} damaged, {found.without_data_key} without a key, {found.erased} left")
    if await tenants_being_erased(deputy.vault):
        wrong.append("still closed")
    if (alive := sandbox.live_tokens().get("alice@example.test", 0)) or not sandbox.live_tokens()["bob@example.test"]:
        wrong.append(f"{alive} tokens alive")
    if errors is None or errors.keys() - ALLOWED:
        wrong.append(f"errors {errors}")
    with suppress(ConsentRequired):
        await deputy.act("gmail_search", {}, user=CAROL)
        wrong.append("Carol's grant lives")
    await deputy.act("gmail_search", {}, user=DAVE)
    rows = [(kind, *row) for kind in KINDS for row in await deputy.vault.store.scan(kind)]
    if any(kind == "file" and tenant_place(row) == deputy.vault.data_keys.place("acme") for kind, _, row in rows):
        expected = errors.get("store_unavailable", 0) if errors else 0  # the tenant came back
        wrong += [] if expected else ["a file is left"]
    deputy.audit.flush()
    if not verify(place.folder / "audit", deputy.vault.keys.audits).ok:
        wrong.append("the audit does not verify")
    await leave(deputy)
    return f"{kill}, closed {before}, {steps} steps, {errors}: {'; '.join(wrong)}" if wrong else ""
