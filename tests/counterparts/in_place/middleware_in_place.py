"""Pytest plugin for the suite of langchain: each agent that it creates has deputize's middleware, too.

The middleware comes first, so that it wraps those of a test.
"""

from __future__ import annotations

import functools
from typing import Any

from langchain import agents
from langchain.agents import factory

from deputize.adapters.middleware import DeputyMiddleware
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import new_deputy

DEPUTY = new_deputy(Sandbox())
DEPUTY.tools = lambda *names, **options: []  # type: ignore[method-assign]  # messages name all tools
create = factory.create_agent


@functools.wraps(create)
def create_agent(model: Any, tools: Any = None, *, middleware: Any = (), **options: Any) -> Any:
    """Create the agent with deputize's middleware beside those of the test."""
    ours = [DeputyMiddleware(DEPUTY, user="alice@example.test")]
    return create(model, tools, middleware=[*ours, *middleware], **options)


for module in (agents, factory):
    module.create_agent = create_agent  # type: ignore[attr-defined]
