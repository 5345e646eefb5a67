"""The user's own message: whether an act is aimed only at, and says only, what the user wrote for this turn.

The comparison is literal, unlike that of `deputize.core.provenance.identifiers`: there, a look-alike must be found;
here, it must not pass for what the user wrote. Only the letter case of ASCII letters in addresses, and the kind of
white space, make no difference. A paraphrase does not count, and no value is put together from several parts.

An address    stands alone, between white space, quotes, brackets and punctuation. The same applies to a handle: "@bob".
A number      stands alone as digits.
A time        is written as a date with its year, and a time of day beside it, in the user's zone. The end of an event
              may instead be its beginning and a duration ("for one hour").
A text        is written from one sign to another: a quote, a colon, the end of a line or of a sentence. Two words or
              more may begin in the middle of a sentence with a capital letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from deputize.core.provenance.contacts import canonical_address
from deputize.core.tools.act import Act
from deputize.core.tools.preview import Audience, Preview
from deputize.core.tools.preview_values import instant, is_change, is_instant
from deputize.core.tools.tool import Effect

MAX_CHARACTERS: Final = 20_000
"""Characters of a message up to which it is compared."""
MAX_PLACES: Final = 100
"""Places of one value in a message that are looked at."""

_QUOTES: Final = "\"'`\u00ab\u00bb\u2039\u203a\u2018\u2019\u201a\u201c\u201d\u201e"
_OPENING: Final = f"{_QUOTES}([{{<"
_CLOSING: Final = f"{_QUOTES})]}}>.,;:!?\u2026"
_SENTENCE_END: Final = ".!?\u2026"
_STARTS: Final = f":{_SENTENCE_END}"
_LOWER: Final = str.maketrans({letter: letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})
_PERSON: Final = re.compile(r"([^<>]*?)\s*<([^<>\s]+)>")
_HANDLED: Final = re.compile(r"[^()@]+ \((@[^\s()@,]+)\)")
"""A person at a provider where the handle is unique, as toolkits write it: ``Bob (@bob)``."""
_NUMBER: Final = re.compile(r"(?<![\w.,+-])[0-9]+(?:\.[0-9]+)?(?![\w-]|[.,][0-9])")

_MONTHS: Final = tuple[str, ...]("jan feb mar apr may jun jul aug sep oct nov dec".split())
_MONTH: Final = (
    r"(?P<{0}>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE: Final = re.compile(
    r"(?<![\w.-])(?:(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)"
    r"|(?P<d2>\d{1,2})\.(?P<m2>\d{1,2})\.(?P<y2>\d{4})"
    rf"|(?P<d3>\d{{1,2}})\.?(?:st|nd|rd|th)?(?: of)? {_MONTH.format('m3')},? (?P<y3>\d{{4}})"
    rf"|{_MONTH.format('m4')} (?P<d4>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y4>\d{{4}}))(?![\w-])",
    re.IGNORECASE,
)
_CLOCK: Final = re.compile(
    r"(?<![\w:.,-])(\d{1,2})(?::(\d\d))?(?: ?(am|pm|a\.m\.|p\.m\.))?(?![\w:-]|[.,]\d)", re.IGNORECASE
)
_NEAR: Final = 40
"""Characters beside a date in which its time of day begins and ends."""
_BESIDE: Final = re.compile(r"[ ,]{1,2}(?:[^\W\d]{1,5} )?")
_COUNTS: Final = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_DURATION: Final = re.compile(
    rf"(?<![\w.,-])([0-9]{{1,3}}|{'|'.join(_COUNTS)})[ -]?(hours?|h|minutes?|min)(?!\w)", re.IGNORECASE
)
_SHOWN_TIME: Final = re.compile(r"[A-Z][a-z]{2} (\d{1,2} [A-Z][a-z]{2} \d{4})(?:, (\d\d:\d\d)(?: \(([^()]+)\)))?")


def is_named(act: Act, zone: tzinfo | None) -> bool:
    """Return True if the user's message names every target of the act and contains everything that it says.

    Returns False for an act that people other than those named can see, that destroys something or is dangerous, that a
    service account does, that the user edited or undoes, or that names no conversation. ``zone``: the user's time zone.
    If it is None (unknown), no time counts as named.
    """
    show, message = act.show, act.call.user_message
    if show is None or not message or len(message) > MAX_CHARACTERS or not act.call.thread:
        return False
    if act.asked is not None or act.call.undoes is not None or act.organisation or act.effect & Effect.DESTRUCTIVE:
        return False
    if show.audience > Audience.PEOPLE or show.destroys or show.dangers:
        return False
    written = _Message(message, zone)
    chosen = (one.value for one in act.outside if one.by_others)
    return written.names_all(show) and all(_lower(one) in written.lower for one in chosen)


def _lower(text: str) -> str:
    return " ".join(text.split()).translate(_LOWER)


class _Message:
    """A message in which values are looked for. ``lines``: its lines, each without needless white space."""

    def __init__(self, message: str, zone: tzinfo | None) -> None:
        self.zone = zone
        self.text = "\n".join(" ".join(line.split()) for line in message.splitlines())
        self.lower = self.text.translate(_LOWER).replace("\n", " ")
        self.moments = set(_moments(self.text.replace("\n", " ")))
        self.days = {_day(found) for found in _DATE.finditer(self.text)}
        self.begins: set[datetime] = set()

    def names_all(self, show: Preview) -> bool:
        """Return True if the message names the people and the place of a preview, and each of its fields."""
        place = show.where in show.reached
        if place and not self._names_place(show.where):
            return False
        if not (all(map(self._names_person, show.people)) or self._names_handles(show)):
            return False
        fields = {name: value for name, value in show.fields.items() if name not in show.own_words}
        return all(self._says(value) for value in (*fields.values(), *show.context.values()))

    def _says(self, value: Any) -> bool:
        if is_change(value):
            return self._says_change(value["before"], value["after"])
        if is_instant(value):
            return self.zone is not None and self._says_text(instant(value["instant"], self.zone))
        if isinstance(value, list):
            return all(self._says(one) for one in value)
        if isinstance(value, str):
            return not value.strip() or self._says_text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Decimal(str(value)) in {Decimal(one) for one in _NUMBER.findall(self.text)}
        return False  # a file, a switch, a mapping: nobody writes it in words

    def _says_change(self, before: Any, after: Any) -> bool:
        """Return True if the message contains the new value. For two lists, it must contain the items that are only in
        one of them."""
        if isinstance(before, list) and isinstance(after, list):
            return self._says([one for one in (*before, *after) if (one in before) != (one in after)])
        return after not in ("", [], None) and self._says(after)

    def _says_text(self, text: str) -> bool:
        if found := _SHOWN_TIME.fullmatch(text):
            return self._says_time(*found.groups())
        if self._names_handle(text):
            return True
        if canonical_address(text):
            return self._names_person(text)
        if found := _PERSON.fullmatch(text):
            name = found[1].strip("\"' ")
            return self._names_person(found[2]) and (not name or self._stands_alone(name, self.text))
        wanted = "\n".join(" ".join(line.split()) for line in text.strip().splitlines())
        return any(self._is_span(at, at + len(wanted)) for at in _places(wanted, self.text))

    def _names_person(self, person: str) -> bool:
        """Return True if the address stands alone in the message, or the handle with its @."""
        name = person if "@" in person else f"@{person}"
        return bool(name.strip("@")) and self._stands_alone(name.translate(_LOWER), self.lower)

    def _names_handles(self, show: Preview) -> bool:
        """Return True if a field of the preview lists everybody whom the act reaches with a handle, and the message
        contains all of them."""
        lists = [one for one in show.fields.values() if isinstance(one, list) and len(one) == len(show.people)]
        return any(all(isinstance(one, str) and self._names_handle(one) for one in people) for people in lists)

    def _names_handle(self, person: str) -> bool:
        found = _HANDLED.fullmatch(person)
        return found is not None and self._names_person(found[1])

    def _names_place(self, where: str) -> bool:
        """Return True if the place's name stands alone in the message, with the sign that makes it a place."""
        name = where.partition(" (")[0]
        return bool(re.search(r"[#/@]", name)) and self._stands_alone(name.translate(_LOWER), self.lower)

    @staticmethod
    def _stands_alone(value: str, text: str) -> bool:
        return any(
            _is_open(text[:at].rpartition(" ")[2].rpartition("\n")[2], _OPENING)
            and _is_open(re.split(r"[ \n]", text[at + len(value) :], maxsplit=1)[0], _CLOSING)
            for at in _places(value, text)
        )

    def _is_span(self, start: int, end: int) -> bool:
        """Return True if this part of the message begins and ends at a sign: a quote, a colon, the end of a line or of
        a sentence."""
        text = self.text
        return _begins(text[start:end], text[:start]) and _ends(text[start:end], text[end:])

    def _says_time(self, day: str, clock: str | None, zone: str | None) -> bool:
        date = datetime.strptime(day, "%d %b %Y")  # noqa: DTZ007 - compared with the user's clock
        if clock is None:
            return date in self.days
        at = date + timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))
        if not self._is_own_zone(at, zone or ""):
            return False
        known = at in self.moments or any(at - length in self.begins for length in self._durations())
        if known:
            self.begins.add(at)
        return known

    def _durations(self) -> Iterator[timedelta]:
        for count, unit in _DURATION.findall(self.text):
            number = _COUNTS.get(count.lower()) or int(count)
            yield timedelta(hours=number) if unit[0].lower() == "h" else timedelta(minutes=number)

    def _is_own_zone(self, at: datetime, zone: str) -> bool:
        """Return True if the time is displayed in the user's zone, or the message names the other zone."""
        if self.zone is None:
            return False
        own = {getattr(self.zone, "key", None), at.replace(tzinfo=self.zone).tzname()}
        return zone in own or self._stands_alone(zone.translate(_LOWER), self.lower)


def _places(value: str, text: str) -> Iterator[int]:
    """Yield the first places of a value in a text."""
    at = text.find(value) if value else -1
    for _ in range(MAX_PLACES):
        if at < 0:
            return
        yield at
        at = text.find(value, at + 1)


def _begins(value: str, before: str) -> bool:
    if not before or before[-1] == "\n":
        return True
    if before[-1] in _QUOTES:
        return _is_open(before[:-1][-1:].strip(), _OPENING)
    if before[-1] != " ":
        return False
    return before[-2:-1] in _STARTS or (" " in value and value[0].isupper())


def _ends(value: str, after: str) -> bool:
    beside = re.split(r"[ \n]", after, maxsplit=1)[0]
    if not after or after[0] == "\n":
        return True
    return not beside.strip(_CLOSING) and (value[-1] in _SENTENCE_END or after[0] in _QUOTES + _SENTENCE_END)


def _is_open(beside: str, signs: str) -> bool:
    """Return True if nothing but these signs is beside a value."""
    return not beside.strip(signs)


def _day(found: re.Match[str]) -> datetime | None:
    """Return the day of a date, or None if it does not exist."""
    part = {name[0]: value for name, value in found.groupdict().items() if value}
    month = part["m"] if part["m"].isdigit() else str(_MONTHS.index(part["m"][:3].lower()) + 1)
    try:
        return datetime(int(part["y"]), int(month), int(part["d"]))  # noqa: DTZ001 - compared with the user's clock
    except ValueError:
        return None


def _moments(text: str) -> Iterator[datetime]:
    """Yield the times of a text: a date with a time of day beside it."""
    for date in _DATE.finditer(text):
        day = _day(date)
        for clock in _CLOCK.finditer(text, max(0, date.start() - _NEAR), date.end() + _NEAR):
            first, last = sorted((date, clock), key=lambda one: one.start())
            time = _time_of_day(clock)
            if day is None or time is None or first.end() > last.start():
                continue
            if _BESIDE.fullmatch(text, first.end(), last.start()):
                yield day + time


def _time_of_day(found: re.Match[str]) -> timedelta | None:
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").lower().replace(".", "")
    if not (found[2] or half) or hour > 23 or minute > 59:
        return None
    if half in ("am", "pm"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    return timedelta(hours=hour, minutes=minute)
