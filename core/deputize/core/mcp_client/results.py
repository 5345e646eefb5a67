"""Conversion of a foreign tool's result: bounded, marked as untrusted, files stored for the user, links as text.

| block                          | becomes                                                             |
|--------------------------------|---------------------------------------------------------------------|
| structuredContent              | ``data``, if it is short enough and not empty; else the text        |
| text, text of a resource       | ``text``, its beginning; all of it in a file of the user's; of a     |
|                                | failure also beside ``data``                                         |
| image, audio, blob             | a file of the user's, its handle in ``files``                       |
| resource_link                  | ``links``: text, never fetched                                      |
| isError                        | ``failed``: true; after a write, the outcome stays open             |
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple

from deputize.core.mcp_client.definitions import clean_text
from deputize.core.tools.steps import File, Keep
from deputize.core.visible_text import without_hidden

MAX_TEXT_CHARACTERS: Final = 20_000
"""Characters of one result that a model gets."""
MAX_FILES_PER_RESULT: Final = 10
MAX_LINKS_PER_RESULT: Final = 50
_MIME: Final = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,100}")
KeepSteps = Generator[Keep, Any, Any]


class _Blob(NamedTuple):
    mime: str
    content: bytes


class _Content(NamedTuple):
    texts: list[str]
    blobs: list[_Blob]
    links: list[dict[str, str]]
    lost: int


def outcome_of_call(result: Mapping[str, Any], tool: str, *, fits: bool) -> KeepSteps:
    """Return the result for an agent. ``tool``: the tool's name, for files. ``fits``: True if it matches the schema."""
    content, structured = _read(result.get("content")), result.get("structuredContent")
    shown: dict[str, Any] = {"untrusted": True}
    if result.get("isError") is True:
        shown["failed"] = True
    data = _short(structured)
    if data or (data is not None and not content.texts):
        shown["data"] = data
    if "data" not in shown or ("failed" in shown and not _repeats(content.texts, structured)):
        texts = content.texts or [_dump_json(structured)]
        shown |= yield from _text("\n".join(texts), tool)
    files = []
    for number, blob in enumerate(content.blobs):
        name = f"{tool}_{number + 1}.{blob.mime.partition('/')[2].partition('+')[0][:10]}"
        files.append((yield Keep(File(name, blob.mime, blob.content))))
    shown |= {"files": files} if files else {}
    shown |= {"links": content.links} if content.links else {}
    remarks = [] if fits else ["its structure is not as the tool's description says"]
    remarks += [f"{content.lost} parts could not be read"] if content.lost else []
    return shown | ({"remark": "; ".join(remarks)} if remarks else {})


def _short(structured: Any) -> Any:
    """Return a structure that a model may receive whole, or None if there is none, or it is too long or too deep."""
    try:
        return _plain(structured) if 0 < len(_dump_json(structured)) <= MAX_TEXT_CHARACTERS else None
    except RecursionError:
        return None


def _repeats(texts: list[str], structured: Any) -> bool:
    """Return True if the texts only repeat the structured content."""
    try:
        return not texts or [json.loads(text) for text in texts] == [structured]
    except (ValueError, RecursionError):
        return False


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


def _text(text: str, tool: str) -> KeepSteps:
    """Return a short text whole, else its beginning and a file with the whole text."""
    text = without_hidden(text)
    if len(text) <= MAX_TEXT_CHARACTERS:
        return {"text": text} if text else {}
    kept = yield Keep(File(f"{tool}.txt", "text/plain", text.encode(errors="replace")))
    return {
        "text": text[:MAX_TEXT_CHARACTERS],
        "cut": f"{len(text) - MAX_TEXT_CHARACTERS} characters more",
        "whole": kept,
    }


def _read(blocks: Any) -> _Content:
    found = _Content([], [], [], 0)
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict) and not _take(block, found):
            found = found._replace(lost=found.lost + 1)
    return found


def _take(block: Mapping[str, Any], found: _Content) -> bool:
    """Add one block to the content. Return False if it could not be read."""
    inner = block.get("resource") if block.get("type") == "resource" else block
    if not isinstance(inner, Mapping):
        return False
    if block.get("type") == "resource_link":
        if len(found.links) < MAX_LINKS_PER_RESULT:
            found.links.append({name: clean_text(block.get(name), 2000) for name in ("uri", "name") if block.get(name)})
        return True
    if isinstance(text := inner.get("text"), str):
        found.texts.append(text)
        return True
    blobs = list(_blobs(inner)) if len(found.blobs) < MAX_FILES_PER_RESULT else []
    found.blobs.extend(blobs)
    return bool(blobs)


def _blobs(block: Mapping[str, Any]) -> Iterator[_Blob]:
    """Yield the bytes of a block if it has valid base64."""
    data, mime = block.get("data", block.get("blob")), block.get("mimeType")
    if not isinstance(data, str):
        return
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return
    good = isinstance(mime, str) and _MIME.fullmatch(mime)
    yield _Blob(str(mime) if good else "application/octet-stream", content)
