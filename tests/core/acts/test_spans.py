"""OpenTelemetry spans of calls: names and ids, and nothing that the call was about."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deputize.core import ApprovalRequired, Call, InvalidInput
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, connect

CALL = Call("thread-1", "message-1", "call-1")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


async def test_call_is_a_span_whose_ids_are_in_its_row(spans: InMemorySpanExporter) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly", "send", user="alice")
        await deputy.act("gmail_search_emails", {"query": "from:secret"}, user="alice", call=CALL, agent="inbox")
        mail = {"to": ["bob@example.test"], "subject": "secret", "body": "secret"}
        with pytest.raises(ApprovalRequired):
            await deputy.act("gmail_send_email", mail, user="alice")
        with pytest.raises(InvalidInput):
            await deputy.act("gmail_send_email", {"secret": "secret"}, user="alice")
        rows = [row for row in deputy.audit.rows() if row["event"] == "act.result"]
    found = spans.get_finished_spans()
    by_outcome = {(one.attributes or {})["deputize.outcome"]: one for one in reversed(found)}
    read, asked, invalid = found[0], by_outcome["approval_required"], by_outcome["invalid_input"]
    assert read.name == "execute_tool gmail_search_emails"
    assert dict(read.attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.name": "gmail_search_emails",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.agent.name": "inbox",
        "gen_ai.conversation.id": "thread-1",
        "deputize.outcome": "done",
        "deputize.provider": "google",
        "deputize.effect": "reads",
    }
    assert read.status.is_ok or read.status.is_unset
    assert asked.name == "execute_tool gmail_send_email" and asked.status.is_unset
    assert not invalid.status.is_ok and (invalid.attributes or {})["error.type"] == "invalid_input"
    assert "secret" not in "".join(one.to_json() for one in found)
    ids = {(row["trace_id"], row["span_id"]) for row in rows}
    context = read.get_span_context()
    assert context and (f"{context.trace_id:032x}", f"{context.span_id:016x}") in ids and len(ids) == len(rows)


async def test_call_without_a_tracer_provider_has_no_ids() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly", user="alice")
        await deputy.act("gmail_search_emails", {"query": "x"}, user="alice")
        assert "trace_id" not in deputy.audit.rows()[-1]
