"""CSS selectors (Selectors 4) over the tree of a mail, with a budget that bounds the time of matching.

deputize has its own matcher, because available packages compile an untrusted selector to Python and evaluate it, or try
each rule on each element.
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
    """An element during matching, with the budget that counts the cost."""

    element: Element
    budget: Budget

    def at_element(self, element: Element | None) -> Step | None:
        """Return the step at another element, or None."""
        self.budget.spend()
        return Step(element, self.budget) if element is not None and element.tag else None


@dataclass(slots=True)
class Budget:
    """The remaining steps of matching."""

    left: int = _MAX_STEPS
    _places: dict[Element, dict[Element, tuple[int, int]]] = field(default_factory=dict)

    def spend(self, steps: int = 1) -> None:
        """Use up steps. Raises `TooComplex`."""
        self.left -= steps
        if self.left < 0:
            raise TooComplex

    def sibling_positions(self, element: Element) -> tuple[int, int]:
        """Return the position among siblings with the same tag, from the first and from the last, each from 1."""
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
    """The conditions on one element, all of which must hold. ``pseudo``: a pseudo-element."""

    tests: list[Test] = field(default_factory=list)
    key: str = ""  # index key: "#id", ".class" or "tag"
    specificity: tuple[int, int, int] = (0, 0, 0)
    pseudo: str = ""

    def add(self, test: Test, a: int = 0, b: int = 0, c: int = 0) -> None:
        """Add a condition and its specificity."""
        self.tests.append(test)
        self.weigh((a, b, c))

    def weigh(self, more: tuple[int, int, int]) -> None:
        a, b, c = self.specificity
        self.specificity = (a + more[0], b + more[1], c + more[2])


@dataclass(slots=True)
class Selector:
    """Compounds from right to left, each with the combinator to its left."""

    steps: list[tuple[str, Compound]]

    @property
    def key(self) -> str:
        """The index key of the element itself."""
        return self.steps[0][1].key

    @property
    def pseudo(self) -> str:
        """The pseudo-element, or ""."""
        return self.steps[0][1].pseudo

    @property
    def specificity(self) -> tuple[int, int, int]:
        weights = [compound.specificity for _, compound in self.steps]
        return (sum(w[0] for w in weights), sum(w[1] for w in weights), sum(w[2] for w in weights))

    def matches(self, step: Step, at: int = 0) -> bool:
        """True if the selector matches the element."""
        combinator, compound = self.steps[at]
        step.budget.spend(1 + len(compound.tests))
        if not all(test(step) for test in compound.tests):
            return False
        if at + 1 == len(self.steps):
            return True
        return any(self.matches(near, at + 1) for near in _reachable(step, combinator))


def _reachable(step: Step, combinator: str) -> Iterator[Step]:
    """Yield the elements to which a combinator leads, leftwards."""
    upwards, once = combinator in " >", combinator in ">+"
    at = step.at_element(step.element.parent if upwards else previous_element(step.element))
    while at is not None:
        yield at
        at = None if once else at.at_element(at.element.parent if upwards else previous_element(at.element))


def previous_element(element: Element) -> Element | None:
    return element.parent.inner[element.nth - 1] if element.parent and element.nth else None
