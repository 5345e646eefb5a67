"""Pictures, sounds and documents in results of foreign tools, which adapters pass on in their framework's own types.

A result names files by their handles. An adapter loads their bytes when it answers the model.
"""

from __future__ import annotations

import base64
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from deputize.core import DeputyProtocol, NotFound, Tool, User

__all__ = ["Media", "media_of"]


class Media(NamedTuple):
    """One file in a result. ``kind``: image, audio or pdf. ``part``: its part of the result's ``content``."""

    kind: str
    part: Mapping[str, Any]
    content: bytes

    @property
    def mime(self) -> str:
        """Its media type."""
        return str(self.part["mime"])

    @property
    def base64(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.content).decode()

    @property
    def url(self) -> str:
        """The bytes as a ``data:`` URL."""
        return f"data:{self.mime};base64,{self.base64}"


async def media_of(deputy: DeputyProtocol, tool: Tool, result: Any, user: User, kinds: Container[str]) -> list[Media]:
    """Return the files of these kinds in a result that models receive, in their order.

    Only a tool that declares files may have them: another result may merely look as if it named one.
    """
    parts = result.get("content") if tool.returns_files and isinstance(result, dict) else None
    found = list[Media]()
    for part in parts or ():
        kind = "pdf" if part.get("mime") == "application/pdf" else str(part.get("mime")).partition("/")[0]
        if part.get("shown") and kind in kinds:
            with suppress(NotFound):  # answered again after its files have expired
                found.append(Media(kind, part, (await deputy.get_file(user, part["file"])).content))
    return found
