"""The pages about web applications, LangGraph, LlamaIndex, policy and running it: their snippets run as they stand."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import httpx
import pytest
from itsdangerous import TimestampSigner
from langchain_core.messages import AIMessage
from langgraph.types import Command
from llama_index.core.llms.mock import MockFunctionCallingLLM

from deputize.adapters.langgraph import asked_of
from deputize.adapters.llamaindex import ApprovalDone, ApprovalRequest, ConsentRequest, wake_when_done
from deputize.core import Act, ApprovalRequired, Call, Deputy, PolicyDenied, User, Verdict, allow_all
from deputize.core.web.local_server import serve
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.deputies import register_pages
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.docs.blocks import ROOT, block, blocks, run, text
from tests.docs.commands import commands, parse
from tests.docs.generated import PAGES
from tests.support.agents import Model
from tests.support.created import Scripted
from tests.support.graphs import SEARCH, SEND, config, tool_messages
from tests.support.house import build, connect, consent

WEB: Final = "docs/web-applications.md"
GRAPH: Final = "docs/langgraph.md"
LLAMA: Final = "docs/llamaindex.md"
POLICY: Final = "docs/policy.md"
OPERATIONS: Final = "docs/operations.md"
COUNTS: Final = {WEB: 3, GRAPH: 4, LLAMA: 3, POLICY: 1, OPERATIONS: 2}
MAIL: Final = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}


@pytest.mark.parametrize("page", COUNTS)
def test_every_python_block_of_a_page_is_run_here(page: str) -> None:
    assert len(blocks(page, "python")) == COUNTS[page]
    assert set(re.findall(r"^```(\w+)$", text(page), re.MULTILINE)) <= {"python", "bash"}


@pytest.mark.parametrize(
    "line", sorted({line for page in ROOT.glob("docs/*.md") for line in commands(f"docs/{page.name}")})
)
def test_a_command_of_a_page_exists_with_its_arguments_and_options(line: str) -> None:
    assert f" {line.split()[1]} " in parse(line)


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    assert (ROOT / page).read_text() == PAGES[page](), "run: python -m tests.docs.generated"


@pytest.mark.parametrize("page", [*COUNTS, *PAGES, "README.md"])
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", text(page)):
        assert (ROOT / page).parent.joinpath(link).exists(), link


# ------------------------------------------------------------- web applications


@pytest.fixture
def in_the_web(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The settings of a web application, as its variables."""
    for name, value in {
        "HOME": str(tmp_path),
        "VAULT": "memory:",
        "KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "BASE_URL": "https://app.example.com/agents",
        "APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
        "APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
    }.items():
        monkeypatch.setenv(f"DEPUTIZE_{name}", value)
    monkeypatch.setenv("SESSION_KEY", "a key of the test's own")


async def browse(app: Any, path: str, session: Mapping[str, str] | None = None) -> httpx.Response:
    """A GET by a browser with this session."""
    cookies = {"session": signed(session)} if session else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://app.example.com", cookies=cookies) as browser:
        return await browser.get(path)


def signed(user: Mapping[str, str]) -> str:
    """The session's cookie as Starlette's middleware signs it."""
    data = base64.b64encode(json.dumps({"user": dict(user)}).encode())
    return TimestampSigner("a key of the test's own").sign(data).decode()


ALICE: Final = {"id": "alice", "tenant": "acme"}


@pytest.mark.usefixtures("in_the_web")
async def test_the_fastapi_application_acts_as_whoever_is_signed_in() -> None:
    names = await run(block(WEB, "FastAPI(lifespan"), {"__name__": "app"})
    async with names["deputy"] as deputy:
        assert (await browse(names["app"], "/mail")).status_code == 401
        asked = (await browse(names["app"], "/mail?q=from:bob", ALICE)).json()
        assert asked["connect"].startswith("https://app.example.com/agents/connect/")
        [waiting] = await deputy.consents.waiting(User("alice", "acme"))
        assert waiting.link == asked["connect"]
        path = waiting.link.removeprefix("https://app.example.com")
        nobody = await browse(names["app"], path)
        assert nobody.status_code == 303 and nobody.headers["location"].startswith("/login?next=")
        assert "Google" in (await browse(names["app"], path, ALICE)).text
        other = await browse(names["app"], path, {"id": "mallory", "tenant": "acme"})
        assert other.status_code == 403 and "Google" not in other.text


class SignedIn(httpx.AsyncBaseTransport):
    """The network of somebody who is signed in to the application; the application itself is no server."""

    def __init__(self, app: Any, network: httpx.AsyncBaseTransport) -> None:
        self.app, self.network = httpx.ASGITransport(app), network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.port != 8000:
            return await self.network.handle_async_request(request)
        cookies = [request.headers["cookie"]] if "cookie" in request.headers else []
        request.headers["cookie"] = "; ".join([*cookies, f"session={signed(ALICE)}"])
        return await self.app.handle_async_request(request)


@pytest.mark.usefixtures("in_the_web")
async def test_the_application_is_tried_with_a_sandbox_on_ones_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    [at] = re.findall(r"^To try it .*`DEPUTIZE_BASE_URL=([\w/:.]+)`", text(WEB), re.MULTILINE | re.DOTALL)
    assert f"`deputize sandbox --pages {at}`" in text(WEB)
    sandbox = Sandbox()
    register_pages(sandbox, at)
    monkeypatch.setenv("DEPUTIZE_BASE_URL", at)
    async with serve(sandbox.app) as google, httpx.AsyncHTTPTransport() as network:
        monkeypatch.setenv("DEPUTIZE_SANDBOX", google)
        names = await run(block(WEB, "FastAPI(lifespan"), {"__name__": "app"})
        alice = Browser(SignedIn(names["app"], network))
        async with names["deputy"]:
            asked = json.loads((await alice.open("http://127.0.0.1:8000/mail?q=from:bob")).text)
            assert "is connected" in (await alice.allow(asked["connect"])).text
            found = json.loads((await alice.open("http://127.0.0.1:8000/mail?q=from:bob")).text)
            assert found["items"]


async def test_a_call_with_a_name_writes_once_and_its_result_comes_again() -> None:
    assert "call=Call(id=request_id)" in text(WEB)
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        once, again = [
            await deputy.act("gmail_send_email", MAIL, user="alice", call=Call(id="request 7")) for _ in range(2)
        ]
        assert once == again and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.usefixtures("in_the_web")
async def test_the_pages_are_mounted_in_a_starlette_application() -> None:
    async with Deputy.from_settings() as deputy:
        names = await run(block(WEB, "Starlette(routes"), {"deputy": deputy, "signed_in": lambda request: None})
        assert (await browse(names["app"], "/agents/health")).status_code == 200


async def test_an_application_waits_for_the_consent_and_goes_on() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:

        async def person() -> None:
            while not (waiting := await deputy.consents.waiting(User("alice"))):  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0.01)
            await consent(deputy, sandbox, waiting[0])

        at_the_link = asyncio.create_task(person())
        names = await run(block(WEB, "[ended] = await deputy.wait"), {"deputy": deputy, "user": User("alice")})
        await at_the_link
        assert names["ended"].status == "granted" and names["found"]["items"]


# ------------------------------------------------------------- LangGraph


def model(*calls: dict[str, Any]) -> Scripted:
    """A model that makes these calls once after a question, then answers."""

    def respond(messages: list[Any]) -> AIMessage:
        answered = messages[-1].type == "tool"
        return AIMessage("done") if answered else AIMessage("", tool_calls=[dict(call) for call in calls])

    return Scripted(respond=respond)


async def test_the_graph_of_the_page_pauses_twice_and_sends_once(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        names: dict[str, Any] = {"deputy": deputy, "model": model(SEARCH, SEND), "config": config(), "question": "go"}
        names = await run(block(GRAPH, "builder = StateGraph"), names)
        graph, context = names["graph"], names["Context"]("alice")
        names = await run(block(GRAPH, "aget_state(config)"), names)
        [asked] = await deputy.consents.waiting(User("alice"))
        assert asked.link in capsys.readouterr().out
        await consent(deputy, sandbox, asked)
        await graph.ainvoke(Command(resume={}), config(), context=context)
        [approval] = asked_of((await graph.aget_state(config())).interrupts, "approval")
        said = {"decisions": {approval["approval_id"]: "approve"}}
        state = await graph.ainvoke(Command(resume=said), config(), context=context)
        assert {one.status for one in tool_messages(state).values()} == {"success"}
        assert len(sandbox.sent("alice@example.test")) == 1


async def test_a_whole_turn_of_the_page_asks_twice_and_answers() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        names = await run(block(GRAPH, "builder = StateGraph"), {"deputy": deputy, "model": model(SEARCH, SEND)})
        names = await run(block(GRAPH, "aget_state(config)"), names | {"config": config("first"), "question": "go"})
        shown: list[str] = []
        at_the_link: list[asyncio.Task[None]] = []

        async def visit() -> None:
            [*_, waiting] = await deputy.consents.waiting(User("alice"))
            await consent(deputy, sandbox, waiting)

        def show(sentence: str) -> None:
            shown.append(sentence)
            at_the_link.append(asyncio.create_task(visit()))

        said = {"config": config("turn"), "show": show, "ask": lambda preview: "approve"}
        names = await run(block(GRAPH, "async def turn"), names | said)
        assert await names["turn"]("Tell Bob yes.") == "done"
        assert len(shown) == 1 and "send email as you" in shown[0]
        assert len(sandbox.sent("alice@example.test")) == 1


async def test_the_agent_of_the_page_asks_for_consent_and_then_for_the_yes() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        names = await run(block(GRAPH, "builder = StateGraph"), {"deputy": deputy, "model": model(SEND)})
        names = await run(block(GRAPH, "create_agent("), names)
        agent, context = names["agent"], names["Context"]("alice")
        paused = await agent.ainvoke({"messages": [("user", "go")]}, config(), context=context)
        assert len(asked_of(paused["__interrupt__"], "consent")) == 1
        await connect(deputy, sandbox, "send")
        paused = await agent.ainvoke(Command(resume="look again"), config(), context=context)
        [approval] = asked_of(paused["__interrupt__"], "approval")
        assert sandbox.sent("alice@example.test") == []
        said = {"decisions": {approval["approval_id"]: "approve"}}
        await agent.ainvoke(Command(resume=said), config(), context=context)
        assert len(sandbox.sent("alice@example.test")) == 1


# ------------------------------------------------------------- LlamaIndex


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_the_llamaindex_agent_of_the_page_asks_by_events_and_sends_once() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        at_the_link: list[asyncio.Task[Any]] = []

        async def visit() -> None:
            [waiting] = await deputy.consents.waiting(User("alice"))
            await consent(deputy, sandbox, waiting)

        def ask(event: ApprovalRequest) -> str:
            assert event.preview
            return "approve"

        names: dict[str, Any] = {
            "deputy": deputy,
            "llm": MockFunctionCallingLLM(response_generator=Model([SEND])),
            "show": lambda link: at_the_link.append(asyncio.create_task(visit())),
            "ask": ask,
        }
        names = await run(block(LLAMA, "LinearToolSpec"), names)
        names = await run(block(LLAMA, "stream_events"), names)
        assert "Sent." in str(await names["handler"]) and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_a_run_is_stopped_at_its_consent_and_at_its_approval_and_goes_on_as_the_page_does_it() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        at_the_link: list[asyncio.Task[Any]] = []

        async def visit() -> None:
            [waiting] = await deputy.consents.waiting(User("alice"))
            await consent(deputy, sandbox, waiting)

        async def until(event: type[Any]) -> None:
            async for one in names["handler"].stream_events():
                if isinstance(one, event):
                    return

        names: dict[str, Any] = {
            "deputy": deputy,
            "llm": MockFunctionCallingLLM(response_generator=Model([SEND])),
            "show": lambda link: at_the_link.append(asyncio.create_task(visit())),
            "ask": lambda approval: "approve",
        }
        names = await run(block(LLAMA, "LinearToolSpec"), names | {"wake_when_done": wake_when_done})
        names |= {"ApprovalDone": ApprovalDone, "handler": names["agent"].run("Tell Bob yes.")}
        await until(ConsentRequest)
        names = await run(block(LLAMA, "save_paused"), names)
        await until(ApprovalRequest)
        assert len(at_the_link) == 1 and sandbox.sent("alice@example.test") == []
        names = await run(block(LLAMA, "save_paused"), names)
        assert "Sent." in str(await names["handler"]) and len(sandbox.sent("alice@example.test")) == 1


# ------------------------------------------------------------- policy, running it


async def test_the_policy_of_the_page_denies_strangers_and_asks_for_colleagues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox, made = Sandbox(), dict[str, Any]()

    def from_settings(**given: Any) -> None:
        made.update(given)

    monkeypatch.setattr(Deputy, "from_settings", from_settings)
    await run(block(POLICY, "def policy"), {"Deputy": Deputy})
    async with await build(sandbox, policy=made["policy"]) as deputy:
        await connect(deputy, sandbox, "send", "readonly")
        with pytest.raises(PolicyDenied):
            await deputy.act("gmail_send_email", MAIL, user="alice")
        with pytest.raises(ApprovalRequired):
            await deputy.act("gmail_send_email", MAIL | {"to": ["carol@acme.example"]}, user="alice")
        assert (await deputy.act("gmail_search_emails", {"query": "from:bob"}, user="alice"))["items"]
        assert sandbox.sent("alice@example.test") == []
    named = set(re.findall(r"`act\.(\w+)", text(POLICY)))
    assert named - {field.name for field in dataclasses.fields(Act)} == set() and {"effect", "show"} <= named
    assert {f"`Verdict.{one.name}`" for one in Verdict} == set(re.findall(r"`Verdict\.\w+`", text(POLICY)))


async def test_a_tenants_user_is_nobody_elses() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        for one in await deputy.connect(User("alice", "acme"), "google", scopes=["gmail.readonly"]):
            await consent(deputy, sandbox, one)
        await run(block(OPERATIONS, 'tenant="acme"'), {"deputy": deputy})
        assert await deputy.connections("alice") == []


async def test_the_loggers_of_the_page_are_those_of_the_code() -> None:
    named = set(re.findall(r"^\| `(deputize[\w.]*)` \|", text(OPERATIONS), re.MULTILINE))
    code = "\n".join(path.read_text() for path in (ROOT / "core").rglob("*.py"))
    used = set(re.findall(r'getLogger\("(deputize[\w.]*)"\)', code))
    used |= {"deputize.core.act"} if "getLogger(__name__)" in code else set()
    assert named == used
    level = logging.getLogger("deputize").level
    try:
        await run(block(OPERATIONS, "getLogger"), {})
        assert logging.getLogger("deputize").level == logging.INFO
    finally:
        logging.getLogger("deputize").setLevel(level)
