"""Pytest plugin for the suite of langgraph-prebuilt: each ``ToolNode`` that it creates is deputize's act node.

``DEPUTIZE_IN_PLACE=gate``: the act node treats each call as one of its own, as it does beside a call that acts as the
user: all calls run in the node's inner graph, behind the gate.
"""

from __future__ import annotations

import os
from typing import Any

from langgraph import prebuilt
from langgraph.prebuilt import chat_agent_executor, tool_node

from deputize.adapters.langchain.tool_host import Host
from deputize.adapters.langgraph import ActNode
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import new_deputy

DEPUTY = new_deputy(Sandbox())
DEPUTY.tools = lambda *names, **options: []  # type: ignore[method-assign]  # messages name all tools
HOST = Host(DEPUTY, "alice@example.test")


class ToolNode(ActNode):
    """An act node with the arguments of ``ToolNode``."""

    def __init__(self, tools: Any, **options: Any) -> None:
        super().__init__(HOST, (), tools, "by_id", **options)

    if os.environ.get("DEPUTIZE_IN_PLACE") == "gate":

        def _has_ours(self, turn: Any) -> bool:
            return True


for module in (prebuilt, tool_node, chat_agent_executor):
    module.ToolNode = ToolNode  # type: ignore[attr-defined]
