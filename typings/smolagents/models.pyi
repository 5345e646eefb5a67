from typing import Any

class ChatMessageToolCall:
    def __init__(self, **more: Any) -> None: ...

class ChatMessageToolCallFunction:
    def __init__(self, **more: Any) -> None: ...
