"""The toolkit of kept files."""

from __future__ import annotations

from typing import Final

from deputize.core import Toolkit

FILES: Final = Toolkit("files", provider="", accepts={"handle": "file", "file_id": "file", "page": "cursor"})
