"""The project's description on a package index: README.md with links that lead somewhere there.

If `[project.urls]` in pyproject.toml names a ``Source``, links and pictures lead to the files of this version at that
address. If it does not, only their text stays.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


class Description(MetadataHookInterface):
    """Sets the field `readme`, which pyproject.toml lists as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description, from README.md."""
        page = Path(self.root, "README.md").read_text("utf-8")
        source = metadata.get("urls", {}).get("Source", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": described(page, source, metadata["version"])}


def described(page: str, source: str, version: str) -> str:
    """Return the page for readers outside of the repository at this address, which can be empty."""

    def replace(found: re.Match[str]) -> str:
        picture, text, path, anchor = found.groups(default="")
        if not source:
            return "" if picture else text
        kind = "raw" if picture else "blob"
        return f"{picture}[{text}]({source}/{kind}/v{version}/{path}{anchor})"

    return LINK.sub(replace, page)
