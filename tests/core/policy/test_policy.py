"""Whether an act may happen, and the user's approval of one exact act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from deputize.core import (
    PROVIDERS,
    Act,
    Approval,
    ApprovalRequired,
    Call,
    Conflict,
    ConsentRequired,
    Declined,
    DeputizeError,
    Deputy,
    Effect,
    NotFound,
    PolicyDenied,
    User,
    UserRequired,
    Verdict,
    allow_all,
    ask_before_sending,
    read_only,
)
from deputize.core.acts.provider_errors import own_address
from deputize.core.approvals.record import APPROVAL_TTL
from deputize.core.approvals.service import Decision
from deputize.core.tools.preview import argument_rows
from deputize.core.user_requests import MAX_IN_PAYLOAD
from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import ALL, MAIL, SEND
from tests.support.sandbox_deputy import consent

CALL = Call("t", "m1", "c")


class Asking(House):
    """A house whose policy asks before anything is sent."""

    async def begin(self, **more: Any) -> Asking:
        await super().begin(**more)
        self.deputy.policy = ask_before_sending
        return self

    async def asked(self, tool: str = "send", message: str = "m1", **arguments: Any) -> Approval:
        """Return the approval that an act waits for."""
        with pytest.raises(ApprovalRequired) as caught:
            await self.act(tool, message, **arguments or MAIL)
        return caught.value.approval


@pytest.fixture
async def house() -> AsyncIterator[Asking]:
    made = await Asking().begin()
    await made.connected(*ALL)
    made.line.seen.clear()
    yield made
    await made.deputy.close()


def always(what: Any) -> Callable[[Act], Any]:
    return lambda act: what


# ------------------------------------------------------------- policies


@pytest.mark.parametrize(
    "junk", [None, True, 1, "allow", "yes", {}, Effect.READS, Verdict, [Verdict.ALLOW], Verdict.DENY]
)
async def test_E5_policy_returning_another_value_denies(house: Asking, junk: Any) -> None:
    house.deputy.policy = always(junk)
    with pytest.raises(PolicyDenied):
        await house.act("search")
    assert house.line.seen == []


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RecursionError(), PolicyDenied("x")])
async def test_E5_policy_that_raises_denies_sync_or_async(house: Asking, error: Exception) -> None:
    def raising(act: Act) -> Verdict:
        raise error

    async def raising_later(act: Act) -> Verdict:
        await asyncio.sleep(0)
        raise error

    for policy in (raising, raising_later):
        house.deputy.policy = policy
        with pytest.raises(PolicyDenied):
            await house.act("search")
    assert house.line.seen == []


@pytest.mark.parametrize("error", [ValueError("a secret"), None])
async def test_broken_policy_is_logged(
    house: Asking, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(act: Act) -> Verdict:
        if error:
            raise error
        return "a secret"  # type: ignore[return-value]

    house.deputy.policy = broken
    with pytest.raises(PolicyDenied):
        await house.act("search")
    [told] = [record.getMessage() for record in caplog.records if record.name == "deputize.core.acts"]
    said = "raised ValueError" if error else "returned str, not a Verdict"
    assert told == f"The policy {said}, so gmail_search is denied."


async def test_policy_may_be_async(house: Asking) -> None:
    async def later(act: Act) -> Verdict:
        await asyncio.sleep(0)
        return Verdict.ALLOW

    house.deputy.policy = later
    assert await house.act("search")


async def test_policy_sees_the_user_and_validated_arguments(house: Asking) -> None:
    seen: list[Act] = []

    def look(act: Act) -> Verdict:
        seen.append(act)
        return Verdict.DENY

    house.deputy.policy = look
    with pytest.raises(PolicyDenied):
        await house.deputy.act("gmail_send", MAIL, user=User("alice", "acme"), call=CALL, agent="helper")
    [act] = seen
    assert (act.user, act.tool.name, act.effect) == (User("alice", "acme"), "gmail_send", Effect.SENDS)
    assert (act.arguments, act.agent, act.call) == (MAIL, "helper", CALL)


async def test_built_in_policies_return_their_verdicts(house: Asking) -> None:
    acts: dict[str, Act] = {}

    def keep(act: Act) -> Verdict:
        acts[act.tool.name] = act
        return Verdict.DENY

    house.deputy.policy = keep
    for tool, arguments in (("search", {}), ("label", {"name": "x"}), ("send", MAIL)):
        with pytest.raises(PolicyDenied):
            await house.act(tool, **arguments)
    search, label, send = (acts[f"gmail_{name}"] for name in ("search", "label", "send"))
    destroy = replace(label, effect=Effect.WRITES | Effect.DESTRUCTIVE)
    assert [ask_before_sending(a) for a in (search, label, send, destroy)] == ["allow", "allow", "ask", "ask"]
    assert [read_only(a) for a in (search, label, send, destroy)] == ["allow", "deny", "deny", "deny"]
    assert {allow_all(a) for a in (search, label, send, destroy)} == {"allow"}


# ------------------------------------------------------------- the order


async def test_arguments_are_validated_before_the_policy(house: Asking) -> None:
    house.deputy.policy = always(Verdict.DENY)
    with pytest.raises(DeputizeError) as caught:
        await house.act("send", to="x")
    assert caught.value.code == "invalid_input"


async def test_policy_precedes_grant_and_grant_precedes_approval() -> None:
    house = await Asking().begin()
    house.deputy.policy = always(Verdict.DENY)
    with pytest.raises(PolicyDenied):
        await house.act("send", **MAIL)
    assert await house.deputy.consents.list_pending(User("alice")) == []
    house.deputy.policy = always(Verdict.ASK)
    with pytest.raises(ConsentRequired):
        await house.act("send", **MAIL)
    assert await house.deputy.approvals.list_pending(User("alice")) == []
    await house.connected(*ALL)
    approval = await house.asked()
    assert approval.account == "alice@example.test" and house.mails == 0
    await house.deputy.close()


async def test_policy_denial_overrides_the_users_approval(house: Asking) -> None:
    approval = await house.asked()
    await house.deputy.decide(approval, "approve", by="alice")
    house.deputy.policy = always(Verdict.DENY)
    with pytest.raises(PolicyDenied):
        await house.act("send", **MAIL)
    assert house.mails == 0


# ------------------------------------------------------------- approvals


async def test_E1_approved_act_happens_once_and_a_second_needs_approval(house: Asking) -> None:
    approval = await house.asked()
    assert (approval.tool, approval.effect, approval.preview, approval.status) == (
        "gmail_send",
        "sends",
        {"to": "bob@example.test", "subject": MAIL["subject"], "body": MAIL["body"]},
        "pending",
    )
    await house.deputy.decide(approval, "approve", by="alice")
    first = await house.act("send", **MAIL)
    assert await house.act("send", **MAIL) == first and house.mails == 1
    other = await house.asked(message="m2")
    assert other.id != approval.id and house.mails == 1


async def test_E1_changed_arguments_need_another_approval(house: Asking) -> None:
    approval = await house.asked()
    await house.deputy.decide(approval, "approve", by="alice")
    for edit in ({"to": "decoy@example.test"}, {"body": "Yes, gladly. "}, {"subject": "lunch"}):
        other = await house.asked(**MAIL | edit)
        assert other.id != approval.id
    assert house.mails == 0


async def test_E1_approval_for_one_account_is_not_valid_for_another(house: Asking) -> None:
    """The preview named the sending account; meanwhile another one has become the default."""
    other = await house.deputy.consents.require(User("alice"), house.deputy.apps["google"], [SEND])
    await consent(house.deputy, house.sandbox, other, as_="bob@example.test")
    approval = await house.asked()
    assert approval.account == "alice@example.test"
    await house.deputy.decide(approval, "approve", by="alice")
    await house.deputy.revoke("alice", "google", account="alice@example.test")
    again = await house.asked()
    assert again.account == "bob@example.test" and house.sandbox.sent("bob@example.test") == []


async def test_E1_approval_by_another_user_is_refused(house: Asking) -> None:
    approval = await house.asked()
    for other in ("bob", User("alice", "tenant"), "Alice", "alice "):
        with pytest.raises(NotFound):
            await house.deputy.decide(approval, "approve", by=other)
    for nobody in (None, "", " "):
        with pytest.raises(UserRequired):
            await house.deputy.decide(approval, "approve", by=nobody)
    assert (await house.asked()).id == approval.id and house.mails == 0


@pytest.mark.parametrize("name", ["", "x", "../x", "x" * 300, "é", "a/b"])
async def test_unknown_approval_cannot_be_decided(house: Asking, name: str) -> None:
    with pytest.raises(DeputizeError):
        await house.deputy.decide(name, "approve", by="alice")


async def test_E1_late_approval_is_refused_and_a_late_use_asks_again(house: Asking) -> None:
    approval = await house.asked()
    house.clock.now += APPROVAL_TTL + 1
    with pytest.raises(NotFound):
        await house.deputy.decide(approval, "approve", by="alice")
    again = await house.asked()
    await house.deputy.decide(again, "approve", by="alice")
    house.clock.now += APPROVAL_TTL + 1
    await house.asked()
    assert house.mails == 0


async def test_rejection_is_remembered_with_its_reason(house: Asking) -> None:
    approval = await house.asked()
    await house.deputy.decide(approval, "reject", by="alice", reason="too early")
    for _ in range(2):
        with pytest.raises(Declined) as caught:
            await house.act("send", **MAIL)
        assert caught.value.hint == "too early" and house.mails == 0
    await house.asked(message="m2")


async def test_first_decision_counts(house: Asking) -> None:
    approval = await house.asked()
    await house.deputy.decide(approval, "reject", by="alice")
    with pytest.raises(Conflict):
        await house.deputy.decide(approval, "approve", by="alice")
    assert (await house.deputy.decide(approval, "reject", by="alice")).status == "rejected"
    with pytest.raises(Declined):
        await house.act("send", **MAIL)


@pytest.mark.parametrize("answer", ["yes", "", "APPROVE", None, True])
async def test_invalid_decision_is_refused(house: Asking, answer: Any) -> None:
    approval = await house.asked()
    with pytest.raises(DeputizeError):
        await house.deputy.decide(approval, answer, by="alice")
    assert (await house.asked()).status == "pending"


async def test_rejection_wins_over_a_concurrent_approval(house: Asking) -> None:
    approval = await house.asked()
    house.store.pause = 0.001
    both: list[Decision] = ["approve", "reject"]
    answers = [house.deputy.decide(approval, one, by="alice") for one in both * 5]
    found = await asyncio.gather(*answers, return_exceptions=True)
    assert all(isinstance(one, Approval | Conflict) for one in found)
    with pytest.raises(Declined):
        await house.act("send", **MAIL)


async def test_fifty_waiting_runs_ask_once_and_send_once(house: Asking) -> None:
    house.store.pause = 0.001
    errors = await asyncio.gather(*(house.act("send", **MAIL) for _ in range(50)), return_exceptions=True)
    assert {e.approval.id for e in errors if isinstance(e, ApprovalRequired)} == {(await house.asked()).id}
    assert house.events().count("approval.requested") == 1
    await house.deputy.decide(await house.asked(), "approve", by="alice")
    results = await asyncio.gather(*(house.act("send", **MAIL) for _ in range(50)))
    assert house.mails == 1 and len({one["id"] for one in results}) == 1


async def test_approval_stays_valid_when_the_act_is_refused_without_effect(house: Asking) -> None:
    from tests.support.faults import GMAIL_API, answer

    await house.deputy.decide(await house.asked(), "approve", by="alice")
    house.line.answers[GMAIL_API] = [answer(429, {}, retry_after="900")]
    with pytest.raises(DeputizeError):
        await house.act("send", **MAIL)
    await house.act("send", **MAIL)
    assert house.mails == 1


async def test_consumed_approval_is_reported_as_consumed(house: Asking) -> None:
    approval = await house.asked()
    await house.deputy.decide(approval, "approve", by="alice")
    await house.act("send", **MAIL)
    assert house.events().count("approval.used") == 1 and await house.deputy.approvals.list_pending(User("alice")) == []
    with pytest.raises(Conflict):
        await house.deputy.decide(approval, "approve", by="alice")


async def test_act_without_a_call_can_be_approved_and_repeated(house: Asking) -> None:
    """As the error's hint says: record the decision, and call again."""

    async def act() -> Any:
        return await house.deputy.act("gmail_send", MAIL, user="alice")

    with pytest.raises(ApprovalRequired) as caught:
        await act()
    await house.deputy.decide(caught.value.approval, "approve", by="alice")
    assert (await act())["id"] and house.mails == 1


async def test_pending_approvals_of_alice_are_hidden_from_bob(house: Asking) -> None:
    await house.asked()
    assert len(await house.deputy.approvals.list_pending(User("alice"))) == 1
    assert await house.deputy.approvals.list_pending(User("bob")) == []
    assert await house.deputy.approvals.list_pending(User("alice", "tenant")) == []


def test_argument_preview_shows_all_arguments() -> None:
    long = "x" * (MAX_IN_PAYLOAD + 7)
    shown = dict(argument_rows({"body": long, "to": ["a", "b"], "none": None, "flag": False, "zero": 0, "cc": []}))
    assert shown == {"body": long, "to": "a, b", "flag": "no", "zero": "0", "cc": "(emptied)"}
    cut = Approval("id", "tool", "sends", shown, link="https://app.example.test/approve/id").payload()
    assert cut["preview"]["body"].startswith(f"{long[:MAX_IN_PAYLOAD]} [... 7 more characters")
    assert cut["truncated"] is True and cut["link"] and cut["preview"]["to"] == "a, b"


def test_sent_text_is_not_masked_in_the_preview() -> None:
    text = f"cookie: chocolate chip\nhere: ya29.{'a1B' * 20}"
    assert dict(argument_rows({"body": text})) == {"body": text}


def test_default_policy_is_ask_before_sending() -> None:
    import inspect

    assert inspect.signature(Deputy).parameters["policy"].default is ask_before_sending


# ------------------------------------------------------------- a yes is for one act, a policy may change


UNKNOWN = Call("t")
"""A call that cannot be told from an identical one."""


async def test_approval_of_a_read_covers_one_read(house: Asking) -> None:
    house.deputy.policy = always(Verdict.ASK)
    with pytest.raises(ApprovalRequired) as caught:
        await house.deputy.act("gmail_search", {}, user="alice", call=UNKNOWN)
    await house.deputy.decide(caught.value.approval, "approve", by="alice")
    house.line.seen.clear()
    assert isinstance(await house.deputy.act("gmail_search", {}, user="alice", call=UNKNOWN), list)
    with pytest.raises(ApprovalRequired) as again:
        await house.deputy.act("gmail_search", {}, user="alice", call=UNKNOWN)
    assert again.value.approval.id != caught.value.approval.id and len(house.line.seen) == 1


async def test_failed_read_keeps_its_approval_and_a_call_with_id_may_repeat(house: Asking) -> None:
    house.deputy.policy = always(Verdict.ASK)
    for call in (UNKNOWN, CALL):
        with pytest.raises(ApprovalRequired) as caught:
            await house.deputy.act("gmail_get", {"id": "00000000000000ff"}, user="alice", call=call)
        await house.deputy.decide(caught.value.approval, "approve", by="alice")
        for _ in range(2):
            with pytest.raises(NotFound):
                await house.deputy.act("gmail_get", {"id": "00000000000000ff"}, user="alice", call=call)
    with pytest.raises(ApprovalRequired) as caught:
        await house.act("search")
    await house.deputy.decide(caught.value.approval, "approve", by="alice")
    assert await house.act("search") == await house.act("search")


@pytest.mark.parametrize(
    ("call", "decision"),
    [(CALL, None), (CALL, "approve"), *((UNKNOWN, decision) for decision in (None, "approve", "reject"))],
)  # a no to a call that is known holds: tests/core/approvals/test_rejections.py
async def test_old_approval_request_does_not_block_allowed_acts(
    house: Asking, decision: Decision | None, call: Call
) -> None:
    with pytest.raises(ApprovalRequired) as caught:
        await house.deputy.act("gmail_send", MAIL, user="alice", call=call)
    if decision:
        await house.deputy.decide(caught.value.approval, decision, by="alice")
    if decision == "approve":
        await house.deputy.act("gmail_send", MAIL, user="alice", call=call)
    house.deputy.policy = allow_all
    await house.deputy.act("gmail_send", MAIL, user="alice", call=call)
    assert house.mails == (2 if decision == "approve" and call is UNKNOWN else 1)


async def test_edit_of_one_call_is_not_applied_to_an_equal_call(house: Asking) -> None:
    with pytest.raises(ApprovalRequired) as caught:
        await house.deputy.act("gmail_send", MAIL, user="alice", call=UNKNOWN)
    other = {**MAIL, "body": "No, sorry."}
    await house.deputy.decide(caught.value.approval, "edit", by="alice", arguments=other)
    house.deputy.policy = allow_all
    await house.deputy.act("gmail_send", MAIL, user="alice", call=UNKNOWN)
    await house.deputy.act("gmail_send", MAIL, user="alice", call=UNKNOWN)
    bodies = [b"No, sorry." in mail.raw for mail in house.sandbox.sent("alice@example.test")]
    assert sorted(bodies) == [False, True]


@pytest.mark.parametrize(
    "url",
    [
        *("http://github.com/sso", "javascript://github.com/%0aalert(1)", "https://[", "//github.com/x", ""),
        *("https://github.com\\@evil.test/", "https://evil.example.test/sso", "https://github.com:99999999/"),
        "https://a@github.com/x",
    ],
)
def test_sign_in_url_is_shown_only_if_it_is_the_providers_own(url: str) -> None:
    provider = PROVIDERS["github"]
    assert own_address(provider, url) == ""
    assert own_address(provider, "https://github.com/orgs/acme/sso?x=1") == "https://github.com/orgs/acme/sso?x=1"
