"""LangChain's standard tests for a tool of each argument shape, made by `tools` and by `DeputyToolkit`."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from typing_extensions import TypedDict

from deputize.adapters.langchain import DeputyToolkit, tools
from deputize.core import ApprovalRequired, Audience, Deputy, Effect, Preview, Request, Steps, Toolkit, any_of
from deputize.core.tools.plugins import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from tests.support.lanes import sample
from tests.support.sandbox_deputy import GMAIL, build

READ, SEND = (any_of(f"{GMAIL}{scope}") for scope in ("readonly", "send"))
RAW: Final = b64encode(b"To: bob@example.test\r\nSubject: Hello\r\n\r\nthere").decode()
SHAPES: Final = Toolkit("gmail_shapes", "google", api="gmail", shows=True)
"""A toolkit whose prefix begins like another one's."""


class Colour(StrEnum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


class Place(TypedDict):
    """An object in an object."""

    city: str
    streets: list[str]


class Person(TypedDict):
    """An object with an object in it."""

    name: str
    home: Place


@SHAPES.tool(needs=[READ])
def nothing() -> Steps:
    """Take no argument."""
    return (yield Request("GET", "/users/me/profile"))


@SHAPES.tool(needs=[READ])
def lists(words: list[str], rows: list[list[int]]) -> Steps:
    """Take lists."""
    yield Request("GET", "/users/me/profile")
    return [words, rows]


@SHAPES.tool(needs=[READ])
def nested(person: Person, others: list[Person]) -> Steps:
    """Take objects in objects."""
    yield Request("GET", "/users/me/profile")
    return {"person": person, "others": others}


@SHAPES.tool(needs=[READ])
def enums(colour: Colour, more: list[Colour]) -> Steps:
    """Take one of some."""
    yield Request("GET", "/users/me/profile")
    return [colour, *more]


@SHAPES.tool(needs=[READ])
def optional(word: str | None = None, from_: str = "", limit: int = 3) -> Steps:
    """Take what may be left out."""
    yield Request("GET", "/users/me/profile")
    return {"word": word, "from": from_, "limit": limit}


@SHAPES.tool(needs=[SEND], effect=Effect.SENDS)
def writes(word: str) -> Steps:
    """Change something that others see."""
    yield Preview("Say this word", audience=Audience.PEOPLE, word=word)
    yield Request("POST", "/users/me/messages/send", json={"raw": RAW})
    return {"said": word}


HOME: Final = {"name": "Bob", "home": {"city": "Berlin", "streets": ["A", "B"]}}


@dataclass
class Case:
    """A tool, and its arguments in the call."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    asks: bool = False
    file: bool = False


CASES: Final = (
    Case("gmail_shapes_nothing"),
    Case("gmail_shapes_lists", {"words": ["a", "b"], "rows": [[1], [2, 3]]}),
    Case("gmail_shapes_nested", {"person": HOME, "others": [HOME]}),
    Case("gmail_shapes_enums", {"colour": "red", "more": ["blue", "red"]}),
    Case("gmail_shapes_optional"),
    Case("gmail_shapes_optional", {"word": "a", "from": "bob", "limit": 1}),
    Case("gmail_shapes_writes", {"word": "hello"}, asks=True),
    Case("gmail_send_email", {"to": ["bob@example.test"], "subject": "Plan", "body": "See."}, asks=True, file=True),
)


@dataclass
class World:
    """A deputy with both toolkits, where Alice may read and send, and approves before sending."""

    sandbox: Sandbox = field(default_factory=Sandbox)

    def __post_init__(self) -> None:
        toolkits = [SHAPES, find_toolkits("gmail")["gmail"]]
        self.deputy: Deputy = asyncio.run(build(self.sandbox, toolkits=toolkits))
        give_grant(
            self.sandbox, self.deputy, "alice", [READ.ask, SEND.ask], provider="google", email="alice@example.test"
        )
        kept = self.deputy.run(self.deputy.store_file("alice", "plan.txt", "text/plain", b"The plan."))
        self.file = str(kept["file"])

    def sent(self) -> int:
        return len(self.sandbox.sent("alice@example.test"))


def by_tools(deputy: Deputy) -> list[BaseTool]:
    """Make tools with the function."""
    return tools(deputy, "gmail_shapes", "gmail_send_email", user="alice")


def by_toolkit(deputy: Deputy) -> list[BaseTool]:
    """Make tools with LangChain's toolkit class."""
    return DeputyToolkit(deputy=deputy, toolkits=("gmail_shapes", "gmail_send_email"), user="alice").get_tools()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.deputy.run(world.deputy.close())


class Standard:
    """What langchain-tests asks for, for each case in turn."""

    @pytest.fixture(autouse=True, params=sample([(way, case) for way in (by_tools, by_toolkit) for case in CASES]))
    def _take(self, request: pytest.FixtureRequest, world: World) -> Iterator[None]:
        way, case = request.param
        cls = type(self)
        cls.world, cls.case = world, case
        [cls.one] = [tool for tool in way(world.deputy) if tool.name == case.name]
        yield

    world: World
    case: Case
    one: BaseTool

    @property
    def tool_constructor(self) -> BaseTool:
        return type(self).one

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        more = {"attachments": [self.world.file]} if self.case.file else {}
        return {**self.case.arguments, **more}


class TestUnit(Standard, ToolsUnitTests):
    """The framework's unit tests."""


class TestIntegration(Standard, ToolsIntegrationTests):
    """The framework's integration tests, against the sandbox; approvals were given before."""

    @pytest.fixture(autouse=True)
    def _approved(self, _take: None, request: pytest.FixtureRequest) -> Iterator[None]:
        if not (self.case.asks and "invoke" in request.node.name):
            yield
            return
        deputy, before = self.world.deputy, self.world.sent()
        with pytest.raises(ApprovalRequired) as asked:
            deputy.run(deputy.act(self.case.name, self.tool_invoke_params_example, user="alice"))
        deputy.run(deputy.decide(asked.value.approval, "approve", by="alice"))
        yield
        assert self.world.sent() == before + 1, "the suite itself would take a refusal for an answer"

    def test_invoke_succeeds(self) -> None:
        call = {"type": "tool_call", "name": self.case.name, "id": "123", "args": self.tool_invoke_params_example}
        answer = self.one.invoke(call)
        assert (answer.status, answer.tool_call_id) == ("success", "123"), answer.content
