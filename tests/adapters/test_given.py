"""Invalid arguments to a constructor are refused there, with the same message in each adapter."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from agents import FunctionTool
from agents.tool_context import ToolContext
from pydantic import ValidationError

from deputize.adapters import google_adk, langchain, openai_agents
from deputize.adapters.acting_user import UserPolicy
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.mcp import DeputyServer
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy, InvalidInput, SettingsError, UserRequired
from tests.support.graphs import SEARCH
from tests.support.pydantic_ai_runs import Runs

Made = Callable[..., Any]
ALL: Final[dict[str, Made]] = {
    "tools": lambda deputy, *names, **given: langchain.tools(deputy, *names, **given),
    "toolkit": lambda deputy, *names, **given: langchain.DeputyToolkit(deputy=deputy, toolkits=names, **given),
    "act_node": act_node,
    "middleware": DeputyMiddleware,
    "pydantic-ai": lambda deputy, *names, user="alice", **given: (
        DeputyToolset(deputy, *names, user=user, **given).tools
    ),
    "openai-agents": lambda deputy, *names, user="alice", **given: openai_agents.tools(
        deputy, *names, user=user, thread="1", **given
    ),
    "google-adk": lambda deputy, *names, user="alice", **given: (
        google_adk.DeputyToolset(deputy, *names, user=user, **given).tools
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


@each_constructor
def test_user_setting_that_can_never_name_a_user_is_refused(deputy: Deputy, name: str) -> None:
    for user in (7.0, ("alice", "acme"), ["alice"], b"alice", True, {"id": "alice"}):
        with pytest.raises(SettingsError, match=f"user= names its user by a value of type {type(user).__name__}"):
            ALL[name](deputy, "gmail", user=user)
    for known in ("alice", 7, lambda run: "alice"):
        ALL[name](deputy, "gmail", user=known)


@each_constructor
def test_async_user_function_is_refused(deputy: Deputy, name: str) -> None:
    for user in ASYNC:
        if name == "llamaindex":  # there it is awaited
            ALL[name](deputy, "gmail", user=user)
            continue
        with pytest.raises(SettingsError, match="user= is an async function") as refused:
            ALL[name](deputy, "gmail", user=user)
        assert "plain function" in refused.value.hint


async def test_awaitable_from_a_user_function_is_refused_and_closed(deputy: Deputy) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserRequired, match="returns an awaitable"):
            UserPolicy(lambda run: later(run)).acting_user({})  # type: ignore[arg-type, return-value]
        source: Any = lambda ctx: later(ctx)  # noqa: E731
        [one] = langchain.tools(deputy, SEARCH["name"], user=source)
        assert "returns an awaitable" in await one.ainvoke({"query": "x"})
        assert "returns an awaitable" in (await Runs().start(deputy, SEARCH, user=later(None))).text  # type: ignore[arg-type]
        [other] = openai_agents.tools(deputy, SEARCH["name"], user=source, thread="1")
        assert isinstance(other, FunctionTool)
        ctx = ToolContext(None, tool_name=other.name, tool_call_id="1", tool_arguments="{}")
        assert "returns an awaitable" in str(await other.on_invoke_tool(ctx, '{"query": "from:bob"}'))


@each_constructor
def test_argument_that_is_not_a_deputy_is_refused(deputy: Deputy, name: str) -> None:
    for given in (None, "gmail", object()):
        wanted = (
            (ValidationError, "DeputyProtocol")
            if name == "toolkit"
            else (SettingsError, f"type {type(given).__name__}")
        )
        with pytest.raises(wanted[0], match=wanted[1]):
            ALL[name](given, "gmail")
    with pytest.raises(SettingsError, match="not a class"):
        ALL[name](Deputy, "gmail")


@each_constructor
def test_list_of_toolkits_error_says_to_pass_separate_arguments(deputy: Deputy, name: str) -> None:
    for given in (["gmail", "slack"], ("gmail",), {"gmail"}):
        with pytest.raises((InvalidInput, ValidationError)) as refused:
            ALL[name](deputy, given)
        assert name == "toolkit" or "*names" in getattr(refused.value, "hint", "")
    with pytest.raises(InvalidInput, match="as its own argument"):
        deputy.tools(["gmail"])  # type: ignore[arg-type]


def names_of(made: Any) -> set[str]:
    """Return the names of the tools that a constructor created."""
    for attribute in ("get_tools", "tools_by_name", "tools", "to_tool_list"):
        found = getattr(made, attribute, made)
        made = found() if callable(found) and found is not made else found
    return {one if isinstance(one, str) else one.name for one in made if isinstance(one, str) or hasattr(one, "name")}


@each_constructor
def test_read_only_excludes_writing_tools_and_unknown_names_are_refused(deputy: Deputy, name: str) -> None:
    names = names_of(ALL[name](deputy, "gmail", read_only=True))
    assert "gmail_search_emails" in names and not names & {"gmail_send_email", "gmail_save_draft"}
    assert "gmail_search_emails" in names_of(ALL[name](deputy, "gmail_search_emails"))
    with pytest.raises(InvalidInput, match="'gmale'"):
        names_of(ALL[name](deputy, "gmale"))
    with pytest.raises((TypeError, ValidationError), match=r"toolkit"):
        ALL[name](deputy, toolkit=("gmail",))


def test_langchain_toolkit_class_takes_all_parameters_of_the_function(deputy: Deputy) -> None:
    function = inspect.signature(langchain.tools).parameters
    assert list(function) == list(langchain.DeputyToolkit.model_fields)
    given = {"agent": "mail", "on_consent": print, "on_approval": print, "user_from_configurable": True}
    [one] = langchain.DeputyToolkit(deputy=deputy, toolkits=("gmail_whoami",), **given).get_tools()  # type: ignore[arg-type]
    assert isinstance(one, langchain.ActTool)
    assert {name: getattr(one.host, name) for name in given} == given
    with pytest.raises(SettingsError, match="on_consent"):
        langchain.DeputyToolkit(deputy=deputy, on_consent=5)  # type: ignore[arg-type]


def test_always_must_be_a_list_and_needs_search(deputy: Deputy) -> None:
    with pytest.raises(SettingsError, match="needs search=True"):
        DeputyMiddleware(deputy, "gmail", always=["gmail_send_email"])
    with pytest.raises(SettingsError, match="always= is a string"):
        DeputyMiddleware(deputy, "gmail", search=True, always="gmail_send_email")
    with pytest.raises(SettingsError, match="always= is a string"):
        langchain.ToolSearch(deputy, langchain.tools(deputy, "gmail"), always="gmail_send_email")
    DeputyMiddleware(deputy, "gmail", search=True, always=["gmail_send_email"])


def test_mcp_server_tools_must_be_a_list_of_the_deputys(deputy: Deputy) -> None:
    with pytest.raises(SettingsError, match="tools= is a string"):
        DeputyServer(deputy, "gmail")
    with pytest.raises(SettingsError, match="must be a deputy"):
        DeputyServer(None)  # type: ignore[arg-type]


def test_thread_must_be_a_string_or_a_plain_function(deputy: Deputy) -> None:
    for thread, why in ((7, "type int"), (None, "type NoneType"), (later, "async function")):
        with pytest.raises(SettingsError, match=f"thread= is .*{why}"):
            openai_agents.tools(deputy, "gmail", user="alice", thread=thread)  # type: ignore[arg-type]
