"""LlamaIndex writes the text of any exception into the conversation. No exception of deputize gets that far."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.workflow import Context
from workflows.context.state_store import InMemoryStateStore

from deputize.adapters.llamaindex import ApprovalRequest, ApprovalResponse, ConsentRequest, ConsentResponse
from deputize.adapters.llamaindex import host as llamaindex_host
from deputize.adapters.llamaindex import redelivery as llamaindex_delivery
from deputize.adapters.llamaindex import tool as llamaindex_tool
from deputize.adapters.llamaindex.consent_batching import Together
from deputize.adapters.llamaindex.redelivery import Delivery
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.canary import dump
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import Model, agent, ended, visit
from tests.support.sandbox_deputy import connect

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
CANARY = "ya29.canary-of-an-exception"


class Hostile(Exception):
    """An object whose text and representation must not be shown."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(f"401 Authorization: Bearer {CANARY}")


async def fails(*_: Any, **__: Any) -> Any:
    raise Hostile()


def fails_at_once(*_: Any, **__: Any) -> Any:
    raise Hostile()


def of_ours(method: Callable[..., Any]) -> Callable[..., Any]:
    """A store of a run that fails for deputize's entries, and not for LlamaIndex's."""

    async def patched(self: Any, name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("deputize_"):
            raise Hostile()
        return await method(self, name, *more, **named)

    return patched


STEPS: dict[str, tuple[Any, str, Any]] = {
    "which call is delivered": (Delivery, "of", fails),
    "the call is taken on": (Delivery, "take", fails),
    "the call is noted as answered": (Delivery, "done", fails),
    "the wait": (Delivery, "wait", fails),
    "whose decision counts": (Delivery, "decisions_count", property(fails_at_once)),
    "the step that LlamaIndex is in": (llamaindex_delivery, "StepWorkerStateContextVar", None),
    "whether a server runs it": (llamaindex_delivery, "on_server", fails_at_once),
    "who acts": (llamaindex_tool, "acting_user", fails),
    "who is meant by a name": (llamaindex_host, "User", None),
    "the look at all calls": (Together, "blocker", fails),
    "the look at one call": (Together, "alone", fails),
    "what is remembered": (Together, "remember", fails),
    "whether it still waits": (Together, "still_waits", fails),
    "the text of a result": (llamaindex_tool, "as_text", fails_at_once),
    "the request for consent": (llamaindex_tool, "ConsentRequest", fails_at_once),
    "the request for approval": (llamaindex_tool, "ApprovalRequest", fails_at_once),
    "reading the run's store": (InMemoryStateStore, "get", of_ours(InMemoryStateStore.get)),
    "writing the run's store": (InMemoryStateStore, "set", of_ours(InMemoryStateStore.set)),
}
OF_A_DEPUTY = ("check_calls", "act", "wait_for_consents", "decide")


async def whole(deputy: Deputy, sandbox: Sandbox, one: Any) -> str:
    """Finish a run, approving all its requests; return its stream and its final answer."""
    said, handler = [], one.run("go on")
    async for event in handler.stream_events():
        said.append(dump(event))
        if isinstance(event, ConsentRequest):
            await visit(deputy, sandbox, event.consent_id)
            handler.ctx.send_event(ConsentResponse(consent_id=event.consent_id))
        if isinstance(event, ApprovalRequest):
            handler.ctx.send_event(ApprovalResponse(approval_id=event.approval_id, by="alice", decision="approve"))
    return "\n".join([*said, await ended(handler)])


async def check(deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, **named: Any) -> list[str]:
    """Check what the model receives, for one call and for two at once."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    for calls in ([SEND], [SEND, SEARCH]):
        model = Model(calls)
        said = await whole(deputy, sandbox, agent("FunctionAgent", deputy, model=model, **named))
        told += model.told
        for place, text in {"stream": said, "model": "\n".join(model.told), "log": caplog.text}.items():
            assert CANARY not in text and "Hostile()" not in text, place
        assert len(model.told) == 2, "each call was answered, and the model went on"
    return told


@pytest.mark.parametrize("step", STEPS)
async def test_adapter_exception_text_reaches_no_model_stream_or_log(
    deputy: Deputy, sandbox: Sandbox, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    where, name, instead = STEPS[step]
    monkeypatch.setattr(where, name, instead)
    await check(deputy, sandbox, caplog)


@pytest.mark.parametrize("method", OF_A_DEPUTY)
async def test_deputy_exception_text_reaches_no_model_stream_or_log(
    deputy: Deputy, sandbox: Sandbox, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deputy, method, fails)
    await check(deputy, sandbox, caplog)
    assert method == "check_calls" or len(sandbox.sent("alice@example.test")) <= 2


@pytest.mark.parametrize("how", ["sync", "async", "async later", "not awaitable", "of the run's store"])
async def test_application_exception_text_reaches_no_model_stream_or_log(
    deputy: Deputy, sandbox: Sandbox, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(ctx: Context) -> str:
        seen.append(1)
        return "alice" if len(seen) < 3 else await fails()

    async def of_the_store(ctx: Context) -> str:
        return str(await ctx.store.get(f"no.such.{CANARY}"))  # the error of LlamaIndex names the path

    seen: list[int] = []
    sources: dict[str, Any] = {
        "sync": fails_at_once,
        "async": fails,
        "async later": later,
        "not awaitable": lambda ctx: type("Odd", (), {"__await__": fails_at_once})(),
        "of the run's store": of_the_store,
    }
    told = await check(deputy, sandbox, caplog, user=sources[how])
    assert "The tool failed." in "\n".join(told) and sandbox.sent("alice@example.test") == []


async def test_act_whose_note_failed_is_reported_as_done(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is told of a failure calls again, and the repeated call is another act."""
    await connect(deputy, sandbox, "send")
    monkeypatch.setattr(Delivery, "done", fails)
    assert "Sent." in await whole(deputy, sandbox, agent("FunctionAgent", deputy, SEND))
    assert len(sandbox.sent("alice@example.test")) == 1
