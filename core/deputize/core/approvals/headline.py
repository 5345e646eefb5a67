"""The first words of an approval: one sentence about the act, and the lines about its dangers.

The page, the terminal, forms and payloads show the same words, which are computed from the act's values.

    Scout wants to send this email at Gmail as alice@home.test to bob@home.test (first contact)

The place is last, because other people may have named it: there it cannot change the meaning of other words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.core.tools.first_contact import ROW as FIRST_CONTACT
from deputize.core.tools.first_contact import first_contact_remark
from deputize.core.tools.preview import SEEN_BY, Audience, Preview, Rows
from deputize.core.visible_text import outline, visible

PAGE_AGENT: Final = "You, on your page"
"""The agent of acts that the user starts on our pages."""
SEEN_BY_ROW: Final = "seen by"
LOOKS_LIKE: Final = "looks like"
DANGER_ROWS: Final = (SEEN_BY_ROW, FIRST_CONTACT, LOOKS_LIKE, "comes from", "warning")
"""The names of lines about dangers, in order. ``seen by`` counts only if everybody sees the act, or possibly does."""
OPERATOR_ROW: Final = "operator's rule"
"""The name of the line with the reason of the rule that asks, in the operator's words."""
MAX_LOOKALIKES: Final = 5
MAX_SEARCHED_CHARACTERS: Final = 100_000
MAX_NAMED: Final = 2
"""People whom the sentence names. It counts the others."""
MAX_NAME_CHARACTERS: Final = 60
MAX_PLACE_CHARACTERS: Final = 80

_VERY_WIDE: Final = {Audience.PUBLIC: "seen by everybody", Audience.UNKNOWN: "possibly seen by everybody"}
_ANYBODY: Final = {SEEN_BY[one] for one in _VERY_WIDE}
_BEFORE_PEOPLE: Final = {"send": " to ", "forward": " to ", "share": " with "}
"""The word before the people, by the verb of the act. Other people see the act: ``, seen by``."""
_ADDRESS: Final = re.compile(r"[^\s@]*@[^\s@]+|[^\s@]+\.[^\s@.]+")
"""An email address, a handle or a host. Ids tell a person nothing."""
_HOST: Final = re.compile(r"(?:[\w.+-]{1,64}@)?(?:[^\W_][\w-]{0,62}\.)+[^\W\d_]{2,24}\b")
"""An email address or a host in a text."""
_NAMES: Final = ("to", "users", "invited")
"""Fields with the names of people whom a preview identifies by id."""


def agent_words(name: str) -> str:
    """Return the beginning of a sentence about the agent."""
    return name if name and name != "agent" else "Your agent"


def describe_act(
    *, agent: str, tool: str, label: str, account: str, show: Preview | None, first_contacts: Sequence[str] = ()
) -> str:
    """Return the sentence about an act, without a full stop. ``label``: the product, "" if there is none.

    ``show``: None for a tool without previews. ``first_contacts``: the lines about first contacts.
    """
    who = "You want to" if agent == PAGE_AGENT else f"{_cut(agent_words(agent), MAX_NAME_CHARACTERS)} wants to"
    what, comma, rest = (_as_verb(show.what) if show else f"use the tool {tool}").partition(", ")
    at = f" at {label}" if label else ""
    acting = f" as {_cut(account, MAX_NAME_CHARACTERS)}" if account else ""
    begin = f"{who} {what}{at}{acting}"
    if show is None:
        return begin
    people = _people(show, account, first_contacts)
    place = show.where != label and (not people or show.audience > Audience.PEOPLE) and show.where
    return f"{begin}{_reach(show, people, comma + rest)}{f': {_cut(place, MAX_PLACE_CHARACTERS)}' if place else ''}"


def _as_verb(what: str) -> str:
    """Return a preview's ``what`` for the middle of a sentence: "Send this email" becomes "send this email"."""
    what = what.rstrip(".")
    return what if what[:2].isupper() else what[:1].lower() + what[1:]


def _reach(show: Preview, people: str, rest: str) -> str:
    """Return the words about the people whom the act reaches. ``people``: their names. ``rest``: the part of the
    preview's ``what`` after its first comma."""
    before = _BEFORE_PEOPLE.get(show.what.split(" ")[0].lower(), "")
    wide = _VERY_WIDE.get(show.audience, "")
    if not people or before:
        return f"{before + people if people else ''}{rest}{f', {wide}' if wide else ''}"
    return f"{rest}, {f'{wide}, also by' if wide else 'seen by'} {people}"


def _people(show: Preview, account: str, first_contacts: Sequence[str]) -> str:
    """Return at most two people in words, first contacts first, and the number of the others."""
    others = [one for one in show.people if one != account.lower()]
    named = [one for one in others if _ADDRESS.fullmatch(one)]
    remarks = {one: first_contact_remark(one, first_contacts) for one in named}
    names = [_cut(one, MAX_NAME_CHARACTERS) + remarks[one] for one in sorted(named, key=lambda one: not remarks[one])]
    number = len(others)
    if others and not named:
        names = [_cut(one, MAX_NAME_CHARACTERS) for one in _names_in(show)]
        number = len(names)
    more = number - len(names[:MAX_NAMED])
    if names and more > 0:
        return f"{', '.join(names[:MAX_NAMED])} and {more} {'other' if more == 1 else 'others'}"
    return " and ".join(names)


def _names_in(show: Preview) -> list[str]:
    """Return the names of people in the preview's fields, or an empty list."""
    found: Any = next((show.fields[name] for name in _NAMES if show.fields.get(name)), [])
    return [one for one in ([found] if isinstance(found, str) else found) if isinstance(one, str)]


def _cut(text: str, limit: int) -> str:
    """Return the text on one line, shortened in the middle: the end may contain the domain of an address."""
    if len(text) > 8 * limit:  # a very long text takes seconds
        text = f"{text[: 4 * limit]}…{text[-4 * limit :]}"
    text = visible(" ".join(text.split()))
    return text if len(text) <= limit else f"{text[: limit // 3]}…{text[-(limit - limit // 3 - 1) :]}"


# ----------------------------------------------------------------- dangers


def lookalike_rows(show: Preview, account: str, rows: Rows) -> Rows:
    """Return one line about people whose address or domain looks like another one in the act, or no line.

    ``account``: the acting account, whose address is compared too. ``rows``: the lines of the preview; only their
    beginning is searched.
    """
    if not any("@" in one for one in show.people):
        return []
    text = " ".join([account, *show.people, *(text for _, text in rows)])[:MAX_SEARCHED_CHARACTERS].lower()
    others = dict[str, list[str]]()
    for name in dict.fromkeys(_HOST.findall(text)):
        for one in (name, name.rpartition("@")[2]):
            others.setdefault(outline(one), []).append(one)
    pairs = dict[frozenset[str], str]()
    for person in show.people:
        for name in (person, person.rpartition("@")[2]):
            same = next((one for one in others.get(outline(name), ()) if one != name), None)
            if same is not None and "@" in person:
                words = f"{visible(name)} looks like {visible(same)}, but is not the same."
                pairs.setdefault(frozenset({name, same}), words)
                break
    return [(LOOKS_LIKE, "\n".join([*pairs.values()][:MAX_LOOKALIKES]))] if pairs else []


def danger_rows(preview: Mapping[str, str]) -> list[str]:
    """Return the names of those lines of an approval that are about its dangers, in order."""
    return [name for name in DANGER_ROWS if name in preview and (name != SEEN_BY_ROW or preview[name] in _ANYBODY)]
