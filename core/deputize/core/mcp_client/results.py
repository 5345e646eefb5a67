"""Conversion of a foreign tool's result: bounded, marked as untrusted, in the server's order, files stored.

| part                           | becomes                                                             |
|--------------------------------|---------------------------------------------------------------------|
| structuredContent              | ``data``, if it is short enough and not empty; else the text        |
| only plain texts               | ``text``, unless they repeat ``data``                               |
| any other content              | ``content``: its parts in order, named as in MCP                    |
| image, audio, blob             | a part with the handle of a file of the user; ``shown``: true if    |
|                                | models receive the bytes as well                                    |
| resource_link                  | a part with its address, never fetched                              |
| long text                      | its beginning; all of it in a file of the user (``whole``)          |
| isError                        | ``failed``: true; after a write, the outcome stays open             |
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Container, Generator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from deputize.core.errors import InvalidInput
from deputize.core.mcp_client.definitions import clean_text
from deputize.core.mcp_client.schemas import fits
from deputize.core.tools.steps import File, Keep
from deputize.core.visible_text import without_hidden

MAX_TEXT_CHARACTERS: Final = 20_000
"""Characters of one result that a model gets."""
MAX_FILES_PER_RESULT: Final = 10
MAX_LINKS_PER_RESULT: Final = 50
MAX_PARTS: Final = 200
MAX_SHOWN_BYTES: Final = 4 * 2**20
"""Bytes of one result's files that a model gets."""
_MIME: Final = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,100}")
_UNFIT: Final = "its structure is not as the tool's description says"
_AUDIENCES: Final = ("user", "assistant")
_SIGNATURES: Final[Mapping[str, bytes]] = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF....WEBP",
    "audio/wav": rb"RIFF....WAVE",
    "audio/mpeg": rb"ID3|\xff[\xe2-\xff]",
    "audio/ogg": rb"OggS",
    "audio/flac": rb"fLaC",
    "application/pdf": rb"%PDF-",
}
"""First bytes of the types that models accept. A model's API rejects a conversation with bytes of another type."""
_TYPES: Final = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}
_TYPES.update({"audio/mp3": "audio/mpeg", "audio/x-flac": "audio/flac"})
KeepSteps = Generator[Keep, Any, Any]


def outcome_of_call(
    result: Mapping[str, Any], tool: str, *, schema: Mapping[str, Any] | None = None, inline: Container[str] = ()
) -> KeepSteps:
    """Return the result for an agent. ``tool``: the tool's name, for files. ``schema``: of its structured content.
    ``inline``: the kinds of files that models receive: image, audio, pdf."""
    structured, shown = result.get("structuredContent"), dict[str, Any](untrusted=True)
    failed = result.get("isError") is True
    shown |= {"failed": True} if failed else {}
    blocks, data, parts = _blocks(result.get("content")), _short(structured), _Parts(tool, inline)
    texts = [str(one.get("text")) for one in blocks if one.get("type") == "text"]
    if data or (data is not None and not blocks):
        shown["data"] = data
        parts.left -= len(_dump_json(data))
        if _repeats([without_hidden(one) for one in texts], data):
            blocks = [one for one in blocks if one.get("type") != "text"]
    elif structured is not None and not texts:  # it is too long, or there is nothing else
        blocks = [*blocks, {"type": "text", "text": _dump_json(structured)}]
    if all(one.get("type") == "text" and not _audience(one) for one in blocks):
        said = yield from parts.text("\n".join(one["text"] for one in blocks if isinstance(one.get("text"), str)))
        shown |= {key: value for key, value in said.items() if key != "type" and value}
    else:
        shown["content"] = yield from parts.read(blocks)
    remarks = [] if failed or data is None or fits(schema, data) else [_UNFIT]
    remarks += [f"{parts.lost} parts could not be read"] if parts.lost else []
    shown |= {"remark": "; ".join(remarks)} if remarks else {}
    return {name: value for name, value in shown.items() if name != "content" or value}


class _Parts:
    """The parts of one result. ``left``: characters that a model may still get. ``lost``: number of lost parts."""

    def __init__(self, tool: str, inline: Container[str] = ()) -> None:
        self.tool, self.inline = tool, inline
        self.left, self.bytes_left, self.links, self.files, self.lost = MAX_TEXT_CHARACTERS, MAX_SHOWN_BYTES, 0, 0, 0

    def read(self, blocks: Sequence[Mapping[str, Any]]) -> Generator[Keep, Any, list[dict[str, Any]]]:
        """Return the parts of these content blocks."""
        found = list[dict[str, Any]]()
        for block in blocks[:MAX_PARTS]:
            part = yield from self._part(block)
            found += [part] if part else []
        self.lost = len(blocks) - len(found)
        return found

    def _part(self, block: Mapping[str, Any]) -> KeepSteps:
        """Return a block's part, or None if it cannot be read."""
        kind = block.get("type")
        inner = block.get("resource") if kind == "resource" else block
        if not isinstance(inner, Mapping):
            return None
        part = {"type": kind, **_words(inner), **({"audience": who} if (who := _audience(block)) else {})}
        if kind == "resource_link":
            self.links += 1
            return part if self.links <= MAX_LINKS_PER_RESULT else None
        if isinstance(inner.get("text"), str) and kind in ("text", "resource"):
            mime = {"mime": inner["mimeType"]} if _is_mime(inner.get("mimeType")) else {}
            return part | mime | (yield from self.text(inner["text"], kind=str(kind)))
        if kind not in ("image", "audio", "resource") or (content := _bytes_of(inner)) is None:
            return None
        return (yield from self._file(part, inner, content))

    def text(self, text: str, *, kind: str = "text") -> KeepSteps:
        """Return a part with a short text whole, else with its beginning and a file with the whole text."""
        text = without_hidden(text)
        room, self.left = self.left, max(0, self.left - len(text))
        if len(text) <= room:
            return {"type": kind, "text": text}
        kept = yield Keep(File(f"{self.tool}.txt", "text/plain", text.encode(errors="replace")))
        return {"type": kind, "text": text[:room], "cut": f"{len(text) - room} characters more", "whole": kept}

    def _file(self, part: dict[str, Any], block: Mapping[str, Any], content: bytes) -> KeepSteps:
        """Return a part with the handle of a file of the user, or None if it is one too many or cannot be stored."""
        self.files += 1
        if self.files > MAX_FILES_PER_RESULT:
            return None
        mime = str(block["mimeType"]).lower() if _is_mime(block.get("mimeType")) else "application/octet-stream"
        mime = _TYPES.get(mime, mime)
        ending = mime.partition("/")[2].partition("+")[0][:10]
        try:
            kept = yield Keep(File(_file_name(part) or f"{self.tool}_{self.files}.{ending}", mime, content))
        except InvalidInput:  # the user's files are full: the act has happened, and its other parts are not lost
            return None
        part |= {key: kept[key] for key in kept if key not in part or key == "name"}
        if self._may_show(part, mime, content):
            self.bytes_left -= len(content)
            part["shown"] = True
        return part

    def _may_show(self, part: Mapping[str, Any], mime: str, content: bytes) -> bool:
        """Return True if models get these bytes."""
        kind = "pdf" if mime == "application/pdf" else mime.partition("/")[0]
        if kind not in self.inline or mime not in _SIGNATURES or part.get("audience") == ["user"]:
            return False
        return len(content) <= self.bytes_left and bool(re.match(_SIGNATURES[mime], content[:12], re.DOTALL))


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []


def _words(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts that describe a resource or a link, and its size."""
    said: dict[str, Any] = {name: clean_text(block.get(name), 2000) for name in ("uri", "name", "title", "description")}
    size, mime = block.get("size"), block.get("mimeType")
    if block.get("type") == "resource_link":
        said |= {"mime": mime} if _is_mime(mime) else {}
        said |= {"size": size} if isinstance(size, int) and not isinstance(size, bool) else {}
    return {name: value for name, value in said.items() if value not in ("", None)}


def _audience(block: Mapping[str, Any]) -> list[str]:
    notes = block.get("annotations")
    who = notes.get("audience") if isinstance(notes, Mapping) else None
    return [one for one in _AUDIENCES if one in who] if isinstance(who, list) else []


def _file_name(part: Mapping[str, Any]) -> str:
    """Return the name of a resource, from its name or the end of its address."""
    try:
        path = urlsplit(part.get("uri", "")).path
    except ValueError:
        path = ""
    return str(part.get("name") or unquote(path.rpartition("/")[2]))


def _bytes_of(block: Mapping[str, Any]) -> bytes | None:
    """Return the bytes of a block, or None if it has no valid base64."""
    data = block.get("data", block.get("blob"))
    try:
        return base64.b64decode(data, validate=True) if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        return None


def _is_mime(mime: Any) -> bool:
    return isinstance(mime, str) and _MIME.fullmatch(mime) is not None


def _short(structured: Any) -> Any:
    """Return a structure that a model may receive whole, or None if there is none, or it is too long or too deep."""
    try:
        return _plain(structured) if 0 < len(_dump_json(structured)) <= MAX_TEXT_CHARACTERS else None
    except RecursionError:
        return None


def _repeats(texts: list[str], structured: Any) -> bool:
    """Return True if the texts only repeat the structured content. Servers made with FastMCP wrap a result that is not
    an object: ``{"result": ...}``."""
    wrapped = isinstance(structured, dict) and structured.keys() == {"result"}
    meant = [structured, structured["result"]] if wrapped else [structured]
    said = [_loaded(text) for text in texts]
    return not texts or any(one in ([value], value) for one in (said, texts) for value in meant)


def _loaded(text: str) -> Any:
    try:
        return _plain(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _dump_json(structured: Any) -> str:
    """Return the structure as JSON, or "" if there is none or it is too deep."""
    try:
        return "" if structured is None else json.dumps(structured, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _plain(value: Any) -> Any:
    """Return the value without invisible characters, and with numbers that JSON lacks (RFC 8259 6) as strings."""
    if isinstance(value, dict):
        return {without_hidden(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return without_hidden(value) if isinstance(value, str) else value
