"""A question has one id with a generation inside: older ones lead to it, and decide it only if nothing has changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    Conflict,
    Decision,
    Declined,
    InvalidInput,
    MandateOffer,
    NotFound,
    User,
    Verdict,
    ask_before_sending,
)
from deputize.core.approvals.record import APPROVAL_TTL, MAX_GENERATIONS
from deputize.core.user_requests import Approval
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.core.web.web_application import World, hidden, make, values_of, words_of
from tests.support.changing_act import Board
from tests.support.sandbox_deputy import build, connect

CALL = Call("t", "m", "1")


class Shared:
    """Alice's agent shares a notice that somebody else edits."""

    def __init__(self, board: Board, world: World) -> None:
        self.board, self.world, self.deputy = board, world, world.deputy

    @classmethod
    async def begin(cls, **more: Any) -> Shared:
        board = Board()
        world = await make(toolkits=[board.toolkit], **more)
        await world.connected("send")
        return cls(board, world)

    async def act(self, call: Call = CALL, **arguments: Any) -> Any:
        return await self.deputy.act("board_share", arguments, user="alice", call=call)

    async def asked(self, text: str = "", call: Call = CALL) -> Approval:
        """Return what is asked, after somebody has changed the notice."""
        self.board.text = text or self.board.text
        with pytest.raises(ApprovalRequired) as needed:
            await self.act(call)
        return needed.value.approval

    async def decide(self, approval: Approval | str, what: Any = "approve", by: Any = "alice", **more: Any) -> Approval:
        return await self.deputy.decide(approval, what, by=by, **more)

    async def refused(self, approval: Approval | str, what: Any = "approve", **more: Any) -> Conflict:
        with pytest.raises(Conflict) as refused:
            await self.decide(approval, what, **more)
        assert refused.value.reason == "changed"
        return refused.value

    @property
    def sent(self) -> int:
        return len(self.world.sandbox.sent("alice@example.test"))


@pytest.fixture
async def shared() -> Shared:
    return await Shared.begin()


def forged(asked: Approval, generation: str = "00000000") -> str:
    return f"{asked.id.partition('-')[0]}-{generation}"


async def test_approval_with_an_older_id_never_counts_for_other_content(shared: Shared) -> None:
    first = await shared.asked()
    second = await shared.asked("Everybody is fired.")
    assert first.id != second.id and first.id.partition("-")[0] == second.id.partition("-")[0]
    assert "(text)" in str(await shared.refused(first))
    with pytest.raises(ApprovalRequired):
        await shared.act()
    assert shared.sent == 0 and (await shared.deputy.pending("alice")) == [second]


async def test_older_id_leads_to_the_question_as_it_is_now(shared: Shared) -> None:
    first, second = await shared.asked(), await shared.asked("Everybody is fired.")
    now = await shared.deputy.get_approval(first, by="alice")
    assert now == replace(second, changed_fields=("text",)) and second.changed_fields == ()
    assert await shared.deputy.get_approval(first, by="bob") is None


async def test_approval_with_an_older_id_counts_if_the_same_is_asked_again(shared: Shared) -> None:
    first, second = await shared.asked(), await shared.asked("Everybody is fired.")
    third = await shared.asked("Lunch at one.")
    assert len({first.id, second.id, third.id}) == 3
    await shared.refused(second)
    assert (await shared.decide(first)).id == third.id
    assert await shared.act() == "Lunch at one." and shared.sent == 1


async def test_approved_act_that_changed_is_not_done_with_the_old_approval(shared: Shared) -> None:
    first = await shared.asked()
    await shared.decide(first)
    second = await shared.asked("Everybody is fired.")
    await shared.refused(first)
    assert second.changed_fields == ("text",) and shared.sent == 0
    await shared.decide(second)
    await shared.refused(first)  # it would look as if the first had been approved
    assert await shared.act() == "Everybody is fired." and shared.sent == 1


async def test_rejection_with_an_older_id_counts(shared: Shared) -> None:
    first = await shared.asked()
    await shared.asked("Everybody is fired.")
    await shared.decide(first, "reject")
    with pytest.raises(Declined):
        await shared.act()


@pytest.mark.parametrize("what", ["approve", "reject"])
async def test_forged_generation_decides_nothing(shared: Shared, what: str) -> None:
    asked = await shared.asked()
    await shared.refused(forged(asked), what)
    for unknown in (asked.id.partition("-")[0], forged(asked, ""), forged(asked, "0" * 9), "-", f"{asked.id}\n"):
        with pytest.raises(NotFound):
            await shared.decide(unknown, what)
    assert await shared.deputy.pending("alice") == [asked]


@pytest.mark.parametrize("what", ["approve", "reject"])
async def test_another_user_changes_nothing_with_any_id(shared: Shared, what: str) -> None:
    first, second = await shared.asked(), await shared.asked("Everybody is fired.")
    for one in (first.id, second.id, forged(second)):
        for user in (User("bob"), User("alice", "elsewhere")):
            with pytest.raises(NotFound):
                await shared.decide(one, what, by=user)
            await shared.deputy.dismiss_approval(one, by=user)
    assert await shared.deputy.pending("alice") == [second]
    await shared.decide(second)
    assert await shared.act() == "Everybody is fired."


@pytest.mark.parametrize("end", ["expired", "used"])
async def test_id_of_an_earlier_question_does_not_decide_a_later_one_about_the_same(shared: Shared, end: str) -> None:
    call = Call("t") if end == "used" else CALL  # without an id, each call is asked about
    first = await shared.asked(call=call)
    if end == "used":
        await shared.decide(first)
        await shared.act(call)
    else:
        shared.world.clock.now += APPROVAL_TTL
    second = await shared.asked(call=call)
    for what in ("approve", "reject"):
        assert "again" in str(await shared.refused(first, what))
    assert await shared.deputy.pending("alice") == [second] and shared.sent == (end == "used")


async def test_edit_between_is_not_reported_as_approval_of_the_unedited_act(shared: Shared) -> None:
    first = await shared.asked()
    await shared.decide(first, "edit", arguments={"note": "Bring cake."})
    with pytest.raises(Conflict):
        await shared.decide(first)
    await shared.decide(first, "edit", arguments={"note": "Bring cake."})  # the same, once more
    [blocker] = await shared.deputy.check_calls([("board_share", {}, CALL)], user="alice")
    assert blocker is None
    with pytest.raises(Conflict):
        await shared.decide(first)
    await shared.act()
    assert shared.sent == 1


async def test_older_id_edits_nothing_that_changed(shared: Shared) -> None:
    first = await shared.asked()
    second = await shared.asked("Everybody is fired.")
    await shared.refused(first, "edit", arguments={"note": "Bring cake."})
    assert await shared.deputy.pending("alice") == [second]


async def test_older_id_gives_no_mandate_for_other_people(shared: Shared) -> None:
    first = await shared.asked()
    shared.board.people = ["eve@evil.test"]
    await shared.asked()
    offer = MandateOffer(5, shared.world.clock.now + 3600)
    await shared.refused(first, mandate=offer)
    assert await shared.deputy.mandates("alice") == []


async def test_rejection_with_an_older_id_ends_the_mandate_of_the_same_question(shared: Shared) -> None:
    first = await shared.asked()
    await shared.deputy.dismiss_approval(first, by="alice")
    offer = MandateOffer(5, shared.world.clock.now + 3600)
    approved = await shared.decide(first, mandate=offer)
    [mandate] = await shared.deputy.mandates("alice")
    assert approved.id != first.id and mandate.targets == ("bob@example.test",)
    await shared.decide(first, "reject")
    assert await shared.deputy.mandates("alice") == []


async def test_change_of_the_people_who_decide_is_a_change(shared: Shared) -> None:
    first = await shared.asked()
    shared.deputy.policy = lambda act: Decision(Verdict.ASK, "four eyes", "", "finance")
    second = await shared.asked()
    shared.deputy.policy = ask_before_sending
    third = await shared.asked()
    assert second.approvers == "finance"
    await shared.refused(second)
    assert (await shared.decide(first)).id == third.id


async def test_dismissed_question_stays_open_for_everybody_who_sees_it(shared: Shared) -> None:
    first = await shared.asked()
    waits = asyncio.create_task(shared.deputy.get_approval(first, by="alice", timeout=30))
    await asyncio.sleep(0.2)
    await shared.deputy.dismiss_approval(first, by="alice")
    again = await asyncio.wait_for(waits, 10)
    assert again is not None and again.id != first.id and again.status == "pending"
    await shared.deputy.dismiss_approval(first, by="alice")  # it was: only the one that is shown can be closed
    assert await shared.asked() == again
    await shared.decide(first)
    await shared.act()
    assert shared.sent == 1


async def test_ids_beyond_the_limit_of_generations_approve_nothing(shared: Shared) -> None:
    first = await shared.asked()
    for number in range(MAX_GENERATIONS):
        await shared.asked(f"Lunch at {number}.")
    last = await shared.asked("Lunch at one.")
    await shared.refused(first)
    [row] = await shared.deputy.vault.scan("approval")
    assert len(row.json["shown"]) == MAX_GENERATIONS
    await shared.decide(last)


async def test_change_while_the_decision_is_written_is_noticed(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process asks again between the reading and the writing of the decision."""
    first, rows = await shared.asked(), shared.deputy.approvals.rows
    swap = rows.swap

    async def late(record: Any, transition: Any) -> Any:
        monkeypatch.undo()
        await shared.asked("Everybody is fired.")
        return await swap(record, transition)

    monkeypatch.setattr(rows, "swap", late)
    await shared.refused(first)


# ------------------------------------------------------------- the pages


async def shown(shared: Shared, path: str, user: str = "alice") -> tuple[str, dict[str, str], str]:
    page = await shared.world.send("GET", path, user=user)
    assert page.status_code == 200, page.text
    return page.text, values_of(page), hidden(page)


async def test_link_from_before_a_change_shows_the_question_as_it_is_now(shared: Shared) -> None:
    first, second = await shared.asked(), await shared.asked("Everybody is fired.")
    text, cookies, form = await shown(shared, f"/approve/{first.id}")
    assert "Everybody is fired." in text and "changed since you were asked: text" in text
    assert f'action="/approve/{second.id}"' in text and first.id not in text
    data = {"form": form, "decision": "approve"}
    done = await shared.world.send("POST", f"/approve/{second.id}", user="alice", cookies=cookies, data=data)
    assert done.status_code == 303 and await shared.act() == "Everybody is fired."


@pytest.mark.parametrize("what", ["approve", "reject"])
async def test_page_from_before_a_change_approves_nothing(shared: Shared, what: str) -> None:
    first = await shared.asked()
    _, cookies, form = await shown(shared, f"/approve/{first.id}")
    second = await shared.asked("Everybody is fired.")
    data = {"form": form, "decision": what}
    sent = await shared.world.send("POST", f"/approve/{first.id}", user="alice", cookies=cookies, data=data)
    assert sent.status_code == 303
    again = await shared.world.send("GET", sent.headers["location"], user="alice")
    assert ("changed since you were asked: text" in words_of(again)) == (what == "approve")
    now = await shared.deputy.get_approval(second, by="alice")
    assert now and now.status == ("pending" if what == "approve" else "rejected") and shared.sent == 0


async def test_member_of_a_role_decides_only_about_what_the_page_showed() -> None:
    shared = await Shared.begin(
        roles=lambda user: ["finance"] if user.id == "bob" else [],
        policy=lambda act: Decision(Verdict.ASK, "four eyes", "", "finance"),
    )
    first = await shared.asked()
    _, cookies, form = await shown(shared, f"/others/{first.id}", "bob")
    second = await shared.asked("Everybody is fired.")
    data = {"form": form, "decision": "approve"}
    sent = await shared.world.send("POST", f"/others/{first.id}", user="bob", cookies=cookies, data=data)
    assert sent.status_code == 303 and await shared.deputy.pending("alice") == [second]
    text, cookies, form = await shown(shared, f"/others/{first.id}", "bob")
    assert "Everybody is fired." in text and f'action="/others/{second.id}"' in text
    data["form"] = form
    await shared.world.send("POST", f"/others/{second.id}", user="bob", cookies=cookies, data=data)
    assert await shared.act() == "Everybody is fired."


async def test_only_a_pending_approval_is_dismissed(shared: Shared) -> None:
    asked = await shared.asked()
    await shared.decide(asked)
    await shared.deputy.dismiss_approval(asked, by="alice")
    now = await shared.deputy.get_approval(asked, by="alice")
    assert now and (now.id, now.status) == (asked.id, "approved")
    with pytest.raises(InvalidInput):
        await shared.decide(asked, "perhaps")


# ------------------------------------------------------------- two processes


async def test_decision_in_one_process_counts_after_another_has_put_the_question_again() -> None:
    store, key = MemoryStore(), [b"k" * 32]
    sandbox = Sandbox()
    async with (
        await build(sandbox, vault=await Vault.open(store, key)) as one,
        await build(sandbox, vault=await Vault.open(store, key)) as two,
    ):
        await connect(one, sandbox, "send")
        mail = {"to": ["bob@example.test"], "subject": "Lunch", "body": "At one?"}
        with pytest.raises(ApprovalRequired) as needed:
            await one.act("gmail_send_email", mail, user="alice", call=CALL)
        asked = needed.value.approval
        waits = asyncio.create_task(one.get_approval(asked, by="alice", timeout=30))
        await asyncio.gather(*(one_of.dismiss_approval(asked, by="alice") for one_of in (one, two)))
        again = await asyncio.wait_for(waits, 10)
        assert again is not None and again.id != asked.id
        answers = [two.decide(asked, "approve", by="alice"), one.decide(again, "approve", by="alice")]
        assert [done.status for done in await asyncio.gather(*answers)] == ["approved", "approved"]
        runs = [each.act("gmail_send_email", mail, user="alice", call=CALL) for each in (one, two)]
        await asyncio.gather(*runs, return_exceptions=True)
        assert len(sandbox.sent("alice@example.test")) == 1
