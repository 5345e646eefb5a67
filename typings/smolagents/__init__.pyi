"""What examples and tests use of smolagents, which is installed in an environment of its own."""

from typing import Any

class ChatMessage:
    def __init__(self, **more: Any) -> None: ...

class MessageRole:
    ASSISTANT: MessageRole
    TOOL_RESPONSE: MessageRole

class Model: ...

class Tool:
    name: str
    description: str
    inputs: dict[str, Any]
    output_type: str
    def __init__(self) -> None: ...

class ToolCallingAgent:
    def __init__(self, **more: Any) -> None: ...
    def run(self, task: str) -> Any: ...
