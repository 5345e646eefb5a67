"""Long texts: read in parts or as stored, and replaced only by a caller that has read all of them.

A text is displayed as readers of its page see it: without comments, pictures as words, cut to a budget. Written back,
the displayed text would destroy the hidden rest for everybody. So a text that was read completely, with nothing left
out, comes with its digest (``text_digest``). A replacement passes it as ``if_text``, which is compared with the stored
text just before the write. Offsets are characters of the stored text in both forms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deputize.core.errors import Conflict, InvalidInput
from deputize.core.tools.continuation import Continuation
from deputize.toolkits._shared.find_text import excerpts, find_in
from deputize.toolkits._shared.page import Rows, room_for, text_tokens
from deputize.toolkits._shared.text import Outside, newlined, plain, window

PART: Final = None
"""The limit of a text that is the whole result: as much as fits."""
ALONE: Final = 3_400  # tokens of it; the rest of the result has a hundred
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOGETHER: Final = re.compile("\\r\\n|(?:\\S[\u200c\u200d]){1,16}\\S")  # must not be split
_TRIES: Final = 6  # attempts to fill a part of a mostly hidden text

Json = dict[str, Any]
Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Form:
    """The display form of a provider's texts.

    ``outside``: creates the counter of hidden text. ``show``: cleans a piece without stripping it. ``uncut``: patterns
    that no displayed piece may split. ``mask``: masks text that no model may see, even as stored. ``secret``: patterns
    of the masked text, which no piece may split. ``own``: a mark of deputize that readers do not need.
    """

    outside: Callable[[], Outside]
    show: Callable[[Any, str], str]
    uncut: tuple[re.Pattern[str], ...] = ()
    mask: Callable[[str], str] = str
    secret: tuple[re.Pattern[str], ...] = ()
    own: re.Pattern[str] | None = None

    def shows_all(self, text: str) -> bool:
        """True if the displayed form equals the stored one, except for line ends and surrounding blanks."""
        stored = plain(self.own.sub("", text) if self.own else text)
        return self.show(self.outside(), text).strip() == stored.strip()

    def masked(self, text: str) -> str:
        """Return the stored text with masks."""
        return _SURROGATE.sub("\ufffd", self.mask(text))


def digest(text: str) -> str:
    """Return 16 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def part(
    form: Form,
    outside: Outside,
    stored: Any,
    limit: int | None,
    offset: int = 0,
    *,
    raw: bool = False,
    name: str = "text",
    more: Continuation | None = None,
) -> Json:
    """Return the part of a text from ``offset``, as ``name``, in about ``limit`` bytes (`PART`: 3,400 tokens).
    ``more``: the call that reads this text in this form.

    Adds ``next_offset`` and ``more`` if text remains, ``total_chars`` if the part is not the whole, and at the end
    ``text_digest`` if the displayed text equals the stored one. Raises `InvalidInput` for an offset beyond the end.
    """
    text = str(stored or "")
    if offset > len(text):
        raise InvalidInput("offset: beyond the end of the text.", hint=f"The text has {len(text)} characters.")
    most, limit = (ALONE, room(text, offset)) if limit is None else (None, limit)
    as_is = raw and form.masked(text) == text
    spans = [] if as_is or (not offset and len(text) <= limit // 4) else _spans(form, text, raw=raw)
    start = _skip_span(spans, offset)
    if as_is:
        shown = window(text, start, limit)[0]
        end = start + len(shown)
    elif raw:
        end = _skip_span(spans, start + len(window(_SURROGATE.sub("?", text), start, limit)[0]))
        shown = form.masked(text[start:end])
    else:
        shown, end = _shown_part(form, text, spans, start, limit)
        if most and (cost := text_tokens(shown)) > most:  # words replaced short signs
            shown, end = _shown_part(form, text, spans, start, limit * most // cost)
        form.show(outside, text[start:end] if offset else text)  # the first part counts what the whole text hides
    result: Json = {name: shown} | ({"raw": True} if raw else {})
    if offset or end < len(text):
        result["total_chars"] = len(text)
    if end < len(text):
        return result | {"truncated": True, "next_offset": end} | ({"more": more.at(end)} if more else {})
    if text and (as_is if raw else form.shows_all(text)):
        result["text_digest"] = digest(text)
    return result


def room(text: str, offset: int, budget: int = ALONE) -> int:
    """Return how many bytes like those of the text from ``offset`` fit in ``budget`` tokens.

    Short text leaves room for additions of the displayed form: people's names, words for pictures.
    """
    fits, rest = room_for(text, offset, budget), text[offset : offset + 6 * budget]
    if fits < len(rest.encode(errors="replace")):
        return fits
    return max(fits, min(6 * budget, fits * budget // text_tokens(rest)))


def _shown_part(form: Form, text: str, spans: Spans, start: int, limit: int) -> tuple[str, int]:
    """Return about ``limit`` bytes of displayed text and the position where it ends. Hidden text takes no room."""
    sane, end, room, used = _SURROGATE.sub("\ufffd", text), start, limit, 0
    further = end
    for _ in range(_TRIES):
        if end >= len(text) or room < limit // 8:
            break
        further = _skip_span(spans, end + len(window(sane, end, room)[0]))
        longer = len(form.show(form.outside(), sane[start:further]).encode())
        if longer > limit:
            room //= 2
            continue
        end, used = further, longer
        room = limit - used
    end = end if end > start else further
    shown = form.show(form.outside(), sane[start:end])
    shown = shown if start else shown.lstrip()
    return shown if end < len(text) else shown.rstrip(), end


def _spans(form: Form, text: str, *, raw: bool) -> Spans:
    """Return the ranges that no piece may split. Hidden text may be long, so the stored form may be cut inside it."""
    patterns = (*form.secret, _TOGETHER, *(() if raw else form.uncut))
    return sorted(found.span() for pattern in patterns for found in pattern.finditer(text))


def _skip_span(spans: Spans, at: int) -> int:
    """Return the position, or the end of a range that must not be split there."""
    for start, end in spans:
        if start >= at:
            break
        at = max(at, end)
    return at


def shortened(
    form: Form, outside: Outside, text: Any, limit: int, name: str = "body", *, more: Continuation | None = None
) -> Json:
    """Return the start of a text for a row. If it is cut: with ``cut``, and ``more``, the call that reads on."""
    result = part(form, outside, text, limit, name=name, more=more)
    if "next_offset" not in result:
        return {name: result[name]}
    shown = {name: result[name].rstrip() + "\u2026", "cut": True}
    return shown | ({"more": result["more"]} if more else {})


def matches(text: str, find: str, offset: int, budget: int, more: Continuation) -> Json:
    """Return the places of some words from ``offset`` on, with the lines around them, within ``budget`` tokens.
    ``more``: the call that searches this text; it goes on at the first place that did not fit.

    Raises `InvalidInput` if there are no words.
    """
    check_find(find)
    places, rows = find_in(text, find), Rows(budget)
    told: Json = {"matches": rows.items, "total_matches": len(places), "total_chars": len(text)}
    for place, row in excerpts(text, [place for place in places if place >= offset]):
        if not rows.add(row):
            return told | {"truncated": True, "next_offset": place, "more": more.at(place)}
    return told


def check_find(find: str) -> None:
    """Raise `InvalidInput` if there are no words to look for."""
    if not find.strip():
        raise InvalidInput("find: empty.", hint="Give words that are in the text, such as the name of an error.")


# ----------------------------------------------------------------- edits


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a text: append to it, replace one part, or replace all.

    ``if_text``: the digest of the text that was read.
    """

    append: bool = False
    replaces: str | None = None
    if_text: str | None = None

    def of(self, form: Form, field: str, old: Any, new: str, limit: int, how: str = "") -> str:
        """Return the whole new text. ``limit``: bytes of the old one that are displayed by default. ``how``: the hint
        for a caller that has not read it.

        Raises `InvalidInput` for a part that does not occur exactly once and for a text that was not read whole, and
        `Conflict` if the stored text differs from the one that was read.
        """
        text = str(old or "")
        if self.append and self.replaces is not None:
            raise InvalidInput("append, replaces: give one of them, not both.", hint="Keep one of append, replaces.")
        if self.append:
            return f"{text}\n\n{new}" if text.strip() else new
        if self.replaces is not None:
            return _replace_once(field, text, self.replaces, new)
        if text.strip() and text != new:
            self._check_read(form, field, text, limit, how or _HOW)
        return new

    def _check_read(self, form: Form, field: str, text: str, limit: int, how: str) -> None:
        if self.if_text is not None:
            if self.if_text.strip().lower() != digest(text) or form.masked(text) != text:
                raise Conflict(
                    f"{field}: conflict (stale): the text changed since it was read.", reason="stale", hint=how
                )
        elif len(plain(text).encode(errors="replace")) > limit or not form.shows_all(text):
            raise InvalidInput(
                f"{field}: this would replace the whole text, but only a part of it was read.",
                reason="unread",
                hint=how,
            )


def check_read(name: str, old: str, if_text: str | None, reads: str, *, cut: bool) -> None:
    """Raise `InvalidInput` if a text longer than displayed would be replaced unread, `Conflict` if the stored text
    differs from the text that was read. ``reads``: how to read it whole. ``cut``: it is longer than displayed."""
    if if_text is not None and if_text.strip().lower() != digest(old):
        raise Conflict(f"{name}: conflict (stale): the text changed since it was read.", reason="stale", hint=reads)
    if if_text is None and cut:
        raise InvalidInput(
            f"{name}: this would replace the whole text, but only a part of it was read.", reason="unread", hint=reads
        )


def note_of(texts: Mapping[str, tuple[Any, str]]) -> Json:
    """Return the note to store before texts are written: by field the digests of the old and the new one."""
    return {"texts": {field: {"before": _hash(old), "after": _hash(new)} for field, (old, new) in texts.items()}}


def written_before(noted: Mapping[str, Any] | None, field: str, text: Any) -> bool:
    """True if an earlier run of this act wrote the text, so that nothing is added twice.

    Raises `Conflict` if the text is neither the one that this run read nor the one that it wrote.
    """
    known = ((noted or {}).get("texts") or {}).get(field)
    if not known:
        return False
    now = _hash(text)
    if now not in (known["before"], known["after"]):
        raise Conflict(
            f"{field}: conflict (stale): the text changed during this act, which may have written its own already.",
            reason="stale",
            hint="Read it before changing it again.",
        )
    return bool(now == known["after"])


def _hash(text: Any) -> str:
    """Return a digest that ignores line ends and surrounding blanks."""
    return digest(newlined(str(text or "")).strip())


_HOW: Final = (
    "Read it with raw=true, on from next_offset to its end, and pass text_digest as if_text; or add to it with append, "
    "or change a part of it with replaces."
)


def _replace_once(field: str, text: str, old: str, new: str) -> str:
    """Return the text with the single occurrence of ``old`` replaced, with the line ends of the text."""
    if "\r\n" in text and (old not in text or text.count("\n") == text.count("\r\n")):
        old, new = (one.replace("\r\n", "\n").replace("\n", "\r\n") for one in (old, new))
    first = text.find(old) if old else -1
    if first < 0:
        raise InvalidInput(f"replaces: not in {field}.", hint="Copy it exactly from the text as read with raw=true.")
    if text.find(old, first + 1) >= 0:
        raise InvalidInput(f"replaces: more than once in {field}.", hint="Take a longer part that occurs once.")
    return text[:first] + new + text[first + len(old) :]
