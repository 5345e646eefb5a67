"""When LangChain binds tools strictly, optional arguments may be null, and null means omitted."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, wrap_model_call
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field

from deputize.adapters.langchain import ActTool, DeputyToolkit, ToolSearch, tools
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.graphs import Context, config
from tests.support.openai_strict_rules import breaches

pytestmark = pytest.mark.connected("readonly")

NULL: Final = {"type": "null"}
NULLS: Final = {"unread": None, "skip_automated": None, "limit": None, "from": None}


class Answer(BaseModel):
    text: str


class Binding(BaseChatModel):
    """A model that reports what was bound to it, and searches once."""

    bound: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "binding"

    def bind_tools(self, tools: Sequence[Any], **given: Any) -> Any:
        strict = given.get("strict")
        self.bound[:] = [convert_to_openai_tool(one, strict=strict)["function"] for one in tools]
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        call = {"name": "gmail_search_emails", "args": {"query": "from:bob", **NULLS}, "id": "1"}
        asked = any(one.type == "tool" for one in messages)
        said = AIMessage('{"text": "done"}') if asked else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


@pytest.fixture
def openai_model(monkeypatch: pytest.MonkeyPatch) -> Binding:
    """Return a model of OpenAI's API, in LangChain's class."""
    base = ModuleType("langchain_openai.chat_models.base")
    vars(base)["BaseChatOpenAI"] = type("BaseChatOpenAI", (Binding,), {})
    for name in ("langchain_openai", "langchain_openai.chat_models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, base.__name__, base)
    made: Binding = vars(base)["BaseChatOpenAI"](profile={"structured_output": True})
    return made


def shown(bound: Sequence[dict[str, Any]], name: str = "gmail_search_emails") -> dict[str, Any]:
    [found] = [one["parameters"] for one in bound if one["name"] == name]
    return dict(found)


def test_every_tool_schema_is_valid_in_openai_strict_mode(sandbox: Sandbox) -> None:
    from deputize.sandbox.deputies import new_deputy

    deputy = new_deputy(sandbox)
    ours = deputy.tools()
    before = copy.deepcopy([(one.schema, one.strict_schema) for one in ours])
    for one in tools(deputy, strict=True):
        made = convert_to_openai_tool(one, strict=True)["function"]
        assert made["strict"] is True and list(breaches(made["parameters"])) == [], one.name
    assert [(one.schema, one.strict_schema) for one in ours] == before, "what LangChain writes into is a copy"


@pytest.mark.parametrize(
    "form", [ProviderStrategy(Answer), AutoStrategy(Answer), Answer], ids=["provider", "auto", "raw"]
)
async def test_agent_with_a_response_format_offers_and_accepts_null(
    deputy: Deputy, openai_model: Binding, form: Any
) -> None:
    middleware = DeputyMiddleware(deputy, "gmail")
    agent: Any = create_agent(openai_model, middleware=[middleware], response_format=form, context_schema=Context)
    state = await agent.ainvoke({"messages": [("user", "go")]}, config(), context=Context("alice"))
    parameters = shown(openai_model.bound)
    assert list(breaches(parameters)) == [] and {"unread", "limit"} <= set(parameters["required"])
    assert (
        NULL in parameters["properties"]["unread"]["anyOf"] and NULL not in parameters["properties"]["query"].values()
    )
    found = json.loads(next(one.content for one in state["messages"] if one.type == "tool"))
    plain = await deputy.act("gmail_search_emails", {"query": "from:bob"}, user="alice")
    assert [one["id"] for one in found["items"]] == [one["id"] for one in plain["items"]], "read mail, too"
    assert state["structured_response"] == Answer(text="done")


@pytest.mark.parametrize("search", [False, True])
async def test_strict_model_setting_offers_null_with_search_and_other_marks(deputy: Deputy, search: bool) -> None:
    @wrap_model_call
    async def settings(request: ModelRequest[Any], handler: Any) -> Any:
        marked = [one.model_copy(update={"tags": ["x"]}) if isinstance(one, ActTool) else one for one in request.tools]
        return await handler(request.override(model_settings={"strict": True}, tools=marked))

    ours = DeputyMiddleware(deputy, "gmail", search=search, always=["gmail_search_emails"] if search else ())
    model = Binding()
    agent: Any = create_agent(model, middleware=[settings, ours])
    await agent.ainvoke({"messages": [("user", "go")]}, config())
    assert list(breaches(shown(model.bound))) == [] and (len(model.bound) < 5) == search


@pytest.mark.parametrize("said", [None, False])
async def test_openai_responses_api_is_strict_by_default(
    deputy: Deputy, openai_model: Binding, monkeypatch: pytest.MonkeyPatch, said: bool | None
) -> None:
    """It makes every property required, and removes none."""

    @wrap_model_call
    async def settings(request: ModelRequest[Any], handler: Any) -> Any:
        return await handler(request.override(model_settings={} if said is None else {"strict": said}))

    def at_responses(model: Any, payload: dict[str, Any]) -> bool:
        return bool(payload["tools"])

    for name, value in {"use_responses_api": True, "_use_responses_api": at_responses}.items():
        monkeypatch.setattr(type(openai_model), name, value, raising=False)
        agent: Any = create_agent(openai_model, middleware=[settings, DeputyMiddleware(deputy, "gmail")])
        await agent.ainvoke({"messages": [("user", "go")]}, config())
        assert (NULL in shown(openai_model.bound)["properties"]["unread"].get("anyOf", ())) == (said is None)


@pytest.mark.parametrize("form", [None, ToolStrategy(Answer)], ids=["none", "tool"])
async def test_schemas_without_strict_are_unchanged(deputy: Deputy, openai_model: Binding, form: Any) -> None:
    agent: Any = create_agent(openai_model, middleware=[DeputyMiddleware(deputy, "gmail")], response_format=form)
    await agent.ainvoke({"messages": [("user", "go")]}, config())
    for one in deputy.tools("gmail"):
        assert shown(openai_model.bound, one.name)["properties"] == one.schema["properties"]


async def test_manually_bound_strict_tools_accept_null(deputy: Deputy) -> None:
    bundle = DeputyToolkit(deputy=deputy, toolkits=("gmail",), user="alice", strict=True).get_tools()
    strict = {one.name: one for one in tools(deputy, "gmail", user="alice", strict=True)}
    found = ToolSearch(deputy, [*strict.values()], always=["gmail_search_emails"]).bound([])
    for one in (strict["gmail_search_emails"], bundle[[*strict].index("gmail_search_emails")], found[0]):
        made = convert_to_openai_tool(one, strict=True)["function"]["parameters"]
        assert list(breaches(made)) == [] and NULL in made["properties"]["unread"]["anyOf"]
    plain = {one.name: one for one in tools(deputy, "gmail", user="alice")}["gmail_search_emails"]
    wanted = await plain.ainvoke({"query": "from:bob"})
    for one in (plain, strict["gmail_search_emails"]):
        assert await one.ainvoke({"query": "from:bob", **NULLS}) == wanted
