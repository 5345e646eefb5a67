"""Values compare, hash and print as dataclasses do, without code generated for each class."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, dataclass, field, is_dataclass, replace
from functools import cached_property
from threading import Barrier
from typing import Any, ClassVar, get_type_hints

import pytest

import deputize.core
from deputize.core import Account, Call, User
from deputize.core.value_object import Frozen, Printed, ValueObject, _compiled_init, frozen


@dataclass(frozen=True, slots=True)
class Generated:
    name: str
    seen: list[int] = field(default_factory=list, hash=False)
    token: str = field(default="", repr=False)
    row: Any = field(default=None, compare=False)


@frozen
class Shared(ValueObject):
    name: str
    seen: list[int] = field(default_factory=list, hash=False)
    token: str = field(default="", repr=False)
    row: Any = field(default=None, compare=False)


class Other(Shared):
    pass


@frozen
class Small(Printed):
    kind: ClassVar[str] = "small"
    size: int


VALUES: tuple[tuple[Any, ...], ...] = (("a",), ("b",), ("a", [1]), ("a", [], "t"), ("a", [], "", object()))


@pytest.mark.parametrize("left", VALUES)
@pytest.mark.parametrize("right", VALUES)
def test_equality_and_hash_match_dataclasses(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    one, two = Shared(*left), Shared(*right)
    assert (one == two) is (Generated(*left) == Generated(*right))
    assert (hash(one) == hash(two)) is (hash(Generated(*left)) == hash(Generated(*right)))


def test_values_of_different_classes_are_unequal() -> None:
    assert Shared("a") != Generated("a")
    assert Shared("a") != Other("a")
    assert User("alice", "") != Account("alice", "")


def test_repr_matches_dataclasses_even_when_recursive() -> None:
    secret = Shared("a", [1], "token-7", row="r")
    assert repr(secret) == repr(Generated("a", [1], "token-7", row="r")).replace("Generated", "Shared")
    assert "token-7" not in repr(secret)
    around: list[Any] = []
    around.append(Shared("a", around))
    assert repr(around[0]) == "Shared(name='a', seen=[...], row=None)"


def test_value_is_frozen_replaceable_copyable_and_picklable() -> None:
    call = Call("thread", "message", "id")
    with pytest.raises(FrozenInstanceError):
        call.id = "other"  # type: ignore[misc]
    for other in (replace(call), copy.deepcopy(call), pickle.loads(pickle.dumps(call))):  # noqa: S301
        assert other == call and hash(other) == hash(call) and other is not call
    assert replace(call, id="other") != call


def test_attributes_cannot_be_deleted_and_derived_values_are_frozen() -> None:
    @dataclass(frozen=True)
    class Derived(Shared):
        more: int = 0

    for one in (Shared("a"), Derived("a", more=1)):
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
            del one.name  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
            one.name = "b"  # type: ignore[misc]
    assert Derived("a", more=1) == Derived("a", more=1) != Derived("a")


def test_plain_subclass_may_have_its_own_attributes() -> None:
    other = Other("a")
    other.more = 1  # type: ignore[attr-defined]
    assert vars(other) == {"more": 1}
    del other.more  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        other.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Shared("a").more = 1  # type: ignore[attr-defined]


def test_value_without_compared_fields_is_printed_and_copied() -> None:
    one = Small(3)
    assert repr(one) == "Small(size=3)"
    assert one != Small(3)
    for other in (copy.copy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301
        assert (other.size, other.kind) == (3, "small")


@frozen(slots=False)
class Wide(ValueObject):
    size: int

    @cached_property
    def seen(self) -> list[int]:
        return [self.size]


class Wider(Wide):
    def __init__(self, size: int, more: str) -> None:
        super().__init__(size)
        self.more = more


def test_subclass_without_slots_is_copied_with_its_attributes() -> None:
    """As subclasses of `Tool` or `Act` may expect."""
    one = Wider(3, "m")
    assert one.seen == [3]
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301
        assert (other, other.more, vars(other)) == (one, "m", {"size": 3, "more": "m", "seen": [3]})
    with pytest.raises(FrozenInstanceError):
        one.size = 4  # type: ignore[misc]


def test_constructor_matches_dataclasses_from_the_first_instance() -> None:
    @frozen(kw_only=True)
    class Point(ValueObject):
        x: int
        y: list[int] = field(default_factory=list)
        sum: int = field(init=False, default=0)
        unset: str = field(init=False, default="u")

        def __post_init__(self) -> None:
            object.__setattr__(self, "sum", self.x + len(self.y))

    @dataclass(frozen=True, slots=True)
    class Deeper(Point):
        z: int = 3

    for message in ("missing 1 required keyword-only argument: 'x'", "missing 1"):  # before the first and after it
        with pytest.raises(TypeError, match=rf"Point.__init__\(\) {message}"):
            Point()  # type: ignore[call-arg]
    assert Point(x=1).y is not Point(x=1).y
    assert (Point(x=1, y=[7]).sum, Point(x=1).unset) == (2, "u")
    assert Deeper(5, x=1) == Deeper(x=1, z=5) != Deeper(x=1)
    assert list(inspect.signature(Deeper).parameters) == ["z", "x", "y"]


def test_signature_is_known_before_the_first_instance() -> None:
    """For ``help``, and for frameworks that pass what a signature names."""

    @frozen
    class Point(ValueObject):
        x: int
        y: int = 0

    assert str(inspect.signature(Point)) == "(x: 'int', y: 'int' = 0) -> None"
    assert get_type_hints(Point.__init__) == {"x": int, "y": int, "return": type(None)}
    assert Point(1) == Point(1, 0)


def test_threads_can_create_the_first_instance_concurrently() -> None:
    @frozen
    class Point(ValueObject):
        x: int
        seen: list[int] = field(default_factory=list)

    begin = Barrier(8)

    def make(x: int) -> Any:
        begin.wait()
        return Point(x)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(make, range(8))) == [Point(x) for x in range(8)]


def test_instance_can_be_created_after_its_module_was_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As code reloaders do, while what was loaded before still works."""

    @frozen
    class Point(ValueObject):
        x: int

    monkeypatch.delitem(sys.modules, __name__)
    assert Point(1).x == 1


def test_required_field_after_an_optional_one_is_refused() -> None:
    @frozen
    class Wrong(Printed):
        size: int = 0
        name: str  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]

    with pytest.raises(TypeError, match="non-default argument 'name' follows default argument"):
        Wrong(1, "a")


def test_constructor_of_every_core_value_matches_dataclasses() -> None:
    """Of every value of the core."""
    for kind in values_of_the_core():
        if not issubclass(kind, Frozen):
            continue
        same: Any = dataclass(frozen=True, eq=False, repr=False)(type("Same", (kind,), {"__doc__": "."}))
        ours, theirs = _compiled_init(kind), vars(same)["__init__"]
        assert str(inspect.signature(ours)) == str(inspect.signature(theirs)), kind
        assert ours.__annotations__ == theirs.__annotations__
        assert (ours.__qualname__, ours.__module__) == (f"{kind.__qualname__}.__init__", kind.__module__)


def test_unhashable_field_excluded_from_hash_is_allowed() -> None:
    assert len({Shared("a"), Shared("a"), Shared("b")}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Call(undoes=None, id=[]))  # type: ignore[arg-type]


def test_no_core_value_has_a_compiled_comparison() -> None:
    values = values_of_the_core()
    assert {User, Call} <= values
    assert not [one for one in values if is_generated(vars(one).get("__eq__"))]
    assert is_generated(vars(Generated)["__eq__"])


def values_of_the_core() -> set[type[Any]]:
    """Return all loaded dataclasses of the core."""
    home = deputize.core.__name__
    known = [one for name, module in sys.modules.items() if name.startswith(home) for one in vars(module).values()]
    return {one for one in known if isinstance(one, type) and is_dataclass(one) and one.__module__.startswith(home)}


def is_generated(method: Any) -> bool:
    """Return True if `dataclasses` has compiled this from a string."""
    return bool(method) and method.__code__.co_filename == "<string>"
