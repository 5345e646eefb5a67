from typing import Any

class BaseTool:
    name: str
    def __init__(self, **more: Any) -> None: ...
