"""Files: what other toolkits have put aside under a handle (``file_...``), read as text.

It needs no provider: the files are the user's already. They are parsed in a process of their own, since strangers made
them; see `deputize.toolkits._documents`.
"""

from __future__ import annotations

from deputize.toolkits.files import read  # noqa: F401 - declares the tool
from deputize.toolkits.files.base import FILES as TOOLKIT

__all__ = ["TOOLKIT"]
