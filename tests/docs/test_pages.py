"""The pages on LlamaIndex, policy and operation: their snippets run unchanged."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import signal
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

import pytest
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.workflow import Context

from deputize.adapters.llamaindex import ApprovalRequest, ApprovalResponse, ConsentRequest, resume_when_done
from deputize.core import Act, ApprovalRequired, Call, ConsentRequired, Deputy, PolicyDenied, User, Verdict
from deputize.core.tools.untrusted import Untrusted
from deputize.sandbox import Sandbox
from tests.docs import test_deferred_pages, test_langgraph_pages, test_migrating, test_screenless_page
from tests.docs.blocks import ROOT, block, blocks, run, text
from tests.docs.commands import commands, parse
from tests.docs.generated import PAGES
from tests.support.graphs import SEND
from tests.support.llamaindex_agents import Model
from tests.support.sandbox_deputy import build, connect, consent

WEB: Final = "docs/web-applications.md"
LLAMA: Final = "docs/llamaindex.md"
POLICY: Final = "docs/policy.md"
APPROVALS: Final = "docs/approvals.md"
OPERATIONS: Final = "docs/operations.md"
SERVER: Final = "docs/langgraph-server.md"
COUNTS: Final = {WEB: 3, SERVER: 5, LLAMA: 4, POLICY: 5, APPROVALS: 3, OPERATIONS: 5}
EVERY: Final = [
    str(page.relative_to(ROOT))
    for folder in (".", "docs", "docs/migrating", "docs/security", "examples")
    for page in ROOT.glob(f"{folder}/*.md")
]
MAIL: Final = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}


@pytest.mark.parametrize("page", COUNTS)
def test_every_python_block_of_the_page_is_executed_here(page: str) -> None:
    assert len(blocks(page, "python")) == COUNTS[page]
    assert set(re.findall(r"^```(\w+)$", text(page), re.MULTILINE)) <= {"python", "bash", "json", "cedar"}


@pytest.mark.parametrize(
    "line", sorted({line for page in EVERY if page.startswith("docs/") for line in commands(page)})
)
def test_documented_command_exists_with_its_options(line: str) -> None:
    assert f" {line.split()[1]} " in parse(line)


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_matches_the_code(page: str) -> None:
    assert (ROOT / page).read_text() == PAGES[page](), "run: python -m tests.docs.generated"


@pytest.mark.parametrize("page", EVERY)
def test_every_link_of_the_page_leads_to_a_file_and_heading(page: str) -> None:
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text(page), flags=re.MULTILINE | re.DOTALL)
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", prose):
        there = (ROOT / page).parent / link if link else ROOT / page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there.read_text()), f"{link}#{anchor}"


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


def test_every_page_with_snippets_has_executed_snippets() -> None:
    elsewhere = {"README.md", "CONTRIBUTING.md", "docs/providers.md", "docs/testing.md", "docs/toolkits.md"}
    elsewhere |= {
        "docs/openapi.md",
        "docs/python.md",
        "docs/tracing.md",
        "docs/serve-mcp.md",
        test_screenless_page.PAGE,
        "docs/sign-in.md",
        "docs/roles.md",
        "docs/unattended.md",
        "docs/approvals-in-chat.md",
        "docs/resuming.md",
        "docs/write-an-adapter.md",
    }
    elsewhere |= {*test_deferred_pages.COUNTS, *test_langgraph_pages.COUNTS, *test_migrating.COUNTS}
    assert {page for page in EVERY if blocks(page, "python")} == {*COUNTS, *elsewhere}


# ------------------------------------------------------------- LlamaIndex


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_documented_llamaindex_agent_asks_by_events_and_sends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, written = Sandbox(), list[str]()
    async with await build(sandbox) as deputy:
        monkeypatch.setattr(Deputy, "from_settings", lambda: deputy)
        at_the_link: list[asyncio.Task[Any]] = []

        async def visit() -> None:
            [waiting] = await deputy.consents.list_pending(User("alice"))
            await consent(deputy, sandbox, waiting)

        def ask(event: ApprovalRequest) -> str:
            assert event.preview
            return "approve"

        names: dict[str, Any] = {
            "llm": MockFunctionCallingLLM(response_generator=Model([SEND])),
            "show": lambda link: at_the_link.append(asyncio.create_task(visit())),
            "ask": ask,
            "user": "alice",
            "write": written.append,
        }
        names = await run(block(LLAMA, "LinearToolSpec"), names)
        names = await run(block(LLAMA, "stream_events"), names)
        assert "Sent." in str(await names["handler"]) and len(sandbox.sent("alice@example.test")) == 1
        assert "Sent." in "".join(written)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_documented_run_stops_at_consent_and_approval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        monkeypatch.setattr(Deputy, "from_settings", lambda: deputy)

        async def until(event: type[Any]) -> Any:
            async for one in names["handler"].stream_events():
                if isinstance(one, event):
                    return one
            raise AssertionError("The run has ended.")

        names: dict[str, Any] = {"llm": MockFunctionCallingLLM(response_generator=Model([SEND])), "user": "alice"}
        names = await run(block(LLAMA, "LinearToolSpec"), names)
        ctx: Context[Any] = Context(names["agent"])
        await ctx.store.set("user_id", "alice")
        names |= {"handler": names["agent"].run("Tell Bob yes.", ctx=ctx)}
        asked = await until(ConsentRequest)
        names = await run(block(LLAMA, "save_paused"), names)
        assert (await until(ConsentRequest)).consent_id == asked.consent_id
        [waiting] = await deputy.consents.list_pending(User("alice"))
        await consent(deputy, sandbox, waiting)
        await resume_when_done(deputy, names["handler"], asked)
        asked = await until(ApprovalRequest)
        names = await run(block(LLAMA, "save_paused"), names)
        again = await until(ApprovalRequest)
        assert again.approval_id == asked.approval_id and sandbox.sent("alice@example.test") == []
        answer = ApprovalResponse(approval_id=again.approval_id, by="alice", decision="approve")
        names["handler"].ctx.send_event(answer)
        assert "Sent." in str(await names["handler"]) and len(sandbox.sent("alice@example.test")) == 1


# ------------------------------------------------------------- policy, running it


async def test_documented_policy_denies_outsiders_and_asks_for_colleagues(
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


async def test_documented_policy_denies_first_contacts() -> None:
    names, sandbox = await run(block(POLICY, "no_first_contacts"), {}), Sandbox()
    async with await build(sandbox, policy=names["no_first_contacts"]) as deputy:
        await connect(deputy, sandbox, "modify")
        earlier = b"From: alice@example.test\r\nTo: dave@acme.example\r\n\r\nHello"
        sandbox.mailbox("alice@example.test").add(earlier, labels=["SENT"])
        for to, refusal in (("erin@acme.example", PolicyDenied), ("dave@acme.example", ApprovalRequired)):
            with pytest.raises(refusal):
                await deputy.act("gmail_send_email", MAIL | {"to": [to]}, user="alice")


async def test_documented_policy_asks_before_a_search_for_untrusted_words() -> None:
    names = await run(block(POLICY, "no_words_of_strangers"), {})
    search = SimpleNamespace(tool=SimpleNamespace(name="web_search"), outside=(Untrusted("evil.test", "a mail"),))
    assert names["no_words_of_strangers"](search) is Verdict.ASK


async def test_documented_message_of_the_user_sends_without_an_approval() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "modify")
        earlier = b"From: alice@example.test\r\nTo: bob@example.test\r\n\r\nHello"
        sandbox.mailbox("alice@example.test").add(earlier, labels=["SENT"])
        await run(block(POLICY, "ask_unless_user_named"), {"deputy": deputy})
        assert "Noon" in [mail.subject for mail in sandbox.sent("alice@example.test")]


async def test_documented_types_describe_requests_of_both_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    names = await run(block(APPROVALS, "RequestPayload"), {})
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        with pytest.raises(ConsentRequired) as unconnected:
            await deputy.act("gmail_send_email", MAIL, user="alice", call=Call("t", "m", "c"))
        await connect(deputy, sandbox, "modify")
        with pytest.raises(ApprovalRequired) as asked:
            await deputy.act("gmail_send_email", MAIL, user="alice", call=Call("t", "m", "c"))
        for request in (unconnected.value.consent, asked.value.approval):
            names["show_request"](request.payload())
    shown = capsys.readouterr().out
    assert "http" in shown and "bob@example.test" in shown and set(names["decisions"].values()) == {"approve", "reject"}


async def test_documented_approval_is_shown_given_and_used_once(capsys: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "modify")
        await run(block(APPROVALS, "question.approval"), {"deputy": deputy})
        assert [mail.subject for mail in sandbox.sent("alice@example.test")] == ["Lunch?"]
        shown = capsys.readouterr().out
        assert (
            " wants to send this email at Gmail as " in shown
            and "to bob@example.test" in shown
            and "text Friday at one." in shown
        )


async def test_documented_undo_restores_the_object() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "modify")
        [mail] = (await deputy.act("gmail_search_emails", {"query": "from:bob", "limit": 1}, user="alice"))["items"]

        def starred() -> bool:
            return mail["id"] in [one.id for one in sandbox.mailbox("alice@example.test").mails("STARRED")]

        before = starred()
        change = {"message_ids": [mail["id"]], "action": "unstar" if before else "star"}
        await deputy.act("gmail_update_emails", change, user="alice")
        assert starred() is not before
        await run(block(APPROVALS, "deputy.undo("), {"deputy": deputy})
        assert starred() is before


async def test_documented_mandate_covers_mails_to_colleagues() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "modify")
        names = await run(block(POLICY, "create_mandate"), {"deputy": deputy})
        colleague, call = MAIL | {"to": ["dave@acme.example"]}, Call("thread", "message", "call")
        first = MAIL | {"to": ["erin@acme.example"]}
        with pytest.raises(ApprovalRequired):  # a first contact, of whom the mandate names the domain only
            await deputy.act("gmail_send_email", first, user="alice", agent="inbox", call=replace(call, id="first"))
        earlier = b"From: alice@example.test\r\nTo: dave@acme.example\r\n\r\nHello"
        sandbox.mailbox("alice@example.test").add(earlier, labels=["SENT"])
        await deputy.act("gmail_send_email", colleague, user="alice", agent="inbox", call=call)
        for mail, agent in ((MAIL, "inbox"), (colleague, "another")):
            with pytest.raises(ApprovalRequired):
                await deputy.act("gmail_send_email", mail, user="alice", agent=agent, call=replace(call, id=agent))
        with pytest.raises(ApprovalRequired):  # outside of any thread nobody knows what strangers have written
            await deputy.act("gmail_send_email", colleague, user="alice", agent="inbox")
        [mandate] = await deputy.mandates("alice")
        assert (mandate.id, mandate.used) == (names["mandate"].id, 1)


async def test_documented_tenant_user_is_distinct() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        for one in await deputy.connect(User("alice", "acme"), "google", scopes=["gmail.readonly"]):
            await consent(deputy, sandbox, one)
        await run(block(OPERATIONS, 'tenant="acme"'), {"deputy": deputy})
        assert await deputy.connections("alice") == []


async def test_documented_program_reads_users_in_the_audit() -> None:
    async with await build(Sandbox()) as deputy:
        await deputy.connect("alice", "google", scopes=["openid"])
        names = await run(block(OPERATIONS, "People"), {"deputy": deputy})
        assert [row["user"] for row in names["rows"]] == ["alice"]


async def test_documented_access_log_middleware_hides_tickets(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])

    paths: list[str] = []
    ticket: str = "a" * 43
    names: dict[str, Any] = {"app": app}
    logger = logging.getLogger("gunicorn.access")
    try:
        await run(block(OPERATIONS, "hide_links"), names)
        logger.warning("GET %s", f"/agents/connect/{ticket}")
    finally:
        logger.filters.clear()
    await names["served"]({"type": "http", "path": f"/agents/connect/{ticket}", "headers": []}, None, None)
    assert paths == ["/agents/connect/-"] and ticket not in caplog.text


async def test_documented_loggers_match_the_code() -> None:
    named = set(re.findall(r"^\| `(deputize[\w.]*)` \|", text(OPERATIONS).partition("## Logging")[2], re.MULTILINE))
    code = "\n".join(path.read_text() for path in (ROOT / "core").rglob("*.py"))
    used = set(re.findall(r'getLogger\("(deputize[\w.]*)"\)', code))
    assert named == used
    level = logging.getLogger("deputize").level
    try:
        await run(block(OPERATIONS, "setLevel"), {})
        assert logging.getLogger("deputize").level == logging.INFO
    finally:
        logging.getLogger("deputize").setLevel(level)


async def test_documented_program_installs_a_sigterm_handler() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        await run(block(OPERATIONS, "exit_on_sigterm"), {})
        assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
