"""A foreign server asks its user during a call: the act waits for the answer, and continues, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from deputize.core import (
    Approval,
    ApprovalRequired,
    Call,
    Conflict,
    Declined,
    Deputy,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    User,
    allow_all,
)
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from tests.support.foreign_mcp import LEGACY, URL, Foreign, definition, foreign_deputy, text

LOOK, SEND = definition("look", readOnlyHint=True), definition("send")
READS_LOOK = McpServer("other", URL, tools={"look": ToolOverride(effect="reads")})
ADDRESS = "https://accounts.other.example/connect?code=s3cret-code"
LINK = {"mode": "url", "message": f"Connect your account at {ADDRESS}", "url": ADDRESS, "elicitationId": "e1"}
FORM = {
    "mode": "form",
    "message": "How urgent is it?",
    "requestedSchema": {
        "type": "object",
        "properties": {
            "urgency": {"type": "string", "enum": ["low", "high"], "enumNames": ["Low", "High"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
            "tell": {"type": "boolean", "title": "Tell everybody"},
        },
        "required": ["urgency"],
    },
}
ALICE, BOB = User("alice"), User("bob")


def asks(params: Mapping[str, Any], state: str | None = "state-1", key: str = "q") -> dict[str, Any]:
    """Return a server's response that asks its user first."""
    found = {"resultType": "input_required", "inputRequests": {key: {"method": "elicitation/create", "params": params}}}
    return found | ({} if state is None else {"requestState": state})


def replies(*said: Any) -> Callable[[Mapping[str, Any], httpx.Request], Any]:
    """Return a server's responses, one after another."""
    left = list(said)
    return lambda params, request: left.pop(0)


def clock() -> Any:
    """Return a clock that is set by hand: ``now[0]``."""
    now = [1_800_000_000.0]
    return now, lambda: now[0]


async def act(deputy: Deputy, tool: str = "other_send", number: int = 1, user: str = "alice") -> Any:
    return await deputy.act(tool, {"to": "bob"}, user=user, call=Call("thread", "message", str(number)))


async def asked(deputy: Deputy, tool: str = "other_send", number: int = 1) -> Approval:
    with pytest.raises(ApprovalRequired) as waits:
        await act(deputy, tool, number)
    assert waits.value.approval.kind == "question"
    return waits.value.approval


async def test_link_elicitation_is_asked_on_our_page_and_the_call_continues() -> None:
    foreign = Foreign([SEND], reply=replies(asks(LINK), text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        question = await asked(deputy)
        assert question.link.endswith(f"/approve/{question.id}") and (question.tool, question.effect) == (
            "other_send",
            "sends",
        )
        assert question.preview["asks you to open"] == "accounts.other.example"
        assert question.preview["where"] == "mcp.other.example, for send"
        assert await asked(deputy) == question  # it waits, and nothing is sent meanwhile
        assert [one.id for one in await deputy.pending("alice")] == [question.id]
        [blocker] = await deputy.check_calls(
            [("other_send", {"to": "bob"}, Call("thread", "message", "1"))], user="alice"
        )
        assert isinstance(blocker, ApprovalRequired) and blocker.approval.id == question.id
        await deputy.questions.reply(question.id, "accept", by=ALICE)
        assert (await act(deputy))["text"] == "did it"
        assert (await act(deputy))["text"] == "did it"  # recorded
    first, second = (params for method, params, _ in foreign.asked if method == "tools/call")
    assert "inputResponses" not in first and "requestState" not in first
    assert second["inputResponses"] == {"q": {"action": "accept"}} and second["requestState"] == "state-1"
    ids = [json.loads(r.content)["id"] for m, _, r in foreign.asked if m == "tools/call"]
    assert len(set(ids)) == 2


async def test_elicitation_address_state_and_answers_stay_in_the_vault() -> None:
    foreign = Foreign([SEND], reply=replies(asks(LINK), asks(FORM, "state-2"), text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        link = await asked(deputy)
        await deputy.questions.reply(link.id, "accept", by=ALICE)
        form = await asked(deputy)
        said = await deputy.questions.reply(form.id, "accept", by=ALICE, content={"q": {"urgency": "high"}})
        for shown in (link, form, said):
            everything = json.dumps(shown.payload()) + repr(shown)
            assert not any(one in everything for one in ("s3cret-code", "state-1", "state-2", '"high"'))
        assert link.preview["it says"] == "Connect your account at (an address)"
        assert form.preview["asks you for"] == "urgency, days, Tell everybody"
        with pytest.raises(Conflict, match="again"):
            await deputy.questions.load_kept(link.id, ALICE)  # the first one is over
        await act(deputy)
    last = foreign.asked[-1][1]
    assert last["inputResponses"] == {"q": {"action": "accept", "content": {"urgency": "high"}}}
    assert last["requestState"] == "state-2"


async def test_approval_and_elicitation_are_two_pauses_and_the_approval_is_used_once() -> None:
    foreign = Foreign([SEND], reply=replies(asks(LINK), text("did it")))
    async with foreign_deputy(foreign) as deputy:
        with pytest.raises(ApprovalRequired) as first:
            await act(deputy)
        assert first.value.approval.kind == "act"
        await deputy.decide(first.value.approval, "approve", by="alice")
        question = await asked(deputy)
        before = await deputy.get_approval(first.value.approval, by="alice")
        assert before is not None and (before.status, before.outcome) == ("used", "in_progress")
        with pytest.raises(Conflict, match="Too late"):
            await deputy.decide(first.value.approval, "reject", by="alice")
        await deputy.questions.reply(question.id, "accept", by=ALICE)
        assert (await act(deputy))["text"] == "did it"


@pytest.mark.parametrize("decision", ["approve", "edit"])
async def test_elicitation_cannot_be_answered_by_decide(decision: Any) -> None:
    async with foreign_deputy(Foreign([SEND], reply=replies(asks(FORM))), policy=allow_all) as deputy:
        question = await asked(deputy)
        arguments = {"to": "eve"} if decision == "edit" else None
        with pytest.raises(InvalidInput, match="answered on its page only"):
            await deputy.decide(question, decision, by="alice", arguments=arguments)
        assert await asked(deputy) == question


@pytest.mark.parametrize("how", ["decline", "cancel", "decided", "decided after an accept"])
async def test_declined_or_cancelled_elicitation_is_sent_to_the_server(how: Any) -> None:
    foreign = Foreign([SEND], reply=replies(asks(FORM), text("The user does not want it.", isError=True)))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        question = await asked(deputy)
        if how.endswith("accept"):
            await deputy.questions.reply(question.id, "accept", by=ALICE, content={"q": {"urgency": "low"}})
        if how.startswith("decided"):
            await deputy.decide(question, "reject", by="alice")
        else:
            await deputy.questions.reply(question.id, how, by=ALICE)
        assert (await act(deputy))["failed"] is True
    assert foreign.asked[-1][1]["inputResponses"] == {"q": {"action": "cancel" if how == "cancel" else "decline"}}


async def test_elicitation_is_visible_and_answerable_to_its_user_only() -> None:
    async with foreign_deputy(Foreign([SEND], reply=replies(asks(FORM))), policy=allow_all) as deputy:
        question = await asked(deputy)
        for wrong in (
            deputy.questions.load_kept(question.id, BOB),
            deputy.questions.reply(question.id, "accept", by=BOB),
            deputy.decide(question, "reject", by="bob"),
        ):
            with pytest.raises(NotFound):
                await wrong
        assert await deputy.get_approval(question, by="bob") is None
        await deputy.questions.reply(question.id, "decline", by=ALICE)
        with pytest.raises(Conflict):
            await deputy.questions.reply(question.id, "accept", by=ALICE)


async def test_late_elicitation_answer_is_refused_and_sends_nothing() -> None:
    (now, at), foreign = clock(), Foreign([SEND], reply=replies(asks(LINK)))
    async with foreign_deputy(foreign, policy=allow_all, clock=at) as deputy:
        question = await asked(deputy)
        assert question.expires_at == now[0] + 600
        now[0] += 601
        with pytest.raises(NotFound):
            await deputy.questions.reply(question.id, "accept", by=ALICE)
        for _ in range(2):
            with pytest.raises(InvalidInput, match=r"the answer came too late\. It was not done"):
                await act(deputy)
    assert foreign.count("tools/call") == 1


async def test_server_that_forgot_its_state_is_restarted_once() -> None:
    lost = {"code": -32602, "data": {"reason": "invalid_request_state"}, "status": 400}
    foreign = Foreign([SEND], reply=replies(asks(LINK), lost, asks(LINK, "state-2"), lost, text("never")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        first = await asked(deputy)
        await deputy.questions.reply(first.id, "accept", by=ALICE)
        second = await asked(deputy)
        assert second.id != first.id
        await deputy.questions.reply(second.id, "accept", by=ALICE)
        with pytest.raises(InvalidInput, match=r"refused send \(-32602\).*Nothing was done"):
            await act(deputy)
    rounds = [params.get("requestState") for method, params, _ in foreign.asked if method == "tools/call"]
    assert rounds == [None, "state-1", None, "state-2"]


async def test_sixth_elicitation_of_one_call_is_refused() -> None:
    foreign = Foreign([SEND], reply=lambda *_: asks(LINK))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        for _ in range(5):
            await deputy.questions.reply((await asked(deputy)).id, "accept", by=ALICE)
        with pytest.raises(OutcomeUnknown, match="it has asked 5 times already"):
            await act(deputy)
    assert foreign.count("tools/call") == 6


async def test_working_server_is_polled_in_the_same_run() -> None:
    working = {"resultType": "input_required", "requestState": "w"}
    foreign = Foreign([SEND], reply=replies(working, working, text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        assert (await act(deputy))["text"] == "did it"
    assert [p.get("requestState") for m, p, _ in foreign.asked if m == "tools/call"] == [None, "w", "w"]


@pytest.mark.parametrize("cut", [httpx.ReadError("cut"), httpx.Response(500), {"code": -32603}])
async def test_lost_answer_to_the_second_round_is_unknown_and_not_resent(cut: Any) -> None:
    foreign = Foreign([SEND], reply=replies(asks(LINK), cut))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        await deputy.questions.reply((await asked(deputy)).id, "accept", by=ALICE)
        for _ in range(3):
            with pytest.raises(OutcomeUnknown):
                await act(deputy)
    assert foreign.count("tools/call") == 2


async def test_refused_second_round_can_be_resent_with_the_same_answer() -> None:
    busy = httpx.Response(429, headers={"retry-after": "100000"})
    foreign = Foreign([SEND], reply=replies(asks(LINK), busy, text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        await deputy.questions.reply((await asked(deputy)).id, "accept", by=ALICE)
        with pytest.raises(Exception, match=r"(?i)too many|rate|wait"):
            await act(deputy)
        assert (await act(deputy))["text"] == "did it"
    assert foreign.asked[-1][1]["inputResponses"] == {"q": {"action": "accept"}}


async def test_rejected_elicitation_is_declined_after_its_accepted_answer_was_released() -> None:
    busy = httpx.Response(429, headers={"retry-after": "100000"})
    foreign = Foreign([SEND], reply=replies(asks(LINK), busy, text("declined")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        question = await asked(deputy)
        await deputy.questions.reply(question.id, "accept", by=ALICE)
        with pytest.raises(Exception, match=r"(?i)too many|rate|wait"):
            await act(deputy)
        await deputy.decide(question, "reject", by="alice")
        await act(deputy)
    assert foreign.asked[-1][1]["inputResponses"] == {"q": {"action": "decline"}}


async def test_read_tools_may_elicit_with_or_without_a_call_id() -> None:
    foreign = Foreign([LOOK], reply=replies(asks(FORM, None), text("seen")))
    async with foreign_deputy(foreign, server=READS_LOOK) as deputy:
        with pytest.raises(ApprovalRequired):
            await deputy.act("other_look", {"to": "bob"}, user="alice")
        with pytest.raises(ApprovalRequired) as waits:
            await deputy.act("other_look", {"to": "bob"}, user="alice")
        await deputy.questions.reply(waits.value.approval.id, "accept", by=ALICE, content={"q": {"urgency": "low"}})
        assert (await deputy.act("other_look", {"to": "bob"}, user="alice"))["text"] == "seen"
    assert foreign.count("tools/call") == 2 and "requestState" not in foreign.asked[-1][1]


async def test_legacy_link_elicitation_is_asked_and_the_call_is_repeated() -> None:
    wants = {"code": -32042, "data": {"elicitations": [LINK]}}
    foreign = Foreign([SEND], era=LEGACY, reply=replies(wants, text("did it")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        question = await asked(deputy)
        assert question.expires_at > deputy.clock() + 3000
        await deputy.questions.reply(question.id, "accept", by=ALICE)
        assert (await act(deputy))["text"] == "did it"
    assert "inputResponses" not in foreign.asked[-1][1]
    assert all("elicitation" not in json.dumps(params) for _, params, _ in foreign.asked)


async def test_legacy_link_elicitation_rejected_by_the_user_ends_the_call() -> None:
    wants = {"code": -32042, "data": {"elicitations": [LINK]}}
    foreign = Foreign([SEND], era=LEGACY, reply=replies(wants))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        await deputy.questions.reply((await asked(deputy)).id, "decline", by=ALICE)
        for _ in range(2):
            with pytest.raises(Declined, match="It was not done"):
                await act(deputy)
    assert foreign.count("tools/call") == 1


async def test_write_without_id_cannot_elicit_and_announces_no_capability() -> None:
    foreign = Foreign([SEND], reply=lambda *_: asks(LINK))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        with pytest.raises(OutcomeUnknown, match="there is no user to ask") as refused:
            await deputy.act("other_send", {"to": "bob"}, user="alice")
        assert "s3cret-code" not in str(refused.value) and await deputy.pending("alice") == []
    assert foreign.asked[-1][1]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}


def form(**fields: Any) -> dict[str, Any]:
    return {"message": "?", "requestedSchema": {"type": "object", "properties": fields}}


@pytest.mark.parametrize(
    "params, why",
    [
        (LINK | {"url": "http://other.example/"}, "not https"),
        (LINK | {"url": "javascript:alert(1)"}, "not https"),
        (LINK | {"url": "https://accounts.google.com@evil.example/"}, "not https"),
        (LINK | {"url": "https://g\u00f6\u00f6gle.example/"}, "not https"),
        (LINK | {"url": "https:///x"}, "not https"),
        (LINK | {"url": 7}, "not https"),
        (form(password={"type": "string"}), "looks like a secret"),
        (form(x={"type": "string", "title": "Your API key"}), "looks like a secret"),
        (form(apiKey={"type": "string"}), "looks like a secret"),
        (form(x={"type": "string", "description": "The card number"}), "looks like a secret"),
        (form(x={"type": "string", "title": "Access\u200bToken"}), "looks like a secret"),
        (form(x={"type": "object"}), "not a text, number, boolean or choice"),
        (form(x={"type": "array", "items": {"type": "string"}}), "not a text, number, boolean or choice"),
        (form(x={"type": "string", "enum": [1, {}]}), "not of texts"),
        (form(**{f"f{n}": {"type": "string"} for n in range(13)}), "too many fields"),
        ({"mode": "form", "requestedSchema": 7}, "no fields"),
        ({"mode": "hologram"}, "not known here"),
        (7, "says nothing"),
    ],
)
async def test_unsafe_elicitation_is_not_shown_to_the_user(params: Any, why: str) -> None:
    foreign = Foreign([SEND], reply=lambda *_: asks(params))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        with pytest.raises(OutcomeUnknown, match=why) as refused:
            await act(deputy)
        assert "s3cret-code" not in str(refused.value) and await deputy.pending("alice") == []
    assert foreign.count("tools/call") == 1


@pytest.mark.parametrize("method", ["sampling/createMessage", "roots/list", None])
async def test_sampling_and_roots_requests_are_refused(method: Any) -> None:
    wants = {"resultType": "input_required", "inputRequests": {"q": {"method": method, "params": {}}}}
    async with foreign_deputy(Foreign([SEND], reply=lambda *_: wants), policy=allow_all) as deputy:
        with pytest.raises(OutcomeUnknown, match="not a question to a person"):
            await act(deputy)
