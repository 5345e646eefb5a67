"""MCP calls that need their user: consent and approval, by client capability, and each effect exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from deputize.adapters.mcp import DeputyServer
from deputize.core import Approval, Consent, Deputy, Need, Request, Steps, Toolkit, any_of
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND
from tests.support.mcp_clients import MODES, by_bearer, client, served
from tests.support.sandbox_deputy import GMAIL, build, connect, consent

TOOL: Final = "gmail_send_email"
OWN_PAGE: Final = "http://127.0.0.1:8736/connections"


@dataclass
class Person:
    """The user of a client: what was shown to them, and how they answer it."""

    deputy: Deputy
    sandbox: Sandbox
    does: dict[str, str] = field(default_factory=lambda: {"consent": "grant", "approval": "approve"})
    name: str = "alice"
    shown: list[str] = field(default_factory=list)

    async def visit(self, link: str) -> str:
        """Open a link and answer there, or decline it without opening."""
        self.shown.append(link)
        kind = "consent" if "/connect/" in link else "approval"
        if (what := self.does[kind]) in ("decline", "cancel"):
            return what
        if kind == "consent":
            [one] = [
                one for one in await self.deputy.pending(self.name) if isinstance(one, Consent) and one.link == link
            ]
            await consent(self.deputy, self.sandbox, one, as_=f"{self.name}@example.test", deny=what == "deny")
        else:
            await self.decide(link.rpartition("/")[2], what)
        return "accept"

    async def decide(self, approval: str, what: str) -> None:
        """Decide on the page of an approval."""
        if what == "edit":
            changed = SEND["args"] | {"body": "No, sorry."}
            await self.deputy.decide(approval, "edit", by=self.name, arguments=changed)
        elif what != "ignore":
            await self.deputy.decide(approval, "approve" if what == "approve" else "reject", by=self.name)

    async def answers(self, ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Answer as the callback of the SDK's client."""
        if isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action=await self.visit(params.url))  # type: ignore[arg-type]
        self.shown.append(params.message)
        what = self.does["approval"]
        if what in ("decline", "cancel"):
            return types.ElicitResult(action=what)  # type: ignore[arg-type]
        return types.ElicitResult(action="accept", content={"decision": what})


@dataclass
class House:
    """A deputy, its MCP server and its users."""

    deputy: Deputy
    sandbox: Sandbox
    alice: Person
    url: str
    server: DeputyServer

    def sent(self, user: str = "alice") -> int:
        return len(self.sandbox.sent(f"{user}@example.test"))


@asynccontextmanager
async def house(
    sandbox: Sandbox | None = None, *, waits: float = 2.0, connected: bool = False, **more: Any
) -> AsyncIterator[House]:
    """A server whose requests wait this long for a user."""
    sandbox, server_of = sandbox or Sandbox(), more.pop("server", {})
    async with await build(sandbox, **more) as deputy:
        if connected:
            await connect(deputy, sandbox, "readonly", "send")
        server = DeputyServer(deputy, tools=["gmail"], **server_of)
        server.performing.longest_wait = waits
        async with served(server.app(by_bearer)) as base:
            yield House(deputy, sandbox, Person(deputy, sandbox), f"{base}/mcp", server)


def text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


async def legacy_call(alice: Client, person: Person, rounds: int = 5) -> types.CallToolResult:
    """Call as a 2025-11-25 client that shows links: visit each link, and repeat the call."""
    for _ in range(rounds):
        try:
            return await alice.call_tool(TOOL, SEND["args"])
        except MCPError as error:
            assert error.code == -32042 and error.data is not None
            for one in error.data["elicitations"]:
                if await person.visit(one["url"]) != "accept":
                    return types.CallToolResult(
                        content=[types.TextContent(type="text", text="declined")], is_error=True
                    )
    raise AssertionError("asked for ever")


async def told_call(alice: Client, person: Person, rounds: int = 5) -> types.CallToolResult:
    """Call as a client that shows nothing: its model tells the user, who opens their own page."""
    for _ in range(rounds):
        said = await alice.call_tool(TOOL, SEND["args"])
        waiting = await person.deputy.pending(person.name)
        if not said.is_error or OWN_PAGE not in text(said):
            return said
        assert waiting and all(link not in str(said) for one in waiting if (link := urlsplit(one.link).path))
        for one in waiting:
            await person.visit(one.link)
    raise AssertionError("asked for ever")


async def played(house: House, how: str, person: Person | None = None) -> types.CallToolResult:
    """Make one call to its end, with a client of this kind."""
    person = person or house.alice
    asks = person.answers if how in ("page", "legacy page") else None
    async with client(
        house.url, person.name, "legacy" if "legacy" in how else "2026-07-28", elicitation_callback=asks
    ) as one:
        if how == "legacy page":
            return await legacy_call(one, person)
        if how in ("text", "legacy text"):
            return await told_call(one, person)
        return await one.call_tool(TOOL, SEND["args"])


KINDS: Final = ("page", "legacy page", "text", "legacy text")
each = pytest.mark.parametrize("how", KINDS)


@each
async def test_call_allowed_by_its_user_is_done_once(how: str) -> None:
    async with house() as home:
        said = await played(home, how)
        assert not said.is_error and "Sent." in text(said) and home.sent() == 1
        assert [("/connect/" in link) for link in home.alice.shown] == [True, False]
        assert await home.deputy.vault.scan("call") == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ([any_of(f"{GMAIL}send")], "Your agent needs your consent at Google to:\n- send email as you"),
        ([], "Your agent needs to know which account of Google is yours."),
    ],
)
async def test_request_names_the_providers_label(mode: str, needs: list[Need], words: str) -> None:
    kit = Toolkit("gmail", provider="google")

    @kit.tool(needs=needs)
    def look() -> Steps:
        """Look."""
        yield Request("GET", "/users/me/profile")

    shown: list[str] = []

    async def declines(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        shown.append(params.message)
        return types.ElicitResult(action="decline")

    async with house(toolkits=[kit]) as home, client(home.url, mode=mode, elicitation_callback=declines) as alice:
        if mode == "legacy":
            with pytest.raises(MCPError) as asked:
                await alice.call_tool("gmail_look", {})
            shown += [one["message"] for one in asked.value.data["elicitations"]]
        else:
            await alice.call_tool("gmail_look", {})
    assert shown == [words]


@each
@pytest.mark.parametrize(("kind", "what"), [("consent", "deny"), ("approval", "reject"), ("approval", "edit")])
async def test_call_is_executed_with_the_users_edit(how: str, kind: str, what: str) -> None:
    async with house() as home:
        home.alice.does[kind] = what
        said = await played(home, how)
        mails = home.sandbox.sent("alice@example.test")
        assert len(mails) == (what == "edit") == (not said.is_error)
        if what == "edit":
            assert b"No, sorry." in mails[0].raw and b"gladly" not in mails[0].raw
        else:
            assert "declined" in text(said).lower()


@pytest.mark.parametrize(("kind", "what"), [("consent", "decline"), ("approval", "decline"), ("approval", "cancel")])
async def test_request_declined_in_the_client_sends_nothing(kind: str, what: str) -> None:
    async with house() as home:
        home.alice.does[kind] = what
        said = await played(home, "page")
        assert said.is_error and home.sent() == 0
        waiting = [one for one in await home.deputy.pending("alice") if isinstance(one, Approval)]
        assert len(waiting) == (what == "cancel")
        home.alice.does[kind] = "approve" if kind == "approval" else "grant"
        assert not (await played(home, "page")).is_error and home.sent() == 1
