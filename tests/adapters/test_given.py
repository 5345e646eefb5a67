"""What a host gives a constructor and cannot mean is refused there, in the same words in each adapter."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import pytest
from agents import FunctionTool
from agents.tool_context import ToolContext

from deputize.adapters import langchain, openai_agents
from deputize.adapters.host import Identity
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy, SettingsError, UserRequired
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH
from tests.support.house import build
from tests.support.pydantic_ai_runs import Runs

Made = Callable[..., Any]
ALL: Final[dict[str, Made]] = {
    "tools": lambda deputy, *names, **given: langchain.tools(deputy, *names, **given),
    "toolkit": lambda deputy, *names, **given: langchain.DeputyToolkit(deputy=deputy, toolkits=names, **given),
    "act_node": act_node,
    "middleware": DeputyMiddleware,
    "pydantic-ai": lambda deputy, *names, user="alice", **given: DeputyToolset(deputy, *names, user=user, **given),
    "openai-agents": lambda deputy, *names, user="alice", **given: openai_agents.tools(
        deputy, *names, user=user, thread="1", **given
    ),
    "llamaindex": lambda deputy, *names, user="alice", **given: DeputyToolSpec(deputy, *names, user=user, **given),
}
each_constructor = pytest.mark.parametrize("name", ALL)


async def later(run: Any) -> str:
    return "alice"


class Later:
    async def __call__(self, run: Any) -> str:
        return "alice"


ASYNC: Final[list[Any]] = [later, Later(), partial(later)]


@pytest.fixture
async def deputy(sandbox: Sandbox) -> AsyncIterator[Deputy]:
    async with await build(sandbox) as deputy:
        yield deputy


@each_constructor
def test_what_names_nobody_in_any_run_is_no_user(deputy: Deputy, name: str) -> None:
    for user in (7.0, ("alice", "acme"), ["alice"], b"alice", True, {"id": "alice"}):
        with pytest.raises(SettingsError, match=f"user= names its user by a value of type {type(user).__name__}"):
            ALL[name](deputy, "gmail", user=user)
    for known in ("alice", 7, lambda run: "alice"):
        ALL[name](deputy, "gmail", user=known)


@each_constructor
def test_an_async_function_that_nothing_would_await_is_refused(deputy: Deputy, name: str) -> None:
    for user in ASYNC:
        if name == "llamaindex":  # there it is awaited
            ALL[name](deputy, "gmail", user=user)
            continue
        with pytest.raises(SettingsError, match="user= is an async function") as refused:
            ALL[name](deputy, "gmail", user=user)
        assert "plain function" in refused.value.hint


async def test_what_a_function_returns_to_be_awaited_is_refused_and_closed(deputy: Deputy) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserRequired, match="has to be awaited"):
            Identity(lambda run: later(run)).acting({})  # type: ignore[arg-type, return-value]
        source: Any = lambda ctx: later(ctx)  # noqa: E731
        [one] = langchain.tools(deputy, SEARCH["name"], user=source)
        assert "has to be awaited" in await one.ainvoke({"query": "x"})
        assert "has to be awaited" in (await Runs().start(deputy, SEARCH, user=later(None))).text  # type: ignore[arg-type]
        [other] = openai_agents.tools(deputy, SEARCH["name"], user=source, thread="1")
        assert isinstance(other, FunctionTool)
        ctx = ToolContext(None, tool_name=other.name, tool_call_id="1", tool_arguments="{}")
        assert "has to be awaited" in str(await other.on_invoke_tool(ctx, '{"query": "from:bob"}'))
