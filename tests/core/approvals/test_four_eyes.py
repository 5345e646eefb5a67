"""Acts that another person must approve: who is asked, who decides, and whose decision does not count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import pytest

from deputize.core import (
    Act,
    Approval,
    ApprovalRequired,
    Audience,
    Call,
    Conflict,
    Decision,
    Declined,
    Deputy,
    Effect,
    InvalidInput,
    MandateOffer,
    NotFound,
    PolicyDenied,
    Preview,
    Request,
    Steps,
    Toolkit,
    User,
    Verdict,
    any_of,
    ask_before_sending,
)
from deputize.core.audit import Audit
from deputize.core.audit.explain import stories, write_sentences
from deputize.core.audit.trail import Trail
from deputize.core.audit.verify_permissions import PermissionCheck
from deputize.core.policy.find_policy import find_policy
from deputize.core.roles import RoleMap
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.record import EXPIRING, KINDS
from deputize.core.vault.stores import Store, open_store
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.vault import Vault
from deputize.core.web.pages.auditor import rows_of_tenant
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.gmail_toolkit import SENDING, raw
from tests.support.postgres import USER, prepared_server
from tests.support.sandbox_deputy import PAGES, Clock, no_sleep, public_names

Reply = Literal["approve", "reject"]
MODIFY: Final = "https://www.googleapis.com/auth/gmail.modify"
KIT = Toolkit("bank", provider="google", api="gmail", shows=True)
NEED = any_of(MODIFY)


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def pay(amount: int, to: str = "bob@example.test") -> Steps:
    """Pay somebody."""
    yield Preview("Pay", audience=Audience.PEOPLE, people=[to], amount=str(amount))
    yield Request("POST", SENDING, json={"raw": raw(to, "Payment", str(amount))})
    return {"paid": amount}


@KIT.tool(needs=[NEED], effect=Effect.SENDS, shows=False)
def order(amount: int) -> Steps:
    """Order something, without a preview."""
    yield Request("POST", SENDING, json={"raw": raw("bob@example.test", "Order", str(amount))})
    return {"ordered": amount}


@KIT.tool(needs=[NEED])
def balance() -> Steps:
    """Read something."""
    found = yield Request("GET", "/users/me/messages")
    return {"count": len(found.get("messages", []))}


def big_money(act: Act) -> Verdict | Decision:
    """Ask finance for payments above 100, and the user for others."""
    if act.arguments.get("amount", 0) > 100:
        return Decision(Verdict.ASK, rule="big-money", approvers="finance")
    return ask_before_sending(act)


ROLES: Final = {"bob": {"finance"}, "carol": {"finance"}, "dave": {"operator"}, "erin": {"auditor"}}


@dataclass
class Office:
    """Alice's agent, her colleagues and their roles, in one tenant."""

    clock: Clock = field(default_factory=lambda: Clock(1_800_000_000.0))
    roles: dict[str, set[str]] = field(default_factory=lambda: {name: {*held} for name, held in ROLES.items()})
    looked_up: list[User] = field(default_factory=list)

    async def open(
        self, roles: Callable[[User], Any] | None = None, store: Store | None = None, audit: Trail | None = None
    ) -> Office:
        self.sandbox = Sandbox(clock=self.clock)
        vault = await Vault.open(store or MemoryStore(), [b"k" * 32])
        self.deputy = Deputy(
            vault,
            apps(),
            pages=PAGES,
            policy=big_money,
            toolkits=[KIT],
            transport=self.sandbox.transport(),
            clock=self.clock,
            sleep=no_sleep,
            resolve=public_names,
            roles=roles or self.roles_of,
            audit=Audit(audit, vault.keys.audit) if audit else None,
        )
        for name in ("alice", "bob"):
            for tenant in ("acme", "globex"):
                await asyncio.to_thread(
                    give_grant,
                    self.sandbox,
                    self.deputy,
                    cast("Any", User(name, tenant)),
                    [MODIFY],
                    provider="google",
                    email="alice@example.test",
                )
        return self

    def roles_of(self, user: User) -> Collection[str]:
        self.looked_up.append(user)
        return self.roles.get(user.id, set()) if user.tenant == "acme" else {"finance"}

    async def act(self, tool: str = "pay", id: str = "c", user: str = "alice", **given: Any) -> Any:
        arguments, call = given or {"amount": 500}, Call("t", "m", id)
        return await self.deputy.act(f"bank_{tool}", arguments, user=User(user, "acme"), call=call)

    async def asked(self, tool: str = "pay", **call: Any) -> Approval:
        with pytest.raises(ApprovalRequired) as needed:
            await self.act(tool, **call)
        return needed.value.approval

    async def decide(self, asked: Approval, what: Any, by: str, tenant: str = "acme", **more: Any) -> Approval:
        return await self.deputy.decide(asked, what, by=User(by, tenant), **more)

    @property
    def sent(self) -> int:
        return len(self.sandbox.sent("alice@example.test"))

    def rows(self, event: str) -> list[dict[str, Any]]:
        return [row for row in self.deputy.audit.rows() if row["event"] == event]


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    made = await Office().open()
    async with made.deputy:
        yield made


TOOLS = pytest.mark.parametrize("tool", ["pay", "order"])


@TOOLS
async def test_member_of_the_role_approves_and_the_requester_acts(office: Office, tool: str) -> None:
    with pytest.raises(ApprovalRequired, match="waits for somebody with the role finance") as needed:
        await office.act(tool)
    asked = needed.value.approval
    assert (asked.approvers, asked.requester, asked.payload()["approvers"]) == ("finance", "alice", "finance")
    [seen] = await office.deputy.pending_of_others(User("bob", "acme"))
    assert seen == asked, "the approver sees exactly what the requester sees"
    decided = await office.decide(asked, "approve", "bob")
    assert decided.status == "approved" and office.sent == 0, "only the requester's agent acts"
    assert await office.deputy.pending_of_others(User("carol", "acme")) == []
    await office.act(tool)
    await office.act(tool)
    assert office.sent == 1


@TOOLS
async def test_requester_cannot_approve_with_the_role_or_by_an_edit(office: Office, tool: str) -> None:
    office.roles["alice"] = {"finance", "approver"}
    asked = await office.asked(tool)
    assert await office.deputy.pending_of_others(User("alice", "acme")) == []
    tries: list[tuple[str, dict[str, Any]]] = [("approve", {}), ("edit", {"arguments": {"amount": 101}})]
    for what, more in tries:
        with pytest.raises(Conflict, match="cannot approve it") as refused:
            await office.decide(asked, what, "alice", **more)
        assert refused.value.reason == "asked_of_others" and refused.value.hint
    with pytest.raises(InvalidInput, match="No mandate"):
        await office.decide(asked, "approve", "alice", mandate=MandateOffer(5, office.clock.now + 3600))
    assert (await office.asked(tool)).id == asked.id and office.sent == 0


async def test_nobody_else_decides(office: Office) -> None:
    asked = await office.asked()
    end = asked.id.partition("-")[0]
    for by, tenant in (("dave", "acme"), ("erin", "acme"), ("mallory", "acme"), ("bob", "globex"), ("alice", "globex")):
        for approval in (asked.id, f"{end}-00000000", "0" * 40 + "-00000000", "../" + asked.id):
            for what in get_args(Reply):
                with pytest.raises(NotFound):
                    await office.deputy.decide(approval, what, by=User(by, tenant))
        assert await office.deputy.pending_of_others(User(by, tenant)) == []
    assert (await office.asked()).id == asked.id and office.sent == 0


@pytest.mark.parametrize(("person", "may"), [(("bob", "acme"), True), (("alice", "acme"), False), (("bob", ""), False)])
async def test_record_itself_refuses_the_requester_and_other_tenants(
    office: Office, person: tuple[str, str], may: bool
) -> None:
    asked = await office.asked()
    record = await office.deputy.approvals.row(asked.id, User("alice", "acme"))
    assert record.may_be_decided_by(User(*person)) is may
    if not may:
        with pytest.raises(RuntimeError):
            record.approve(User(*person), "")


async def test_approver_cannot_edit_or_give_a_mandate(office: Office) -> None:
    asked = await office.asked()
    with pytest.raises(InvalidInput, match="not edited"):
        await office.decide(asked, "edit", "bob", arguments={"amount": 101})
    with pytest.raises(NotFound):
        await office.decide(asked, "approve", "bob", mandate=MandateOffer(5, office.clock.now + 3600))
    assert (await office.asked()).status == "pending"


async def test_role_that_was_lost_before_the_decision_does_not_count(office: Office) -> None:
    asked = await office.asked()
    assert await office.deputy.pending_of_others(User("bob", "acme"))
    office.roles["bob"] = set()
    with pytest.raises(NotFound):
        await office.decide(asked, "approve", "bob")
    await office.decide(asked, "approve", "carol")
    await office.act()
    assert office.sent == 1


async def test_rejection_by_the_approver_names_the_role_and_the_requester_may_withdraw(office: Office) -> None:
    asked = await office.asked()
    await office.decide(asked, "reject", "bob", reason="Too much.")
    with pytest.raises(Declined, match="Somebody with the role finance declined") as declined:
        await office.act()
    assert declined.value.hint == "Too much."
    other = await office.asked(id="d")
    await office.decide(other, "approve", "bob")
    await office.decide(other, "reject", "alice")
    with pytest.raises(Declined, match="The user declined"):
        await office.act(id="d")
    assert office.sent == 0


async def test_decision_about_a_changed_act_or_made_twice_does_not_count(office: Office) -> None:
    asked = await office.asked()
    office.deputy.policy = lambda act: Decision(Verdict.ASK, approvers="board")
    changed = await office.asked()
    assert changed.approvers == "board"
    with pytest.raises(NotFound):
        await office.decide(asked, "approve", "bob")
    with pytest.raises(NotFound):
        await office.decide(changed, "approve", "bob")
    office.deputy.policy = big_money
    again = await office.asked()
    await office.decide(again, "approve", "bob")
    await office.decide(again, "approve", "carol")
    await office.act()
    with pytest.raises(Conflict, match="Too late"):
        await office.decide(again, "reject", "carol")
    for id in ("e", "f"):  # the same payment once more is another act
        with pytest.raises(ApprovalRequired):
            await office.act(id=id)
    assert office.sent == 1


@TOOLS
async def test_own_approval_does_not_count_when_the_edit_needs_another_person(office: Office, tool: str) -> None:
    asked = await office.asked(tool, amount=10)
    assert asked.approvers == ""
    await office.decide(asked, "edit", "alice", arguments={"amount": 500})
    other = await office.asked(tool, amount=10)
    assert other.approvers == "finance" and office.sent == 0
    assert "500" in str(other.preview)
    assert (await office.asked(tool, amount=10)).id == other.id, "it is asked once"
    with pytest.raises(Conflict):
        await office.decide(other, "approve", "alice")
    await office.decide(other, "approve", "bob")
    await office.act(tool, amount=10)
    assert office.sent == 1


@TOOLS
async def test_own_approval_does_not_count_after_the_policy_asks_a_role(office: Office, tool: str) -> None:
    office.deputy.policy = ask_before_sending
    asked = await office.asked(tool)
    await office.decide(asked, "approve", "alice")
    office.deputy.policy = big_money
    assert (await office.asked(tool)).approvers == "finance" and office.sent == 0


async def test_mandate_does_not_cover_an_act_that_another_person_must_approve(office: Office) -> None:
    alice = User("alice", "acme")
    await office.deputy.create_mandate(
        alice, tools=["bank_pay"], targets=["bob@example.test"], max_acts=9, expires_at=office.clock.now + 3600
    )
    await office.act(amount=50, id="small")
    assert office.sent == 1
    asked = await office.asked(amount=500)
    assert asked.approvers == "finance" and asked.targets == ()


async def test_forged_record_of_an_own_approval_does_not_count(office: Office) -> None:
    """Even a program of an older version, which knows no approvers, cannot let the requester decide."""
    asked = await office.asked()
    key = office.deputy.vault.key_prefix(User("alice", "acme")) + asked.id.partition("-")[0]
    for forged in ({"status": "approved"}, {"status": "approved", "approver": ["acme", "alice"]}):
        record = await office.deputy.vault.get("approval", key)
        assert record and await office.deputy.vault.swap(record, record.json | forged)
        assert (await office.asked()).status == "pending"
    assert office.sent == 0


async def test_audit_names_requester_approver_and_role_and_proves_four_eyes(office: Office) -> None:
    asked = await office.asked()
    await office.decide(asked, "approve", "bob")
    await office.act()
    [requested], [approved] = office.rows("approval.requested"), office.rows("approval.approved")
    assert requested["approvers"] == approved["approvers"] == "finance"
    assert approved["user"] == requested["user"] != approved["approver"]
    assert "bob" not in str(approved) and "alice" not in str(approved)
    rows = office.deputy.audit.rows()
    people = await People.of(office.deputy.vault)
    resolved = [people.resolve_row(row) for row in rows]
    [named] = [row for row in resolved if row["event"] == "approval.approved"]
    assert (named["user"], named["approver"]) == ("alice", "bob")
    check = PermissionCheck(people.resolve_row)
    for row in rows:
        check.take(row)
    assert check.misuses() == []
    [story] = stories(lambda: resolved, asked.id)
    said = " ".join(sentence for _, sentence in write_sentences(story))
    assert (
        "Others with the role finance were asked for alice" in said and "bob, with the role finance, approved" in said
    )


@pytest.mark.parametrize("forged", [{"approver": ""}, {"approver": "same"}, {"approver": "", "approvers": ""}])
async def test_verify_finds_an_approval_by_the_requester(office: Office, forged: dict[str, str]) -> None:
    asked = await office.asked()
    await office.decide(asked, "approve", "bob")
    await office.act()
    check = PermissionCheck()
    for row in office.deputy.audit.rows():
        if row["event"] == "approval.approved":
            row |= {name: row["user"] if value == "same" else value for name, value in forged.items()}
        check.take(row)
    [found] = check.misuses()
    assert found.kind == "own_approval" and "no other person approved it" in found.detail


async def test_requests_expire_with_the_approval_and_are_erased_with_the_user(office: Office) -> None:
    asked = await office.asked()
    assert {"roles", "role_approval"} <= {*EXPIRING} <= {*KINDS}
    office.clock.now += 3601
    assert await office.deputy.pending_of_others(User("bob", "acme")) == []
    with pytest.raises(NotFound):
        await office.decide(asked, "approve", "bob")
    later = await office.asked()
    assert [one.id for one in await office.deputy.pending_of_others(User("bob", "acme"))] == [later.id]
    await office.deputy.erase(User("alice", "acme"))
    assert await office.deputy.pending_of_others(User("bob", "acme")) == []


# ------------------------------------------------------------- roles of acts


async def test_policy_sees_roles_and_an_act_that_needs_none_loads_none(office: Office) -> None:
    await office.deputy.act("bank_balance", {}, user=User("bob", "acme"))
    assert office.looked_up == []
    seen: list[frozenset[str]] = []

    async def policy(act: Act) -> Verdict:
        await asyncio.sleep(0)
        seen.append(act.roles)
        return Verdict.ALLOW if "finance" in act.roles else Verdict.DENY

    office.deputy.policy = policy
    await office.act("pay", user="bob")
    assert len(office.looked_up) == 1 and seen[0] == frozenset() and {*seen[1:]} == {frozenset({"finance"})}
    with pytest.raises(PolicyDenied):
        await office.act("pay", user="alice")


async def test_policy_that_suppresses_errors_is_called_again_with_roles(office: Office) -> None:
    def policy(act: Act) -> Verdict:
        return Verdict.DENY if "intern" in act.roles else Verdict.ALLOW

    office.deputy.policy, office.roles["alice"] = policy, {"intern"}
    with pytest.raises(PolicyDenied):
        await office.act("order")


@pytest.mark.parametrize("answer", ["finance", None, [1], OSError("down")])
async def test_function_that_fails_gives_no_role(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    def roles(user: User) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    office = await Office().open(roles)
    async with office.deputy:
        assert await office.deputy.roles.of_act(User("bob", "acme", frozenset({"finance"}))) == frozenset()
        assert await office.deputy.roles.of_person(User("bob", "acme", frozenset({"finance"}))) == frozenset()
    assert "The roles of a user could not be read" in caplog.text


async def test_roles_of_another_type_give_no_role(office: Office) -> None:
    office.deputy.roles.function = None
    text: Any = "operator finance"
    assert await office.deputy.roles.of_person(User("bob", "acme", text)) == frozenset()
    assert await office.deputy.roles.of_act(User("bob", "acme", text)) == frozenset()


async def test_roles_of_the_last_sign_in_count_for_acts_until_they_are_too_old(office: Office) -> None:
    roles = office.deputy.roles
    roles.function = None
    bob = User("bob", "acme", frozenset({"finance"}))
    await roles.learn(bob)
    assert await roles.of_act(User("bob", "acme")) == {"finance"}
    assert await roles.of_act(User("bob", "globex")) == await roles.of_act(User("alice", "acme")) == frozenset()
    assert await roles.of_person(User("bob", "acme")) == frozenset(), "a decision needs the person's own session"
    assert await roles.of_act(User("bob", "acme", frozenset())) == frozenset(), "the token of the request is newer"
    office.clock.now += roles.max_age
    assert await roles.of_act(User("bob", "acme")) == frozenset()
    await roles.learn(bob)
    await roles.learn(User("bob", "acme"))
    assert await roles.of_act(User("bob", "acme")) == frozenset(), "a later sign-in without roles counts"
    await roles.learn(bob)
    await office.deputy.erase(User("bob", "acme"))
    assert await roles.of_act(User("bob", "acme")) == frozenset()


FILE: Final = """
version = 1
default = "allow"
[[rules]]
id = "interns"
when = { role = "intern" }
then = "deny"
[[rules]]
id = "big"
when = { args = { amount = { above = 100 } } }
then = "ask"
approvers = "finance"
# end
"""


async def test_policy_file_reads_roles_and_asks_the_role(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(FILE)
    file.chmod(0o600)
    office.deputy.policy = find_policy(str(file), tmp_path)
    asked = await office.asked()
    assert (asked.approvers, asked.rule) == ("finance", "big")
    office.roles["alice"] = {"intern"}
    with pytest.raises(PolicyDenied):
        await office.act()
    office.roles["alice"] = set()
    await office.decide(asked, "approve", "bob")
    await office.act()
    assert office.sent == 1


async def test_rule_that_denies_a_role_applies_if_nobody_knows_the_roles(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(FILE)
    file.chmod(0o600)
    office.deputy.policy = find_policy(str(file), tmp_path)
    roles, alice = office.deputy.roles, User("alice", "acme")

    def broken(user: User) -> Collection[str]:
        raise OSError("down")

    roles.function = broken
    with pytest.raises(PolicyDenied):
        await office.act(amount=5)
    roles.function = None
    with pytest.raises(PolicyDenied):  # she never signed in
        await office.act(amount=5)
    await roles.learn(alice, RoleMap.of({"intern": ["groups:intern"]}))
    await office.act(amount=5)
    office.clock.now += roles.max_age
    with pytest.raises(PolicyDenied):
        await office.act(amount=6)
    await office.deputy.act("bank_pay", {"amount": 7}, user=replace(alice, roles=frozenset()), call=Call("t", "m", "7"))
    assert office.sent == 2


@pytest.mark.counterpart
async def test_four_eyes_and_the_auditors_rows_on_postgres() -> None:
    with prepared_server() as server:
        url = server.url.replace(f"{USER}@", "app@")
        office = await Office().open(store=open_store(url, create=True), audit=PostgresAudit(Address.of(url)))
        async with office.deputy:
            asked = await office.asked()
            with pytest.raises(Conflict):
                await office.decide(asked, "approve", "alice")
            [seen] = await office.deputy.pending_of_others(User("bob", "acme"))
            await office.decide(seen, "approve", "bob")
            await office.act()
            assert office.sent == 1
            rows, more = await rows_of_tenant(office.deputy, "acme", 0, 1000)
            assert {"alice"} == {row["user"] for row in rows} and not more
            assert [row["approver"] for row in rows if row["event"] == "approval.approved"] == ["bob"]
            assert await rows_of_tenant(office.deputy, "other", 0, 1000) == ([], 0)
