"""Every snippet of README.md and CONTRIBUTING.md runs, and does what the text around it says."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms.mock import MockFunctionCallingLLM
from typer.testing import CliRunner

from deputize.adapters import langchain
from deputize.adapters.langgraph import asked_of
from deputize.cli.app import app as cli
from deputize.core import (
    Account,
    ActKey,
    App,
    Consent,
    ConsentRequired,
    Deputy,
    Identity,
    Provider,
    Run,
    Secret,
    Toolkit,
    User,
)
from deputize.core.act.toolkit import find_toolkits
from deputize.core.audit.facts import OfGrant
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.failures import Kind, classify
from deputize.core.web import texts
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.local_server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from deputize.sandbox.store_contract import StoreContract
from tests.docs.blocks import block, blocks, run, text
from tests.docs.commands import commands, parse
from tests.support import acme_store
from tests.support.agents import Model
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, plain, tool_messages
from tests.support.house import build, connect, consent, new_vault

GRAPH: Final = block("README.md", "act_node(deputy")
RESUME: Final = block("README.md", "resume_when_done(deputy")
AGENT: Final = block("README.md", "GmailToolSpec(deputy")
PLAIN: Final = block("README.md", "emails = await")
PROVIDER: Final = block("CONTRIBUTING.md", "ACME = Provider(")
RULES: Final = block("CONTRIBUTING.md", "ACME_RULES = replace(")
TOOLKIT: Final = block("CONTRIBUTING.md", "TOOLKIT = Toolkit(")
PAGE: Final = block("CONTRIBUTING.md", "PAGES: Final = (")
STORE: Final = block("CONTRIBUTING.md", "STORE = StoreType(")
EVENT: Final = block("CONTRIBUTING.md", "class BudgetSpent(Event)")


def test_every_python_block_is_run_here() -> None:
    assert blocks("README.md", "python") == [GRAPH, RESUME, AGENT, PLAIN]
    assert blocks("CONTRIBUTING.md", "python") == [PROVIDER, RULES, TOOLKIT, PAGE, STORE, EVENT]
    for page in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"^```(\w+)$", text(page), re.MULTILINE)) <= {"python", "bash"}


# ------------------------------------------------------------- README: in your graph


async def allow(link: str) -> None:
    """The user at the link, in a browser."""
    async with httpx.AsyncHTTPTransport() as network:
        await Browser(network).allow(link)


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """DEPUTIZE_HOME, and an app of one's own at a Google that a sandbox plays."""
    async with serve(Sandbox().app) as google:
        for name, value in {
            "HOME": str(tmp_path / "home"),
            "PORT": "0",
            "SANDBOX": google,
            "APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
            "APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
        }.items():
            monkeypatch.setenv(f"DEPUTIZE_{name}", value)
        yield tmp_path / "home"


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_the_llamaindex_agent_of_the_readme_asks_by_events_and_sends_once() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        going: list[asyncio.Task[None]] = []

        def show(link: str) -> None:
            going.append(asyncio.create_task(visit()))

        async def visit() -> None:
            [waiting] = await deputy.consents.waiting(User("alice"))
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
    """A tool of the host's."""
    return word.upper()


class Learner:
    """A chat model of which only is seen which tools it learns."""

    def bind_tools(self, tools: list[Any]) -> list[Any]:
        return tools


async def test_the_graph_of_the_readme_pauses_once_for_all_that_is_missing_and_goes_on(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
        (missing,) = asked_of([pause], "consent")
        assert len(missing["scopes"]) == 2 and missing["link"].startswith(await deputy.pages.base_url())
        assert "Resume with anything" in text("README.md")
        await graph.ainvoke(Command(resume="anything"), config(), context=Context("alice"))
        assert asked_of((await graph.aget_state(config())).interrupts, "consent") == [missing]
        await allow(missing["link"])
        await graph.ainvoke(Command(resume={"done": False, "any": "thing"}), config(), context=Context("alice"))
        (approval,) = asked_of((await graph.aget_state(config())).interrupts, "approval")
        declined = {"decisions": {approval["approval_id"]: "reject"}}
        answers = tool_messages(await graph.ainvoke(Command(resume=declined), config(), context=Context("alice")))
    assert {name: answer.status for name, answer in answers.items()} == {
        "search": "success",
        "send": "error",
        "own": "success",
    }
    assert answers["own"].text == "YES"


async def test_a_paused_graph_is_resumed_as_the_readme_does_it() -> None:
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
            assert asked_of(names["state"]["__interrupt__"], "approval")
            (approval,) = asked_of((await graph.aget_state(config())).interrupts, "approval")
            names["approval_id"] = approval["approval_id"]

    await run(RESUME, names, meanwhile)
    answers = tool_messages((await graph.aget_state(config())).values)
    assert {answer.status for answer in answers.values()} == {"success"}
    assert len(sandbox.sent("alice@example.test")) == 1
    await deputy.close()


async def test_a_plain_act_works_with_await_and_without() -> None:
    sandbox = Sandbox()
    deputy = await build(sandbox)
    await connect(deputy, sandbox, "readonly")
    awaited = await run(PLAIN.splitlines()[0], {"deputy": deputy})
    whole = await run(PLAIN, {"deputy": deputy})
    assert awaited["emails"]["items"] and whole["emails"] == awaited["emails"]
    await deputy.close()


async def test_the_tools_for_plain_langchain_are_made_as_the_readme_says() -> None:
    deputy = await build()
    (call,) = re.findall(r"`(deputize\.adapters\.langchain\.tools\(.*?\))`", text("README.md"))
    made = eval(call.removeprefix("deputize.adapters."), {"langchain": langchain, "deputy": deputy})  # noqa: S307
    assert {one.name for one in made} == {one.name for one in deputy.tools("gmail")}
    await deputy.close()


def test_the_number_of_gmail_tools_in_the_changelog_is_right() -> None:
    changes = text("CHANGELOG.md")
    assert f"The Gmail toolkit: {len(find_toolkits('gmail')['gmail'].tools)} tools." in changes
    assert f"The Google Calendar toolkit: {len(find_toolkits('calendar')['calendar'].tools)} tools." in changes


# ------------------------------------------------------------- README: commands


@pytest.mark.parametrize("line", commands("README.md"))
def test_a_command_of_the_readme_exists_with_its_arguments_and_options(line: str) -> None:
    assert f" {line.split()[1]} " in parse(line)


@pytest.mark.parametrize("line", ["deputize conect google", "deputize connect google --scope x", "deputize act"])
def test_a_command_that_does_not_exist_would_be_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"conect|[Nn]o such option|Missing parameter"):
        parse(line)


def test_the_arguments_of_the_readmes_act_are_those_of_the_tool() -> None:
    (line,) = [one for one in commands("README.md") if one.startswith("deputize act ")]
    name, arguments = shlex.split(line)[2:]
    assert find_toolkits("gmail")["gmail"].tools[name].validate(json.loads(arguments))["query"] == "from:bob"


def test_the_commands_that_the_changelog_names_exist() -> None:
    (line,) = [line for line in text("CHANGELOG.md").splitlines() if line.startswith("- The command line: ")]
    named = re.findall(r"`(\w[\w ]*)`", line)
    assert named
    for words in named:
        assert CliRunner().invoke(cli, [*words.split(), "--help"]).exit_code == 0, words


@pytest.mark.parametrize("marker", ["# runs the main job", "# passes the tests"])
def test_each_marked_command_stands_in_the_readme_once(marker: str) -> None:
    marked = [line for one in blocks("README.md", "bash") for line in one.splitlines() if marker in line]
    assert len(marked) == text("README.md").count(marker) == 1
    command, _, rest = marked[0].partition(marker)
    assert rest == "" and command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -e ")
    assert text("README.md").splitlines().index(marked[0]) < 40, "where a newcomer looks"


def test_the_readme_leads_to_every_page() -> None:
    root = Path(__file__).parents[2]
    pages = {str(page.relative_to(root)) for page in [*(root / "docs").glob("*.md"), *root.glob("*.md")]}
    assert pages - set(re.findall(r"\]\(([^)#]+)\)", text("README.md"))) == {"README.md", "CHANGELOG.md"}


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/requirements.md", "examples/README.md"]
)
def test_every_file_and_module_that_a_page_names_is_there(page: str) -> None:
    root = Path(__file__).parents[2]
    paths = re.findall(r"\]\((?!https?:)([^)#]+)\)", text(page))
    paths += re.findall(r"`((?:core|toolkits|adapters|tests|docs|oauth|\.ci)/[\w./-]*)`", text(page))
    near = [root, (root / page).parent, root / "core/deputize/core"]
    assert [path for path in paths if not any((folder / path).exists() for folder in near)] == []
    for module in re.findall(r"-m (tests\.[\w.]+)", text(page)):
        base = root / module.replace(".", "/")
        assert base.with_suffix(".py").exists() or (base / "__main__.py").exists()


# ------------------------------------------------------------- CONTRIBUTING


class Acme:
    """What Acme answers: its token endpoint, its account, its tasks; and every request that it saw."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        match request.method, f"{request.url.host}{request.url.path}":
            case "POST", "acme.example/oauth/token":
                granted = "tasks:read tasks:write"
                return httpx.Response(
                    200, json={"access_token": "acme-token", "token_type": "Bearer", "scope": granted}
                )
            case "GET", "api.acme.example/v1/me":
                return httpx.Response(200, json={"id": 7, "email": "alice@example.test"})
            case "GET", "api.acme.example/v1/tasks":
                return httpx.Response(200, json={"items": [{"id": 1, "title": "Water the plants", "owner": 7}]})
            case "POST", "api.acme.example/v1/tasks":
                return httpx.Response(201, json={"id": 2, **json.loads(request.content)})
        return httpx.Response(404)

    @property
    def tasks(self) -> list[httpx.Request]:
        """The requests for tasks."""
        return [request for request in self.seen if request.url.path.endswith("/tasks")]


@pytest.fixture
async def contributed() -> dict[str, Any]:
    """The names that both examples of CONTRIBUTING.md define."""
    names = await run(PROVIDER, {"Provider": Provider, "Identity": Identity})
    return await run(TOOLKIT, names)


async def grant(deputy: Deputy, consent: Consent) -> dict[str, str]:
    """The user says yes at Acme; what Acme was asked."""
    started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
    asked = {name: values[0] for name, values in parse_qs(urlsplit(started.url).query).items()}
    back = {"code": "acme-code", "state": asked["state"]}
    await deputy.consents.finish(consent.app, back, AnyLocalUser(), started.nonce.reveal())
    return asked


async def test_the_contributed_toolkit_acts_at_the_contributed_provider(contributed: dict[str, Any]) -> None:
    acme, provider = Acme(), contributed["ACME"]
    deputy = Deputy(
        await new_vault(),
        [App("acme", "client", Secret("client-secret"))],
        pages="http://127.0.0.1:8736",
        providers={provider.name: provider},
        toolkits=[contributed["TOOLKIT"]],
        transport=httpx.MockTransport(acme),
    )
    async with deputy:
        with pytest.raises(ConsentRequired) as missing:
            await deputy.act("tasks_list_tasks", {}, user="alice")
        consent = missing.value.consent
        assert (consent.scopes, consent.words) == (("tasks:read",), ("read your tasks",))
        assert (await grant(deputy, consent))["scope"] == "tasks:read"
        assert (await deputy.connections("alice"))[0].account == "alice@example.test"
        found = await deputy.act("tasks_list_tasks", {"query": "water"}, user="alice")
        assert found == [{"id": 1, "title": "Water the plants"}]
        assert await deputy.act("tasks_create_task", {"title": "Rest"}, user="alice") == {"id": 2}
    listed, created = acme.tasks
    assert (listed.url.params["q"], created.headers["authorization"]) == ("water", "Bearer acme-token")
    assert json.loads(created.content).keys() == {"title", "client_id"}


@pytest.mark.parametrize(
    ("status", "problem", "kind"),
    [
        (400, {"code": "task_exists"}, Kind.CONFLICT),
        (400, {"message": "Please slow down."}, Kind.RATE_LIMITED),
        (404, {"code": "brand_new"}, Kind.HIDDEN_OR_NOT_FOUND),
    ],
)
async def test_the_contributed_rules_say_what_answers_mean(status: int, problem: dict[str, str], kind: Kind) -> None:
    rules = (await run(RULES, {}))["ACME_RULES"]
    body = {"problem": problem, "message": problem.get("message")}
    assert classify(rules, "write", status, {}, json.dumps(body).encode()).kind is kind


async def test_the_contributed_tools_are_driven_without_a_mock(contributed: dict[str, Any]) -> None:
    steps = contributed["list_tasks"]("water")
    assert (request := next(steps)).path == "/tasks" and request.params == {"q": "water"}
    with pytest.raises(StopIteration) as done:
        steps.send({"items": [{"id": 1, "title": "Water the plants"}]})
    assert done.value.value == [{"id": 1, "title": "Water the plants"}]
    key = ActKey.of("an act")
    run = Run(key, frozenset(), Account("1", "alice@example.test"), None, 0.0)
    making = contributed["create_task"]("Rest", run=run)
    assert next(making).fields == {"title": "Rest"}
    assert making.send(None).json == {"title": "Rest", "client_id": key.uuid}
    with pytest.raises(StopIteration) as made:
        making.send({"id": 2})
    assert made.value.value == {"id": 2}


def test_a_toolkit_exports_what_contributing_says() -> None:
    for found in find_toolkits().values():
        assert isinstance(found, Toolkit)
    assert "entry-point group\n`deputize.toolkits`" in text("CONTRIBUTING.md")


async def test_the_contributed_page_is_shown_to_whoever_is_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "AGENTS", "One agent acts for you.", raising=False)
    names = await run(PAGE, {})
    assert "pages=[*PAGES,\n*yours.PAGES], templates=[folder]" in text("CONTRIBUTING.md")
    (tmp_path / "agents.html").write_text("<p>{{ sentence }}</p>")
    async with Deputy(await new_vault(), [], pages="https://deputy.example.test") as deputy:
        app = pages_app(
            deputy,
            verifier=lambda request: request.headers.get("x-user"),
            pages=[*PAGES, *names["PAGES"]],
            templates=[tmp_path],
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://deputy.example.test") as web:
            assert (await web.get("/agents")).status_code == 401
            assert "One agent acts for you." in (await web.get("/agents", headers={"x-user": "alice"})).text


async def test_the_contributed_store_is_found_and_tested_as_contributing_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "acme_store", acme_store)
    said = await run(STORE, {})
    assert issubclass(said["TestAcmeStore"], StoreContract) and said["STORE"].name == "acme"
    store = said["STORE"].open(f"acme://{tmp_path}/vault", True)
    assert await store.insert("test", "a", b"1") and said["STORE"].exists(f"acme://{tmp_path}/vault")
    await store.close()


async def test_the_contributed_audit_event_is_a_row_of_its_fields() -> None:
    event = (await run(EVENT, {}))["BudgetSpent"]
    grant = OfGrant(user="alice", provider="google", app="google", account_hash="a1", grant_gen=3)
    assert event(grant, 300).facts() == grant.facts() | {"requests": 300}
