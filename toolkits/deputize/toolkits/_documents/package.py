"""Office Open XML (ECMA-376): a zip of XML parts with relations.

It is read with the standard library only: zipfile for the package, expat for the parts. A document type declaration,
which no office file has, is refused, and with it every entity. Sizes are counted during decompression, whatever the
directory declares.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from deputize.toolkits._documents.document import Unreadable

MAX_PART_BYTES: Final = 48 * 2**20
"""Largest part in bytes, decompressed."""
MAX_PARTS: Final = 10_000
"""Most parts of a package, or files of an archive."""
DEEPEST: Final = 200
"""Most levels of elements."""
MAX_ELEMENTS: Final = 300_000
"""Most elements in memory: of one paragraph, table or row."""


@dataclass(slots=True)
class Node:
    """An element. It is named without its namespace. ``text``: the text directly in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Node] = field(default_factory=list)
    text: str = ""

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    def child(self, *path: str) -> Node | None:
        """Return the first child of this name, then its first child of the next name, and so on."""
        found: Node | None = self
        for name in path:
            found = next((one for one in found.children if one.tag == name), None) if found else None
        return found

    def find_all(self, tag: str) -> Iterator[Node]:
        """Yield every descendant of this name."""
        for one in self.children:
            if one.tag == tag:
                yield one
            yield from one.find_all(tag)

    def words(self, tag: str = "t") -> str:
        """Return the text of all descendants of this name."""
        return "".join(one.text for one in self.find_all(tag))


class Package:
    """A zip archive whose parts are decompressed up to a limit."""

    def __init__(self, content: bytes) -> None:
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(content))
            infos = self.zip.infolist()
        except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, NotImplementedError):
            raise Unreadable("damaged", "The archive is damaged.") from None
        if len(infos) > MAX_PARTS:
            raise Unreadable("too_complex", f"The archive has {len(infos)} files; at most {MAX_PARTS} are read.")
        self.infos = {info.filename: info for info in infos}

    def part(self, name: str, largest: int = MAX_PART_BYTES) -> bytes:
        """Return a part's bytes, or b"" if it is missing. Raises `Unreadable` if it is too large or encrypted."""
        info = self.infos.get(name.lstrip("/"))
        if info is None:
            return b""
        if info.flag_bits & 1:
            raise Unreadable("encrypted", "The file is encrypted with a password.")
        try:
            with self.zip.open(info) as stream:
                content = stream.read(largest + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
            raise Unreadable("damaged", f"{name[:100]}: damaged in the archive.") from None
        if len(content) > largest:
            raise Unreadable("too_complex", f"{name[:100]} has more than {largest} bytes once it is unpacked.")
        return content

    def links(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the relations of a part by id: the last word of the type, and the target part or external address."""
        folder, name = posixpath.split(part)
        found: dict[str, tuple[str, str]] = {}

        def take(node: Node) -> None:
            target = node.get("Target")
            if node.get("TargetMode") != "External":
                target = target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target)
                target = posixpath.normpath(target)
            found[node.get("Id")] = node.get("Type").rpartition("/")[2], target

        scan(self.part(f"{folder}/_rels/{name}.rels".lstrip("/")), {"Relationship"}, take)
        return found

    def find_linked(self, part: str, kind: str) -> str:
        """Return the first part with this relation, or ""."""
        return next((target for what, target in self.links(part).values() if what == kind), "")


class StopScan(Exception):
    """A callback raises this if it needs no more elements."""


def scan(xml: bytes, wanted: set[str], take: Callable[[Node], None]) -> None:
    """Pass each outermost element of these names to ``take`` when the element ends. No other element stays in memory.

    Raises `Unreadable` if it is not XML, nested too deep, or has a document type declaration.
    """
    if not xml:
        return
    stack: list[Node] = []
    depth = held = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, held
        depth += 1
        held = held + 1 if stack else 0
        if depth > DEEPEST or held > MAX_ELEMENTS:
            raise Unreadable("too_complex", "The file is nested too deep, or a paragraph or table in it is too large.")
        tag = name.rpartition(" ")[2]
        if stack or tag in wanted:
            node = Node(tag, {key.rpartition(" ")[2]: value for key, value in attributes.items()})
            if stack:
                stack[-1].children.append(node)
            stack.append(node)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1
        if stack and (node := stack.pop()) and not stack:
            take(node)

    def data(text: str) -> None:
        if stack:
            stack[-1].text += text

    def refuse(*_: object) -> None:
        raise Unreadable("unsafe", "The file declares a document type, which no office file does.")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text, parser.buffer_size = True, 2**20
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except StopScan:
        return
    except (expat.ExpatError, ValueError):
        raise Unreadable("damaged", "A part of the file is no XML.") from None


def parse_tree(xml: bytes) -> Node:
    """Parse a small part as a whole."""
    root = Node("", {})
    scan(xml, _Every(), root.children.append)
    return root.children[0] if root.children else root


class _Every(set[str]):
    def __contains__(self, _: object) -> bool:
        return True
