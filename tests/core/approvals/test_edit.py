"""An approval with edited arguments: validated again, bound to the edited content, and still one act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Call,
    Conflict,
    ConsentRequired,
    Effect,
    InvalidInput,
    NotFound,
    PolicyDenied,
    Request,
    Steps,
    Toolkit,
    Verdict,
    allow_all,
    any_of,
)
from tests.core.policy.test_policy import Asking
from tests.support.gmail_toolkit import ALL, MAIL
from tests.support.sandbox_deputy import GMAIL, build, connect, consent

OTHER = {**MAIL, "body": "No, sorry."}


@pytest.fixture
async def house() -> AsyncIterator[Asking]:
    made = await Asking().begin()
    await made.connected(*ALL)
    made.line.seen.clear()
    yield made
    await made.deputy.close()


def bodies(house: Asking) -> list[str]:
    """Return the texts of the sent mails."""
    mails = house.sandbox.sent("alice@example.test")
    return ["No, sorry." if b"No, sorry." in mail.raw else "as asked" for mail in mails]


async def test_edited_act_is_done_once_with_the_users_text(house: Asking) -> None:
    approval = await house.asked()
    edited = await house.deputy.decide(approval, "edit", by="alice", arguments=OTHER)
    assert (edited.status, edited.preview["body"]) == ("approved", "No, sorry.")
    first = await house.act("send", "m1", **MAIL)
    assert await house.act("send", "m1", **MAIL) == first and bodies(house) == ["No, sorry."]
    assert first["changed_by_user"] == {"body": "No, sorry."}, "who asked knows what was done instead"


async def test_invalid_edit_is_refused_and_the_approval_stays_pending(house: Asking) -> None:
    approval = await house.asked()
    wrong: list[Any] = [{"to": "bob@example.test"}, {**MAIL, "user": "bob"}, {**MAIL, "body": 3}, "body", {}]
    wrong.append({**MAIL, "body": b"No"})  # the tool would take it, but it is not JSON
    for arguments in wrong:
        with pytest.raises(InvalidInput):
            await house.deputy.decide(approval, "edit", by="alice", arguments=arguments)
    with pytest.raises(InvalidInput):
        await house.deputy.decide(approval, "edit", by="alice")
    with pytest.raises(InvalidInput):
        await house.deputy.decide(approval, "approve", by="alice", arguments=OTHER)
    assert (await house.asked()).status == "pending" and house.mails == 0


async def test_other_users_cannot_edit(house: Asking) -> None:
    approval = await house.asked()
    for stranger in ("bob", "mallory"):
        with pytest.raises(NotFound):
            await house.deputy.decide(approval, "edit", by=stranger, arguments=OTHER)
    assert (await house.asked()).preview["body"] == MAIL["body"]


async def test_edit_approves_only_its_arguments_of_this_call(house: Asking) -> None:
    approval = await house.asked()
    await house.deputy.decide(approval, "edit", by="alice", arguments=OTHER)
    with pytest.raises(ApprovalRequired):
        await house.act("send", "m2", **OTHER)
    with pytest.raises(ApprovalRequired):
        await house.act("send", "m1", **{**MAIL, "subject": "Dinner"})
    assert house.mails == 0


async def test_policy_is_checked_for_the_edited_arguments(house: Asking) -> None:
    def nobody_says_no(act: Act) -> Verdict:
        return Verdict.DENY if "No" in act.arguments["body"] else Verdict.ASK

    house.deputy.policy = nobody_says_no
    await house.deputy.decide(await house.asked(), "edit", by="alice", arguments=OTHER)
    with pytest.raises(PolicyDenied):
        await house.act("send", "m1", **MAIL)
    assert house.mails == 0


async def test_edit_counts_when_the_policy_no_longer_asks(house: Asking) -> None:
    await house.deputy.decide(await house.asked(), "edit", by="alice", arguments=OTHER)
    house.deputy.policy = allow_all
    await house.act("send", "m1", **MAIL)
    assert bodies(house) == ["No, sorry."]


async def test_edited_arguments_can_need_another_consent(house: Asking) -> None:
    """The needs are computed from the new arguments."""
    kit = Toolkit("kit", "google", api="gmail")
    send, modify = any_of(f"{GMAIL}send"), any_of(f"{GMAIL}modify")

    @kit.tool(needs=lambda arguments: [modify] if arguments["deeply"] else [send], effect=Effect.SENDS, shows=False)
    def tidy(deeply: bool) -> Steps:
        """Tidy up."""
        yield Request("POST", "/users/me/labels", json={"name": "tidy"})

    async with await build(house.sandbox, toolkits=[kit]) as deputy:
        await connect(deputy, house.sandbox, "send")
        call = Call("t", "m1", "c")
        with pytest.raises(ApprovalRequired) as asked:
            await deputy.act("kit_tidy", {"deeply": False}, user="alice", call=call)
        await deputy.decide(asked.value.approval, "edit", by="alice", arguments={"deeply": True})
        with pytest.raises(ConsentRequired) as lacking:
            await deputy.act("kit_tidy", {"deeply": False}, user="alice", call=call)
        assert lacking.value.consent.scopes == (f"{GMAIL}modify",)
        assert (await consent(deputy, house.sandbox, lacking.value.consent)).status == "granted"
        await deputy.act("kit_tidy", {"deeply": False}, user="alice", call=call)


async def test_another_decision_after_an_edit_is_a_conflict_and_the_same_is_accepted(house: Asking) -> None:
    approval = await house.asked()
    for _ in range(2):
        await house.deputy.decide(approval, "edit", by="alice", arguments=OTHER)
    with pytest.raises(Conflict):
        await house.deputy.decide(approval, "approve", by="alice")
    with pytest.raises(Conflict):
        await house.deputy.decide(approval, "edit", by="alice", arguments=MAIL)
    await house.act("send", "m1", **MAIL)
    with pytest.raises(Conflict):
        await house.deputy.decide(approval, "edit", by="alice", arguments=MAIL)
    assert bodies(house) == ["No, sorry."]


async def test_edited_act_refused_before_any_change_keeps_the_edit(house: Asking) -> None:
    await house.deputy.decide(await house.asked(), "edit", by="alice", arguments=OTHER)
    house.sandbox.switches.faults[("POST", "/gmail")] = [(400, {}, {"error": {"code": 400, "message": "no"}})]
    with pytest.raises(InvalidInput):
        await house.act("send", "m1", **MAIL)
    await house.act("send", "m1", **MAIL)
    assert bodies(house) == ["No, sorry."]
