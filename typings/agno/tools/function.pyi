from typing import Any

class Function:
    name: str
    def __init__(self, **more: Any) -> None: ...
