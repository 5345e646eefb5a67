"""Restriction of the authors whose texts a model may read: ``Deputy(trusted_authors={"github": "push", "gmail":
"domain"})``.

The setting has one word for each toolkit, such as ``push``. A toolkit has a `Screen` for each word that it supports.
The screen receives each response before the reading tool does, determines the author of each text, and replaces texts
of untrusted authors by a mark. So no tool can leak such a text in an excerpt, a quote, a search or a later part. Then
the marks are removed from the result, and each object that lost a text has a field ``withheld`` with the reason.
Authors, times and ids stay.

A tool that writes sees all texts, because a person must see what the act answers or changes. In its result, objects
marked ``untrusted`` keep only ids, addresses and numbers. No argument turns this off.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from deputize.core.errors import DeputizeError, SettingsError, instead
from deputize.core.tools.steps import Step, Steps
from deputize.core.value_object import Printed, frozen

if TYPE_CHECKING:
    from deputize.core.tools.tool import Run, Tool

Screened: TypeAlias = Callable[[Step, Any], Steps]
"""Converts a step and its response into the response that the tool is sent. May yield steps of its own."""

_OF_THE_TEXT: Final = frozenset(("cut", "hidden", "more", "next_offset", "text_digest", "total_chars"))
"""Fields that describe a text, and would describe the mark in its place."""
_KEPT: Final = frozenset(
    """account branch created draft_id email id identifier key message_id number ref repo sha state status thread_id
    thread_ts time_zone ts undo updated url""".split()
)
"""Texts in objects marked ``untrusted`` that the result of a writing tool keeps, because a next call needs them."""
_WORDS: Final = r"(?s)\s|.{80}"
_EDGES: Final = " \t\n\"'.,;:()[]<>\u2026"


class Withheld:
    """The texts that one run withholds. The mark is random in each run, so that no text can contain it."""

    def __init__(self) -> None:
        self.reasons = list[str]()

    @cached_property
    def mark(self) -> str:
        """The mark that replaces a text, without the number of the reason."""
        return f"withheld{secrets.token_hex(4)}"

    def mark_for(self, reason: str) -> str:
        """Return the mark that replaces a text. ``reason``: the explanation for the model."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"{self.mark}{self.reasons.index(reason):02}"

    def remove_marks(self, result: Any) -> Any:
        """Remove the marks from the result in place, add the reasons and the number of objects that lost a text, and
        return the result."""
        count = self._objects(result) if self.reasons else 0
        if isinstance(result, str) and self.mark in result:
            return {"withheld": self._reasons_for([result])}
        if count and isinstance(result, dict):
            result["texts_withheld"] = count
        return result

    def _objects(self, node: Any) -> int:
        if isinstance(node, list):
            inner = sum(self._objects(one) for one in node)
            if any(self._has_mark(one) for one in node):
                node[:] = [self._replace_marks(one) for one in node if not self._is_mark(one)]
            return inner
        if not isinstance(node, dict):
            return 0
        lost = [one for value in node.values() for one in (value if isinstance(value, list) else [value])]
        lost = [one for one in (*lost, *node) if self._has_mark(one)]
        inner = sum(self._objects(value) for value in node.values())
        for name, value in list(node.items()):
            if self._is_mark(value) or self._has_mark(name):
                del node[name]
            elif self._has_mark(value):
                node[name] = self._replace_marks(value)
        if not lost:
            return inner
        for name in _OF_THE_TEXT & node.keys():
            if not isinstance(node[name], dict | list):
                del node[name]
        node["withheld"] = self._reasons_for(lost)
        return inner + 1

    def _has_mark(self, value: Any) -> bool:
        return isinstance(value, str) and self.mark in value

    def _is_mark(self, value: Any) -> bool:
        return self._has_mark(value) and len(value.strip(_EDGES)) <= len(self.mark) + 2

    def _replace_marks(self, value: Any) -> Any:
        if self._has_mark(value):
            for n in range(len(self.reasons)):
                value = value.replace(f"{self.mark}{n:02}", "[withheld]")
        return value

    def _reasons_for(self, lost: list[str]) -> str:
        told = [why for n, why in enumerate(self.reasons) if any(f"{self.mark}{n:02}" in one for one in lost)]
        return "; ".join(told or self.reasons[:1])


Screen: TypeAlias = "Callable[[Run, Withheld], Screened]"
"""Creates the screen of one run of a reading tool."""


class Screening(Protocol):
    """The screens of a toolkit, by word of the setting."""

    @property
    def screens(self) -> Mapping[str, Screen]: ...


@frozen
class TrustedAuthors(Printed):
    """The operator's setting: one word for each toolkit, with its screen."""

    words: Mapping[str, str] = field(default_factory=dict)
    screens: Mapping[str, Screen] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Mapping[str, str], toolkit: Callable[[str], Screening | None]) -> TrustedAuthors:
        """Return the operator's setting. Raises `SettingsError` for an unknown toolkit or an unsupported word."""
        screens = {}
        for name, word in words.items():
            kit = toolkit(name)
            if kit is None:
                raise SettingsError(
                    f"trusted_authors: no toolkit is called {name!r}.", hint="deputize tools lists them."
                )
            if not isinstance(word, str) or word not in kit.screens:
                hint = (
                    instead(str(word), kit.screens)
                    or f"The texts of {name} do not name their authors. See docs/toolkits.md."
                )
                raise SettingsError(f"trusted_authors: {name} does not know {word!r}.", hint=hint)
            screens[name] = kit.screens[word]
        return cls(dict(words), screens)

    def word(self, tool: Tool) -> str:
        """Return the setting's word for the authors whose texts this tool may return, "" for all authors."""
        return self.words.get(tool.toolkit, "")

    def screen(self, tool: Tool) -> Screen | None:
        """Return the screen factory of this tool's toolkit, or None."""
        return self.screens.get(tool.toolkit)


def screen_steps(steps: Steps, screen: Screened, withheld: Withheld) -> Steps:
    """Run a reading tool with each response passed through the screen. If the provider refuses the act after texts were
    withheld, the error says so."""
    try:
        step = next(steps)
        while True:
            try:
                answer = yield step
                answer = yield from screen(step, answer)
            except DeputizeError as failure:
                step = steps.throw(failure)
            else:
                step = steps.send(answer)
    except StopIteration as stop:
        return stop.value
    except DeputizeError as failure:
        if withheld.reasons:
            failure.hint = f"Texts were withheld: {'; '.join(withheld.reasons)}."
        raise
    finally:
        steps.close()


def remove_texts(result: Any, why: str) -> Any:
    """Remove all texts except ids, addresses and numbers from objects marked ``untrusted``, in place. Used for results
    of tools that write."""
    count = _remove_texts(result, why, outside=False)
    if isinstance(result, dict) and _holds_words(result.get("undo") or {}):
        result["undo"] = why
    if count and isinstance(result, dict):
        result["texts_withheld"] = count
    return result


def _holds_words(node: Any) -> bool:
    """Return True if a value contains a text of several words, such as the earlier values in an undo."""
    if isinstance(node, dict | list):
        return any(map(_holds_words, node.values() if isinstance(node, dict) else node))
    return isinstance(node, str) and bool(re.search(_WORDS, node))


def _remove_texts(node: Any, why: str, *, outside: bool) -> int:
    if isinstance(node, list):
        return sum(_remove_texts(one, why, outside=outside) for one in node)
    if not isinstance(node, dict):
        return 0
    outside = outside or bool(node.get("untrusted"))
    lost = False
    for name, value in list(node.items()) if outside else ():
        texts = value if isinstance(value, list) else [value]
        if type(value) is str or any(type(one) is str for one in texts):
            if name not in _KEPT and name != "untrusted":
                lost = True
                del node[name]
    inner = sum(_remove_texts(value, why, outside=outside) for value in node.values())
    if lost:
        node["withheld"] = why
    return inner + lost
