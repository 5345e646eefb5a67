"""Pytest plugin for the suite of openai-agents: each agent that it creates has deputize's tools, too."""

from __future__ import annotations

from typing import Any

from agents import Agent

from deputize.adapters.openai_agents import ActTool, tools
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import new_deputy

DEPUTY = new_deputy(Sandbox())
OURS = tools(DEPUTY, "gmail", user="alice@example.test", thread="1")
after: Any = Agent.__post_init__


def __post_init__(self: Agent[Any]) -> None:
    after(self)
    if not any(isinstance(one, ActTool) for one in self.tools):
        self.tools = [*self.tools, *OURS]


Agent.__post_init__ = __post_init__  # type: ignore[method-assign]
