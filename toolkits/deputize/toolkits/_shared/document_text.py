"""Text of files through the parser process, from a position, in parts of a few thousand tokens, as readers see it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import File, ParseFile
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared.attached import READER
from deputize.toolkits._shared.long_text import check_find
from deputize.toolkits._shared.page import Rows, tokens
from deputize.toolkits._shared.steps import Asks
from deputize.toolkits._shared.text import Outside, window

PART: Final = 3_500
"""Tokens of a text in one result."""
ROOM: Final = 18_000
"""Characters that the parser returns for it."""
NOT_INSTALLED: Final = "pip install 'deputize[files]'"
_PLACE: Final = re.compile(r"(.{1,300}?)(?:\+([0-9]{1,8}))?", re.DOTALL)
_NAME: Final = 120
_TITLES: Final = 600  # tokens
_HINTS: Final = {
    "not_installed": NOT_INSTALLED,
    "encrypted": "Ask the user for a copy without a password.",
    "unknown_kind": "It reads PDF, docx, xlsx, pptx, csv, HTML, eml, text and zip, and what is known of pictures.",
    "no_place": "Pass `next` of the result before, or a number of a page, sheet or slide.",
    "no_member": "Pass a name of `members`.",
}

Json = dict[str, Any]
Place = Annotated[str, Field(description="next of the result before; or a page, slide or sheet")]


def read_document(
    file: File,
    cursor: str = "1",
    *,
    member: str = "",
    find: str | None = None,
    outside: Outside | None = None,
    own: bool = False,
) -> Asks[Json]:
    """Return what a file is, and its text from ``cursor``, or the places of ``find`` from there on.

    ``outside``: a cleaner that has cleaned text of the same result. ``own``: nobody but the user can have written the
    file, so it is marked only if it hides something or contains files, which may be anybody's. Raises `InvalidInput`
    for a file that cannot be read, and for a place or member that it does not have.
    """
    if find is not None:
        check_find(find)
    outside = outside or Outside()
    start, offset = _parse_place(cursor)
    question = {"name": file.name, "mime": file.mime, "member": member, "start": start, "room": ROOM, "find": find}
    found: Json = yield ParseFile(READER, question | {"offset": offset}, file.content)
    if reason := str(found.get("error") or ""):
        raise _refusal(file, reason, str(found.get("words")))
    row: Json = {"name": outside.line(member or file.name, _NAME), "kind": found["kind"]}
    row |= _facts(found, outside)
    row |= _members(found, offset, outside) if found["members"] else {}
    row |= _text(found, outside) if find is None else _matches(found, outside)
    if not own or outside.hidden or outside.doubts or found["members"] or member:
        outside.mark(row)
    return row


def _parse_place(cursor: str) -> tuple[str, int]:
    """Return the unit and the character in it: ``12``, ``12+3500``, ``Budget``."""
    found = _PLACE.fullmatch(cursor.strip())
    if not found:
        raise InvalidInput("cursor: empty, or longer than a place in a file is.", hint=_HINTS["no_place"])
    return found[1], int(found[2] or 0)


def _refusal(file: File, reason: str, words: str) -> DeputizeError:
    name = Outside().line(file.name, _NAME)
    words = Outside().line(words, 400)
    by = "operator" if reason == "not_installed" else "agent" if reason.startswith("no_") else "user"
    return InvalidInput(f"{name}: {words}", reason=reason, hint=_HINTS.get(reason, ""), fix_by=by)


def _facts(found: Json, outside: Outside) -> Json:
    """Return the number of units, their titles and the metadata."""
    row: Json = {f"{found['unit']}s": found["count"]} if found["unit"] else {}
    titles = Rows(_TITLES)
    for number, title in enumerate(found["titles"], 1):
        if not titles.add({"number": number, "title": outside.line(title, 100)}):
            break
    if titles.items:
        row["titles"] = [f"{one['number']} {one['title']}" for one in titles.items]
    for name, value in found["facts"].items():
        row[name] = outside.line(value, 200) if isinstance(value, str) else value
    return row


def _members(found: Json, start: int, outside: Outside) -> Json:
    """Return the files inside the file, from number ``start``."""
    rows, members = Rows(PART), found["members"]
    alone = found["kind"] == "zip"  # the members of a mail come with its text
    start = start if alone else 0
    done = start
    for one in members[start:]:
        if not rows.add({"name": outside.text(str(one["name"]))[:300], "size": one["size"]}, whole=True):
            break
        done += 1
    row: Json = {"members": rows.items}
    if done < len(members) or found["more_members"]:
        row |= {"truncated": True, "total_members": len(members) + found["more_members"]}
        row |= {"next": f"1+{done}"} if alone and done < len(members) else {}
    return row


def _matches(found: Json, outside: Outside) -> Json:
    """Return the places of the words, each with the ``cursor`` that reads on from there. ``next`` searches on."""
    rows, after = Rows(PART), found["rest"]
    for one in found["matches"]:
        place = {found["unit"]: one["number"]} if found["unit"] else {"line": one["line"]}
        shown = {**place, "cursor": f"{one['number']}+{one['offset']}", "text": outside.text(one["text"])}
        if not rows.add(shown):
            after = f"{one['number']}+{one['place']}"
            break
    row: Json = {"matches": rows.items, "total_matches": found["total"]}
    if found["until"] < found["count"]:
        row["searched_until"] = found["until"]
        after = after or str(found["until"] + 1)
    return row | ({"truncated": True, "next": after} if after else {})


def _text(found: Json, outside: Outside) -> Json:
    """Return as many parts as one result can contain, each after its label if there are several."""
    parts: Sequence[Json] = found["parts"]
    said: list[str] = []
    left, after = PART, ""
    for part in parts:
        label, piece, end = _fit_part(found, part, left, first=not said)
        if not piece and part["text"]:
            after = str(part["number"])
            break
        said.append(label + outside.text(piece))
        left -= tokens(said[-1])
        outside.hidden += 0 if part["offset"] else part["hidden"]
        outside.doubts |= set(part["doubts"])
        after = f"{part['number']}+{end}" if end < part["whole"] else str(part["number"] + 1)
        if end < part["offset"] + len(part["text"]):
            break
    after = after if not after.isdecimal() or int(after) <= found["count"] else ""
    row: Json = {"text": "\n\n".join(said)} if said else {}
    if len(parts) == 1 and (after or parts[0]["offset"]):
        row["total_chars"] = parts[0]["whole"]
    return row | ({"truncated": True, "next": after} if after else {})


def _fit_part(found: Json, part: Json, left: int, *, first: bool) -> tuple[str, str, int]:
    """Return a part's label, its text up to ``left`` tokens, and the character where that text ends.

    The first part of a result is never empty. Any other part is whole, or cut if it is long.
    """
    label, text, offset = _label(found, part), part["text"], part["offset"]
    if tokens(label + text) <= left:
        return label, text, offset + len(text)
    if not first and left < PART // 4:
        return label, "", offset
    room = left * 6
    while True:
        piece = window(text, 0, max(room, 200))[0]
        if tokens(label + piece) <= left or room <= 200:
            return label, piece, offset + len(piece)
        room = room * 7 // 8


def _label(found: Json, part: Json) -> str:
    if not found["unit"]:
        return ""
    titles = found["titles"]
    title = f": {' '.join(titles[part['number'] - 1].split())[:100]}" if part["number"] <= len(titles) else ""
    on = f", from character {part['offset']} on" if part["offset"] else ""
    return f"[{found['unit']} {part['number']}{title}{on}]\n"
