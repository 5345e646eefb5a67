"""Users at independently written MCP servers behind OAuth: from an address to the end of grants, in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import Call, Consent, ConsentRequired, Deputy, NotFound, ReconsentRequired, User, allow_all
from deputize.core.background_loop import portal
from deputize.core.mcp_client import protocol
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from tests.support.counterparts import CHECKOUT
from tests.support.mcp_oauth import McpOauth
from tests.support.sandbox_deputy import PAGES, new_vault

pytestmark = pytest.mark.counterpart

KEY = b"k" * 32
CALLS = 60
READS = ("whoami", "end_all", "require")
WAYS = ["fastmcp, modern", "fastmcp, legacy", "sdk, modern", "sdk, legacy", "sdk before 2, legacy"]


@pytest.fixture(scope="module")
def running() -> Iterator[Callable[[str], McpOauth]]:
    """Servers by their kind, each started when first needed."""
    with contextlib.ExitStack() as stack:
        yield lru_cache(lambda kind: stack.enter_context(McpOauth(kind)))


class House:
    """A deployment with one vault. ``ahead``: seconds by which its clocks are ahead."""

    def __init__(self, server: McpOauth, path: Path, era: str) -> None:
        self.server, self.path, self.era, self.ahead = server, path, era, 0.0

    async def process(self, **said: Any) -> Deputy:
        """Return a process that knows the server by its address and its operator's settings."""
        vault = await new_vault(self.path, KEY)
        deputy = Deputy(
            vault,
            [],
            pages=PAGES,
            policy=allow_all,
            toolkits=[],
            providers={},
            clock=lambda: time.time() + self.ahead,
            requests_per_minute=math.inf,
        )
        await deputy.add_mcp(McpServer("guarded", self.server.url, **said))
        return deputy

    async def walk(self, deputy: Deputy, asked: Consent, user: str) -> Consent:
        started = await deputy.consents.start(asked.link.rpartition("/")[2], User(user))
        back = await self.server.consent(started.url)
        await deputy.consents.finish("guarded", back, User(user), started.nonce.reveal())
        ended = await deputy.consents.status(asked.id)
        assert ended is not None
        return ended

    async def ready(self, *users: str, **said: Any) -> Deputy:
        """Return a process whose operator has reviewed the tools, and whose users are connected."""
        deputy = await self.process(**said)
        for user in users:
            asked = await asked_by(deputy.mcp.look("guarded", user))
            assert (await self.walk(deputy, asked, user)).status == "granted"
        looked = await deputy.mcp.look("guarded", users[0])
        await deputy.mcp.pin("guarded", looked, by="operator", effects=dict.fromkeys(READS, "reads"))
        return deputy


async def ended(deputy: Deputy) -> None:
    """Release its connections, on the background loop too, where servers are asked for identities."""
    await deputy.close()
    await portal().hop(deputy.http.close)


async def asked_by(acting: Awaitable[Any]) -> Consent:
    with pytest.raises((ConsentRequired, ReconsentRequired)) as e:
        await acting
    assert e.value.consent is not None
    return e.value.consent


async def who(deputy: Deputy, user: str) -> dict[str, Any]:
    """Return whose token the server saw."""
    said = await deputy.act("guarded_whoami", {}, user=user, call=Call(id=secrets.token_hex(6)))
    found: dict[str, Any] = said.get("structuredContent") or said.get("data") or said
    return found


@pytest.fixture(params=WAYS)
def house(
    request: pytest.FixtureRequest,
    running: Callable[[str], McpOauth],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> House:
    """One server of each kind, in each of its eras. Of one with both, the newer era's first request is not sent."""
    kind, era = request.param.split(", ")
    if era == "legacy":
        monkeypatch.setattr(protocol.Link, "open", lambda link: link._initialize())
    return House(running(kind), tmp_path / "vault.sqlite", era)


async def act(deputy: Deputy, user: str, tool: str, call: str, **arguments: Any) -> Any:
    return await deputy.act(f"guarded_{tool}", arguments, user=user, call=Call(id=call))


async def test_two_interleaved_users_are_never_crossed(house: House) -> None:
    deputy = await house.ready("alice", "bob")
    own = {user: (await who(deputy, user))["token"] for user in ("alice", "bob")}
    assert own["alice"] != own["bob"]
    users, limit = ["alice", "bob"] * CALLS, asyncio.Semaphore(20)

    async def one(user: str) -> str:
        async with limit:
            return str((await who(deputy, user))["token"])

    assert await asyncio.gather(*map(one, users)) == [own[user] for user in users]
    await ended(deputy)


async def test_two_processes_with_an_expired_token_cause_one_refresh(house: House) -> None:
    deputy = await house.ready("alice")
    before = await who(deputy, "alice")
    house.ahead = 3700.0
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CHILD, str(house.path), house.server.url, str(house.ahead), house.era),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and await child.stdout.readline() == b"ready\n"
    got = await asyncio.gather(*(who(deputy, "alice") for _ in range(50)))
    theirs = (await child.communicate())[0].decode().split()
    tokens = {one["token"] for one in got}
    assert len(tokens) == len(set(theirs)) == 1 and len(theirs) == 25
    if house.server.kind != "sdk before 2":  # whose tools are shown the token that their session began with
        assert tokens == set(theirs) != {before["token"]}
    after = await who(deputy, "alice")
    assert after["refreshes"] == before["refreshes"] + 1 and after["registrations"] == before["registrations"]
    await ended(deputy)


_CHILD = textwrap.dedent(
    """
    import asyncio, pathlib, sys
    from types import SimpleNamespace
    from deputize.core.mcp_client import protocol
    from tests.counterparts.test_mcp_oauth import House, who

    if sys.argv[4] == "legacy":
        protocol.Link.open = lambda link: link._initialize()

    async def main():
        house = House(SimpleNamespace(url=sys.argv[2]), pathlib.Path(sys.argv[1]), sys.argv[4])
        house.ahead = float(sys.argv[3])
        deputy = await house.process()
        print("ready", flush=True)
        for one in await asyncio.gather(*(who(deputy, "alice") for _ in range(25))):
            print(one["token"])
        await deputy.close()

    asyncio.run(main())
    """
)


async def test_disconnect_ends_only_its_users_tokens_at_the_server(house: House) -> None:
    deputy = await house.ready("alice", "bob")
    live = (await who(deputy, "bob"))["live"]
    (gone,) = await deputy.revoke("alice", "guarded")
    assert gone.upstream == "done" and (await who(deputy, "bob"))["live"] == live - 1
    await asked_by(who(deputy, "alice"))
    await ended(deputy)


async def test_grant_ended_by_the_server_is_requested_again(house: House) -> None:
    deputy = await house.ready("alice")
    assert await deputy.act("guarded_end_all", {}, user="alice", call=Call(id="end"))
    asked = await asked_by(who(deputy, "alice"))
    assert asked.reason_code == "invalid_grant"
    await house.walk(deputy, asked, "alice")
    assert (await who(deputy, "alice"))["scopes"] == ["tools:read"]
    await ended(deputy)


async def test_scope_required_later_is_requested_once_and_the_act_done_once(house: House) -> None:
    deputy = await house.ready("alice", "bob")
    sent, calls = (await who(deputy, "alice"))["sent"], {"alice": secrets.token_hex(6), "bob": secrets.token_hex(6)}
    await act(deputy, "alice", "require", calls["alice"] + "r", scope="tools:write")
    asked = {user: await asked_by(act(deputy, user, "send", call, to=user)) for user, call in calls.items()}
    again = await asked_by(act(deputy, "alice", "send", calls["alice"], to="alice"))
    assert again.id == asked["alice"].id  # not a second consent for the same
    other = await house.process()  # and the user comes back to another process than asked
    for user, consent in asked.items():
        assert (await house.walk(other, consent, user)).status == "granted"
        first = await act(other, user, "send", calls[user], to=user)
        assert first == await act(deputy, user, "send", calls[user], to=user)
        assert (await who(deputy, user))["scopes"] == ["tools:read", "tools:write"]
    assert (await who(deputy, "alice"))["sent"] == [*sent, "alice", "bob"]
    await act(deputy, "alice", "require", calls["alice"] + "e", scope="")
    for one in (deputy, other):
        await ended(one)


@pytest.mark.parametrize("house", WAYS[:2], indirect=True)  # which lists no tool to whom a scope for it is missing
async def test_tool_hidden_without_its_scope_is_found_by_its_needs(house: House) -> None:
    deputy, call = await house.ready("alice"), secrets.token_hex(6)
    assert "guarded_publish" not in {one.name for one in deputy.tools("guarded")}
    await ended(deputy)
    says = {"tools": {"publish": ToolOverride(needs=("tools:write",))}}
    operator = await house.ready("ops", **says)
    asked = await asked_by(act(operator, "alice", "publish", call, to="all"))  # before anything is sent
    assert asked.scopes == ("tools:write",)
    assert (await house.walk(operator, asked, "alice")).status == "granted"
    assert (await act(operator, "alice", "publish", call, to="all"))["data"]["id"].startswith("publish-")
    await ended(operator)
    forgetful = await house.process()  # the pin alone says nothing of scopes
    await house.walk(forgetful, await asked_by(act(forgetful, "bob", "whoami", call)), "bob")
    with pytest.raises(NotFound, match="does not offer publish to this user") as hidden:
        await act(forgetful, "bob", "publish", call, to="all")
    assert "needs in [mcp.guarded.tools.publish]" in hidden.value.hint
    await ended(forgetful)


async def test_disconnect_after_a_step_up_ends_both_token_families(house: House) -> None:
    deputy = await house.ready("bob")
    live, call = (await who(deputy, "bob"))["live"], secrets.token_hex(6)
    asked = await asked_by(who(deputy, "alice"))
    await house.walk(deputy, asked, "alice")
    await act(deputy, "alice", "require", call + "r", scope="tools:write")
    await house.walk(deputy, await asked_by(who(deputy, "alice")), "alice")
    await act(deputy, "alice", "require", call + "e", scope="")
    assert (await who(deputy, "bob"))["live"] == live + 2
    await deputy.revoke("alice", "guarded")
    assert (await who(deputy, "bob"))["live"] == live
    await ended(deputy)


async def test_refresh_token_used_by_others_is_detected_and_requested_again(house: House) -> None:
    deputy = await house.ready("alice", "bob")
    (grant,) = await deputy.vault.list_grants(User("alice"))
    assert grant.refresh_token is not None
    form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token.reveal(), "resource": house.server.url}
    app = deputy.apps["guarded"]
    form |= {"client_id": app.client_id} | ({"client_secret": app.client_secret.reveal()} if app.client_secret else {})
    async with httpx.AsyncClient() as thief:
        stolen = (await thief.post(house.server.url.replace("/mcp", "/token"), data=form)).json()
        house.ahead = 3700.0
        asked = await asked_by(who(deputy, "alice"))
        assert asked.reason_code == "invalid_grant"
        if house.server.kind != "fastmcp":  # which notices no reuse: it only refuses what it has replaced
            form["refresh_token"] = stolen["refresh_token"]
            assert (await thief.post(house.server.url.replace("/mcp", "/token"), data=form)).status_code == 400
    assert (await who(deputy, "bob"))["scopes"] == ["tools:read"]
    assert (await house.walk(deputy, asked, "alice")).status == "granted"
    assert (await who(deputy, "alice"))["scopes"] == ["tools:read"]
    await ended(deputy)
