from typing import Any

class RunOutput:
    content: Any
    run_id: str
    session_id: str
    user_id: str
    is_paused: bool
    requirements: list[Any]
    @property
    def active_requirements(self) -> list[Any]: ...
