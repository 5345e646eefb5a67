"""The toolkit of kept files."""

from __future__ import annotations

from typing import Final

from deputize.core import Toolkit
from deputize.toolkits._shared.arguments import ACCEPTS

FILES: Final = Toolkit("files", provider="", shows=True, accepts={**ACCEPTS, "handle": "file", "file_id": "file"})
