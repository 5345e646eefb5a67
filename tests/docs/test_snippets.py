"""Every snippet of README.md runs, and does what the text around it says."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms.mock import MockFunctionCallingLLM
from typer.testing import CliRunner

from deputize.adapters import langchain, langgraph
from deputize.adapters.langgraph import requests_in
from deputize.cli.app import app as cli
from deputize.core import (
    User,
)
from deputize.core.tools.plugins import find_toolkits
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.docs.blocks import block, blocks, run, text
from tests.docs.commands import commands, parse
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, plain, tool_messages
from tests.support.llamaindex_agents import Model
from tests.support.sandbox_deputy import build, connect, consent

GRAPH: Final = block("README.md", "act_node(deputy")
RESUME: Final = block("README.md", "resume_when_done(deputy, graph")
AGENT: Final = block("README.md", "GmailToolSpec(deputy")
PLAIN: Final = block("README.md", "emails = await")


def test_every_python_block_is_executed_here() -> None:
    assert blocks("README.md", "python") == [GRAPH, RESUME, AGENT, PLAIN]
    assert set(re.findall(r"^```(\w+)$", text("README.md"), re.MULTILINE)) <= {"python", "bash"}


# ------------------------------------------------------------- README: in your graph


async def allow(link: str) -> None:
    """Allow access at the link, in a browser."""
    async with httpx.AsyncHTTPTransport() as network:
        await Browser(network).allow(link)


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """Set DEPUTIZE_HOME, and an own app at a Google simulated by a sandbox."""
    async with serve(Sandbox().app) as google:
        for name, value in {
            "HOME": str(tmp_path / "home"),
            "PORT": "0",
            "SANDBOX_URL": google,
            "APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
            "APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
        }.items():
            monkeypatch.setenv(f"DEPUTIZE_{name}", value)
        yield tmp_path / "home"


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_readme_llamaindex_agent_asks_by_events_and_sends_once() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        going: list[asyncio.Task[None]] = []

        def show(link: str) -> None:
            going.append(asyncio.create_task(visit()))

        async def visit() -> None:
            [waiting] = await deputy.consents.list_pending(User("alice"))
            await consent(deputy, sandbox, waiting)

        names: dict[str, Any] = {
            "deputy": deputy,
            "FunctionAgent": FunctionAgent,
            "llm": MockFunctionCallingLLM(response_generator=Model([SEND])),
            "show": show,
            "ask": lambda preview: "approve",
        }
        names = await run(AGENT, names)
        assert "Sent." in str(await names["handler"]) and len(sandbox.sent("alice@example.test")) == len(going) == 1


@tool
def my_own_tool(word: str) -> str:
    """A tool of the application's."""
    return word.upper()


class Learner:
    """A chat model that only records which tools it is given."""

    def bind_tools(self, tools: list[Any]) -> list[Any]:
        return tools


async def test_readme_graph_pauses_once_for_all_missing_scopes(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    builder = StateGraph(MessagesState, context_schema=Context)
    with caplog.at_level(logging.ERROR, "deputize"):
        names = await run(GRAPH, {"builder": builder, "my_own_tool": my_own_tool, "model": Learner()})
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    graph: Graph = builder.compile(checkpointer=InMemorySaver())
    async with names["deputy"] as deputy:
        assert {one.name for one in names["model"]} == {one.name for one in deputy.tools("gmail")} | {"my_own_tool"}
        assert {"vault.sqlite", "key", "audit"} <= {file.name for file in home.iterdir()}
        own = {"name": "my_own_tool", "args": {"word": "yes"}, "id": "own"}
        await graph.ainvoke(asking(SEARCH, SEND, own), config(), context=Context(user_id="alice"))
        (pause,) = (await graph.aget_state(config())).interrupts
        (missing,) = requests_in([pause], "consent")
        assert len(missing["scopes"]) == 2 and missing["link"].startswith(await deputy.pages.base_url())
        assert "Resume with `Command(resume=RESUME)`" in text("README.md")
        await graph.ainvoke(Command(resume=langgraph.RESUME), config(), context=Context("alice"))
        assert requests_in((await graph.aget_state(config())).interrupts, "consent") == [missing]
        await allow(missing["link"])
        assert "Any value that is no answer does the same" in text("README.md")
        await graph.ainvoke(Command(resume={"done": False, "any": "thing"}), config(), context=Context("alice"))
        (approval,) = requests_in((await graph.aget_state(config())).interrupts, "approval")
        declined = {"decisions": {approval["approval_id"]: "reject"}}
        answers = tool_messages(await graph.ainvoke(Command(resume=declined), config(), context=Context("alice")))
    assert {name: answer.status for name, answer in answers.items()} == {
        "search": "success",
        "send": "error",
        "own": "success",
    }
    assert answers["own"].text == "YES"


async def test_readme_paused_graph_is_resumed() -> None:
    sandbox = Sandbox()
    deputy = await build(sandbox)
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=Context("alice"))
    names: dict[str, Any] = {
        "deputy": deputy,
        "graph": graph,
        "config": config(),
        "Context": Context,
        "Command": Command,
    }

    async def meanwhile(statement: int) -> None:
        if statement == 1:  # resume_when_done comes next: the user is at the link while it waits
            names["user"] = asyncio.create_task(connect(deputy, sandbox, "readonly", "send"))
        if statement == 2:
            await names["user"]
            assert requests_in(names["state"]["__interrupt__"], "approval")
            (approval,) = requests_in((await graph.aget_state(config())).interrupts, "approval")
            names["approval_id"] = approval["approval_id"]

    await run(RESUME, names, meanwhile)
    answers = tool_messages((await graph.aget_state(config())).values)
    assert {answer.status for answer in answers.values()} == {"success"}
    assert len(sandbox.sent("alice@example.test")) == 1
    await deputy.close()


async def test_readme_plain_act_works_sync_and_async() -> None:
    sandbox = Sandbox()
    deputy = await build(sandbox)
    await connect(deputy, sandbox, "readonly")
    awaited = await run(PLAIN.splitlines()[0], {"deputy": deputy})
    whole = await run(PLAIN, {"deputy": deputy})
    assert awaited["emails"]["items"] and whole["emails"] == awaited["emails"]
    await deputy.close()


async def test_readme_langchain_tools_are_created() -> None:
    deputy = await build()
    (call,) = re.findall(r"`(deputize\.adapters\.langchain\.tools\(.*?\))`", text("README.md"))
    made = eval(call.removeprefix("deputize.adapters."), {"langchain": langchain, "deputy": deputy})  # noqa: S307
    assert {one.name for one in made} == {one.name for one in deputy.tools("gmail")}
    await deputy.close()


def test_changelog_counts_the_tools_correctly() -> None:
    changes = text("CHANGELOG.md")
    assert f"The Gmail toolkit: {len(find_toolkits('gmail')['gmail'].tools)} tools." in changes
    assert f"The Google Calendar toolkit: {len(find_toolkits('calendar')['calendar'].tools)} tools." in changes


# ------------------------------------------------------------- README: commands


@pytest.mark.parametrize("line", commands("README.md"))
def test_readme_command_exists_with_its_options(line: str) -> None:
    assert f" {line.split()[1]} " in parse(line)


@pytest.mark.parametrize("line", ["deputize conect google", "deputize connect google --scope x", "deputize act"])
def test_unknown_command_would_be_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"conect|[Nn]o such option|Missing parameter"):
        parse(line)


def test_readme_act_arguments_are_valid() -> None:
    (line,) = [one for one in commands("README.md") if one.startswith("deputize act ")]
    name, arguments = shlex.split(line)[2:]
    assert find_toolkits("gmail")["gmail"].tools[name].validate(json.loads(arguments))["query"] == "from:bob"


def test_changelog_commands_exist() -> None:
    (line,) = [line for line in text("CHANGELOG.md").splitlines() if line.startswith("- The command line: ")]
    named = re.findall(r"`(\w[\w ]*)`", line)
    assert named
    for words in named:
        assert CliRunner().invoke(cli, [*words.split(), "--help"]).exit_code == 0, words


@pytest.mark.parametrize("marker", ["# runs the main job", "# passes the tests"])
def test_each_marked_command_is_in_the_readme_once(marker: str) -> None:
    marked = [line for one in blocks("README.md", "bash") for line in one.splitlines() if marker in line]
    assert len(marked) == text("README.md").count(marker) == 1
    command, _, rest = marked[0].partition(marker)
    assert rest == "" and command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -e ")
    assert text("README.md").splitlines().index(marked[0]) < 40, "where a newcomer looks"


def test_readme_links_every_page() -> None:
    root = Path(__file__).parents[2]
    pages = {str(page.relative_to(root)) for page in [*(root / "docs").glob("*.md"), *root.glob("*.md")]}
    assert pages - set(re.findall(r"\]\(([^)#]+)\)", text("README.md"))) == {"README.md", "CHANGELOG.md"}


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/requirements.md", "examples/README.md"]
)
def test_every_file_and_module_named_on_a_page_exists(page: str) -> None:
    root = Path(__file__).parents[2]
    paths = re.findall(r"\]\((?!https?:)([^)#]+)\)", text(page))
    paths += re.findall(r"`((?:core|toolkits|adapters|tests|docs|oauth|\.ci)/[\w./-]*)`", text(page))
    near = [root, (root / page).parent, root / "core/deputize/core"]
    assert [path for path in paths if not any((folder / path).exists() for folder in near)] == []
    for module in re.findall(r"-m (tests\.[\w.]+)", text(page)):
        base = root / module.replace(".", "/")
        assert base.with_suffix(".py").exists() or (base / "__main__.py").exists()
