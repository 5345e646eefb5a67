"""What examples and tests use of Strands, which is installed in an environment of its own."""

from collections.abc import Callable, Coroutine
from typing import Any

from strands.types.tools import AgentTool

class Agent:
    def __init__(self, model: Any = None, **more: Any) -> None: ...
    async def invoke_async(self, prompt: Any = None, **more: Any) -> Any: ...
    def take_snapshot(self, **more: Any) -> Any: ...
    def load_snapshot(self, snapshot: Any) -> None: ...

class ToolContext:
    tool_use: dict[str, Any]
    agent: Any
    invocation_state: dict[str, Any]
    def interrupt(self, name: str, reason: Any = None, response: Any = None) -> Any: ...

def tool(**more: Any) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], AgentTool]: ...
