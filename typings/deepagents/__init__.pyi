"""What the tests use of deepagents, which is installed in an environment of its own."""

from typing import Any

def create_deep_agent(model: Any = None, tools: Any = None, **more: Any) -> Any: ...
