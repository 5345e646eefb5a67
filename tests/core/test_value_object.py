"""Values compare, hash and print as dataclasses do, though nothing is generated for each of them."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import FrozenInstanceError, dataclass, field, is_dataclass, replace
from typing import Any

import pytest

import deputize.core
from deputize.core import Account, Call, User
from deputize.core.value_object import ValueObject


@dataclass(frozen=True, slots=True)
class Generated:
    name: str
    seen: list[int] = field(default_factory=list, hash=False)
    token: str = field(default="", repr=False)
    row: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Shared(ValueObject):
    name: str
    seen: list[int] = field(default_factory=list, hash=False)
    token: str = field(default="", repr=False)
    row: Any = field(default=None, compare=False)


class Other(Shared):
    pass


VALUES: tuple[tuple[Any, ...], ...] = (("a",), ("b",), ("a", [1]), ("a", [], "t"), ("a", [], "", object()))


@pytest.mark.parametrize("left", VALUES)
@pytest.mark.parametrize("right", VALUES)
def test_what_is_equal_is_what_a_dataclass_says_is_equal(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    one, two = Shared(*left), Shared(*right)
    assert (one == two) is (Generated(*left) == Generated(*right))
    assert (hash(one) == hash(two)) is (hash(Generated(*left)) == hash(Generated(*right)))


def test_a_value_is_no_value_of_another_class() -> None:
    assert Shared("a") != Generated("a")
    assert Shared("a") != Other("a")
    assert User("alice", "") != Account("alice", "")


def test_it_prints_as_a_dataclass_prints_also_where_it_holds_itself() -> None:
    secret = Shared("a", [1], "token-7", row="r")
    assert repr(secret) == repr(Generated("a", [1], "token-7", row="r")).replace("Generated", "Shared")
    assert "token-7" not in repr(secret)
    around: list[Any] = []
    around.append(Shared("a", around))
    assert repr(around[0]) == "Shared(name='a', seen=[...], row=None)"


def test_it_is_frozen_and_can_be_replaced_copied_and_pickled() -> None:
    call = Call("thread", "message", "id")
    with pytest.raises(FrozenInstanceError):
        call.id = "other"  # type: ignore[misc]
    for other in (replace(call), copy.deepcopy(call), pickle.loads(pickle.dumps(call))):  # noqa: S301
        assert other == call and hash(other) == hash(call) and other is not call
    assert replace(call, id="other") != call


def test_what_is_left_out_of_hashes_is_no_obstacle_to_them() -> None:
    assert len({Shared("a"), Shared("a"), Shared("b")}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Call(undoes=None, id=[]))  # type: ignore[arg-type]


def test_no_value_of_the_core_has_a_comparison_compiled_for_it() -> None:
    home = deputize.core.__name__
    known = [one for name, module in sys.modules.items() if name.startswith(home) for one in vars(module).values()]
    values = {one for one in known if isinstance(one, type) and is_dataclass(one) and one.__module__.startswith(home)}
    assert {User, Call} <= values
    assert not [one for one in values if is_generated(vars(one).get("__eq__"))]
    assert is_generated(vars(Generated)["__eq__"])


def is_generated(method: Any) -> bool:
    """Whether `dataclasses` has compiled this, from a text and no file."""
    return bool(method) and method.__code__.co_filename == "<string>"
