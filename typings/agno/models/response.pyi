from typing import Any

class ModelResponse:
    def __init__(self, **more: Any) -> None: ...
