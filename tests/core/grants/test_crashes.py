"""A process that dies before or after any write and any request: every live token is known, and can be revoked.

A reply that never arrived, or with which the process died before writing it, cannot be known: such deaths are
identified by their place, and nothing else may leave a token family behind.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import pytest

from deputize.core import App, DeputizeError, Deputy, Secret, User, allow_all
from deputize.core.consent.consents import AnyLocalUser, DeviceCode
from deputize.core.consent.record import ConsentRecord
from deputize.core.grants.refresh import GrantLost
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.github import GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET
from deputize.sandbox.linear import LINEAR_CLIENT_ID, LINEAR_CLIENT_SECRET
from tests.support.faults import FaultyStore, Meddler
from tests.support.gmail_toolkit import PREFIX, gmail
from tests.support.kill_points import Died, Fate, Hiccup, MortalLine, MortalStore, When
from tests.support.sandbox_deputy import Clock, at_provider, build, google_app
from tests.support.token_families import alive, unknown

ALICE = User("alice")
LOCAL = AnyLocalUser()
APPS = {
    "google": google_app(),
    "linear": App("linear", LINEAR_CLIENT_ID, Secret(LINEAR_CLIENT_SECRET)),
    "github": App("github", GITHUB_CLIENT_ID, Secret(GITHUB_CLIENT_SECRET)),
}
SCOPES = {
    "google": (f"{PREFIX}readonly", f"{PREFIX}send"),
    "linear": ("read", "write"),
    "github": ("gist", "repo"),
}
ISSUED = re.compile(r"POST \S+/(?:token|access_token)$")
"""The last step of a process that died with a reply it could not write."""
WHEN: Final[tuple[When, ...]] = ("before", "after")


class World:
    """A provider, a vault that survives processes, and the time."""

    def __init__(self, name: str) -> None:
        self.name, self.app, self.scopes = name, APPS[name], SCOPES[name]
        self.clock = Clock(1_800_000_000.0)
        self.sandbox = Sandbox(clock=self.clock)
        self.sandbox.switches.rotate = self.sandbox.switches.reuse_kills_family = True
        self.store = MemoryStore()

    async def process(self, fate: Fate | None = None) -> Deputy:
        fate = fate or Fate()
        return await build(
            vault=await Vault.open(MortalStore(self.store, fate), [b"k" * 32]),
            transport=MortalLine(self.sandbox.transport(), fate),
            clock=self.clock,
            policy=allow_all,
            apps=[self.app],
            toolkits=[gmail],
        )

    async def allow(self, deputy: Deputy, *scopes: str, as_: str = "alice@example.test", **how: Any) -> None:
        """Complete a consent as Alice: request, press Connect, allow, and return."""
        [asked] = await deputy.connect("alice", self.name, scopes=scopes, **how)
        started = await deputy.consents.start(asked.link.rpartition("/")[2], LOCAL)
        back = await at_provider(self.sandbox.transport(), started.url, as_=as_)
        await deputy.consents.finish(asked.app, back, LOCAL, started.nonce.reveal())


Doing = Callable[[World, Deputy], Awaitable[object]]


async def first(world: World, deputy: Deputy) -> None:
    """A first consent."""
    await world.allow(deputy, world.scopes[0])


async def step_up(world: World, deputy: Deputy) -> None:
    await world.allow(deputy, world.scopes[1])


async def device(world: World, deputy: Deputy) -> None:
    """A consent whose code is entered on another machine."""
    [asked] = await deputy.connect("alice", world.name, scopes=[world.scopes[1]])
    shown: list[DeviceCode] = []

    async def enter(seconds: float) -> None:
        world.clock.now += seconds
        browser = Browser(world.sandbox.transport())
        page = await browser.open(shown[-1].address)
        page = await browser.submit(page, page.forms[0], user_code=shown[-1].code)
        if page.forms:
            await browser.submit(page, page.forms[0], account="alice@example.test", decision="allow")

    await deputy.consents.connect_by_device_code(asked.id, ALICE, shown.append, enter)


async def again(world: World, deputy: Deputy) -> None:
    """A second consent, for another account, which is refused."""
    await world.allow(deputy, world.scopes[1], as_="bob@example.test")


async def switch(world: World, deputy: Deputy) -> None:
    await world.allow(deputy, world.scopes[1], as_="bob@example.test", switch_account=True)


async def refresh(world: World, deputy: Deputy) -> None:
    """A refresh of an expired access token."""
    world.sandbox.expire_access_tokens()
    grant = await deputy.vault.find_grant(ALICE, world.name, world.app.name)
    if grant:
        await deputy.refresher.get_live(grant, failed=grant.access_token)


async def disconnect(world: World, deputy: Deputy) -> None:
    await deputy.revoke("alice")


async def leaked(world: World, deputy: Deputy) -> None:
    """The revocation of every user's tokens, since they may have leaked."""
    await deputy.revoke_all(leaked=True)


COURSES: dict[str, tuple[Doing, ...]] = {
    "first consent": (first,),
    "step-up": (first, step_up),
    "wrong account": (first, again),
    "switch": (first, switch),
    "refresh": (first, refresh),
    "disconnect": (first, disconnect),
    "disconnect after a step-up": (first, step_up, disconnect),
    "leaked": (first, step_up, leaked),
    "device": (first, device),
}
NONE: Final = frozenset({("github", "refresh"), ("google", "device"), ("linear", "device")})
"""GitHub's tokens do not expire, and only GitHub gives device codes."""


async def begun(name: str, course: tuple[Doing, ...]) -> World:
    """Return a world in which all but the last step has happened."""
    world = World(name)
    before = await world.process()
    for step in course[:-1]:
        await step(world, before)
    return world


async def cut_off(world: World, step: Doing, fate: Fate) -> None:
    """Run the step in a process that ends like this; then let some time pass."""
    with suppress(Died, DeputizeError, GrantLost):
        await step(world, await world.process(fate))
    world.clock.now += 90


async def left_of(world: World) -> tuple[set[str], set[str]]:
    """Return what no process knows, and what still lives after everything was disconnected.

    Each grant belongs to a granted consent and each consent to a grant: no outcome differs between the two.
    """
    other = await world.process()
    await other.consents.recover()
    lost = await unknown(other.vault, world.sandbox, world.clock)
    ended = [ConsentRecord.of(row) for row in await other.vault.scan("consent")]
    for one in ended:
        await other.consents.status(one.id)
    ended = [ConsentRecord.of(row) for row in await other.vault.scan("consent")]
    granted = {one.family for one in ended if one.status in ("granted", "partial")}
    active = {one.family for one in await other.vault.list_grants(ALICE) if one.status == "active"}
    assert active <= granted and not any(one.status in ("returned", "confirmed") for one in ended)
    await other.revoke_all()
    await other.revoker.retry()
    return lost, alive(world.sandbox, world.clock)


def excused(*fates: Fate) -> bool:
    """Return True if one of these processes died with tokens that it could not write."""
    return any(fate.dead and ISSUED.search(fate.done) for fate in fates)


def cases() -> list[Any]:
    """Return each course at each provider; one of them always, all in the lane for sweeps."""
    made = [(name, course) for name in APPS for course in COURSES if (name, course) not in NONE]
    always = ("linear", "first consent")
    return [pytest.param(*one, marks=[] if one == always else [pytest.mark.sweep]) for one in made]


@pytest.mark.parametrize(("name", "course"), cases())
async def test_R36_crash_at_any_step_leaves_no_unknown_token_family(name: str, course: str) -> None:
    steps, deaths, wrong = COURSES[course], 0, []
    for when in WHEN:
        fate = Fate(1, when)
        while True:
            world = await begun(name, steps)
            await cut_off(world, steps[-1], fate)
            lost, left = await left_of(world)
            if (lost or left) and not excused(fate):
                wrong.append((fate.last, fate.at, len(lost), len(left)))
            if not fate.dead:
                break
            deaths, fate = deaths + 1, Fate(fate.at + 1, when)
    assert deaths > 7 and wrong == []


async def recover(world: World, deputy: Deputy) -> None:
    """Do what any process does to recover for dead ones."""
    await deputy.consents.recover()


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "course"), [("linear", "step-up"), ("github", "first consent"), ("google", "wrong account")]
)
async def test_crash_during_recovery_at_any_step_leaves_no_unknown_token_family(name: str, course: str) -> None:
    steps, deaths, wrong, first_at, when = COURSES[course], 0, [], 1, WHEN[0]
    second_at, alive_at_first = 1, False
    while not alive_at_first:
        world, one, two = await begun(name, steps), Fate(first_at, "after"), Fate(second_at, when)
        await cut_off(world, steps[-1], one)
        await cut_off(world, recover, two)
        lost, left = await left_of(world)
        if (lost or left) and not excused(one, two):
            wrong.append((one.last, two.last, len(lost), len(left)))
        deaths += two.dead
        if two.dead:
            second_at += 1
        elif when == WHEN[0]:
            when, second_at = WHEN[1], 1
        else:
            when, second_at, first_at = WHEN[0], 1, first_at + 1
            alive_at_first = not one.dead
    assert deaths > 10 and wrong == []


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "course"), [one.values for one in cases()])
async def test_store_failure_at_any_step_leaves_no_lost_token_family(name: Any, course: Any) -> None:
    """The store is locked once, or a connection breaks: the write may have happened or not."""
    steps, met, wrong = COURSES[course], 0, []
    for when in WHEN:
        at = 1
        while True:
            world, fate = await begun(name, steps), Hiccup(at, when)
            await cut_off(world, steps[-1], fate)
            if len(fate.steps) < at:
                break
            lost, left = await left_of(world)
            step = fate.steps[at - 1]
            if (lost or left) and not (when == "after" and ISSUED.search(step)):
                wrong.append((f"{when} {step}", at, len(lost), len(left)))
            met, at = met + 1, at + 1
    assert met > 7 and wrong == []


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "course"), [one.values for one in cases()])
async def test_concurrent_recovery_at_any_step_disturbs_nothing(name: Any, course: Any) -> None:
    steps, met, wrong, at = COURSES[course], 0, [], 1
    while True:
        world = await begun(name, steps)
        other = await world.process()
        one = FaultyStore(world.store)
        one.meddler = Meddler(at, other.consents.recover)
        world.store, inner = one, world.store  # type: ignore[assignment]
        deputy = await world.process()
        await steps[-1](world, deputy)
        world.store = inner
        if not one.meddler.acted:
            break
        lost, left = await left_of(world)
        if lost or left:
            wrong.append((at, len(lost), len(left)))
        met, at = met + 1, at + 1
    assert met > 5 and wrong == []
