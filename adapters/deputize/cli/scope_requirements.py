"""All scopes that a tool's calls may need, with the arguments that cause each need, to plan consent in advance.

The tool's own function of its needs is called with its defaults, with each possible value of each argument that it
reads, and with combinations of up to three. Strings are tried in the forms in which people and places are named. A need
that depends on another property of a string is not found. tests/toolkits/test_listed_needs.py compares the result with
real calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from deputize.core.tools.required_scopes import Need
from deputize.core.tools.tool import Tool

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FORMS: Final[Mapping[str, str]] = {
    "a word": "word",
    "@handle": "@someone",
    "several @handles": "@someone, @other",
    "#channel": "#place",
    "an address": "someone@example.test",
    "C...": "C0AAAAAAAA",
    "G...": "G0AAAAAAAA",
    "D...": "D0AAAAAAAA",
    "U...": "U0AAAAAAAA",
    "a message's link": "https://example.slack.com/archives/C0AAAAAAAA/p1700000000000100",
    "0": "0",
    "primary": "primary",
    "latest": "latest",
    "owner/name": "owner/name",
    "owner/number": "owner/1",
    "a sha": "0123456789abcdef0123456789abcdef01234567",
    ".github/workflows/...": ".github/workflows/build.yml",
    "a name with /": "some/name",
    "a uuid": "00000000-0000-4000-8000-000000000001",
    "a date": "2026-01-01",
    "a ts": "1700000000.000100",
}
_WORDS: Final = frozenset(FORMS) - frozenset(list(FORMS)[:10])
"""Forms that are left out if a plain word causes the same need."""
_MAX_ARGUMENTS: Final = 3  # arguments

Label = tuple[str, str]  # an argument and its form; "" for any
Labels = tuple[Label, ...]
Key = tuple[str, str, frozenset[str]]
Choices = Callable[[str], Mapping[str, Any]]
"""Possible values of an argument, by label."""


@dataclass(frozen=True, slots=True)
class ListedNeed:
    """A need, and the arguments that cause it: any item of ``when``, such as ``url, remove=true``; () for the plain
    call."""

    need: Need
    when: tuple[str, ...] = ()


def listed_needs(tool: Tool, provider: str = "") -> list[ListedNeed]:
    """Return every need of a tool's calls, the plain call's first. ``provider``: another than the toolkit's."""
    if not callable(tool.needs):
        return [ListedNeed(need) for need in tool.usual_needs(provider)]
    names = {inner: outer for outer, inner in tool.parameters.items()}
    fields = {tool.parameters[outer]: info for outer, info in (tool.model.model_fields if tool.model else {}).items()}

    @cache
    def choices(inner: str) -> Mapping[str, Any]:
        return dict(_choices(fields[inner])) if inner in fields else {}

    plain = tool.plain_arguments()
    search = _Search(choices, cache(lambda labels: _asked(tool, provider, plain, choices, labels)))
    return [ListedNeed(need, _describe_causes(causes, choices, names)) for need, causes in search.found.values()]


# ----------------------------------------------------------------- possible arguments


def _choices(info: FieldInfo) -> Iterator[tuple[str, Any]]:
    """Yield possible values of an argument, by its type."""
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(info.rebuild_annotation())
    schema = adapter.json_schema()
    for label, sample in _samples(schema, schema.get("$defs", {})):
        try:
            yield label, adapter.validate_python(sample)
        except ValidationError:
            continue


def _samples(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "$ref" in schema:
        yield from _samples(known[schema["$ref"].rpartition("/")[2]], known)
    for one in schema.get("anyOf", ()):
        yield from _samples(one, known)
    if "enum" in schema or "const" in schema:
        yield from ((str(value), value) for value in schema.get("enum", [schema.get("const")]))
        return
    match schema.get("type"):
        case "boolean":
            yield from (("true", True), ("false", False))
        case "integer" | "number":
            yield "a number", max(1, int(schema.get("minimum", 1)))
        case "string":
            yield from FORMS.items()
        case "array":
            yield from ((label, [value]) for label, value in _samples(schema.get("items", {}), known))
        case "object":
            yield from _objects(schema, known)


def _objects(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a sample object for each of `FORMS`. Its properties have that form if they can."""
    parts = {name: dict(_samples(one, known)) for name, one in schema.get("properties", {}).items()}
    if isinstance(more := schema.get("additionalProperties"), Mapping):
        parts["some"] = dict(_samples(more, known))
    for form in FORMS:
        yield form, {name: part.get(form, next(iter(part.values()))) for name, part in parts.items() if part}


# ----------------------------------------------------------------- asking the tool


class _Watched(dict[str, Any]):
    """Arguments that record which of them were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.looked_at = set[str]()

    def __getitem__(self, name: str) -> Any:
        self.looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.looked_at.add(name)
        return super().get(name, default)


def _asked(
    tool: Tool, provider: str, plain: Mapping[str, Any], choices: Choices, labels: Labels
) -> tuple[Sequence[Need], set[str]]:
    """Return the needs of a call with these arguments, and the arguments that were read."""
    watched = _Watched({**plain, **{name: choices(name)[label] for name, label in labels}})
    return tool.needs_of(watched, provider), watched.looked_at


class _Search:
    """Search for needs with more and more arguments. ``found``: each need, with all smallest sets that cause it."""

    def __init__(self, choices: Choices, asked: Callable[[Labels], tuple[Sequence[Need], set[str]]]) -> None:
        self.choices, self.asked = choices, asked
        self.found: dict[Key, tuple[Need, list[Labels]]] = {_key(need): (need, [()]) for need in asked(())[0]}
        beginnings: list[Labels] = [()]
        for _ in range(_MAX_ARGUMENTS):
            known, seen = frozenset(self.found), set[frozenset[Label]]()
            beginnings = [longer for labels in beginnings for longer in self._with_one_more(labels, known, seen)]

    def _with_one_more(self, labels: Labels, known: frozenset[Key], seen: set[frozenset[Label]]) -> Iterator[Labels]:
        """Yield each extension of these arguments by one that the tool reads and that adds a need not ``known``."""
        for inner in sorted(self.asked(labels)[1] - {name for name, _ in labels}):
            outcomes = set[Any]()
            for longer in ((*labels, (inner, label)) for label in self.choices(inner)):
                if frozenset(longer) in seen:
                    continue
                seen.add(frozenset(longer))
                needs, looked_at = self.asked(longer)
                outcome = frozenset(map(_key, needs)), frozenset(looked_at)
                if self._brings_news(longer, needs, known) and outcome not in outcomes:
                    yield longer
                outcomes.add(outcome)

    def _brings_news(self, labels: Labels, needs: Sequence[Need], known: frozenset[Key]) -> bool:
        news = [need for need in needs if _key(need) not in known]
        for need in news:
            self.found.setdefault(_key(need), (need, []))[1].append(labels)
        return bool(news)


def _key(need: Need) -> Key:
    return need.method, need.ask, need.accepts


def _describe_causes(causes: Sequence[Labels], choices: Choices, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return causes as text: only the argument's name if any value, or most forms of a string, cause the need."""
    for place in range(max(map(len, causes))):
        causes = _put_together(causes, place, choices)
    told = [labels for labels in causes if labels and not _says_no_more(labels, causes)]
    return tuple(", ".join(_argument_text(names[name], label) for name, label in labels) for labels in told)


def _says_no_more(labels: Labels, causes: Sequence[Labels]) -> bool:
    """Return whether a plain word in place of another form causes the same needs."""
    return any(
        label in _WORDS and (*labels[:n], (name, "a word"), *labels[n + 1 :]) in causes
        for n, (name, label) in enumerate(labels)
    )


def _put_together(causes: Sequence[Labels], place: int, choices: Choices) -> list[Labels]:
    kept, known = dict[Labels, None](), set(causes)
    for labels in causes:
        if place < len(labels):
            name = labels[place][0]
            before, after = labels[:place], labels[place + 1 :]
            same = [one for one in choices(name) if (*before, (name, one), *after) in known]
            if len(same) == len(choices(name)) or ("a word" in same and 2 * len(same) > len(choices(name))):
                labels = (*before, (name, ""), *after)
        kept[labels] = None
    return list(kept)


def _argument_text(name: str, label: str) -> str:
    return f"{name}={label}" if label and label != "a number" else name
