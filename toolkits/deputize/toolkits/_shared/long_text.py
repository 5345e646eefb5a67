"""Long texts: read on to their end, read as they are stored, and replaced only by whoever has read all of them.

A text is shown as the readers of its page see it: without comments, with words for pictures, cut to a budget. What is
written back from that would destroy what was not shown, for everybody. So a text that was read to its end, with nothing
left out, comes with its digest (``text_digest``), and a replacement says that digest (``if_text``); it is compared with
what is there just before the write. Offsets are characters of the stored text, whichever form is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deputize.core.errors import Conflict, InvalidInput
from deputize.core.tools.continuation import Continuation
from deputize.toolkits._shared.page import room_for, text_tokens
from deputize.toolkits._shared.text import Outside, newlined, plain, window

PART: Final = None
"""The limit of a text that is read by itself: as much as a result holds."""
ALONE: Final = 3_400  # tokens of it; what surrounds it has a hundred
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOGETHER: Final = re.compile("\\r\\n|(?:\\S[\u200c\u200d]){1,16}\\S")  # what reads otherwise once it is parted
_TRIES: Final = 6  # windows of a text that is mostly hidden, until a part is full

Json = dict[str, Any]
Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Form:
    """How the texts of a provider are shown.

    ``outside``: makes what counts what is hidden. ``show``: a piece cleaned, its ends as they are. ``uncut``: what no
    piece may end inside of that is shown. ``mask``: masks what nobody is shown, even where a text is read as it is
    stored; ``secret``: what it masks, so that no piece ends inside. ``own``: a mark of ours that nobody misses.
    """

    outside: Callable[[], Outside]
    show: Callable[[Any, str], str]
    uncut: tuple[re.Pattern[str], ...] = ()
    mask: Callable[[str], str] = str
    secret: tuple[re.Pattern[str], ...] = ()
    own: re.Pattern[str] | None = None

    def shows_all(self, text: str) -> bool:
        """Whether the shown form is the stored one, but for line ends and blanks around it."""
        stored = plain(self.own.sub("", text) if self.own else text)
        return self.show(self.outside(), text).strip() == stored.strip()

    def masked(self, text: str) -> str:
        """As it is stored, but for what no model is shown."""
        return _SURROGATE.sub("\ufffd", self.mask(text))


def digest(text: str) -> str:
    """What stands for a stored text: 16 hexadecimal digits of its SHA-256."""
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
    """The part of a text that starts at ``offset``, as ``name``, in at most about ``limit`` bytes (`PART`: in 3,400
    tokens). ``more``: the call that reads this text, in this form.

    With it ``next_offset`` and ``more`` where more is left, ``total_chars`` where it is not whole, and at its end
    ``text_digest`` if what was shown is what is stored. Raises `InvalidInput` for an offset beyond the end.
    """
    text = str(stored or "")
    if offset > len(text):
        raise InvalidInput("offset: beyond the end of the text.", hint=f"The text has {len(text)} characters.")
    most, limit = (ALONE, room(text, offset)) if limit is None else (None, limit)
    as_is = raw and form.masked(text) == text
    spans = [] if as_is or (not offset and len(text) <= limit // 4) else _spans(form, text, raw=raw)
    start = _behind(spans, offset)
    if as_is:
        shown = window(text, start, limit)[0]
        end = start + len(shown)
    elif raw:
        end = _behind(spans, start + len(window(_SURROGATE.sub("?", text), start, limit)[0]))
        shown = form.masked(text[start:end])
    else:
        shown, end = _shown_part(form, text, spans, start, limit)
        if most and (cost := text_tokens(shown)) > most:  # it shows in words what is stored in a sign
            shown, end = _shown_part(form, text, spans, start, limit * most // cost)
        form.show(outside, text[start:end] if offset else text)  # the first part says what the whole text hides
    told: Json = {name: shown} | ({"raw": True} if raw else {})
    if offset or end < len(text):
        told["total_chars"] = len(text)
    if end < len(text):
        return told | {"truncated": True, "next_offset": end} | ({"more": more.at(end)} if more else {})
    if text and (as_is if raw else form.shows_all(text)):
        told["text_digest"] = digest(text)
    return told


def room(text: str, offset: int, budget: int = ALONE) -> int:
    """How many bytes like those of the text from ``offset`` on a part of ``budget`` tokens may have.

    A text that is short leaves room for what its shown form has beside: names of people, words for pictures.
    """
    fits, rest = room_for(text, offset, budget), text[offset : offset + 6 * budget]
    if fits < len(rest.encode(errors="replace")):
        return fits
    return max(fits, min(6 * budget, fits * budget // text_tokens(rest)))


def _shown_part(form: Form, text: str, spans: Spans, start: int, limit: int) -> tuple[str, int]:
    """As much as makes about ``limit`` bytes once it is shown: what is hidden takes no room."""
    sane, end, room, used = _SURROGATE.sub("\ufffd", text), start, limit, 0
    further = end
    for _ in range(_TRIES):
        if end >= len(text) or room < limit // 8:
            break
        further = _behind(spans, end + len(window(sane, end, room)[0]))
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
    """Where no piece may end, by their starts. What is hidden may be long: read as it is stored, it is cut."""
    patterns = (*form.secret, _TOGETHER, *(() if raw else form.uncut))
    return sorted(found.span() for pattern in patterns for found in pattern.finditer(text))


def _behind(spans: Spans, at: int) -> int:
    """This place, or the end of what must not be cut there."""
    for start, end in spans:
        if start >= at:
            break
        at = max(at, end)
    return at


def shortened(
    form: Form, outside: Outside, text: Any, limit: int, name: str = "body", *, more: Continuation | None = None
) -> Json:
    """The beginning of a text in a row, with its lines; one that is not whole says so with ``cut``, and with ``more``
    how to go on, where ``more`` is the call that reads it."""
    told = part(form, outside, text, limit, name=name, more=more)
    if "next_offset" not in told:
        return {name: told[name]}
    shown = {name: told[name].rstrip() + "\u2026", "cut": True}
    return shown | ({"more": told["more"]} if more else {})


# ----------------------------------------------------------------- edits


@dataclass(frozen=True, slots=True)
class Edit:
    """How a new text changes the old one: behind it, in place of one part of it, or in place of all of it.

    ``if_text``: the digest of the text that was read.
    """

    append: bool = False
    replaces: str | None = None
    if_text: str | None = None

    def of(self, form: Form, field: str, old: Any, new: str, limit: int, how: str = "") -> str:
        """The whole text to write. ``limit``: as many bytes of it are shown without being asked for. ``how``: the hint
        for whoever has not read it.

        Raises `InvalidInput` for a part that is not there exactly once and for a text that was not shown whole, and
        `Conflict` where another text is there than the one that was read.
        """
        text = str(old or "")
        if self.append and self.replaces is not None:
            raise InvalidInput("append, replaces: give one of them, not both.")
        if self.append:
            return f"{text}\n\n{new}" if text.strip() else new
        if self.replaces is not None:
            return _in_place(field, text, self.replaces, new)
        if text.strip() and text != new:
            self._was_read(form, field, text, limit, how or _HOW)
        return new

    def _was_read(self, form: Form, field: str, text: str, limit: int, how: str) -> None:
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
    """Raises `InvalidInput` where a text that was cut would be replaced unread, and `Conflict` where another text is
    there than the one that was read. ``reads``: how it is read whole. ``cut``: whether it is longer than was shown."""
    if if_text is not None and if_text.strip().lower() != digest(old):
        raise Conflict(f"{name}: conflict (stale): the text changed since it was read.", reason="stale", hint=reads)
    if if_text is None and cut:
        raise InvalidInput(
            f"{name}: this would replace the whole text, but only a part of it was read.", reason="unread", hint=reads
        )


def note_of(texts: Mapping[str, tuple[Any, str]]) -> Json:
    """What a run notes before it writes texts, by field the old one and the new one."""
    return {"texts": {field: {"before": _loose(old), "after": _loose(new)} for field, (old, new) in texts.items()}}


def written_before(noted: Mapping[str, Any] | None, field: str, text: Any) -> bool:
    """Whether an earlier run of the same act wrote this text, so that nothing is added twice.

    Raises `Conflict` where it is neither what that run found nor what it wrote.
    """
    known = ((noted or {}).get("texts") or {}).get(field)
    if not known:
        return False
    now = _loose(text)
    if now not in (known["before"], known["after"]):
        raise Conflict(
            f"{field}: conflict (stale): the text changed during this act, which may have written its own already.",
            reason="stale",
            hint="Read it before changing it again.",
        )
    return bool(now == known["after"])


def _loose(text: Any) -> str:
    """A digest that no provider's line ends change."""
    return digest(newlined(str(text or "")).strip())


_HOW: Final = (
    "Read it with raw=true, on from next_offset to its end, and pass text_digest as if_text; or add to it with append, "
    "or change a part of it with replaces."
)


def _in_place(field: str, text: str, old: str, new: str) -> str:
    """The text with its one ``old`` part changed. Line ends are those of the text."""
    if "\r\n" in text and (old not in text or text.count("\n") == text.count("\r\n")):
        old, new = (one.replace("\r\n", "\n").replace("\n", "\r\n") for one in (old, new))
    first = text.find(old) if old else -1
    if first < 0:
        raise InvalidInput(f"replaces: not in {field}.", hint="Copy it exactly from the text as read with raw=true.")
    if text.find(old, first + 1) >= 0:
        raise InvalidInput(f"replaces: more than once in {field}.", hint="Take a longer part that occurs once.")
    return text[:first] + new + text[first + len(old) :]
