"""Missing consent of a single LangChain tool call is passed to the application's callbacks, sync and async."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langgraph.graph import MessagesState
from langgraph.types import interrupt

from deputize.adapters.langchain import tools
from deputize.core import Consent, Deputy, SettingsError
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, asking, config, wired
from tests.support.sandbox_deputy import connect

CALL = {"type": "tool_call", "name": "gmail_whoami", "id": "1", "args": {}}


async def ask(deputy: Deputy, way: str, call: dict[str, Any] = CALL, **given: Any) -> ToolMessage:
    """Return the answer to one call."""
    [tool] = tools(deputy, call["name"], user="alice", **given)
    made = {"type": "tool_call", **call}
    answer = await tool.ainvoke(made) if way == "ainvoke" else await asyncio.to_thread(tool.invoke, made)
    assert isinstance(answer, ToolMessage)
    return answer


def later(heard: list[Any]) -> Callable[[Any], Any]:
    async def hear(asked: Any) -> None:
        await asyncio.sleep(0)
        heard.append(asked)

    return hear


each_way = pytest.mark.parametrize("way", ["invoke", "ainvoke"])
each_kind = pytest.mark.parametrize("kind", [later, lambda heard: heard.append], ids=["async", "plain"])


@each_way
@each_kind
async def test_on_consent_is_called_before_the_call_is_answered(
    deputy: Deputy, sandbox: Sandbox, way: str, kind: Callable[[list[Any]], Any]
) -> None:
    heard: list[Any] = []
    answer = await ask(deputy, way, on_consent=kind(heard))
    assert answer.status == "error" and [one.link for one in heard] == [answer.artifact["consent"]["link"]]
    await connect(deputy, sandbox, "send")
    answer = await ask(deputy, way, SEND, on_approval=kind(heard))
    assert heard[1].id == answer.artifact["approval"]["approval_id"]


@each_way
async def test_exception_in_on_consent_is_logged_for_the_operator(
    deputy: Deputy, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(consent: Consent) -> None:
        raise ValueError(consent.link)

    async def fail_later(consent: Consent) -> None:
        fail(consent)

    for failing in (fail, fail_later):
        with caplog.at_level(logging.WARNING, "deputize"):
            answer = await ask(deputy, way, on_consent=failing)
        assert answer.artifact["consent"]["link"] and "ValueError" not in str(answer.content)
    assert caplog.text.count("failed: ValueError") == 2 and "http" not in caplog.text


async def test_plain_on_consent_function_may_wait_for_the_user(deputy: Deputy) -> None:
    waited: list[str] = []

    def wait(consent: Consent) -> None:
        [now] = deputy.run(deputy.wait_for_consents([consent], timeout=0.01))
        waited.append(now.status)

    await ask(deputy, "invoke", on_consent=wait)
    assert waited == ["pending"]


async def test_interrupt_in_on_consent_pauses_the_graph(deputy: Deputy) -> None:
    [tool] = tools(deputy, "gmail_whoami", user="alice", on_consent=lambda consent: interrupt(consent.link))

    def node(state: MessagesState) -> Any:
        return {"messages": [tool.invoke(CALL)]}

    state = await asyncio.to_thread(wired(node).invoke, asking(CALL), config())
    assert "127.0.0.1" in state["__interrupt__"][0].value


@pytest.mark.parametrize("name", ["on_consent", "on_approval"])
def test_callback_that_is_not_callable_is_refused_at_construction(deputy: Deputy, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}= is a value of type int"):
        tools(deputy, "gmail", **{name: 5})  # type: ignore[arg-type]
