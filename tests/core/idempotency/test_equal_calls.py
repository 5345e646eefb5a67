"""Which calls are the same act: equal ids and equal arguments, in whatever form the arguments arrive."""

from __future__ import annotations

import enum
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from deputize.core import (
    Act,
    ApprovalRequired,
    Call,
    Conflict,
    Effect,
    InvalidInput,
    OutcomeUnknown,
    Request,
    Steps,
    Toolkit,
    User,
    any_of,
)
from deputize.core.idempotency import ledger
from deputize.core.tools.plugins import find_toolkits
from tests.core.consent.test_consents import House
from tests.core.policy.test_policy import Asking
from tests.support.gmail_toolkit import ALL, MAIL, SEND

CAROL = {**MAIL, "to": "carol@example.test"}
CALL = Call("t", "m1", "c")


class Colour(enum.Enum):
    """An enumeration among arguments."""

    RED = "red"


class Line(BaseModel):
    """A nested argument, with a tag and a default."""

    kind: Literal["line"] = "line"
    text: str
    width: float = 1.0


class Dot(BaseModel):
    """Another, which only its tag tells apart."""

    kind: Literal["dot"] = "dot"
    text: str


def tool_of(steps: Callable[..., Steps]) -> Any:
    kit = Toolkit("kit", "google", api="gmail")
    kit.tool(needs=[any_of(SEND)], effect=Effect.SENDS)(steps)
    return kit.tools[f"kit_{steps.__name__}"]


def draw(
    shapes: list[Line | Dot],
    size: float = 2.0,
    tags: tuple[str, ...] = (),
    when: date | None = None,
    colour: Colour = Colour.RED,
    extra: dict[str, Any] | None = None,
) -> Steps:
    """Draw something."""
    yield Request("POST", "/users/me/labels", json={})


def act_of(arguments: dict[str, Any], steps: Callable[..., Steps] = draw, call: Call = CALL) -> Act:
    tool = tool_of(steps)
    return Act(User("alice"), tool, tool.validate(arguments), Effect.SENDS, call, "agent", "google", "google")


def key(arguments: dict[str, Any], steps: Callable[..., Steps] = draw) -> str:
    """Return the key of an act with these arguments."""
    return act_of(arguments, steps).key.hex


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    made = await Asking().begin()
    await made.connected(*ALL)
    yield made
    await made.deputy.close()


def receivers(house: House) -> list[str]:
    mails = house.sandbox.sent("alice@example.test")
    return sorted("carol" if b"carol@" in mail.raw else "bob" for mail in mails)


# ------------------------------------------------------------- no false success


async def test_calls_with_one_id_and_different_arguments_are_two_acts(house: House) -> None:
    bob, carol = await house.act("send", **MAIL), await house.act("send", **CAROL)
    assert bob != carol and receivers(house) == ["bob", "carol"]
    assert (await house.act("send", **MAIL), await house.act("send", **CAROL)) == (bob, carol)
    assert receivers(house) == ["bob", "carol"]


async def test_calls_with_one_id_and_different_arguments_have_two_approvals(asking: Asking) -> None:
    for arguments in (MAIL, CAROL):
        with pytest.raises(ApprovalRequired) as asked:
            await asking.act("send", "m1", **arguments)
        await asking.deputy.decide(asked.value.approval, "approve", by="alice")
        await asking.act("send", "m1", **arguments)
    assert receivers(asking) == ["bob", "carol"]


async def test_approval_of_the_first_of_two_calls_with_one_id_does_not_cover_the_second(asking: Asking) -> None:
    approval = await asking.asked()
    await asking.deputy.decide(approval, "approve", by="alice")
    await asking.act("send", "m1", **MAIL)
    with pytest.raises(ApprovalRequired):
        await asking.act("send", "m1", **CAROL)
    assert receivers(asking) == ["bob"]


async def test_unknown_outcome_does_not_affect_a_call_with_other_arguments(house: House) -> None:
    house.sandbox.switches.drop_after_commit.append("/gmail")
    with pytest.raises(OutcomeUnknown):
        await house.act("send", **MAIL)
    house.sandbox.switches.drop_after_commit.clear()
    assert (await house.act("send", **CAROL))["id"]
    with pytest.raises(OutcomeUnknown):
        await house.act("send", **MAIL)


def test_provider_idempotency_keys_differ_by_arguments() -> None:
    one, two = act_of({"shapes": []}).key, act_of({"shapes": [], "size": 3}).key
    assert one.base32 != two.base32 and one.uuid != two.uuid


# ------------------------------------------------------------- the same arguments


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"shapes": [], "size": 3}, {"shapes": [], "size": 3.0}),
        ({"shapes": (), "tags": ["a"]}, {"shapes": [], "tags": ("a",)}),
        ({"shapes": [], "extra": {"a": 1, "b": 2.0}}, {"extra": {"b": 2, "a": 1.0}, "shapes": []}),
        ({"shapes": [], "when": "2026-11-25"}, {"shapes": [], "when": date(2026, 11, 25)}),
        ({"shapes": []}, {"shapes": [], "size": 2, "tags": [], "when": None, "colour": "red", "extra": None}),
        ({"shapes": [{"text": "x", "kind": "line"}]}, {"shapes": [Line(text="x", width=1)]}),
        ({"shapes": [{"text": "caf\u00e9", "kind": "dot"}]}, {"shapes": [{"text": "cafe\u0301", "kind": "dot"}]}),
    ],
)
def test_arguments_after_a_json_round_trip_have_the_same_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"shapes": [], "extra": {"a": 1}}, {"shapes": [], "extra": {"a": True}}),
        ({"shapes": [], "extra": {"a": 1}}, {"shapes": [], "extra": {"a": "1"}}),
        ({"shapes": [], "extra": {"a": None}}, {"shapes": [], "extra": {}}),
        ({"shapes": [], "extra": {}}, {"shapes": []}),
        ({"shapes": [], "tags": ["a", "b"]}, {"shapes": [], "tags": ["b", "a"]}),
        ({"shapes": [], "tags": ["a,b"]}, {"shapes": [], "tags": ["a", "b"]}),
        ({"shapes": [], "tags": ['a","b']}, {"shapes": [], "tags": ["a", "b"]}),
        ({"shapes": [{"kind": "line", "text": "x"}]}, {"shapes": [{"kind": "dot", "text": "x"}]}),
        ({"shapes": [], "size": 3}, {"shapes": [], "size": 3.5}),
        ({"shapes": [], "tags": ["\ud800"]}, {"shapes": [], "tags": ["\ud801"]}),
    ],
)
def test_different_arguments_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(one) != key(other)


def test_every_argument_survives_a_checkpoint() -> None:
    """After a pause adapters get back JSON of the model's arguments."""
    said = {
        "shapes": [{"kind": "line", "text": "\u00fc\n\U0001f600", "width": 2.0}],
        "size": 1e20,
        "extra": {"n": -0.0},
    }
    assert key(said) == key(json.loads(json.dumps(said))) == key(json.loads(json.dumps(said, ensure_ascii=False)))


def test_act_key_is_unchanged_by_a_new_optional_argument() -> None:
    def send(to: str) -> Steps:
        """Send."""
        yield Request("POST", "/users/me/messages/send", json={})

    before = key({"to": "bob"}, send)

    def send_later(to: str, urgent: bool = False, copies: tuple[str, ...] = ()) -> Steps:
        """Send."""
        yield Request("POST", "/users/me/messages/send", json={})

    send_later.__name__ = "send"
    assert key({"to": "bob"}, send_later) == key({"to": "bob", "urgent": False, "copies": []}, send_later) == before
    assert key({"to": "bob", "urgent": True}, send_later) != before


def test_edited_act_keeps_its_key() -> None:
    act = act_of({"shapes": []})
    edited = Act(
        act.user,
        act.tool,
        {**act.arguments, "size": 9.0},
        act.effect,
        act.call,
        "agent",
        "google",
        "google",
        asked=act.arguments,
    )
    assert edited.key == act.key and edited.digest == act.digest


def test_later_act_states_reuse_the_key_and_canonical_arguments() -> None:
    act = act_of({"shapes": []})
    key, needs = act.key, act.needs
    begun = act.having(began=7.0, approved=True)
    assert begun.key is key and begun.needs is needs and begun.canonical_arguments is act.canonical_arguments
    assert (begun.began, begun.approved, act.began, act.approved) == (7.0, True, 0.0, False)
    assert vars(begun).items() >= vars(replace(act, began=7.0, approved=True)).items()


def test_arguments_of_derived_types_equal_their_base_values() -> None:
    class Name(str):
        """A string subclass."""

    class Level(enum.IntEnum):
        """An integer enumeration."""

        HIGH = 3

    act = act_of({"shapes": []})

    def said(extra: Any) -> str:
        arguments = {**act.arguments, "extra": extra}
        return Act(act.user, act.tool, arguments, act.effect, act.call, "agent", "google", "google").key.hex

    assert said({"a": Name("x"), "b": Level.HIGH}) == said({"a": "x", "b": 3}) == said({"a": "x", "b": 3.0})


def test_argument_that_is_not_json_is_refused_with_a_message() -> None:
    act = act_of({"shapes": []})
    odd = Act(act.user, act.tool, {"shapes": [object()]}, act.effect, act.call, "agent", "google", "google")
    with pytest.raises(InvalidInput, match="kit_draw: its arguments cannot be written as JSON"):
        _ = odd.key


def test_too_deeply_nested_argument_is_refused_with_a_message() -> None:
    act = act_of({"shapes": []})
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    odd = Act(act.user, act.tool, {"shapes": deep}, act.effect, act.call, "agent", "google", "google")
    with pytest.raises(InvalidInput, match="kit_draw: its arguments are nested too deeply"):
        _ = odd.key


# ------------------------------------------------------------- belt and braces


async def test_lookalike_arguments_are_a_conflict(house: House) -> None:
    """Equal by key, since a store may have changed their form, but different in detail: nothing is guessed."""
    await house.act("send", **{**MAIL, "body": "caf\u00e9"})
    with pytest.raises(Conflict) as told:
        await house.act("send", **{**MAIL, "body": "cafe\u0301"})
    assert told.value.hint and receivers(house) == ["bob"]


async def test_record_with_other_arguments_is_a_conflict(house: House) -> None:
    await house.act("send", **MAIL)
    [row] = await house.deputy.vault.scan("act")
    assert await house.deputy.vault.swap(row, {**row.json, "arguments": "0" * 32})
    with pytest.raises(Conflict):
        await house.act("send", **MAIL)
    assert receivers(house) == ["bob"]


# ------------------------------------------------------------- how long


async def test_outcome_retention_is_configurable() -> None:
    house = await House().begin(outcome_retention_seconds=2 * ledger.OUTCOME_TTL)
    await house.connected(*ALL)
    first = await house.act("send", **MAIL)
    house.clock.now += 2 * ledger.OUTCOME_TTL - 1
    assert await house.act("send", **MAIL) == first
    house.clock.now += 2
    house.sandbox.expire_access_tokens()
    assert await house.act("send", **MAIL) != first and receivers(house) == ["bob", "bob"]
    await house.deputy.close()


def test_unknown_argument_error_suggests_similar_names() -> None:
    tool = find_toolkits("gmail")["gmail"].tools["gmail_search_emails"]
    with pytest.raises(InvalidInput) as refused:
        tool.validate({"form": "secret words"})
    said = refused.value.message
    assert (
        "form: there is no such argument. Did you mean from or before?" in said and "There are: query, from, to" in said
    )
    assert "secret" not in said
