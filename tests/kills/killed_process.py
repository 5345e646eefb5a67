"""One process of a trial: it opens the vault, does its work, and is killed (SIGKILL) at the step it was told."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from unittest import mock

import httpx

from deputize.core import PROVIDERS, App, Call, Consent, DeputizeError, Deputy, Secret, User, allow_all
from deputize.core.audit import Audit
from deputize.core.audit.sinks import Files
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.grants import refresh as refresh_module
from deputize.core.grants import refresh_intent as intent
from deputize.core.grants.refresh import GrantLost
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.migrate import copy_records
from deputize.core.vault.rotation import reseal
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores import Store, open_store
from deputize.core.vault.vault import Vault
from deputize.sandbox.github import GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET
from deputize.sandbox.linear import LINEAR_CLIENT_ID, LINEAR_CLIENT_SECRET
from tests.support.gmail_toolkit import MAIL, PREFIX, gmail
from tests.support.kill_points import Fate, MortalLine, MortalStore, When
from tests.support.sandbox_deputy import at_provider, build, google_app

APPS: Final = (
    google_app(),
    App("linear", LINEAR_CLIENT_ID, Secret(LINEAR_CLIENT_SECRET)),
    App("github", GITHUB_CLIENT_ID, Secret(GITHUB_CLIENT_SECRET)),
)
SCOPES: Final = {
    "google": ((f"{PREFIX}readonly", f"{PREFIX}send"), (f"{PREFIX}labels",)),
    "linear": (("read",), ("write",)),
    "github": (("gist",), ("repo",)),
}
"""What is asked for first, and what by a step-up."""
USERS: Final = ("alice", "bob")
LEASE: Final = 4.0
"""Seconds that a token request may take, where others wait for as long."""


@dataclass(frozen=True)
class Place:
    """Where a trial happens: a folder of its own, and a provider of its own on loopback."""

    folder: Path
    base: str
    database: str = ""
    """Address of the trial's own database in Postgres, or "": a file."""

    @property
    def url(self) -> str:
        """Where the vault lies."""
        return self.database or str(self.folder / "vault" / "vault.sqlite")

    @property
    def copy_url(self) -> str:
        """Where it is copied to."""
        name = self.database.partition("?")[0]
        return self.database.replace(name, f"{name}_copy") if name else str(self.folder / "copy" / "vault.sqlite")

    def store(self, url: str = "") -> Store:
        """The store there, as a program opens it."""
        url = url or self.url
        return open_store(url, create="//" not in url and not Path(url).exists())

    @property
    def key_file(self) -> Path:
        """Root keys, one a line, newest first."""
        return self.folder / "key"

    @property
    def trace(self) -> Path:
        """Where a process that is killed says where."""
        return self.folder / "trace"

    def renew_keys(self) -> None:
        """Put a new root key in front, as ``deputize key rotate`` does."""
        draft = self.folder / "key.new"
        newer = base64.b64encode(secrets.token_bytes(32)).decode()
        draft.write_text(f"{newer}\n{self.key_file.read_text()}")
        draft.chmod(0o600)
        draft.replace(self.key_file)

    async def vault(self, fate: Fate | None = None) -> Vault:
        """The vault, opened as a program opens it that reads its keys from a file."""
        sealer = Sealer.from_source(KeyFile(self.key_file))
        store = await asyncio.to_thread(self.store)
        return await Vault.open(KilledStore(store, fate) if fate else store, sealer)

    async def deputy(self, fate: Fate | None = None) -> Deputy:
        """A program on this vault."""
        vault = await self.vault(fate)

        def network() -> httpx.AsyncBaseTransport:
            wire = httpx.AsyncHTTPTransport(trust_env=False)
            return MortalLine(wire, fate) if fate else wire

        return await build(
            vault=vault,
            audit=Audit(self.folder / "audit", vault.keys.audit),
            transport=network,
            toolkits=[gmail],
            policy=allow_all,
            apps=APPS,
            providers={app.provider: PROVIDERS[app.provider].moved_to(self.base) for app in APPS},
        )


async def leave(deputy: Deputy) -> None:
    """Let go of all that this process has open, on the portal's loop, too: what was redeemed there."""
    await asyncio.to_thread(lambda: deputy.run(deputy.http.close()))
    await deputy.close()


class KilledStore(MortalStore):
    """A store that is closed with the process."""

    async def close(self) -> None:
        await self.inner.close()


@contextmanager
def killed_audit(fate: Fate) -> Iterator[None]:
    """What the audit writes into its files are steps, too."""
    whole = Files._put

    def put(self: Files, data: bytes) -> None:
        with fate.passes("audit"):
            whole(self, data)

    with mock.patch.object(Files, "_put", put):
        yield


class Doom(Fate):
    """The real thing: kill -9. ``trace``: where it says how far it came: what was carried out last, and what was under
    way."""

    trace: Path

    @property
    def done(self) -> str:
        """What was carried out last, but for the audit, which a thread writes beside the rest."""
        return next((one for one in reversed(self.carried_out) if one != "audit"), "")

    def die(self) -> None:
        """Now, with nothing said to anybody."""
        self.dead = True
        self.trace.write_text(json.dumps([self.done, self.under_way]))
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Work:
    """What a process does. ``at``: the step it is killed at, 0 for none."""

    name: str
    provider: str = ""
    user: str = "alice"
    at: int = 0
    when: When = "before"


async def allow(deputy: Deputy, asked: Consent, email: str) -> None:
    """The user presses Connect, says yes as this account, and comes back."""
    started = await deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())
    async with httpx.AsyncHTTPTransport(trust_env=False) as wire:
        back = await at_provider(wire, started.url, as_=email)
    await deputy.consents.finish(asked.app, back, AnyLocalUser(), started.nonce.reveal())


async def consent(deputy: Deputy, work: Work, step: int, as_: str = "", **how: Any) -> None:
    """The user is asked for the scopes of this step, and gives them."""
    for asked in await deputy.connect(work.user, work.provider, scopes=SCOPES[work.provider][step], **how):
        await allow(deputy, asked, f"{as_ or work.user}@example.test")


async def refresh(deputy: Deputy, work: Work) -> None:
    """The access token was refused."""
    grant = await deputy.vault.find_grant(User(work.user), work.provider, work.provider)
    if grant and grant.status == "active":
        await deputy.refresher.get_live(grant, failed=grant.access_token)


async def send(deputy: Deputy, work: Work) -> None:
    """The one mail of this user in this trial: the same call, whoever runs it."""
    mail = {**MAIL, "subject": f"From {work.user}"}
    await deputy.act("gmail_send", mail, user=work.user, call=Call("thread", "message", work.user))


async def carry_out(deputy: Deputy, work: Work) -> None:
    """The work, by name."""
    match work.name:
        case "connect":
            await consent(deputy, work, 0)
        case "step-up":
            await consent(deputy, work, 1)
        case "wrong account":
            await consent(deputy, work, 1, as_="decoy")
        case "switch":
            await consent(deputy, work, 1, as_="decoy", switch_account=True)
        case "refresh":
            await refresh(deputy, work)
        case "disconnect":
            await deputy.revoke(work.user)
        case "leaked":
            await deputy.revoke_all(leaked=True)
        case "act":
            await send(deputy, work)
        case name:
            raise ValueError(name)


async def change_keys(place: Place, fate: Fate) -> None:
    """All is sealed with the newest root key."""
    vault = await place.vault(fate)
    await reseal(vault)
    await vault.close()


async def copy(place: Place, fate: Fate) -> None:
    """The vault is copied to another store."""
    start = await asyncio.to_thread(place.store)
    to = await asyncio.to_thread(place.store, place.copy_url)
    try:
        await copy_records(start, KilledStore(to, fate))
    finally:
        await start.close()
        await to.close()


UPKEEP: Final = {"key change": change_keys, "copy": copy}
"""Works of whoever keeps the vault, by name: no deputy does them."""


async def take_up(deputy: Deputy) -> AsyncIterator[str]:
    """What the next program does: what it does of itself, a look at each page, a refresh of all that has one, and the
    mails once more. The names of the errors of that."""
    jobs: list[Callable[[], Awaitable[object]]] = [deputy.consents.recover, *deputy.sweeper.jobs]
    jobs.append(partial(look_at_pages, deputy))
    for job in jobs:
        if error := await _told(job()):
            yield error
    works = [Work("refresh", app.provider, user) for app in APPS if app.provider != "github" for user in USERS]
    for work in [*works, *(Work("act", "google", user) for user in USERS)]:
        if error := await _told(carry_out(deputy, work)):
            yield error


async def look_at_pages(deputy: Deputy) -> None:
    """Somebody opens the page of each consent."""
    for row in await deputy.vault.scan("consent"):
        await deputy.consents.status(row.json["id"])


async def _told(work: Awaitable[object]) -> str:
    """The name of the error that this work ends with; empty if it ends well."""
    try:
        await work
    except GrantLost as lost:
        return f"lost: {lost.reason}"
    except DeputizeError as error:
        return getattr(error, "reason", "") or error.code
    return ""


def run(place: Place, work: Work, answer: Connection) -> None:
    """The process. Answers with how many steps it took, and the names of the errors it met."""
    if place.database:  # whoever comes after it waits until no request of a killed process can be under way
        refresh_module.REQUEST_TIMEOUT_SECONDS, intent.LEASE_MARGIN_SECONDS = LEASE, 1.0  # type: ignore[misc]
    fate = Doom(work.at, work.when)
    fate.trace = place.trace
    with suppress(BrokenPipeError), killed_audit(fate):
        answer.send(asyncio.run(_lived(place, work, fate)))


async def _lived(place: Place, work: Work, fate: Doom) -> tuple[int, list[str]]:
    if keeping := UPKEEP.get(work.name):
        name = await _told(keeping(place, fate))
        return len(fate.steps), [name] if name else []
    try:
        deputy = await place.deputy(fate)
    except DeputizeError as error:
        return 0, [f"start: {error.code}"]
    fate.steps.clear()  # of the start
    fate.carried_out.clear()
    try:
        if work.name == "take up":
            return 0, [name async for name in take_up(deputy)]
        name = await _told(carry_out(deputy, work))
        return len(fate.steps), [name] if name else []
    finally:
        with suppress(DeputizeError):  # a database that is cut takes nothing now
            await leave(deputy)
