"""From a missing scope to a grant: one link, the right person, the right browser, one code, used once."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deputize.core import (
    AccountMismatch,
    Call,
    Consent,
    ConsentRequired,
    Declined,
    DeputizeError,
    Deputy,
    InvalidInput,
    RateLimited,
    ReconsentRequired,
    ScopeNotGranted,
    StoreUnavailable,
    User,
    VaultError,
    allow_all,
)
from deputize.core.consent.consents import (
    CONSENT_LINK_TTL,
    MAX_PENDING_CONSENTS,
    REDEEM_TTL,
    AnyLocalUser,
    Started,
    Who,
)
from deputize.core.consent.record import ConsentRecord
from deputize.core.vault.grant import Grant
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.faults import REVOKE, TOKEN, USERINFO, FaultyStore, Line, Meddler, answer, broken, shown
from tests.support.gmail_toolkit import ALL, LABELS, MAIL, PREFIX, READ, SEND, gmail
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import PAGES, Clock, at_provider, build, consent, google_app, new_vault

ALICE, BOB = User("alice"), User("bob")
LOCAL = AnyLocalUser()


class House:
    """A deputy, its network, and its clock."""

    def __init__(self) -> None:
        self.clock = Clock(1_800_000_000.0)
        self.sandbox = Sandbox(clock=self.clock)
        self.line = Line(self.sandbox.transport())
        self.store = FaultyStore(MemoryStore())
        self.deputy: Deputy

    async def begin(self, **more: Any) -> House:
        vault = await Vault.open(self.store, [b"k" * 32])
        self.deputy = await build(
            self.sandbox,
            vault=vault,
            toolkits=[gmail],
            transport=self.line,
            clock=self.clock,
            policy=allow_all,
            **more,
        )
        return self

    async def ask(self, *scopes: str, user: str = "alice", **more: Any) -> Consent:
        found = await self.deputy.connect(
            user, "google", scopes=[f"{PREFIX}{s}" for s in scopes or ("readonly",)], **more
        )
        return found[0]

    async def start(self, consent: Consent, who: Who = LOCAL) -> Started:
        """Press Connect."""
        return await self.deputy.consents.start(ticket_of(consent), who)

    async def allowed(self, started: Started, as_: str = "alice@example.test") -> dict[str, str]:
        """Return the provider's redirect after the user allowed access."""
        return await at_provider(self.sandbox.transport(), started.url, as_=as_)

    async def finish(
        self, back: dict[str, str], started: Started, who: Who = LOCAL, *, app: str = "google", nonce: str | None = None
    ) -> str:
        """Handle the browser's return."""
        nonce = started.nonce.reveal() if nonce is None else nonce
        return await self.deputy.consents.finish(app, back, who, nonce)

    async def connected(self, *scopes: str, user: str = "alice", as_: str = "alice@example.test") -> Grant:
        ended = await consent(self.deputy, self.sandbox, await self.ask(*scopes, user=user), as_=as_)
        assert ended.status == "granted"
        found = await self.grant(user)
        assert found
        return found

    async def grant(self, user: str = "alice", account: str | None = None) -> Grant | None:
        return await self.deputy.vault.find_grant(User(user), "google", "google", account)

    async def status(self, consent: Consent) -> tuple[str, str]:
        """Return the status of a consent, and its reason."""
        now = await self.deputy.consents.status(consent.id)
        assert now is not None
        return now.status, now.reason_code

    async def act(self, tool: str = "search", message: str = "m1", **arguments: Any) -> Any:
        return await self.deputy.act(f"gmail_{tool}", arguments, user="alice", call=Call("t", message, "c"))

    def events(self) -> list[str]:
        return [row["event"] for row in self.deputy.audit.rows()]

    @property
    def mails(self) -> int:
        """Return how many mails Alice has sent."""
        return len(self.sandbox.sent("alice@example.test"))

    def live(self, who: str = "alice") -> int:
        return self.sandbox.live_tokens()[f"{who}@example.test"]


def ticket_of(consent: Consent) -> str:
    return consent.link.rpartition("/")[2]


async def refused(work: Any) -> str:
    """Check the one response for everything invalid; return the reason that only programs see."""
    with pytest.raises(InvalidInput) as caught:
        await work
    assert str(caught.value) == "This link cannot be used." and caught.value.fix_by == "user"
    return caught.value.reason


# ------------------------------------------------------------- asking


async def test_B1_consent_link_is_on_our_host_with_a_random_ticket_that_is_not_stored(house: House) -> None:
    links = {(await house.ask("readonly", user=f"user{n}")).link for n in range(50)}
    assert len(links) == 50
    for link in links:
        assert link.startswith(f"{PAGES}/connect/")
        ticket = link.rpartition("/")[2]
        raw = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
        assert len(raw) >= 16 and b"user" not in raw
        records = await house.deputy.vault.scan("consent") + await house.deputy.vault.scan("ticket")
        assert not any(ticket.encode() in record.plain.reveal() or ticket in record.key for record in records)


async def test_B10_five_runs_of_a_node_request_one_consent_with_one_link(house: House) -> None:
    met = []
    for _ in range(5):
        with pytest.raises(ConsentRequired) as caught:
            await house.act()
        met.append(caught.value.consent)
    assert len({one.id for one in met}) == len({one.link for one in met}) == 1
    assert house.events().count("consent.requested") == 1


async def test_B10_fifty_concurrent_runs_request_one_consent(house: House) -> None:
    house.store.pause = 0.001
    errors = await asyncio.gather(*(house.act(message=f"m{n}") for n in range(50)), return_exceptions=True)
    assert all(type(e) is ConsentRequired for e in errors)
    assert len({e.consent.id for e in errors if isinstance(e, ConsentRequired)}) == 1
    assert house.events().count("consent.requested") == 1


ASKING = """
import asyncio, sys
from pathlib import Path
from deputize.core import ConsentRequired
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, new_vault
from tests.support.gmail_toolkit import gmail

async def main():
    deputy = await build(Sandbox(), vault=await new_vault(Path(sys.argv[1]), b"k" * 32), toolkits=[gmail])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        await deputy.act("gmail_search", {}, user="alice")
    except ConsentRequired as e:
        print(e.consent.id, e.consent.link, flush=True)
    await deputy.close()

asyncio.run(main())
"""


@pytest.mark.processes
async def test_B10_two_processes_on_one_vault_show_the_same_link(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "vault.sqlite"
    await (await new_vault(path, b"k" * 32)).close()
    command = [sys.executable, "-c", ASKING, str(path)]
    both = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(2)]  # noqa: ASYNC220
    try:
        for one in both:
            assert one.stdout and one.stdout.readline() == "ready\n"
        said = [await asyncio.to_thread(one.communicate, "\n", 30) for one in both]
    finally:
        for one in both:
            one.kill()
    assert said[0][0].strip() and said[0][0] == said[1][0]


async def test_restarted_program_shows_the_same_link(tmp_path: Path) -> None:
    path, links = tmp_path / "vault" / "vault.sqlite", set()
    for _ in range(2):
        deputy = await build(vault=await new_vault(path, b"k" * 32), toolkits=[gmail])
        links.add((await deputy.connect("alice", "google", scopes=[READ]))[0].link)
        await deputy.close()
    assert len(links) == 1


async def test_A13_step_up_lists_the_narrowest_missing_scope_and_requests_the_union(house: House) -> None:
    await house.connected("readonly", "labels")
    with pytest.raises(ConsentRequired) as caught:
        await house.act("send", **MAIL)
    asked = caught.value.consent
    assert (asked.scopes, asked.scope_descriptions, asked.account) == (
        (SEND,),
        ("send email as you",),
        "alice@example.test",
    )
    query = parse_qs(urlsplit((await house.start(asked)).url).query)
    assert set(query["scope"][0].split()) == {"openid", "email", READ, LABELS, SEND}
    assert query["login_hint"] == ["alice@example.test"]


async def test_step_up_keeps_earlier_scopes(house: House) -> None:
    await house.connected("readonly")
    grant = await house.connected("send")
    assert {READ, SEND} <= grant.scopes and grant.generation == 2


async def test_A13_token_reply_without_scopes_grants_the_requested_ones(house: House) -> None:
    await house.connected("readonly")
    house.sandbox.switches.omit_scope = True
    grant = await house.connected("send")
    assert {READ, SEND} <= grant.scopes


async def test_granted_scope_is_not_requested_again(house: House) -> None:
    await house.connected(*ALL)
    assert await house.deputy.connect("alice", "google", scopes=[READ, SEND]) == []


async def test_B11_twenty_first_pending_consent_is_refused(house: House) -> None:
    labels = [f"scope{n}" for n in range(MAX_PENDING_CONSENTS + 1)]
    for label in labels[:-1]:
        await house.ask(label)
    with pytest.raises(RateLimited) as caught:
        await house.ask(labels[-1])
    assert caught.value.retry_after
    assert (await house.ask(labels[3])).status == "pending"  # those that wait can be had again
    await house.ask("readonly", user="bob")  # another user's are not counted
    house.clock.now += CONSENT_LINK_TTL + 1
    assert (await house.ask(labels[-1])).status == "pending"


async def test_A19_denied_consent_is_not_asked_again_for_the_same_request_only(house: House) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.act(message="m1")
    ended = await consent(house.deputy, house.sandbox, caught.value.consent, deny=True)
    assert (ended.status, ended.reason_code) == ("denied", "consent_denied")
    for _ in range(3):
        with pytest.raises(Declined):
            await house.act(message="m1")
    with pytest.raises(ConsentRequired) as again:
        await house.act(message="m2")
    assert again.value.consent.id != caught.value.consent.id
    assert house.line.count(TOKEN) == 0


async def test_A13_unticked_scope_is_reported_for_the_same_request_and_asked_for_a_later_one(house: House) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.act("send", message="m1", **MAIL)
    ended = await consent(house.deputy, house.sandbox, caught.value.consent, untick=["gmail.send"])
    assert ended.status == "partial"
    for _ in range(2):
        with pytest.raises(ScopeNotGranted) as missing:
            await house.act("send", message="m1", **MAIL)
        assert missing.value.scopes == (SEND,)
    with pytest.raises(ConsentRequired):
        await house.act("send", message="m2", **MAIL)
    assert (await house.ask("send")).status == "pending"  # and whoever insists is asked


async def test_partial_consent_grants_the_ticked_scopes(house: House) -> None:
    asked = await house.ask("readonly", "send")
    assert (await consent(house.deputy, house.sandbox, asked, untick=["gmail.send"])).status == "partial"
    assert await house.act("search") != []


# ------------------------------------------------------------- tickets


async def test_expired_ticket_is_reissued_and_the_old_link_is_dead(house: House) -> None:
    old = await house.ask()
    house.clock.now += CONSENT_LINK_TTL + 1
    assert await house.status(old) == ("expired", "")
    assert await refused(house.start(old)) == "expired_ticket"
    new = await house.ask()
    assert new.id == old.id and new.link != old.link
    assert await refused(house.start(old)) == "expired_ticket"
    assert await refused(house.deputy.consents.open(ticket_of(old), LOCAL)) == "expired_ticket"
    assert (await consent(house.deputy, house.sandbox, new)).status == "granted"
    details = await house.deputy.consents.get_details(new.id)
    assert details and details.return_to == ""


async def test_reissued_consent_keeps_its_id_for_days(house: House) -> None:
    first = await house.ask()
    for _ in range(30):
        house.clock.now += 3600
        assert (await house.ask()).id == first.id
        assert await house.status(first) == ("pending", "")


async def test_link_opens_after_its_first_write_failed(house: House) -> None:
    house.store.failing["insert", "ticket"] = 1
    with suppress(StoreUnavailable):
        await house.ask()
    again = await house.ask()
    assert (await consent(house.deputy, house.sandbox, again)).status == "granted"


async def test_B8_opening_a_link_many_times_changes_nothing(house: House) -> None:
    asked = await house.ask()
    for who in (None, LOCAL, ALICE) * 20:
        if who is None:
            await refused(house.deputy.consents.open(ticket_of(asked), who))
        else:
            assert (await house.deputy.consents.open(ticket_of(asked), who)).status == "pending"
    assert (await consent(house.deputy, house.sandbox, asked)).status == "granted"


@pytest.mark.parametrize("ticket", ["", "x", "../x", "A" * 43, "é", "x" * 5000])
async def test_B5_unknown_tickets_are_refused_alike(house: House, ticket: str) -> None:
    assert await refused(house.deputy.consents.start(ticket, LOCAL)) == "unknown_ticket"


async def test_B5_link_opened_by_another_user_ends_and_reveals_nothing(house: House) -> None:
    asked = await house.ask()
    assert await refused(house.deputy.consents.open(ticket_of(asked), BOB)) == "user_mismatch"
    assert await house.status(asked) == ("failed", "user_mismatch")
    assert await refused(house.start(asked, BOB)) == "user_mismatch"
    assert "connect.user_mismatch" in house.events() and house.line.seen == []


async def test_B5_user_of_the_same_name_in_another_tenant_is_another_user(house: House) -> None:
    asked = await house.ask()
    assert await refused(house.start(asked, User("alice", "tenant"))) == "user_mismatch"


async def test_B2_link_stays_valid_when_nobody_is_signed_in(house: House) -> None:
    asked = await house.ask()
    assert await refused(house.start(asked, None)) == "nobody"
    assert (await house.start(asked, ALICE)).url.startswith("https://accounts.google.com/")


async def test_two_link_presses_may_each_return_and_one_code_is_spent(house: House) -> None:
    asked = await house.ask()
    first, second = await house.start(asked), await house.start(asked)
    back = await house.allowed(first)
    assert await refused(house.finish(back, second)) == "browser_mismatch"
    asked = await house.ask()
    first, second = await house.start(asked), await house.start(asked)
    backs = [await house.allowed(first), await house.allowed(second)]
    await house.finish(backs[0], first)
    await house.finish(backs[1], second)
    assert (await house.status(asked))[0] == "granted" and house.line.count(TOKEN) == 1


async def test_only_the_last_three_link_presses_may_return(house: House) -> None:
    asked = await house.ask()
    first, *_, last = [await house.start(asked) for _ in range(4)]
    assert await refused(house.finish(await house.allowed(first), first)) == "unknown_state"
    await house.finish(await house.allowed(last), last)
    assert (await house.status(asked))[0] == "granted"


# ------------------------------------------------------------- the way back


async def test_A4_missing_altered_or_unknown_state_never_reaches_the_token_endpoint(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    state = back["state"]
    for wrong in ("", state[:-1], state + "x", state.swapcase(), "x" * 43, " " + state):
        assert await refused(house.finish(back | {"state": wrong}, started)) == "unknown_state"
    assert await refused(house.finish({}, started)) == "unknown_state"
    assert house.line.count(TOKEN) == 0
    assert house.events().count("connect.unknown_state") == 7
    await house.finish(back, started)  # the real one was not harmed
    assert (await house.status(asked))[0] == "granted"


async def test_A12_replayed_callback_spends_nothing_and_shows_the_result_page(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    tickets = {await house.finish(back, started) for _ in range(5)}
    assert tickets == {ticket_of(asked)} and house.line.count(TOKEN) == 1
    assert await refused(house.finish(back, started, BOB)) and await refused(house.finish(back, started, None))
    assert house.line.count(TOKEN) == 1 and await house.act() != []


async def test_A4_expired_state_is_refused(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    house.clock.now += CONSENT_LINK_TTL + 1
    assert await refused(house.finish(back, started)) in ("expired_state", "unknown_state")
    assert house.line.count(TOKEN) == 0 and await house.grant() is None
    assert any(event.startswith("connect.") for event in house.events())


@pytest.mark.parametrize("nonce", ["", "x" * 43])
async def test_A4_callback_in_another_browser_is_refused_and_ends_the_consent(house: House, nonce: str) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    assert await refused(house.finish(back, started, nonce=nonce)) == "browser_mismatch"
    assert await house.status(asked) == ("failed", "browser_mismatch")
    assert "connect.browser_mismatch" in house.events() and house.line.count(TOKEN) == 0


async def test_attack_2_nonce_of_another_consent_is_refused(house: House) -> None:
    mine, theirs = await house.ask(user="alice"), await house.ask(user="mallory")
    own, foreign = await house.start(mine), await house.start(theirs)
    back = await house.allowed(foreign, as_="bob@example.test")
    assert await refused(house.finish(back, own, ALICE)) == "browser_mismatch"
    assert house.line.count(TOKEN) == 0 and await house.grant("alice") is None


async def test_A5_callback_on_another_apps_path_is_refused(house: House) -> None:
    deputy = await build(
        house.sandbox, transport=house.line, clock=house.clock, apps=[google_app(), google_app("other")]
    )
    house.deputy = deputy
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    assert await refused(house.finish(back, started, app="other")) == "other_app"
    assert await house.status(asked) == ("failed", "other_app") and house.line.count(TOKEN) == 0
    assert "connect.app_mismatch" in house.events()


@pytest.mark.parametrize(
    "iss", ["https://evil.example.test", "https://accounts.google.com/", "HTTPS://accounts.google.com"]
)
async def test_A5_callback_from_another_issuer_is_refused(house: House, iss: str) -> None:
    house.sandbox.switches.iss = iss
    asked = await house.ask()
    started = await house.start(asked)
    assert await refused(house.finish(await house.allowed(started), started)) == "other_issuer"
    assert house.line.count(TOKEN) == 0 and "connect.issuer_mismatch" in house.events()


@pytest.mark.parametrize(("iss", "good"), [("", False), ("right", True)])
async def test_A5_callback_without_issuer_is_refused_when_always_sent(iss: str, good: bool) -> None:

    from deputize.core import PROVIDERS

    house = await House().begin(providers={"google": with_fields(PROVIDERS["google"], iss_required=True)})
    house.sandbox.switches.iss = iss
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    if good:
        await house.finish(back, started)
    else:
        assert await refused(house.finish(back, started)) == "other_issuer"
    assert house.line.count(TOKEN) == int(good)
    await house.deputy.close()


@pytest.mark.parametrize("who", [BOB, None, User("alice", "tenant")])
async def test_B4_user_switched_before_the_callback_gets_no_code_redeemed(house: House, who: Who) -> None:
    asked = await house.ask()
    started = await house.start(asked, ALICE)
    back = await house.allowed(started)
    assert await refused(house.finish(back, started, who)) == "user_mismatch"
    assert house.line.count(TOKEN) == 0 and await house.grant() is None
    assert "connect.user_mismatch" in house.events()


async def test_A12_denial_at_the_provider_uses_up_the_state(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    denied = await at_provider(house.sandbox.transport(), started.url, as_="", deny=True)
    code = await house.allowed(started)
    await house.finish(denied, started)
    assert await house.status(asked) == ("denied", "consent_denied")
    await house.finish(code, started)
    assert await house.status(asked) == ("denied", "consent_denied") and house.line.count(TOKEN) == 0


async def test_provider_error_other_than_denial_fails_the_consent(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = {"state": (await house.allowed(started))["state"], "error": "<script>alert(1)</script>"}
    await house.finish(back, started)
    status, why = await house.status(asked)
    assert status == "failed" and "<" not in why


async def test_callback_with_neither_code_nor_error_grants_nothing(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    await house.finish({"state": (await house.allowed(started))["state"]}, started)
    assert (await house.status(asked))[0] == "failed" and house.line.count(TOKEN) == 0


# ------------------------------------------------------------- races


async def test_A12_one_of_two_concurrent_callbacks_spends_the_code_and_the_grant_stays(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    house.store.pause = 0.001
    ends = await asyncio.gather(*(house.finish(back, started) for _ in range(5)), return_exceptions=True)
    assert house.line.count(TOKEN) == 1
    assert [e for e in ends if isinstance(e, str)]
    assert all(isinstance(e, str | InvalidInput) for e in ends)
    assert await house.status(asked) == ("granted", "")
    grant = await house.grant()
    assert grant and grant.status == "active" and house.live() > 0


async def test_attack_5_callback_repeated_during_redemption_keeps_the_consent(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    house.line.held = TOKEN
    first = asyncio.create_task(house.finish(back, started))
    await house.line.until_held()
    with suppress(InvalidInput):
        assert await house.finish(back, started) == ticket_of(asked)
    house.line.release()
    assert await first == ticket_of(asked)
    assert await house.status(asked) == ("granted", "") and house.line.count(TOKEN) == 1
    assert await house.act() != []


async def test_equal_request_from_a_later_message_does_not_undo_the_consent(house: House) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.act(message="m1")
    started = await house.start(caught.value.consent)
    back = await house.allowed(started)
    house.line.held = TOKEN
    finishing = asyncio.create_task(house.finish(back, started))
    await house.line.until_held()
    with pytest.raises(ConsentRequired) as again:
        await house.act(message="m2")
    assert again.value.consent.id == caught.value.consent.id
    house.line.release()
    await finishing
    assert await house.status(caught.value.consent) == ("granted", "")
    assert await house.act() != [] and house.line.count(REVOKE) == 0


async def test_repeated_request_at_the_end_of_redemption_does_not_undo_the_consent(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    house.clock.now += CONSENT_LINK_TTL - 1
    back = await house.allowed(started)
    house.line.held = TOKEN
    finishing = asyncio.create_task(house.finish(back, started))
    await house.line.until_held()
    house.clock.now += 2
    await house.ask()
    house.line.release()
    await finishing
    assert await house.status(asked) == ("granted", "")


@pytest.mark.parametrize("connected", [False, True], ids=["first consent", "step-up"])
async def test_R33_disconnect_at_any_point_of_redemption_leaves_no_live_token(connected: bool) -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await House().begin()
        if connected:
            await house.connected("labels")
        asked = await house.ask()
        started = await house.start(asked)
        back = await house.allowed(started)
        over = False

        async def disconnect(house: House = house, asked: Consent = asked) -> None:
            nonlocal over
            over = (await house.status(asked))[0] == "granted"  # then it came after the redemption
            await house.deputy.revoke("alice", "google")

        meddler = house.store.meddler = house.line.meddler = Meddler(at, disconnect)
        with suppress(InvalidInput):
            await house.finish(back, started)
        acted = meddler.acted
        grant = await house.grant()
        if acted and (grant or house.live() or (not over and (await house.status(asked))[0] == "granted")):
            wrong.append((at, grant and grant.status, house.live(), await house.status(asked)))
        await house.deputy.close()
        at += 1
    assert at > 10 and wrong == []


async def test_R33_redemption_at_any_point_of_a_disconnect_leaves_no_token_or_a_valid_grant() -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await House().begin()
        await house.connected("labels")
        started = await house.start(await house.ask())
        back = await house.allowed(started)

        async def redeem(house: House = house, back: dict[str, str] = back, started: Started = started) -> None:
            with suppress(InvalidInput):
                await house.finish(back, started)

        meddler = house.store.meddler = house.line.meddler = Meddler(at, redeem)
        await house.deputy.revoke("alice", "google")
        acted = meddler.acted
        grant = await house.grant()
        if acted and (grant or house.live()):
            wrong.append((at, grant and grant.status, house.live()))
        await house.deputy.close()
        at += 1
    assert at > 5 and wrong == []


async def test_disconnect_ends_a_pending_consent(house: House) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.act(message="m1")
    started = await house.start(caught.value.consent)
    back = await house.allowed(started)
    await house.deputy.revoke("alice", "google")
    assert await house.status(caught.value.consent) == ("cancelled", "disconnected")
    await house.finish(back, started)
    assert await house.grant() is None and house.line.count(TOKEN) == 0
    with pytest.raises(Declined, match="disconnected Google while this waited"):
        await house.act(message="m1")
    with pytest.raises(ConsentRequired):
        await house.act(message="m2")


@pytest.mark.parametrize("everybody", [False, True])
async def test_disconnect_does_not_answer_a_later_act_without_request(house: House, everybody: bool) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.act(message="")
    await (house.deputy.revoke_all() if everybody else house.deputy.revoke("alice", "google"))
    with pytest.raises(ConsentRequired) as again:
        await house.act(message="")
    assert again.value.consent.link != caught.value.consent.link and again.value.consent.status == "pending"
    await consent(house.deputy, house.sandbox, again.value.consent, deny=True)
    with pytest.raises(Declined, match="declined to connect"):
        await house.act(message="")


# ------------------------------------------------------------- accounts


async def test_B9_step_up_with_another_account_keeps_the_grant_and_revokes_the_new_token(house: House) -> None:
    before = await house.connected("readonly")
    house.sandbox.switches.swap_account = "bob@example.test"
    asked = await house.ask("send")
    ended = await consent(house.deputy, house.sandbox, asked)
    assert (ended.status, ended.reason_code) == ("failed", "account_mismatch")
    assert house.live("bob") == 0 and house.line.count(REVOKE) == 1
    after = await house.grant()
    assert after and (after.generation, after.account, after.access_token) == (
        before.generation,
        before.account,
        before.access_token,
    )
    assert await house.act() != []


async def test_B9_account_mismatch_is_reported_for_the_same_request(house: House) -> None:
    await house.connected("readonly")
    with pytest.raises(ConsentRequired) as caught:
        await house.act("send", **MAIL)
    house.sandbox.switches.swap_account = "bob@example.test"
    await consent(house.deputy, house.sandbox, caught.value.consent)
    with pytest.raises(AccountMismatch):
        await house.act("send", **MAIL)


async def test_B9_account_mismatch_keeps_the_other_accounts_own_grant(house: House) -> None:
    await house.connected("readonly")
    work = await house.ask("readonly", account="bob@example.test")
    assert (await consent(house.deputy, house.sandbox, work, as_="bob@example.test")).status == "granted"
    house.sandbox.switches.swap_account = "bob@example.test"
    await consent(house.deputy, house.sandbox, await house.ask("send", account="alice@example.test"))
    house.sandbox.expire_access_tokens()
    house.clock.now += 3600
    assert await house.deputy.act("gmail_search", {}, user="alice", account="bob@example.test") is not None


async def test_requested_account_must_be_the_one_that_connects(house: House) -> None:
    asked = await house.ask("readonly", account="bob@example.test")
    ended = await consent(house.deputy, house.sandbox, asked, as_="alice@example.test")
    assert (ended.status, ended.reason_code) == ("failed", "account_mismatch")
    assert house.live("alice") == 0


async def test_two_accounts_of_one_user_coexist(house: House) -> None:
    await house.connected("readonly")
    work = await house.ask("readonly", account="bob@example.test")
    await consent(house.deputy, house.sandbox, work, as_="bob@example.test")
    names = {c.account: c.default for c in await house.deputy.connections("alice")}
    assert names == {"alice@example.test": True, "bob@example.test": False}
    with pytest.raises(AccountMismatch):
        await house.deputy.act("gmail_search", {}, user="alice", account="decoy@example.test")


# ------------------------------------------------------------- when the provider fails


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (answer(400, {"error": "invalid_grant"}), "restart_consent"),
        (answer(401, {"error": "invalid_client"}), "invalid_client"),
        (answer(400, {"error": "redirect_uri_mismatch"}), "redirect_uri_mismatch"),
        (answer(500, {}), None),
        (answer(503, {}, retry_after="5"), None),
        (answer(200, {"access_token": "canary", "token_type": "mac"}), None),
        (answer(200, {}), None),
        (broken(httpx.ConnectError), None),
        (broken(httpx.ReadError), "restart_consent"),
    ],
)
async def test_failed_code_exchange_fails_the_consent_without_retry(house: House, fault: Any, why: str | None) -> None:
    asked = await house.ask()
    house.line.answers[TOKEN] = [fault]
    ended = await consent(house.deputy, house.sandbox, asked)
    assert (
        ended.status == "failed"
        and ended.reason_code
        and why in (None, ended.reason_code)
        and "canary" not in ended.reason_code
    )
    assert house.line.count(TOKEN) == 1 and await house.grant() is None
    again = await house.ask()
    assert again.id != asked.id and (await consent(house.deputy, house.sandbox, again)).status == "granted"


@pytest.mark.parametrize("fault", [answer(500), answer(401), answer(200, {"name": "nobody"}), broken()])
async def test_B5_tokens_of_an_unknown_account_are_revoked(house: House, fault: Any) -> None:
    house.line.answers[USERINFO] = [fault]
    assert (await consent(house.deputy, house.sandbox, await house.ask())).status == "failed"
    assert await house.grant() is None and house.live() == 0


async def test_R36_rejected_tokens_are_revoked_when_the_provider_is_reachable_again(house: House) -> None:
    await house.connected("readonly")
    house.sandbox.switches.swap_account = "bob@example.test"
    house.line.answers[REVOKE] = [answer(503)]
    await consent(house.deputy, house.sandbox, await house.ask("send"))
    assert house.live("bob") > 0
    await house.deputy.revoker.retry()
    assert house.live("bob") == 0


async def test_W12_store_failure_for_the_new_grant_leaves_no_live_token_and_asks_again(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    house.store.failing["insert", "grant"] = 1
    with suppress(DeputizeError):
        await house.finish(back, started)
    house.clock.now += REDEEM_TTL + 1
    granted = (await house.status(asked))[0] == "granted"
    assert granted == (await house.grant() is not None)
    if not granted:
        await house.deputy.revoker.retry()
        assert house.live() == 0
        again = await house.ask()
        assert (await consent(house.deputy, house.sandbox, again)).status == "granted"


@pytest.mark.parametrize(
    "refused", [("insert", "received"), ("insert", "grant"), ("swap", "consent"), ("get", "consent")]
)
async def test_callback_leads_to_the_granted_page_after_a_failed_store_write(
    house: House, refused: tuple[str, str]
) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    sent = house.line.inner.handle_async_request

    async def refuse_after_the_code_was_sent(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            house.store.failing[refused] = 1
        return await sent(request)

    house.line.inner.handle_async_request = refuse_after_the_code_was_sent  # type: ignore[method-assign]
    assert await house.finish(back, started) == ticket_of(asked)
    assert house.store.failing[refused] == 0
    assert (await house.status(asked))[0] == "granted" and await house.grant() is not None
    assert house.line.count(TOKEN) == 1


async def test_W12_crash_between_code_and_reply_ends_the_consent_and_asks_again(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    [record] = await house.deputy.vault.scan("consent")
    dead = record.json | {"status": "confirmed", "code": "", "verifier": "", "returned": house.clock.now}
    assert await house.deputy.vault.swap(record, dead)  # as the process that died has left it
    key = house.deputy.vault.key_prefix(ALICE, "google", "google")
    async with house.store.lock(f"consent-{key}", 1):  # somebody is still at it
        assert (await house.ask()).id == asked.id and await house.status(asked) == ("pending", "")
    assert await house.status(asked) == ("failed", "interrupted")
    with suppress(InvalidInput):
        await house.finish(back, started)
    assert house.line.count(TOKEN) == 0
    again = await house.ask()
    assert again.id != asked.id and (await consent(house.deputy, house.sandbox, again)).status == "granted"


async def test_cancelled_callback_still_completes(house: House) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    back = await house.allowed(started)
    house.line.held = TOKEN
    finishing = asyncio.create_task(house.finish(back, started))
    await house.line.until_held()
    finishing.cancel()
    with suppress(asyncio.CancelledError):
        await finishing
    house.line.release()
    [ended] = await house.deputy.wait_for_consents([asked], timeout=5)
    assert ended.status == "granted" and await house.act() != []


async def test_refresh_during_a_step_up_does_not_restore_a_used_refresh_token() -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await House().begin()
        await house.connected("readonly")
        switches = house.sandbox.switches
        switches.rotate = switches.reuse_kills_family = True
        started = await house.start(await house.ask("send"))
        back = await house.allowed(started)
        house.sandbox.expire_access_tokens()
        grant = await house.grant()
        assert grant
        switches.omit_refresh_token = True  # in the answer to the code, as where one was given before

        async def refreshing(house: House = house, grant: Grant = grant) -> None:
            house.sandbox.switches.omit_refresh_token = False
            await house.deputy.refresher.get_live(grant, failed=grant.access_token)
            house.sandbox.switches.omit_refresh_token = True

        meddler = house.store.meddler = house.line.meddler = Meddler(at, refreshing)
        await house.finish(back, started)
        acted = meddler.acted
        switches.omit_refresh_token = False
        house.clock.now += 3600
        try:
            await house.act()
        except DeputizeError as e:
            wrong.append((at, e.code, getattr(e, "reason", "")))
        await house.deputy.close()
        at += 1
    assert at > 10 and wrong == []


# ------------------------------------------------------------- nothing secret is left


@pytest.mark.parametrize("how", ["granted", "denied", "burnt", "failed", "cancelled"])
async def test_L1_finished_consent_record_holds_neither_code_verifier_nor_state(house: House, how: str) -> None:
    asked = await house.ask()
    started = await house.start(asked)
    [record] = await house.deputy.vault.scan("consent")
    [visit] = record.json["visits"]
    verifier, state = visit["verifier"].reveal(), visit["state"]
    back = await house.allowed(started)
    if how == "denied":
        back = {"state": back["state"], "error": "access_denied"}
    if how == "failed":
        house.line.answers[TOKEN] = [answer(400, {"error": "invalid_grant"})]
    if how == "cancelled":
        await house.deputy.revoke("alice", "google")
    with suppress(InvalidInput):
        await house.finish(back, started, nonce="wrong" if how == "burnt" else None)
    rows = [record.plain.reveal().decode() for record in await house.deputy.vault.scan("consent")]
    told = "\n".join([*rows, json.dumps(house.deputy.audit.rows())])
    for secret in (verifier, state, back["state"], back.get("code", "no code"), started.nonce.reveal()):
        assert secret not in told
    assert ticket_of(asked) not in told


async def test_L1_pending_consent_stores_state_and_nonce_as_hashes_only(house: House) -> None:
    started = await house.start(await house.ask())
    state = parse_qs(urlsplit(started.url).query)["state"][0]
    [record] = await house.deputy.vault.scan("consent")
    assert state not in record.plain.reveal().decode() and started.nonce.reveal() not in record.plain.reveal().decode()
    [visit] = record.json["visits"]
    assert visit["verifier"].reveal() not in started.url
    sealed = b"".join(value for _, value in await house.store.scan("consent"))
    assert visit["verifier"].reveal().encode() not in sealed and b"alice" not in sealed


async def test_L4_failed_callback_error_shows_no_secret(house: House) -> None:
    started = await house.start(await house.ask())
    back = await house.allowed(started)
    with pytest.raises(InvalidInput) as caught:
        await house.finish(back, started, nonce="wrong")
    printed = shown(caught.value)
    assert back["code"] not in printed.replace(repr(back), "") or re.search(r"Secret\(\*\*\*\)", printed)
    assert str(caught.value) == "This link cannot be used."


async def test_B6_consent_payload_holds_neither_user_nor_provider_address(house: House) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.act()
    text = json.dumps(caught.value.consent.payload())
    assert "accounts.google.com" not in text and '"alice"' not in text
    assert caught.value.consent.link not in str(caught.value) + caught.value.hint


async def test_dead_grant_is_requested_again_with_its_reason_and_account(house: House) -> None:
    grant = await house.connected("readonly")
    await house.deputy.refresher.end(grant, "invalid_grant")
    with pytest.raises(ReconsentRequired) as caught:
        await house.act(message="later")
    assert caught.value.reason == "invalid_grant" and caught.value.consent.account == "alice@example.test"
    assert (await consent(house.deputy, house.sandbox, caught.value.consent)).status == "granted"
    assert await house.act(message="later") != []


async def test_cancel_during_the_redemption_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await house.ask("readonly")
    started = await house.start(asked)
    repository = house.deputy.consents.repository
    early = await repository.find_by_id(asked.id)
    assert early and early.status == "opened"

    async def as_it_was(ticket: str, who: Who) -> ConsentRecord:
        return early

    house.line.held = TOKEN
    finishing = asyncio.create_task(house.finish(await house.allowed(started), started))
    await house.line.until_held()
    with pytest.raises(InvalidInput, match="This link cannot be used"):
        await house.deputy.consents.decline(ticket_of(asked), LOCAL)
    with monkeypatch.context() as crossing:
        crossing.setattr(repository, "find_by_ticket", as_it_was)
        await house.deputy.consents.decline(ticket_of(asked), LOCAL)
    house.line.release()
    await finishing
    assert await house.status(asked) == ("granted", "") and "connect.denied" not in house.events()


async def test_consent_record_keeps_unknown_fields_of_a_newer_version(house: House) -> None:
    asked = await house.ask()
    [row] = await house.deputy.vault.scan("consent")
    assert await house.deputy.vault.swap(row, row.json | {"later": {"a": [1]}})
    await house.start(asked)
    [row] = await house.deputy.vault.scan("consent")
    assert (row.json["status"], row.json["later"]) == ("opened", {"a": [1]})


async def test_unreadable_consent_record_is_a_vault_error_and_revoke_all_skips_it(house: House) -> None:
    await house.connected()
    asked = await house.ask("send", user="bob")
    row = next(one for one in await house.deputy.vault.scan("consent") if one.json["user"] == "bob")
    assert await house.deputy.vault.swap(row, row.json | {"status": "paused"})
    for look in (house.start(asked), house.deputy.revoke("bob", "google"), house.ask("send", user="bob")):
        with pytest.raises(VaultError, match="'status'"):
            await look
    assert [one.account for one in await house.deputy.revoke_all()] == ["alice@example.test"]
    assert house.live() == 0
