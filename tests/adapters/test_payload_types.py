"""Payloads of pauses have at run time the keys of their types."""

from __future__ import annotations

import json
from typing import Any, Final, NotRequired, get_args, get_origin, get_type_hints

import pytest
from langgraph.types import Command

from deputize.adapters.langgraph import RESUME, ApprovalPause, ConsentPause, requests_in
from deputize.adapters.langgraph.approval_graph import InterruptMode
from deputize.adapters.llamaindex import ApprovalRequest, ConsentRequest
from deputize.core import (
    Approval,
    ApprovalChangePayload,
    ApprovalPayload,
    Consent,
    ConsentChangePayload,
    ConsentPayload,
    Deputy,
    QuestionChange,
    User,
)
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, asking, config, plain
from tests.support.sandbox_deputy import connect

ALICE: Final = Context("alice")
CONSENT: Final = Consent("id", "google", "google", ("s",), ("d",), "https://app.example.test/consent/id", 1.0)
APPROVAL: Final = Approval("id", "gmail_send_email", "sends", {"to": "bob"}, link="https://app.example.test/approve/id")


def keys(form: Any) -> tuple[set[str], set[str]]:
    """Return the required and the optional keys of a TypedDict."""
    hints = get_type_hints(form, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    return set(form.__required_keys__) - optional, set(form.__optional_keys__) | optional


@pytest.mark.parametrize(
    "payload, form",
    [
        (CONSENT.payload(), ConsentPayload),
        (APPROVAL.payload(), ApprovalPayload),
        (QuestionChange("asked", User("alice"), CONSENT).payload(), ConsentChangePayload),
        (QuestionChange("asked", User("alice"), APPROVAL).payload(), ApprovalChangePayload),
    ],
)
def test_payload_has_exactly_the_keys_of_its_type(payload: Any, form: Any) -> None:
    required, optional = keys(form)
    assert payload.keys() == required and optional <= {"fault"}
    assert json.loads(json.dumps(payload)) == payload


@pytest.mark.parametrize("event, form", [(ConsentRequest, ConsentPayload), (ApprovalRequest, ApprovalPayload)])
def test_llamaindex_events_have_the_fields_of_payloads(event: Any, form: Any) -> None:
    assert event.model_fields.keys() == keys(form)[0]
    one = CONSENT if event is ConsentRequest else APPROVAL
    assert event.model_validate(one.payload()).model_dump() == one.payload()


@pytest.mark.parametrize("mode", get_args(InterruptMode))
async def test_langgraph_pauses_have_exactly_the_keys_of_their_types(
    mode: InterruptMode, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph = plain(deputy, interrupt_mode=mode)
    for_inboxes = keys(ConsentPause)[1] if mode == "hitl" else set[str]()
    state = await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [pause] = state["__interrupt__"]
    assert pause.value.keys() == keys(ConsentPause)[0] | for_inboxes
    [ask] = requests_in([pause])
    assert pause.value["consents"] == [ask] and ask.keys() == keys(ConsentPayload)[0]
    await connect(deputy, sandbox, "send")
    [pause] = (await graph.ainvoke(Command(resume=RESUME), config(), context=ALICE))["__interrupt__"]
    assert pause.value.keys() - {"owner"} == keys(ApprovalPause)[0] | for_inboxes
    [ask] = requests_in([pause])
    assert pause.value["approvals"] == [ask] and ask.keys() == keys(ApprovalPayload)[0]
    graph = plain(deputy, interrupt_mode=mode)
    state = await graph.ainvoke(asking(SEND), config("2"), context=ALICE)
    assert ("owner" in state["__interrupt__"][0].value) is (mode == "by_id"), "a single write"


def test_pauses_stored_without_types_are_read_with_types() -> None:
    consent, approval = {**CONSENT.payload()}, {**APPROVAL.payload()}
    pauses = [
        {"value": {"type": "deputize.approval", "v": 1, "approvals": [without_type(approval)]}},
        {"value": {"type": "deputize.consent", "v": 1, "consents": [without_type(consent)]}},
    ]
    assert requests_in(pauses) == [consent, approval]
    assert requests_in(pauses, "approval") == [approval]


def without_type(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a request as an earlier release stored it in a pause."""
    return {name: value for name, value in payload.items() if name not in ("type", "v")}
