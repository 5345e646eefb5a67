"""Whose texts a model may read, as the operator says: ``Deputy(trusted_authors={"github": "push", "gmail":
"domain"})``.

A toolkit has a `Screen` for each word it knows. It stands between the provider and the tools that read: it sees each
answer first, decides who wrote what in it, and puts a mark in the place of every text of somebody else. So no tool can
pass on what no tool has seen, by whatever excerpt, quote, search or later part. In the result each mark is taken out
again, and its object says ``withheld`` and why; who wrote, when, and the ids stay.

A tool that writes sees all of it, since a person is to be shown what is answered or changed; of its result only ids,
addresses and numbers are handed on where it is marked as others' words. No argument turns any of this off.
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
    from deputize.core.tools.run import Run
    from deputize.core.tools.tool import Tool

Screened: TypeAlias = Callable[[Step, Any], Steps]
"""For a step of a tool and the answer to it: the answer that the tool is sent. May ask for more by steps of its own."""

_OF_THE_TEXT: Final = frozenset(("cut", "hidden", "more", "next_offset", "text_digest", "total_chars"))
"""What a tool says of a text, and would say of the mark in its place."""
_KEPT: Final = frozenset(
    """account branch created draft_id email id identifier key message_id number ref repo sha state status thread_id
    thread_ts time_zone ts undo updated url""".split()
)
"""Texts that a writing tool's result keeps in what is marked ``untrusted``: what a next call needs."""
_WORDS: Final = r"(?s)\s|.{80}"
_EDGES: Final = " \t\n\"'.,;:()[]<>\u2026"


class Withheld:
    """The texts that one run of a tool withholds. The mark is another in each run, so that no text can hold it."""

    def __init__(self) -> None:
        self.reasons = list[str]()

    @cached_property
    def mark(self) -> str:
        """What stands in the place of a text, before the number of its reason."""
        return f"withheld{secrets.token_hex(4)}"

    def because(self, reason: str) -> str:
        """What is put in the place of a text. ``reason``: why, as the model is told it."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"{self.mark}{self.reasons.index(reason):02}"

    def taken_out(self, result: Any) -> Any:
        """The result, itself changed: marks taken out, and told of, with how many objects have lost a text."""
        count = self._objects(result) if self.reasons else 0
        if isinstance(result, str) and self.mark in result:
            return {"withheld": self._why([result])}
        if count and isinstance(result, dict):
            result["texts_withheld"] = count
        return result

    def _objects(self, node: Any) -> int:
        if isinstance(node, list):
            inner = sum(self._objects(one) for one in node)
            if any(self._marked(one) for one in node):
                node[:] = [self._in_place(one) for one in node if not self._is_mark(one)]
            return inner
        if not isinstance(node, dict):
            return 0
        lost = [one for value in node.values() for one in (value if isinstance(value, list) else [value])]
        lost = [one for one in (*lost, *node) if self._marked(one)]
        inner = sum(self._objects(value) for value in node.values())
        for name, value in list(node.items()):
            if self._is_mark(value) or self._marked(name):
                del node[name]
            elif self._marked(value):
                node[name] = self._in_place(value)
        if not lost:
            return inner
        for name in _OF_THE_TEXT & node.keys():
            if not isinstance(node[name], dict | list):
                del node[name]
        node["withheld"] = self._why(lost)
        return inner + 1

    def _marked(self, value: Any) -> bool:
        return isinstance(value, str) and self.mark in value

    def _is_mark(self, value: Any) -> bool:
        return self._marked(value) and len(value.strip(_EDGES)) <= len(self.mark) + 2

    def _in_place(self, value: Any) -> Any:
        if self._marked(value):
            for n in range(len(self.reasons)):
                value = value.replace(f"{self.mark}{n:02}", "[withheld]")
        return value

    def _why(self, lost: list[str]) -> str:
        told = [why for n, why in enumerate(self.reasons) if any(f"{self.mark}{n:02}" in one for one in lost)]
        return "; ".join(told or self.reasons[:1])


Screen: TypeAlias = "Callable[[Run, Withheld], Screened]"
"""Makes the screen of one run of a reading tool."""


class Screening(Protocol):
    """What a toolkit has for it: a screen for each word."""

    @property
    def screens(self) -> Mapping[str, Screen]: ...


@frozen
class TrustedAuthors(Printed):
    """The operator's words by toolkit, and the screens that they mean."""

    words: Mapping[str, str] = field(default_factory=dict)
    screens: Mapping[str, Screen] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Mapping[str, str], toolkit: Callable[[str], Screening | None]) -> TrustedAuthors:
        """As the operator says. Raises `SettingsError` for a toolkit that is not there, or a word it does not know."""
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
                    or f"The texts of {name} do not say who wrote them: docs/toolkits.md, whose texts a model reads."
                )
                raise SettingsError(f"trusted_authors: {name} does not know {word!r}.", hint=hint)
            screens[name] = kit.screens[word]
        return cls(dict(words), screens)

    def word(self, tool: Tool) -> str:
        """Whose texts this tool may hand on; "" for everybody's."""
        return self.words.get(tool.toolkit, "")

    def screen(self, tool: Tool) -> Screen | None:
        """What stands between the provider and this tool."""
        return self.screens.get(tool.toolkit)


def screened(steps: Steps, screen: Screened, withheld: Withheld) -> Steps:
    """The steps of a reading tool, each answer of which passes the screen first. Where it is refused for want of what
    was withheld, the error says so."""
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
            failure.hint = f"Something was withheld: {'; '.join(withheld.reasons)}."
        raise
    finally:
        steps.close()


def without_texts(result: Any, why: str) -> Any:
    """A writing tool's result, itself changed: what is marked as others' words keeps ids, addresses and numbers."""
    count = _bared(result, why, outside=False)
    if isinstance(result, dict) and _holds_words(result.get("undo") or {}):
        result["undo"] = why
    if count and isinstance(result, dict):
        result["texts_withheld"] = count
    return result


def _holds_words(node: Any) -> bool:
    """Whether anything in it is more than an id or a single word: an undo holds what was there before."""
    if isinstance(node, dict | list):
        return any(map(_holds_words, node.values() if isinstance(node, dict) else node))
    return isinstance(node, str) and bool(re.search(_WORDS, node))


def _bared(node: Any, why: str, *, outside: bool) -> int:
    if isinstance(node, list):
        return sum(_bared(one, why, outside=outside) for one in node)
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
    inner = sum(_bared(value, why, outside=outside) for value in node.values())
    if lost:
        node["withheld"] = why
    return inner + lost
