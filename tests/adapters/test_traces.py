"""What tracers send of a conversation: each tool call and no secret; and what remains when they hide inputs."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, cast

import pytest
from langgraph.types import Command
from langsmith import utils
from langsmith.anonymizer import create_anonymizer

from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.docs.blocks import block, run, text
from tests.support.canary import Wiretap, hits
from tests.support.graph_builds import GO_ON
from tests.support.graphs import SEARCH, SEND, Context, Graph, approvals_of, asking, config, consents_of, plain
from tests.support.sandbox_deputy import build, consent, new_vault
from tests.support.scripted_agents import agent
from tests.support.traces import TRACERS, Trace, langsmith, openinference, traceloop

KINDS: Final = {"access_token", "refresh_token", "code", "code_verifier", "client_secret", "state"}
"""The kinds of secrets that occur in a conversation."""
KEY: Final = bytes(range(11, 202, 6))[:32]
HEADER: Final = re.compile(rb"bearer |authorization\W{1,4}\w", re.IGNORECASE)


def made_by_hand(deputy: Deputy, *calls: dict[str, Any]) -> tuple[Graph, Any]:
    """Return an act node, and the state that asks for these calls."""
    return plain(deputy), asking(*calls)


def created(deputy: Deputy, *calls: dict[str, Any]) -> tuple[Graph, Any]:
    return agent(deputy, *calls), GO_ON


WAYS: Final = {"act_node": made_by_hand, "create_agent": created}
Make = Callable[..., tuple[Graph, Any]]


class Talk:
    """A deputy whose secrets are all known, and runs of graphs with a tracer attached."""

    def __init__(self, mode: str = "async") -> None:
        self.mode, self.sandbox = mode, Sandbox()
        self.tap = Wiretap(self.sandbox.transport())

    async def whole(self, make: Make, trace: Trace) -> str:
        """Run consent, approval, a mail and a search; a refused mail; a failing search. Return the end of the link."""
        vault = await new_vault(key=KEY)
        self.keys = [KEY, *(getattr(vault.keys, name) for name in ("index", "ticket", "web", "audit"))]
        async with await build(self.sandbox, vault=vault, transport=self.tap) as deputy:
            graph, given = make(deputy, SEND, SEARCH)
            await self.run(graph, given, trace, "1")
            [ask] = await consents_of(deputy, graph, config("1"))
            await consent(deputy, self.tap, ask)
            await self.run(graph, Command(resume={"wake": True}), trace, "1")
            await self.decide(graph, trace, "1", "approve")
            graph, given = make(deputy, SEND)
            await self.run(graph, given, trace, "2")
            await self.decide(graph, trace, "2", "reject")
            self.sandbox.switches.down = True
            graph, given = make(deputy, SEARCH)
            await self.run(graph, given, trace, "3")
        assert len(self.sandbox.sent("alice@example.test")) == 1
        return ask.link.rpartition("/")[2]

    def secrets(self) -> dict[str, str]:
        """Return all secrets and their kinds: those used, and the vault's keys in text form."""
        keys = {word: "key" for key in self.keys for word in (urlsafe_b64encode(key).decode(), repr(key)[2:-1])}
        return {**self.tap.secrets, **keys}

    async def run(self, graph: Graph, given: Any, trace: Trace, thread: str) -> Any:
        how = cast("Any", {**config(thread), "callbacks": trace.callbacks})
        if self.mode == "async":
            return await graph.ainvoke(given, how, context=Context("alice"))
        return await asyncio.to_thread(graph.invoke, given, how, context=Context("alice"))

    async def decide(self, graph: Graph, trace: Trace, thread: str, decision: str) -> None:
        """Give Alice's answer to the only approval the graph pauses for."""
        [ask] = await approvals_of(graph, config(thread))
        await self.run(graph, Command(resume={"decisions": {ask["approval_id"]: decision}}), trace, thread)


@pytest.fixture(autouse=True)
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Traceloop's handler lacks a method LangGraph calls at a pause, and LangChain logs that."""
    yield
    caplog.clear()


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("way", WAYS)
async def test_tracer_records_a_tool_run_for_each_call(tracer: str, mode: str, way: str) -> None:
    with TRACERS[tracer]() as trace:
        await Talk(mode).whole(WAYS[way], trace)
        sent, failed = [
            [one for one in trace.tools() if ("not available" in one.outputs) is bad] for bad in (False, True)
        ]
    assert sorted(one.name for one in sent) == ["gmail_search_emails", "gmail_send_email"], "what is refused is not run"
    by_name = {one.name: one for one in sent}
    assert "Yes, gladly." in by_name["gmail_send_email"].inputs and "Sent." in by_name["gmail_send_email"].outputs
    assert "from:bob" in by_name["gmail_search_emails"].inputs and "Bob Brown" in by_name["gmail_search_emails"].outputs
    assert all('"success"' in one.outputs and not one.error for one in sent)
    [down] = failed
    assert down.name == "gmail_search_emails" and '"status": "error"' in down.outputs and "artifact" in down.outputs


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("way", WAYS)
async def test_tracer_receives_no_secret(tracer: str, mode: str, way: str) -> None:
    talk = Talk(mode)
    with TRACERS[tracer]() as trace:
        await talk.whole(WAYS[way], trace)
        sent = trace.sent()
    assert talk.tap.kinds() >= KINDS and b"gmail_send_email" in sent
    assert hits(talk.secrets(), {tracer: sent}) == []
    assert HEADER.findall(sent) == []


@pytest.mark.parametrize("tracer", TRACERS)
async def test_planted_secret_in_a_trace_is_found(tracer: str) -> None:
    talk = Talk()
    with TRACERS[tracer]() as trace:
        async with await build(talk.sandbox, transport=talk.tap) as deputy:
            for one in await deputy.connect("alice", tools=["gmail_search_emails"]):
                await consent(deputy, talk.tap, one)
            token = next(secret for secret, kind in talk.tap.secrets.items() if kind == "access_token")
            graph, given = created(deputy, {**SEARCH, "args": {"query": token}})
            await talk.run(graph, given, trace, "1")
        assert hits(talk.tap.secrets, {tracer: trace.sent()}) == [f"access_token in {tracer}"]


# ------------------------------------------------------------- docs/tracing.md

PAGE: Final = "docs/tracing.md"
HIDING: Final = {name: value for name, value in re.findall(r"`([A-Z_]+)=(\w+)`", text(PAGE))}


@pytest.fixture
def hiding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set all variables that the page gives for hiding."""
    assert len(HIDING) == 6
    for name, value in HIDING.items():
        monkeypatch.setenv(name, value)
    cast("Any", utils.get_env_var).cache_clear()
    yield
    cast("Any", utils.get_env_var).cache_clear()


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("way", WAYS)
async def test_documented_variables_hide_text_but_not_pauses(tracer: str, way: str, hiding: None) -> None:
    with TRACERS[tracer]() as trace:
        link = await Talk().whole(WAYS[way], trace)
        sent = trace.sent()
    assert b"gmail_send_email" in sent and b"Bob Brown" not in sent and b"from:bob" not in sent
    assert link.encode() in sent and b"Yes, gladly." in sent, "the page says that these stay"


@pytest.mark.parametrize("tracer", TRACERS)
async def test_traces_without_the_variables_contain_link_and_user(tracer: str) -> None:
    with TRACERS[tracer]() as trace:
        link = await Talk().whole(made_by_hand, trace)
        sent = trace.sent()
    assert link.encode() in sent and b"alice" in sent


@pytest.mark.parametrize("way", WAYS)
async def test_documented_client_sends_no_pause(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[dict[str, Any]] = []
    monkeypatch.setattr("langsmith.Client", dict)
    monkeypatch.setattr("langsmith.configure", lambda client: configured.append(client))
    await run(block(PAGE, "langsmith.Client("), {})
    with langsmith(**configured.pop()) as trace:
        link = await Talk().whole(WAYS[way], trace)
        runs, sent = trace.runs(), trace.sent()
    assert link.encode() not in sent and b"gladly" not in sent and b"Bob Brown" not in sent
    assert "GraphInterrupt" in {one.get("error") for one in runs}


async def test_documented_second_anonymizer_removes_links_only() -> None:
    [code] = re.findall(r"^`(\{.*re\.compile.*\})`\.$", text(PAGE), re.MULTILINE)
    rule = eval(code, {"re": re})  # noqa: S307  # our own page
    with langsmith(anonymizer=create_anonymizer([rule])) as trace:
        link = await Talk().whole(made_by_hand, trace)
        sent = trace.sent()
    assert link.encode() not in sent and b"/connect/-" in sent and b"Yes, gladly." in sent


@pytest.mark.parametrize("listen", [openinference, traceloop])
@pytest.mark.parametrize("way", WAYS)
async def test_documented_exporter_removes_pauses_and_keeps_spans(listen: Any, way: str, hiding: None) -> None:
    names = await run(block(PAGE, "WithoutPauses"), {"__name__": "page"})
    with listen(names["WithoutPauses"]) as trace:
        link = await Talk().whole(WAYS[way], trace)
        sent, spans = trace.sent(), trace.exporter.get_finished_spans()
    assert link.encode() not in sent and b"gladly" not in sent and b"gmail_send_email" in sent
    with listen() as whole:
        await Talk().whole(WAYS[way], whole)
        before = whole.exporter.get_finished_spans()
    assert sorted(span.name for span in spans) == sorted(span.name for span in before)
    assert {(s.context.trace_id != 0, s.start_time < s.end_time) for s in spans} == {(True, True)}
