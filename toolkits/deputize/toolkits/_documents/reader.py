"""The entry point of the parser process: opens a file, and reads from a position until the room is used up.

A position is a unit (a page, a sheet, a slide), from 1, and a character in it.
"""

from __future__ import annotations

import time
from typing import Final

from deputize.toolkits._documents.document import Document, Json, Unit, Unreadable
from deputize.toolkits._documents.kinds import open_file
from deputize.toolkits._shared.find_text import excerpts, find_in

MAX_LISTED: Final = 2_000
"""Most titles of sheets, or files of an archive, in a result."""
_LONGEST: Final = 300
_SECONDS: Final = 4.0  # of processor time, after which no further page is read
_LABEL: Final = 20  # characters of each unit's label


def parse(question: Json, content: bytes) -> Json:
    """Answer a ``question`` {name, mime, member, start, offset, room, find} with the parts read, or with the matches of
    ``find``, or with {error, words}.

    `RecursionError` and `MemoryError` are left to the caller.
    """
    try:
        document = _document(question, content)
        start = _start(document, question["start"])
        if question["find"]:
            found = _matches(document, start, question["offset"], question["room"], question["find"])
            return _summary(document) | found
        return _summary(document) | {"parts": _parts(document, start, question["offset"], question["room"])}
    except Unreadable as wrong:
        return {"error": wrong.reason, "words": wrong.words}
    except (MemoryError, RecursionError):
        raise
    except Exception:  # any fault of a parser
        return {"error": "damaged", "words": "The file is damaged, or made in a way that is not known here."}


def _document(question: Json, content: bytes) -> Document:
    """Open the file, or the requested file inside it."""
    document, member = open_file(content, question["name"], question["mime"])
    if not (wanted := question["member"]):
        return document
    found = member(wanted)
    if found is None:
        listed = ", ".join(str(one["name"])[:60] for one in document.members[:10])
        there = f"There are: {listed}." if listed else "It has none."
        raise Unreadable("no_member", f"There is no {wanted[:60]!r} in the file. {there}")
    return open_file(found, wanted, "")[0]


def _summary(document: Document) -> Json:
    return {
        "kind": document.kind,
        "unit": document.unit,
        "count": document.count,
        "titles": [title[:_LONGEST] for title in document.titles[:MAX_LISTED]],
        "facts": document.facts,
        "members": list(document.members[:MAX_LISTED]),
        "more_members": max(len(document.members) - MAX_LISTED, 0),
    }


def _start(document: Document, start: str) -> int:
    """Return the number of the unit with this number or title. Raises `Unreadable` that lists the available ones."""
    if start.isdecimal() and 1 <= int(start) <= max(document.count, 1):
        return int(start)
    called = [title.casefold() for title in document.titles]
    if start.casefold() in called:
        return called.index(start.casefold()) + 1
    listed = ": " + ", ".join(title[:60] for title in document.titles[:20]) if document.titles else ""
    raise Unreadable("no_place", f"It has {document.count} {document.unit or 'part'}s{listed}.")


def _parts(document: Document, start: int, offset: int, room: int) -> list[Json]:
    """Return texts from a position: ``text`` is the part of unit ``number`` from ``offset``, ``whole`` its length."""
    parts: list[Json] = []
    until = time.process_time() + _SECONDS
    for number in range(start, document.count + 1):
        found = _unit(document, number)
        if offset > len(found.text):
            raise Unreadable("no_place", f"It has {len(found.text)} characters there.")
        text = found.text[offset : offset + room]
        part = {"number": number, "offset": offset, "text": text, "whole": len(found.text)}
        parts.append(part | {"hidden": found.hidden, "doubts": sorted(found.doubts)})
        room -= len(text) + _LABEL
        if room <= 0 or offset + len(text) < len(found.text) or time.process_time() > until:
            break
        offset = 0
    return parts


def _matches(document: Document, start: int, offset: int, room: int, find: str) -> Json:
    """Return ``matches`` from a position, each in unit ``number`` at character ``place``; their ``total`` in all units
    from there; ``until``, the last unit that was searched; and ``rest``, the first place for which there was no room.
    """
    shown: list[Json] = []
    total, number, rest = 0, start, ""
    end = time.process_time() + _SECONDS
    for number in range(start, document.count + 1):
        text = _unit(document, number).text
        places = [place for place in find_in(text, find) if number > start or place >= offset]
        total += len(places)
        for place, row in () if rest else excerpts(text, places):
            room -= len(row["text"]) + _LABEL
            if room < 0 and shown:
                rest = f"{number}+{place}"
                break
            shown.append({"number": number, "place": place, **row})
        if time.process_time() > end:
            break
    return {"matches": shown, "total": total, "until": number, "rest": rest}


def _unit(document: Document, number: int) -> Unit:
    """Return a unit. If it is damaged and not the only one, its text says so, so that the others can be read."""
    try:
        found = document.read(number - 1)
        return found if found.text or document.count == 1 else Unit("[no text]", found.hidden, found.doubts)
    except (Unreadable, MemoryError, RecursionError):
        raise
    except Exception:
        if document.count == 1:
            raise
        return Unit(f"[this {document.unit} is damaged]")
