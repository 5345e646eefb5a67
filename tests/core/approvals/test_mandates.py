"""A mandate covers the acts it was given for, up to its number of uses, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import (
    Act,
    Approval,
    ApprovalRequired,
    Audience,
    Call,
    Change,
    Conflict,
    Declined,
    Deputy,
    Effect,
    InvalidInput,
    Mandate,
    MandateOffer,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    Preview,
    Request,
    Steps,
    Toolkit,
    Verdict,
    any_of,
    policy_file,
)
from deputize.core.vault.record import EXPIRING
from deputize.core.vault.rotation import key_uses, reseal
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.toolkits._shared.text import FACTS, WRITERS
from tests.support.gmail_toolkit import SENDING, raw
from tests.support.kill_points import Died, Fate, MortalLine, MortalStore
from tests.support.postgres import postgres_server
from tests.support.sandbox_deputy import Clock, Recorder, build

MODIFY: Final = "https://www.googleapis.com/auth/gmail.modify"
DAY: Final = 86400.0
KIT = Toolkit("gmail", provider="google", facts=FACTS, writers=WRITERS, shows=True)
LETTER: dict[str, str] = {}
NEED = any_of(MODIFY, method="x")


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def tell(
    people: list[str], text: str = "Hi", where: str = "", audience: str = "PEOPLE", destroys: bool = False
) -> Steps:
    """Tell people something."""
    yield Preview("Tell them", audience=Audience[audience], people=people, where=where, destroys=destroys, text=text)
    yield Request("POST", SENDING, json={"raw": raw("bob@example.test", "Hi", text)})
    return {"told": people}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def shout(text: str) -> Steps:
    """Tell Bob something, by another tool."""
    yield Preview("Tell Bob", audience=Audience.PEOPLE, people=["bob@acme.example"], text=Change("", text))
    yield Request("POST", SENDING, json={"raw": raw("bob@example.test", "Hi", text)})
    return {}


@KIT.tool(needs=[NEED])
def read() -> Steps:
    """Read what strangers wrote."""
    yield Request("GET", "/users/me/labels")
    return {**LETTER, "untrusted": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS, shows=False)
def blind(people: list[str]) -> Steps:
    """Does not say what it will do."""
    yield Request("POST", SENDING, json={"raw": raw("bob@example.test", "Hi", "x")})
    return {}


@KIT.tool(needs=[NEED], effect=Effect.DESTRUCTIVE)
def wipe(people: list[str]) -> Steps:
    """Delete something, and show no loss."""
    yield Preview("Wipe it", audience=Audience.PEOPLE, people=people)
    yield Request("POST", SENDING, json={"raw": raw("bob@example.test", "Hi", "x")})
    return {}


@dataclass
class World:
    """Alice's mailbox, a store that survives processes, and the sent messages."""

    clock: Clock = field(default_factory=lambda: Clock(1_800_000_000.0))
    calls: int = 0

    def __post_init__(self) -> None:
        self.sandbox, self.store = Sandbox(clock=self.clock), MemoryStore()
        self.wire = Recorder(self.sandbox.transport())
        self.deputy: Deputy

    async def process(self, fate: Fate | None = None) -> Deputy:
        fate = fate or Fate()
        vault = await Vault.open(MortalStore(self.store, fate), [b"k" * 32])
        line = MortalLine(self.wire, fate)
        return await build(vault=vault, transport=line, clock=self.clock, apps=apps(), toolkits=[KIT])

    async def act(
        self, id: str = "", tool: str = "tell", user: str = "alice", agent: str = "", **arguments: Any
    ) -> Any:
        """Make one call, a new one unless ``id`` names it; to Bob, unless others are named."""
        self.calls += 1
        given = arguments if tool != "tell" else {"people": ["bob@acme.example"]} | arguments
        call = Call("t", "m", id or f"c{self.calls}")
        return await self.deputy.act(f"gmail_{tool}", given, user=user, call=call, agent=agent)

    async def asked(self, **call: Any) -> Approval:
        with pytest.raises(ApprovalRequired) as needed:
            await self.act(**call)
        return needed.value.approval

    async def give(self, *targets: str, most: int = 20, days: float = 1.0, **more: Any) -> Mandate:
        given = {"tools": ["gmail_tell"], "targets": targets or ["@acme.example"]} | more
        return await self.deputy.create_mandate("alice", **given, max_acts=most, expires_at=self.clock.now + days * DAY)

    async def used(self) -> list[int]:
        return [mandate.used for mandate in await self.deputy.mandates("alice")]

    @property
    def sent(self) -> int:
        return sum(r.url.path.endswith("/send") for r in self.wire.seen)

    def rows(self, event: str) -> list[Mapping[str, Any]]:
        return [row for row in self.deputy.audit.rows() if row["event"] == event]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.deputy = await world.process()
    for user in ("alice", "bob"):
        give_grant(world.sandbox, world.deputy, user, [MODIFY], provider="google", email="alice@example.test")
    async with world.deputy:
        yield world


# ----------------------------------------------------------------- what it covers


async def test_mandate_covers_acts_and_the_audit_names_it(world: World) -> None:
    mandate = await world.give("@acme.example", "carol@example.test", most=2)
    await world.act("one")
    await world.act("one")
    await world.act(people=["Carol@example.test", "dave@ACME.example"])
    assert world.sent == 2 and await world.used() == [2]
    await world.asked()
    [given], used = world.rows("mandate.given"), world.rows("mandate.used")
    assert (given["mandate_id"], given["tools"], given["most"]) == (mandate.id, ["gmail_tell"], 2)
    assert "acme" not in str(given)
    intents = world.rows("act.intent")
    assert [row["show"] for row in used] == [row["show"] for row in intents]
    assert {row["answered_by"] for row in intents} == {mandate.id} == {row["mandate_id"] for row in used}


async def test_audit_names_policy_or_approval_without_a_mandate(world: World) -> None:
    asked = await world.asked(id="a")
    await world.deputy.decide(asked, "approve", by="alice")
    await world.act("a")
    await world.act("b", audience="SELF", people=[])
    assert [row["answered_by"] for row in world.rows("act.intent")] == [asked.id, "policy"]
    done = [row for row in world.rows("act.result") if row["decision"] == "done"]
    assert [row["answered_by"] for row in done] == [asked.id, "policy"]


@pytest.mark.parametrize(
    "call",
    [
        {"people": ["eve@evil.example"]},
        {"people": ["bob@acme.example", "eve@evil.example"]},
        {"people": ["bob@\u0430cme.example"]},
        {"people": ["bob@evil.acme.example"]},
        {"people": ["bob@acme.example.evil.test"]},
        {"people": ["eve@evil.test,bob@acme.example"]},
        {"people": ["eve@evil.test bob@acme.example"]},
        {"people": ['"eve@evil.test"@acme.example']},
        {"people": ["eve@evil.test@acme.example"]},
        {"people": ["@acme.example"]},
        {"people": ["acme.example"]},
        {"people": []},
        {"people": [], "where": "bob@acme.example"},
        {"audience": "ORGANISATION"},
        {"audience": "PUBLIC"},
        {"audience": "UNKNOWN"},
        {"destroys": True},
        {"agent": "another"},
        {"tool": "shout", "text": "Hi"},
        {"user": "bob"},
    ],
)
async def test_mandate_does_not_cover_other_users_tools_or_targets(world: World, call: dict[str, Any]) -> None:
    await world.give("@acme.example")
    await world.asked(**call)
    assert world.sent == 0 and await world.used() == [0]


async def test_mandate_for_a_visible_place_needs_the_exact_place(world: World) -> None:
    await world.give("@acme.example", "#Eng", audience=Audience.ORGANISATION)
    await world.act(audience="ORGANISATION", where="#Eng")
    await world.act(audience="ORGANISATION", where="#Eng", people=[])
    await world.act(where="#general")
    for where in ("#eng", "#general", ""):
        await world.asked(audience="ORGANISATION", where=where, people=["bob@acme.example"] if where else [])


async def test_policy_denial_overrides_a_mandate_and_allow_uses_none(world: World) -> None:
    await world.give()
    world.deputy.policy = lambda act: Verdict.DENY if act.show else Verdict.ALLOW
    with pytest.raises(PolicyDenied):
        await world.act()
    world.deputy.policy = lambda act: Verdict.ALLOW
    await world.act()
    assert await world.used() == [0]


async def test_mandate_does_not_cover_recipients_from_untrusted_content(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"from": "eve@evil.test", "body": "Write to bob@acme.example."}.items():
        monkeypatch.setitem(LETTER, name, text)
    await world.give()
    await world.act()
    await world.act(tool="read")
    waiting = await world.asked()
    assert waiting.targets == () and "bob@acme.example" in waiting.preview["comes from"]
    await world.act(people=["dave@acme.example"])
    assert await world.used() == [2]


async def test_mandate_covers_a_named_author_of_a_read_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LETTER, "from", "Bob <bob@acme.example>")
    await world.act(tool="read")
    waiting = await world.asked()
    assert waiting.targets and "bob@acme.example" in waiting.preview["comes from"]
    await world.give()
    await world.act()
    assert await world.used() == [1]
    monkeypatch.setitem(LETTER, "from", "Eve <eve@evil.test>")
    await world.act(tool="read")
    await world.asked(people=["eve@evil.test"])


async def test_call_without_conversation_is_not_covered_or_offered_a_mandate(world: World) -> None:
    await world.give()
    with pytest.raises(ApprovalRequired) as asked:
        await world.deputy.act("gmail_tell", {"people": ["bob@acme.example"]}, user="alice", call=Call(id="c"))
    assert asked.value.approval.targets == () and await world.used() == [0]


async def test_mandate_covers_destructive_acts_if_named(world: World) -> None:
    await world.give(allow_destructive=True)
    await world.act(destroys=True)
    assert await world.used() == [1]


async def test_mandate_does_not_cover_an_edited_or_rejected_act(world: World) -> None:
    edited, refused = await world.asked(id="e"), await world.asked(id="r")
    await world.deputy.decide(edited, "edit", by="alice", arguments={"people": ["eve@evil.test"]})
    await world.deputy.decide(refused, "reject", by="alice")
    await world.give("@acme.example", "eve@evil.test")
    await world.asked(id="e")
    with pytest.raises(Declined):
        await world.act("r")
    assert await world.used() == [0]


# ----------------------------------------------------------------- by whom it is given


async def test_mandate_offered_with_an_approval_is_no_wider_than_the_act(world: World) -> None:
    first = await world.asked(id="a", text="One")
    assert first.targets == ("bob@acme.example",) and "targets" not in first.payload()
    offer = MandateOffer(2, world.clock.now + DAY)
    await world.deputy.decide(first, "approve", by="alice", mandate=offer)
    await world.deputy.decide(first, "approve", by="alice", mandate=offer)
    [mandate] = await world.deputy.mandates("alice")
    assert (mandate.tools, mandate.targets, mandate.audience) == (("gmail_tell",), first.targets, Audience.PEOPLE)
    assert (mandate.agent, mandate.account, mandate.max_acts) == (first.agent, first.account, 2)
    await world.act("a", text="One")
    assert await world.used() == [0], "the act itself happens on its own approval"
    await world.act(text="Two")
    await world.act(text="Three")
    for more in ({}, {"people": ["carol@acme.example"]}, {"agent": "another"}):
        await world.asked(**more)
    assert world.rows("mandate.given")[0]["approval_id"] == first.id


REACHED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"where": "#eng"}, ("bob@acme.example",)),
    ({"where": "#eng", "audience": "ORGANISATION"}, ("bob@acme.example", "#eng")),
    ({"where": "#eng", "people": []}, ("#eng",)),
    ({"destroys": True}, ()),
    ({"audience": "UNKNOWN"}, ()),
    ({"tool": "wipe", "people": ["bob@acme.example"]}, ()),
]


async def test_approval_targets_are_complete_or_empty(world: World, subtests: pytest.Subtests) -> None:
    """Empty if an act cannot be undone or its readers are unknown: no mandate is offered for it."""
    offer = MandateOffer(2, world.clock.now + DAY)
    for call, targets in REACHED:
        with subtests.test(call=call):
            asked = await world.asked(**call)
            assert asked.targets == targets
            if not targets:
                with pytest.raises(InvalidInput):
                    await world.deputy.decide(asked, "approve", by="alice", mandate=offer)


async def test_mandate_needs_an_approval_by_its_own_user(world: World) -> None:
    asked, offer = await world.asked(id="a"), MandateOffer(2, world.clock.now + DAY)
    with pytest.raises(NotFound):
        await world.deputy.decide(asked, "approve", by="bob", mandate=offer)
    with pytest.raises(InvalidInput, match="with approve only"):
        await world.deputy.decide(asked, "reject", by="alice", mandate=offer)
    await world.deputy.decide(asked, "reject", by="alice")
    with pytest.raises(Conflict):
        await world.deputy.decide(asked, "approve", by="alice", mandate=offer)
    assert await world.deputy.mandates("alice") == await world.deputy.mandates("bob") == []


async def test_ended_mandate_is_not_recreated_by_the_same_form(world: World) -> None:
    asked, offer = await world.asked(id="a"), MandateOffer(2, world.clock.now + DAY)
    await world.deputy.decide(asked, "approve", by="alice", mandate=offer)
    [mandate] = await world.deputy.mandates("alice")
    await world.deputy.revoke_mandate("alice", mandate)
    await world.deputy.decide(asked, "approve", by="alice", mandate=offer)
    assert await world.deputy.mandates("alice") == []
    await world.asked()


@pytest.mark.parametrize("done", [False, True])
async def test_late_rejection_ends_the_mandate(world: World, done: bool) -> None:
    asked, offer = await world.asked(id="a"), MandateOffer(2, world.clock.now + DAY)
    await world.deputy.decide(asked, "approve", by="alice", mandate=offer)
    if done:
        await world.act("a")
    with pytest.raises(NotFound):
        await world.deputy.decide(asked, "reject", by="bob")
    assert len(await world.deputy.mandates("alice")) == 1
    with pytest.raises(Conflict) if done else nullcontext():
        await world.deputy.decide(asked, "reject", by="alice")
    assert await world.deputy.mandates("alice") == []
    await world.asked()


@pytest.mark.parametrize("call", [{"destroys": True}, {"audience": "UNKNOWN"}, {"people": []}, {"tool": "blind"}])
async def test_mandate_is_not_offered_when_none_is_possible(world: World, call: dict[str, Any]) -> None:
    asked = await world.asked(id="a", **({"people": ["bob@acme.example"]} | call))
    assert asked.targets == ()
    with pytest.raises(InvalidInput, match="No mandate"):
        await world.deputy.decide(asked, "approve", by="alice", mandate=MandateOffer(2, world.clock.now + DAY))
    assert [a.status for a in await world.deputy.pending("alice") if isinstance(a, Approval)] == ["pending"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"most": 0},
        {"most": 201},
        {"most": True},
        {"days": 0},
        {"days": 91},
        {"days": float("nan")},
        {"targets": []},
        {"targets": [""]},
        {"targets": ["@acme..example@x.y"]},
        {"targets": ["bob@acme.example", "*"]},
        {"targets": ["@"]},
        {"targets": ["@*"]},
        {"targets": ["@test"]},
        {"targets": ["@*.acme.example"]},
        {"targets": ["*@acme.example"]},
        {"targets": ["..."]},
        {"tools": []},
        {"tools": ["gmail_blind"]},
        {"tools": ["gmail_no_such_tool"]},
        {"audience": Audience.UNKNOWN},
    ],
)
async def test_mandate_for_nothing_or_everything_is_refused_with_a_message(world: World, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.give(**wrong)
    assert refused.value.message and await world.deputy.mandates("alice") == []
    if "targets" in wrong and any(wrong["targets"]):
        assert repr(wrong["targets"][-1]) in refused.value.message and "@acme.example" in refused.value.hint


async def test_mandate_accepts_mentions_that_notify_everybody(world: World) -> None:
    given = await world.give("@channel", "#eng (public channel C0ENG000001)")
    assert given.targets == ("#eng (public channel C0ENG000001)", "@channel")


# ----------------------------------------------------------------- as often as it says


async def test_prepare_counts_its_batch_against_remaining_uses_without_spending(world: World) -> None:
    await world.give(most=2)
    calls = [("gmail_tell", {"people": ["bob@acme.example"], "text": str(n)}, Call("t", "m", str(n))) for n in range(3)]
    ways = await world.deputy.check_calls(calls, user="alice")
    assert ways[:2] == [None, None] and isinstance(ways[2], ApprovalRequired)
    assert await world.used() == [0] and world.sent == 0


async def test_concurrent_acts_never_exceed_the_mandate_limit(world: World) -> None:
    await world.give(most=5)
    ended = await asyncio.gather(*(world.act(text=str(n)) for n in range(12)), return_exceptions=True)
    assert sum(isinstance(one, dict) for one in ended) == 5 == world.sent
    assert all(isinstance(one, dict | ApprovalRequired) for one in ended) and await world.used() == [5]


async def test_ended_or_expired_mandate_starts_no_act(world: World) -> None:
    mandate = await world.give()
    await world.act()
    await world.deputy.revoke_mandate("alice", mandate)
    await world.asked()
    for user, which in (("bob", mandate.id), ("alice", mandate.id), ("alice", "x")):
        with pytest.raises(NotFound):
            await world.deputy.revoke_mandate(user, which)
    assert [row["mandate_id"] for row in world.rows("mandate.ended")] == [mandate.id]
    await world.give(days=1)
    world.clock.now += DAY
    await world.asked()
    assert world.sent == 1 and await world.deputy.mandates("alice") == []


async def test_mandate_that_ends_between_check_and_act_is_not_used(world: World) -> None:
    mandate = await world.give()
    spend = world.deputy.executor.mandates.spend

    async def spending(act: Act, account: Any) -> bool:
        await world.deputy.revoke_mandate("alice", mandate)
        return await spend(act, account)

    world.deputy.executor.mandates.spend = spending  # type: ignore[method-assign]
    await world.asked()
    assert world.sent == 0


async def test_refusal_releases_the_mandate_use_and_unknown_outcome_does_not(world: World) -> None:
    await world.give(most=2)
    waiting = await world.asked(id="a", people=["eve@evil.test"])
    world.sandbox.switches.faults["POST", "/gmail/v1"] = [(400, {}, {"error": {"code": 400, "message": "no"}})]
    with pytest.raises(InvalidInput):
        await world.act("refused")
    assert await world.used() == [0]
    world.sandbox.switches.drop_after_commit.append("/gmail/v1")
    with pytest.raises(OutcomeUnknown):
        await world.act("unknown")
    assert await world.used() == [1]
    await world.act()
    await world.asked()
    assert world.rows("act.result")[-1]["decision"] == "approval_required"
    assert waiting.id in [one.id for one in await world.deputy.pending("alice")]


async def test_mandate_covers_a_pending_act_unless_the_user_rejects_it(world: World) -> None:
    first, second, third = [await world.asked(id=f"w{n}", text=f"Mail {n}") for n in range(3)]
    await world.deputy.decide(first, "approve", by="alice", mandate=MandateOffer(10, world.clock.now + DAY))
    await world.deputy.decide(third, "reject", by="alice")
    await world.act("w0", text="Mail 0")
    await world.act("w1", text="Mail 1")
    assert await world.deputy.pending("alice") == [] and await world.used() == [1]
    with pytest.raises(Declined):
        await world.act("w2", text="Mail 2")
    with pytest.raises(Conflict):
        await world.deputy.decide(second, "reject", by="alice")


async def test_rejection_at_the_start_of_an_act_releases_its_mandate_use(world: World) -> None:
    waiting = await world.asked(id="w")
    await world.give()
    claim, wait_for = world.deputy.executor.approvals.supersede, world.deputy.decide(waiting, "reject", by="alice")

    async def passing(act: Act, account: Any) -> bool:
        await wait_for
        return await claim(act, account)

    world.deputy.executor.approvals.supersede = passing  # type: ignore[method-assign]
    with pytest.raises(Declined):
        await world.act("w")
    assert await world.used() == [0] and world.sent == 0


async def test_crash_at_any_step_costs_at_most_one_mandate_use(world: World) -> None:
    ended = set[str]()
    for when in ("before", "after"):
        for at in range(1, 40):
            mandate, sent, fate = await world.give(most=1), world.sent, Fate(at, when)
            dying = await world.process(fate)
            call = ("gmail_tell", {"people": ["bob@acme.example"]})
            name = f"{when}{at}"
            try:
                await dying.act(*call, user="alice", call=Call("t", "m", name))
            except (Died, OutcomeUnknown):
                assert fate.dead
            try:
                await world.act(name)
            except OutcomeUnknown:
                ended.add("unknown")
            assert world.sent - sent <= 1 and await world.used() == [1]
            await world.deputy.decide(await world.asked(id=f"{name}, another"), "reject", by="alice")
            await world.deputy.revoke_mandate("alice", mandate)
            ended.add(fate.last)
            if not fate.dead:
                break
    assert {"after swap mandate", "before insert act", "after insert act", "unknown"} <= ended


async def test_mandates_end_with_their_account(world: World) -> None:
    asked, offer = await world.asked(id="a"), MandateOffer(2, world.clock.now + DAY)
    await world.deputy.decide(asked, "approve", by="alice", mandate=offer)
    for_each = await world.give()
    await world.deputy.revoke("alice", "google")
    assert [one.id for one in await world.deputy.mandates("alice")] == [for_each.id]
    await world.deputy.revoke("alice")
    assert await world.deputy.mandates("alice") == [] and len(world.rows("mandate.ended")) == 2


# ----------------------------------------------------------------- the record


async def test_mandate_is_erased_with_its_user_and_is_not_restored_from_backup(world: World) -> None:
    await world.give()
    [record] = await world.deputy.vault.scan("mandate")
    assert "mandate" in EXPIRING and record.json["expires"] == world.clock.now + DAY
    await world.deputy.erase("alice")
    assert await world.deputy.vault.scan("mandate") == []


async def test_mandate_is_reencrypted_on_key_rotation(world: World) -> None:
    await world.give()
    vault = await Vault.open(world.store, [b"n" * 32, b"k" * 32])
    await reseal(vault)
    assert len(await key_uses(vault)) == 1
    world.deputy.vault.rekey([b"n" * 32])
    await world.act()
    assert await world.used() == [1]


# ----------------------------------------------------------------- many processes


def spender(place: str, name: str, tries: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.core.approvals.mandate_process", place, name, str(tries)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def spend_in_processes(place: str, processes: int) -> None:
    """Let processes make 40 calls under a mandate for 20, all at once, and check that exactly 20 were done."""
    sandbox, vault = Sandbox(), await Vault.open(open_store(place, create="//" not in place), [b"k" * 32])
    async with await build(sandbox, vault=vault, apps=apps(), toolkits=[KIT]) as deputy:
        give_grant(sandbox, deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        until = deputy.clock() + DAY
        await deputy.create_mandate(
            "alice", tools=["gmail_tell"], targets=["@acme.example"], max_acts=20, expires_at=until
        )
        started = [spender(place, f"p{n}", 40 // processes) for n in range(processes)]
        assert all(one.stdout and one.stdout.readline() == "ready\n" for one in started)
        for one in started:
            assert one.stdin
            one.stdin.write("\n")
            one.stdin.flush()
        done = [int((await asyncio.to_thread(one.communicate, timeout=120))[0]) for one in started]
        assert sum(done) == 20 and [mandate.used for mandate in await deputy.mandates("alice")] == [20]


@pytest.mark.processes
async def test_eight_processes_spend_exactly_twenty_mandate_uses(tmp_path: Path) -> None:
    await spend_in_processes(str(tmp_path / "vault" / "v.sqlite"), 8)


@pytest.mark.counterpart
@pytest.mark.processes
async def test_processes_on_postgres_spend_exactly_twenty_mandate_uses() -> None:
    with postgres_server() as server:
        await asyncio.to_thread(migrate, Address.of(server.url))
        await spend_in_processes(server.url, 4)


BUDGET: Final = '[[budgets]]\nid = "two"\nwhen = { effect = "sends" }\nmax = 2\nthen = "ask"\n# end\n'


@pytest.mark.parametrize("default", ["allow", "ask"])
async def test_mandate_does_not_answer_for_a_used_up_budget(world: World, tmp_path: Path, default: str) -> None:
    """The user gave the mandate, the operator the budget: nobody but a person goes beyond it."""
    (tmp_path / "policy.toml").write_text(f'version = 1\ndefault = "{default}"\n{BUDGET}')
    world.deputy.policy = policy_file(tmp_path / "policy.toml")
    await world.give()
    await world.act()
    await world.act()
    before = await world.used()
    call = ("gmail_tell", {"people": ["bob@acme.example"]}, Call("t", "m", "beyond"))
    [blocker] = await world.deputy.check_calls([call], user="alice")
    assert isinstance(blocker, ApprovalRequired) and blocker.approval.rule == "two"
    assert await world.asked(id="beyond") == blocker.approval and world.sent == 2
    await world.deputy.decide(blocker.approval, "approve", by="alice")
    await world.act("beyond")
    assert world.sent == 3 and await world.used() == before == [2 if default == "ask" else 0]
