"""What the LlamaIndex adapter costs: its tool over a tool of LlamaIndex's own that does nothing, with the same schema.

``python -m tests.bench`` prints it where LlamaIndex is installed. The act behind our tool does nothing either, since
what the core costs is a figure of its own.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.tools import FunctionTool

from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.core.http import FastTransport
from tests.bench.__main__ import deputy, paired, say

GIVEN = {"query": "from:bob"}


async def adapter() -> None:
    """Our ``acall`` over a no-op `FunctionTool`'s, on the loop alone."""

    async def nothing(*names: Any, **given: Any) -> Any:
        return []

    async with deputy("http://127.0.0.1:1", FastTransport) as one:
        [ours] = DeputyToolSpec(one, "gmail_list_emails", user="alice").to_tool_list()
        name, words, schema = ours.metadata.name, ours.metadata.description, ours.metadata.fn_schema
        theirs = FunctionTool.from_defaults(async_fn=nothing, name=name, description=words, fn_schema=schema)
        one.act = nothing  # type: ignore[method-assign]
        ratios = await paired([lambda: theirs.acall(**GIVEN), lambda: ours.acall(**GIVEN)], 1)
        say("LlamaIndex adapter over a no-op FunctionTool", ratios[1], 1.10)
