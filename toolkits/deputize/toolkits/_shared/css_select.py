"""CSS selectors (Selectors 4) over the tree of a mail, with a budget: no mail makes matching take longer than that.

Written here and not taken from a package, since those at hand compile a stranger's selector to Python and evaluate it,
or try each rule at each element.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.html_tree import Element, TooComplex

_MAX_STEPS: Final = 300_000

Test = Callable[["Step"], bool]


@dataclass(slots=True)
class Step:
    """An element as it is matched, what it costs being counted."""

    element: Element
    budget: Budget

    def to(self, element: Element | None) -> Step | None:
        """The same at another element, if there is one."""
        self.budget.spend()
        return Step(element, self.budget) if element is not None and element.tag else None


@dataclass(slots=True)
class Budget:
    """Steps that are left."""

    left: int = _MAX_STEPS
    _places: dict[Element, dict[Element, tuple[int, int]]] = field(default_factory=dict)

    def spend(self, steps: int = 1) -> None:
        """Take steps. Raises `TooComplex`."""
        self.left -= steps
        if self.left < 0:
            raise TooComplex

    def place(self, element: Element) -> tuple[int, int]:
        """The place among the siblings of its tag, counted from the first and from the last, from 1 on."""
        parent = element.parent
        if parent is None:
            return 1, 1
        if parent not in self._places:
            whole, seen = Counter(one.tag for one in parent.inner), Counter[str]()
            places = self._places[parent] = {}
            for one in parent.inner:
                seen[one.tag] += 1
                places[one] = (seen[one.tag], whole[one.tag] - seen[one.tag] + 1)
        return self._places[parent][element]


@dataclass(slots=True)
class Compound:
    """What one element has to be: all of these. ``pseudo`` is a pseudo-element."""

    tests: list[Test] = field(default_factory=list)
    key: str = ""  # what an index finds it by: "#id", ".class" or "tag"
    specificity: tuple[int, int, int] = (0, 0, 0)
    pseudo: str = ""

    def add(self, test: Test, a: int = 0, b: int = 0, c: int = 0) -> None:
        """One more condition, and what it counts."""
        self.tests.append(test)
        self.weigh((a, b, c))

    def weigh(self, more: tuple[int, int, int]) -> None:
        """Add to the specificity."""
        a, b, c = self.specificity
        self.specificity = (a + more[0], b + more[1], c + more[2])


@dataclass(slots=True)
class Selector:
    """Compounds from right to left, each with the combinator to its left."""

    steps: list[tuple[str, Compound]]

    @property
    def key(self) -> str:
        """What the element itself must have."""
        return self.steps[0][1].key

    @property
    def pseudo(self) -> str:
        """The pseudo-element that is meant, or ""."""
        return self.steps[0][1].pseudo

    @property
    def specificity(self) -> tuple[int, int, int]:
        """As the cascade counts it."""
        weights = [compound.specificity for _, compound in self.steps]
        return (sum(w[0] for w in weights), sum(w[1] for w in weights), sum(w[2] for w in weights))

    def matches(self, step: Step, at: int = 0) -> bool:
        """Whether the element is meant."""
        combinator, compound = self.steps[at]
        step.budget.spend(1 + len(compound.tests))
        if not all(test(step) for test in compound.tests):
            return False
        if at + 1 == len(self.steps):
            return True
        return any(self.matches(near, at + 1) for near in _near(step, combinator))


def _near(step: Step, combinator: str) -> Iterator[Step]:
    """Where a combinator leads from an element, leftwards."""
    upwards, once = combinator in " >", combinator in ">+"
    at = step.to(step.element.parent if upwards else previous(step.element))
    while at is not None:
        yield at
        at = None if once else at.to(at.element.parent if upwards else previous(at.element))


def previous(element: Element) -> Element | None:
    """The element before this one."""
    return element.parent.inner[element.nth - 1] if element.parent and element.nth else None
