"""Every snippet of README.md and docs/python.md runs, and does what the text around it says."""

from __future__ import annotations

import asyncio
import json
import logging
import posixpath
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
from typer.testing import CliRunner

from deputize.adapters import langgraph
from deputize.adapters.langgraph import requests_in
from deputize.cli.app import app as cli
from deputize.core import Approval
from deputize.core.tools.plugins import find_toolkits
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.core.audit.test_chain import TAMPERING
from tests.core.test_canary import SINKS
from tests.docs.blocks import block, blocks, run, text
from tests.docs.commands import commands, parse
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, plain, tool_messages
from tests.support.sandbox_deputy import build, connect, consent

GRAPH: Final = block("README.md", "act_node(deputy")
RESUME: Final = block("README.md", "resume_when_done(deputy, graph")
PLAIN: Final = block("docs/python.md", "emails = await")
INJECTION: Final = "docs/security/prompt-injection.md"
ASKING: Final = block("docs/python.md", "ApprovalRequired")


def test_every_python_block_is_executed_here() -> None:
    assert blocks("README.md", "python") == [GRAPH, RESUME]
    assert blocks("docs/python.md", "python") == [PLAIN, ASKING]
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
        assert "deputize ignores the value and reads the vault again" in text("README.md")
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
        "resume_when_done": langgraph.resume_when_done,
        "config": config(),
        "Context": Context,
        "Command": Command,
    }

    async def meanwhile(statement: int) -> None:
        if statement == 0:  # resume_when_done comes next: the user is at the link while it waits
            names["user"] = asyncio.create_task(connect(deputy, sandbox, "readonly", "send"))
        if statement == 1:
            await names["user"]
            assert requests_in(names["state"]["__interrupt__"], "approval")
            (approval,) = requests_in((await graph.aget_state(config())).interrupts, "approval")
            names["approval_id"] = approval["approval_id"]

    await run(RESUME, names, meanwhile)
    answers = tool_messages((await graph.aget_state(config())).values)
    assert {answer.status for answer in answers.values()} == {"success"}
    assert len(sandbox.sent("alice@example.test")) == 1
    await deputy.close()


async def test_documented_plain_act_works_sync_and_async() -> None:
    sandbox = Sandbox()
    deputy = await build(sandbox)
    await connect(deputy, sandbox, "readonly")
    awaited = await run(PLAIN.splitlines()[0], {"deputy": deputy})
    whole = await run(PLAIN, {"deputy": deputy})
    assert awaited["emails"]["items"] and whole["emails"] == awaited["emails"]
    await deputy.close()


async def test_documented_loop_asks_for_consent_and_approval_and_sends_once() -> None:
    sandbox, shown, answers = Sandbox(), list[str](), set[asyncio.Task[Any]]()
    async with await build(sandbox) as deputy:

        async def answer() -> None:
            for question in await deputy.pending("alice"):
                if isinstance(question, Approval):
                    await deputy.decide(question, "approve", by="alice")
                else:
                    await consent(deputy, sandbox, question)

        def show(link: str) -> None:
            shown.append(link)
            answers.add(asyncio.create_task(answer()))

        names = await run(ASKING, {"deputy": deputy, "show": show})
        await asyncio.gather(*answers)
        assert names["sent"]["id"] and len(sandbox.sent("alice@example.test")) == 1
        assert len(shown) == 2 and "/connect/" in shown[0] and "/approve/" in shown[1], shown


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


def test_documented_act_arguments_are_valid() -> None:
    (line,) = [one for one in commands("docs/command-line.md") if one.startswith("deputize act ")]
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


def test_list_of_pages_links_every_page() -> None:
    root = Path(__file__).parents[2]
    pages = {str(page.relative_to(root)) for page in [*(root / "docs").rglob("*.md"), *root.glob("*.md")]}
    linked = {posixpath.normpath(f"docs/{link}") for link in re.findall(r"\]\(([^)#]+)\)", text("docs/pages.md"))}
    assert pages - linked == {"README.md", "CHANGELOG.md", "docs/pages.md"}


PROMISES: Final = re.findall(r"^\| (.+) \| (.+) \| `(tests/[\w/]+\.py)`: `(\w+)` \|$", text("README.md"), re.MULTILINE)


@pytest.mark.parametrize(("promise", "figure", "file", "test"), PROMISES, ids=[row[3] for row in PROMISES])
def test_promise_of_the_readme_has_a_test(promise: str, figure: str, file: str, test: str) -> None:
    source = (Path(__file__).parents[2] / file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), promise


def test_figures_of_the_readme_are_those_of_the_tests() -> None:
    figures = {test: list(map(int, re.findall(r"\d+", figure))) for _, figure, _, test in PROMISES}
    tools = sum(len(kit.tools) for kit in find_toolkits().values())
    assert figures == {
        "test_L1_no_sink_of_an_application_contains_a_secret": [0, len(SINKS)],
        "test_no_schema_lets_a_model_name_a_user_or_token": [0, tools],
        "test_fifty_concurrent_runs_of_one_act_send_once": [50, 1],
        "test_R2_eight_processes_with_25_acts_each_refresh_once": [8, 25, 1],
        "test_W9_R33_disconnect_at_any_point_of_a_refresh_wins": [0],
        "test_U3_every_change_of_a_chain_is_found": [len(TAMPERING), len(TAMPERING)],
    }
    run_once = text(INJECTION).partition("| Suite | Attacks |")[2].partition("## Variants")[0]
    table = re.findall(r"^\| (?:workspace|slack|travel|banking) \| (\d+) \| (\d+) \| \d+ of", run_once, re.MULTILINE)
    attacks, unasked = (sum(int(row[column]) for row in table) for column in (0, 1))
    assert f"0 of {attacks} attacks with a hijacked agent; {unasked} made an event" in text("README.md")
    assert "Nothing that others can see happened without a question" in text(INJECTION)


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
