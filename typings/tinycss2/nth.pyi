from collections.abc import Iterable
from typing import Any

def parse_nth(input: str | Iterable[Any]) -> tuple[int, int] | None: ...
