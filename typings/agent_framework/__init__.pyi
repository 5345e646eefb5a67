"""What examples and tests use of Microsoft Agent Framework, which is installed in an environment of its own."""

from typing import Any, Self

class Agent:
    def __init__(self, client: Any, **more: Any) -> None: ...
    async def run(self, messages: Any = None, **more: Any) -> Any: ...

class AgentSession:
    session_id: str
    def to_dict(self) -> dict[str, Any]: ...
    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self: ...

class BaseChatClient: ...

class ChatResponse:
    def __init__(self, **more: Any) -> None: ...

class Content:
    @classmethod
    def from_function_call(cls, call_id: str, name: str, **more: Any) -> Self: ...
    @classmethod
    def from_function_approval_request(cls, id: str, function_call: Content, **more: Any) -> Self: ...

class FunctionInvocationContext:
    function: FunctionTool
    arguments: Any
    session: AgentSession
    metadata: dict[str, Any]
    kwargs: dict[str, Any]
    result: Any

class FunctionInvocationLayer: ...
class FunctionMiddleware: ...

class FunctionTool:
    name: str
    def __init__(self, **more: Any) -> None: ...

class Message:
    def __init__(self, role: str, contents: list[Any]) -> None: ...
