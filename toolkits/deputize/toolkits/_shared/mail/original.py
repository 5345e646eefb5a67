"""An original mail for a quote or forward: its text, its HTML with pictures, its files."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.mail.embed import Embedded, embed_page
from deputize.toolkits._shared.mail.incoming import Mail, text_of
from deputize.toolkits._shared.mail.parts import Part, leaves_in_once, texts_in
from deputize.toolkits._shared.text import clean

MAX_PICTURES: Final = 5 * 2**20
"""Most bytes of pictures in a quote."""


@dataclass(frozen=True)
class Original:
    """``text``: the whole text, with whole links. ``html``: a fragment, "" if the mail is plain, too large or complex.

    ``pictures``: the fragment's pictures, by their new content ids. ``files``: all other files.
    """

    text: str
    html: str = ""
    pictures: Mapping[str, Part] = field(default_factory=dict)
    files: Sequence[Part] = ()


def original_of(mail: Mail, fetched: Mapping[str, str]) -> Original:
    """Return the original of a mail. ``fetched``: data of texts that Gmail stores separately, by part id."""
    text = mail.body(fetched, whole_links=True).text
    leaves = leaves_in_once(mail.payload)
    names = {part.content_id: _new_content_id(part) for part in _pictures(leaves)}
    fragments = [_fragment(part, fetched, names) for one in texts_in(Part.of(mail.payload)) for part in one.shown]
    pages = [one for one in fragments if one is not None]
    if len(pages) < len(fragments) or not any(one.shown_as_html for one in pages):
        return Original(text, files=[part for part in leaves if part.is_file])
    used = set[str]().union(*(one.page.pictures for one in pages))
    pictures = {names[part.content_id]: part for part in leaves if part.content_id in used}
    rest = [part for part in leaves if part.is_file and part not in pictures.values()]
    return Original(text, "\n<br>\n".join(one.page.html for one in pages), pictures, rest)


@dataclass(frozen=True, slots=True)
class _Fragment:
    page: Embedded
    shown_as_html: bool


def _fragment(part: Part, fetched: Mapping[str, str], names: Mapping[str, str]) -> _Fragment | None:
    text = text_of(part, fetched)
    if part.type != "text/html":
        return _Fragment(
            Embedded(html.escape(clean(text)[0], quote=False).replace("\n", "<br>\n")), shown_as_html=False
        )
    page = embed_page(text, names)
    return None if page is None else _Fragment(page, shown_as_html=True)


def _pictures(leaves: Sequence[Part]) -> list[Part]:
    """Return the pictures that HTML may show, up to the size limit."""
    found: list[Part] = []
    size = 0
    for part in leaves:
        size += part.size if part.content_id and part.type.startswith("image/") else 0
        if part.content_id and part.type.startswith("image/") and size <= MAX_PICTURES:
            found.append(part)
    return found


def _new_content_id(part: Part) -> str:
    """Return a new content id, because the sender chose the original one freely."""
    return f"{hashlib.sha256(part.content_id.encode(errors='replace')).hexdigest()[:16]}@original"
