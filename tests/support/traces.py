"""What tracers would send of a conversation: LangSmith's client; OpenTelemetry, by OpenInference and by Traceloop.

Each is a context manager around the conversation. Nothing leaves the process: what would is kept, and can be asked for
the runs of tools in it and for all of its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import pytest
import requests
from langchain import agents
from langchain.agents.middleware.types import AgentMiddleware
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.pregel import Pregel
from langgraph.types import Command
from langsmith import Client
from openinference.instrumentation.langchain import LangChainInstrumentor as OpenInference
from opentelemetry.instrumentation.langchain import LangchainInstrumentor as Traceloop
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support import scripted_agents


@dataclass(frozen=True)
class ToolRun:
    """One run of a tool, as a tracer shows it. ``error``: the run's error, empty for none."""

    name: str
    inputs: str
    outputs: str
    error: str


class Trace(Protocol):
    """What a tracer would have sent."""

    callbacks: list[Any]
    """What a run's configuration has to include; none for a tracer that patches the framework."""

    def sent(self) -> bytes:
        """Return every byte of it."""
        ...

    def tools(self) -> list[ToolRun]:
        """Return its tool runs."""
        ...


class Posted(requests.Session):
    """A session that records requests, and answers that all succeeded."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[bytes] = []

    def request(self, method: Any, url: Any, *given: Any, data: Any = None, **more: Any) -> requests.Response:
        """See `requests.Session`."""
        self.kept.append(data if isinstance(data, bytes) else data.read() if data else b"")
        answer = requests.Response()
        answer.status_code, answer._content = 202, b"{}"
        return answer


_BATCHES: Final = {
    "batch_ingest_config": {
        "use_multipart_endpoint": False,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 1,
        "scale_down_nempty_limit": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_000_000,
    }
}
"""What a LangSmith server says about itself: it accepts runs in batches of plain JSON."""


@dataclass
class LangSmithTrace:
    """A trace by LangSmith's own client."""

    client: Client
    session: Posted
    callbacks: list[Any]

    def sent(self) -> bytes:
        """See `Trace`."""
        self.client.flush()
        return b"\n".join(self.session.kept)

    def runs(self) -> list[dict[str, Any]]:
        """Return every run as the server would assemble it."""
        runs: dict[str, dict[str, Any]] = {}
        for body in map(json.loads, filter(None, self.sent().split(b"\n"))):
            for part in (*body.get("post", ()), *body.get("patch", ())):
                runs.setdefault(part["id"], {}).update({k: v for k, v in part.items() if v is not None})
        return list(runs.values())

    def tools(self) -> list[ToolRun]:
        """See `Trace`."""
        return [
            ToolRun(run["name"], json.dumps(run["inputs"]), json.dumps(run["outputs"]), run.get("error") or "")
            for run in self.runs()
            if run["run_type"] == "tool"
        ]


@contextmanager
def langsmith(**given: Any) -> Iterator[LangSmithTrace]:
    """Trace with LangSmith, by a client with these options."""
    session = Posted()
    client = Client("http://127.0.0.1:9", api_key="none", session=session, info=_BATCHES, **given)
    try:
        yield LangSmithTrace(client, session, [LangChainTracer(client=client, project_name="deputize")])
    finally:
        client.close()


@dataclass
class SpanTrace:
    """A trace by OpenTelemetry. ``kind``, ``inputs``, ``outputs``: the attributes for a span's type and content."""

    kind: tuple[str, str]
    name: str
    inputs: str
    outputs: str
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    callbacks: list[Any] = field(default_factory=list)

    def sent(self) -> bytes:
        """See `Trace`."""
        return "\n".join(span.to_json(indent=None) for span in self.exporter.get_finished_spans()).encode()

    def tools(self) -> list[ToolRun]:
        """See `Trace`."""
        key, tool = self.kind
        spans = [s for s in self.exporter.get_finished_spans() if (s.attributes or {}).get(key) == tool]
        return [
            ToolRun(
                str((span.attributes or {}).get(self.name)),
                str((span.attributes or {}).get(self.inputs)),
                str((span.attributes or {}).get(self.outputs)),
                "" if span.status.is_ok else str(span.status.description or "failed"),
            )
            for span in spans
        ]


_HOOKS: Final = [f"{a}{when}_{what}" for a in ("", "a") for when in ("before", "after") for what in ("model", "agent")]
_PATCHED: Final[tuple[tuple[Any, str], ...]] = (
    (BaseCallbackManager, "__init__"),
    (Command, "__init__"),
    *((Pregel, name) for name in ("stream", "astream")),
    *((AgentMiddleware, name) for name in _HOOKS),
)
_MADE_BY: Final = (
    "langchain.agents.create_agent",
    "langchain.agents.factory.create_agent",
    "langgraph.prebuilt.create_react_agent",
    "langgraph.prebuilt.chat_agent_executor.create_react_agent",
)
"""Everything that the two patch. Traceloop's own ``uninstrument`` restores none of it."""


Around = Callable[[SpanExporter], SpanExporter]
"""An exporter around the one that keeps the spans."""


@contextmanager
def _instrumented(instrumentor: Any, trace: SpanTrace, around: Around) -> Iterator[SpanTrace]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(around(trace.exporter)))
    with pytest.MonkeyPatch.context() as patches:
        for owner, name in _PATCHED:
            patches.setattr(owner, name, getattr(owner, name))
        for place in _MADE_BY:
            patches.setattr(place, pytest.importorskip(place.rpartition(".")[0]).__dict__[place.rpartition(".")[2]])
        instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
        patches.setattr(scripted_agents, "create_agent", agents.create_agent)
        try:
            yield trace
        finally:
            instrumentor.uninstrument()
            provider.shutdown()


@contextmanager
def openinference(around: Around = lambda exporter: exporter) -> Iterator[SpanTrace]:
    """Trace with OpenInference's instrumentation of LangChain (Arize Phoenix and others)."""
    made = SpanTrace(("openinference.span.kind", "TOOL"), "tool.name", "input.value", "output.value")
    with _instrumented(OpenInference(), made, around) as trace:
        yield trace


@contextmanager
def traceloop(around: Around = lambda exporter: exporter) -> Iterator[SpanTrace]:
    """Trace with Traceloop (OpenLLMetry)."""
    kind = ("traceloop.span.kind", "tool")
    made = SpanTrace(kind, "gen_ai.tool.name", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    with _instrumented(Traceloop(), made, around) as trace:
        yield trace


TRACERS: Final[dict[str, Callable[[], Any]]] = {
    "LangSmith": langsmith,
    "OpenInference": openinference,
    "Traceloop": traceloop,
}
