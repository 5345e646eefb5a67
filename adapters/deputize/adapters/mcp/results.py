"""Tool definitions, results and failures in MCP's format."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types

from deputize.adapters.model_messages import as_text, failure_text
from deputize.adapters.operator_warnings import NO_USER_IN_REQUEST, warn_operator
from deputize.core import DeputizeError, DeputyProtocol, Effect, File, NotFound, Tool, User

__all__ = ["INSTRUCTIONS", "FileLinks", "error_result", "foreign_result", "tool_definition", "tool_result"]


FILE_URI: Final = "deputize://files/"
"""The URI of a stored file of the user, with its handle."""
MAX_RESULT_BYTES: Final = 4 * 2**20
"""Bytes of files in one result."""

INSTRUCTIONS: Final = "A call may need the user: it then says where they decide. Afterwards make the same call again."
"""Placed before the text about ``untrusted``: some clients read only 512 characters (Codex)."""


def tool_definition(tool: Tool) -> types.Tool:
    """Return a tool's definition as clients list it. Its annotations are hints for its strongest effect.

    It has an output schema only if every result matches it: clients abort a call whose result does not, after the act
    has happened. See https://modelcontextprotocol.io/specification/2026-07-28/server/tools.
    """
    schema = tool.result_schema
    return types.Tool(
        name=tool.name,
        title=tool.title or None,
        description=tool.description,
        input_schema={"type": "object", **tool.schema},
        output_schema=dict(schema) if schema is not None else None,
        annotations=_hints(tool.gravest),
    )


def _hints(effect: Effect) -> types.ToolAnnotations:
    """Return the annotations. A read meets untrusted content and a message reaches others, so both are "open world"."""
    if effect is Effect.READS:
        return types.ToolAnnotations(read_only_hint=True, open_world_hint=True)
    return types.ToolAnnotations(
        read_only_hint=False,
        destructive_hint=Effect.DESTRUCTIVE in effect,
        idempotent_hint=False,
        open_world_hint=Effect.SENDS in effect,
    )


def tool_result(result: Any) -> types.CallToolResult:
    """Return a tool's result as text for the model, and objects also as structured content."""
    structured = result if isinstance(result, dict) else None
    return types.CallToolResult(content=[_text(as_text(result))], structured_content=structured)


@dataclass(frozen=True)
class FileLinks:
    """Links to the stored files of one user, as resources of this server. A link is signed, so a client can read the
    files that a result has linked to, and no other by its handle."""

    deputy: DeputyProtocol
    user: User

    def uri(self, handle: str) -> str:
        """Return the URI of a file."""
        return f"{FILE_URI}{handle}/{self._signature(handle)}"

    async def read(self, uri: str) -> types.ReadResourceResult:
        """Return the contents of a linked file. Raises `NotFound` for another URI, or if the file has expired."""
        handle, _, signature = uri.removeprefix(FILE_URI).partition("/")
        if not uri.startswith(FILE_URI) or not hmac.compare_digest(
            signature.encode(), self._signature(handle).encode()
        ):
            raise NotFound("This server has no such resource.")
        file = await self.load(handle)
        blob = base64.b64encode(file.content).decode()
        contents = types.BlobResourceContents(uri=uri, mime_type=file.mime, blob=blob)
        return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")

    async def load(self, handle: str) -> File:
        """Return the file with this handle. Raises `NotFound`."""
        return await self.deputy.get_file(self.user, handle)

    def _signature(self, handle: str) -> str:
        key = self.deputy.derive_key("mcp file link").reveal().encode()
        whose = "\0".join((self.user.tenant, self.user.id, handle)).encode("utf8", "surrogatepass")
        return hmac.digest(key, whose, "sha256").hex()[:32]


async def foreign_result(result: Mapping[str, Any], files: FileLinks) -> types.CallToolResult:
    """Return a foreign tool's result: its parts as MCP's content, as they came, after the rest as text.

    Files above `MAX_RESULT_BYTES` in total become links, which the client may read.
    """
    parts, blocks, left = list(result.get("content") or ()), list[types.ContentBlock](), MAX_RESULT_BYTES
    for part in list(parts):
        if "cut" in part or (part["type"] == "text" and "audience" not in part):
            continue  # it stays in the text, with the handle of the whole
        if "file" in part and part["size"] <= left:
            with suppress(NotFound):  # expired: its handle stays in the text
                blocks.append(_bytes_block(part, (await files.load(part["file"])).content, files))
                left -= part["size"]
                parts.remove(part)
            continue
        blocks.append(_block(part, files))
        parts.remove(part)
    rest = {name: value for name, value in result.items() if name != "content"} | ({"content": parts} if parts else {})
    return types.CallToolResult(
        content=[_text(as_text(rest)), *blocks],
        structured_content=dict(result),
        is_error=result.get("failed", False),
    )


def _block(part: Mapping[str, Any], files: FileLinks) -> types.ContentBlock:
    """Return a text, a link, or a file as a link."""
    who = _annotations(part)
    if "text" in part and part["type"] == "text":
        return types.TextContent(type="text", text=part["text"], annotations=who)
    if "text" in part:
        text = types.TextResourceContents(uri=part.get("uri", ""), mime_type=part.get("mime"), text=part["text"])
        return types.EmbeddedResource(type="resource", resource=text, annotations=who)
    uri = files.uri(part["file"]) if "file" in part else part.get("uri", "")
    return types.ResourceLink(
        type="resource_link",
        uri=uri,
        name=part.get("name") or uri,
        title=part.get("title"),
        description=part.get("description"),
        mime_type=part.get("mime"),
        size=part.get("size"),
        annotations=who,
    )


def _bytes_block(part: Mapping[str, Any], content: bytes, files: FileLinks) -> types.ContentBlock:
    data, mime, who = base64.b64encode(content).decode(), part["mime"], _annotations(part)
    if part["type"] == "image":
        return types.ImageContent(type="image", data=data, mime_type=mime, annotations=who)
    if part["type"] == "audio":
        return types.AudioContent(type="audio", data=data, mime_type=mime, annotations=who)
    uri = part.get("uri") or files.uri(part["file"])
    blob = types.BlobResourceContents(uri=uri, mime_type=mime, blob=data)
    return types.EmbeddedResource(type="resource", resource=blob, annotations=who)


def _annotations(part: Mapping[str, Any]) -> types.Annotations | None:
    return types.Annotations(audience=part["audience"]) if "audience" in part else None


def error_result(error: DeputizeError, more: str = "") -> types.CallToolResult:
    """Return a failure as text for the model, followed by ``more``. Logs the failure if the operator must fix it."""
    warn_operator(error, NO_USER_IN_REQUEST)
    return types.CallToolResult(content=[_text(f"{failure_text(error)} {more}".strip())], is_error=True)


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)
