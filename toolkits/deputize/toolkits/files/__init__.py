"""Files: text of files that other toolkits have stored under a handle (``file_...``).

It needs no provider, because the files are stored for the user already. They are untrusted, so each is parsed in a
separate process; see `deputize.toolkits._documents`.
"""

from __future__ import annotations

from deputize.toolkits.files.read import FILES as TOOLKIT

__all__ = ["TOOLKIT"]
