"""OpenTelemetry spans of calls, by the GenAI conventions, if the process has set a tracer provider.

deputize imports no part of OpenTelemetry. It makes spans only if your application has imported it. A span contains ids
and names, and never an argument, a result or an error's text.

https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

NO_PROVIDERS: Final = ("ProxyTracerProvider", "NoOpTracerProvider")
"""Providers of OpenTelemetry's API that record nothing."""
ATTRIBUTES: Final = {
    "tool": "gen_ai.tool.name",
    "call_id": "gen_ai.tool.call.id",
    "agent": "gen_ai.agent.name",
    "thread": "gen_ai.conversation.id",
}
"""Attributes of the conventions, by the fields of the call's audit row."""
OUTCOMES: Final = ("provider", "effect", "act_id", "answered_by", "rule")
"""Fields of the row that become attributes ``deputize.NAME`` when the call ends."""
WAITS: Final = ("done", "approval_required", "consent_required")
"""Outcomes that are no errors."""


class CallSpan:
    """The current span until `end` is called. ``ids``: the fields of the audit row that identify the span."""

    def __init__(self, api: Any, span: Any) -> None:
        self._api, self._span = api, span
        self._entered = api.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False)
        self._entered.__enter__()
        context = span.get_span_context()
        self.ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def end(self, facts: Mapping[str, Any], decision: str) -> None:
        """End the span with the call's outcome."""
        if decision not in WAITS:
            self._span.set_attribute("error.type", decision)
            self._span.set_status(self._api.StatusCode.ERROR)
        self._span.set_attribute("deputize.outcome", decision)
        for name in OUTCOMES:
            if value := facts.get(name):
                self._span.set_attribute(f"deputize.{name}", str(value))
        self._entered.__exit__(None, None, None)


def start_span(facts: Mapping[str, Any]) -> CallSpan | None:
    """Start and return the span of a call with these fields of its audit row. Return None without a tracer provider."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or type(provider := api.get_tracer_provider()).__name__ in NO_PROVIDERS:
        return None
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.type": "function"}
    attributes |= {name: str(facts[field]) for field, name in ATTRIBUTES.items() if facts.get(field)}
    name = f"execute_tool {facts['tool']}"
    return CallSpan(api, provider.get_tracer("deputize").start_span(name, attributes=attributes))
