"""Files that are stored under a handle (``file_...``): read those of other toolkits, and make new ones.

It needs no provider, because the files are stored for the user. They are untrusted, so each is parsed in a separate
process; see `deputize.toolkits._documents`.
"""

from __future__ import annotations

from deputize.toolkits.files import write
from deputize.toolkits.files.read import FILES as TOOLKIT

__all__ = ["TOOLKIT", "write"]
