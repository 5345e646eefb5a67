"""Regular expressions that are compiled on first use: most processes never need them."""

from __future__ import annotations

import re
from functools import cache


@cache
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return the pattern, compiled once."""
    return re.compile(pattern, flags)
