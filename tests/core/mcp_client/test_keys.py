"""Servers that take a key, or sign nobody in: each user enters the key at deputize's page, and it leaves in no other
way."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deputize.core import ConsentRequired, Deputy, SettingsError, User
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from deputize.core.oauth.credential import Credential
from deputize.core.vault.grant import Secret
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.core.web.app import pages_app
from tests.core.mcp_client.test_servers import LOOK, call
from tests.support.foreign_mcp import URL, Foreign, text
from tests.support.sandbox_deputy import no_sleep, public_names

PAGES = "https://agents.example.test"
KEY = "key-of-alice-4f9a"


class Keys(httpx.AsyncBaseTransport):
    """A server that takes the keys of its users in one place, and echoes what it received."""

    def __init__(self, sign_in: str) -> None:
        self.foreign, self.place = Foreign([dict(LOOK)], reply=self.reply), Credential.of(sign_in)
        self.good, self.hosts = {KEY}, set[str]()

    def reply(self, params: Any, request: httpx.Request) -> Any:
        return text(f"{dict(request.headers)} {request.url}")

    def shown(self, request: httpx.Request) -> str:
        match self.place.place:
            case "header":
                return str(request.headers.get(self.place.name, ""))
            case "query":
                return str(request.url.params.get(self.place.name, ""))
            case "basic":
                given = request.headers.get("authorization", "").removeprefix("Basic ")
                return base64.b64decode(given).decode().removeprefix("alice:")
            case "bearer":
                return str(request.headers.get("authorization", "")).removeprefix("Bearer ")
        return KEY

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.add(request.url.host)
        if self.shown(request) not in self.good:
            return httpx.Response(401)
        message = json.loads(await request.aread())
        method, params = message["method"], message.get("params", {})
        self.foreign.asked.append((method, params, request))
        return self.foreign._handled(message, method, params, request)


class Person:
    """A person at the pages."""

    def __init__(self, deputy: Deputy, user: str) -> None:
        app = pages_app(deputy, verifier=lambda request: User(request.headers["x-user"]))
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=PAGES, headers={"x-user": user, "origin": PAGES}
        )

    async def enter(self, link: str, **fields: str) -> tuple[str, httpx.Response]:
        """Return the page, and the page after this form."""
        page = (await self.http.get(link)).text
        token = re.search(r'name="form" value="([^"]+)"', page)
        said = await self.http.post(link, data={"form": token[1] if token else "", **fields}, follow_redirects=True)
        return page, said


async def deputy_with(keys: Keys, sign_in: str, **more: Any) -> Deputy:
    deputy = Deputy(
        await Vault.open(MemoryStore(), [b"k" * 32]),
        [],
        pages=PAGES,
        transport=keys,
        providers={},
        sleep=no_sleep,
        resolve=public_names,
    )
    reads = {"look": ToolOverride(effect="reads")}
    await deputy.add_mcp(McpServer("acme", more.pop("url", URL), sign_in=sign_in, tools=reads, **more))
    return deputy


@pytest.fixture(params=["header:X-Api-Key", "query:api_key", "basic", "bearer"])
async def sign_in(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    yield request.param


def entered(sign_in: str) -> str:
    return f"alice:{KEY}" if sign_in == "basic" else KEY


async def link_of(deputy: Deputy, user: str = "alice") -> str:
    with pytest.raises(ConsentRequired) as asked:
        await deputy.mcp.look("acme", user, call=call())
    return str(asked.value.consent.link)


async def test_key_is_entered_at_the_page_and_sent_in_its_place_only(sign_in: str) -> None:
    keys = Keys(sign_in)
    deputy = await deputy_with(keys, sign_in)
    page, after = await Person(deputy, "alice").enter(await link_of(deputy), key=entered(sign_in))
    assert 'type="password"' in page and "never sees what you enter" in page and "mcp.other.example" in page
    assert "Connected" in after.text and KEY not in after.text and KEY not in str(after.url)
    await deputy.mcp.pin("acme", await deputy.mcp.look("acme", "alice"), by="ops")
    got = await deputy.act("acme_look", {"to": "bob"}, user="alice", call=call())
    sent = base64.b64encode(entered(sign_in).encode()).decode() if sign_in == "basic" else KEY
    assert "***" in got["text"] and KEY not in got["text"] and sent not in got["text"]
    assert keys.hosts == {"mcp.other.example"}
    await deputy.close()


async def test_another_user_has_no_use_of_a_key_and_a_wrong_one_is_asked_for_again(sign_in: str) -> None:
    keys = Keys(sign_in)
    deputy = await deputy_with(keys, sign_in)
    await Person(deputy, "alice").enter(await link_of(deputy), key=entered(sign_in))
    await deputy.mcp.pin("acme", await deputy.mcp.look("acme", "alice"), by="ops")
    for user in ("alice", "bob"):
        keys.good = {"another"} if user == "alice" else {KEY}
        with pytest.raises(ConsentRequired):
            await deputy.act("acme_look", {"to": "bob"}, user=user, call=call())
    await deputy.close()


@pytest.mark.parametrize("key", ["", "a b", "x" * 4001, "é", "a\r\nX-Evil: 1"])
async def test_text_that_is_no_key_is_not_sent_and_the_page_says_so(key: str) -> None:
    keys = Keys("header:X-Api-Key")
    deputy = await deputy_with(keys, "header:X-Api-Key")
    link = await link_of(deputy)
    _, after = await Person(deputy, "alice").enter(link, key=key)
    assert "That is not a key" in after.text and keys.foreign.asked == []
    _, after = await Person(deputy, "alice").enter(link, key=KEY)
    assert "Connected" in after.text
    await deputy.close()


async def test_form_of_another_person_enters_no_key() -> None:
    deputy = await deputy_with(Keys("bearer"), "bearer")
    link = await link_of(deputy)
    _, after = await Person(deputy, "eve").enter(link, key="key-of-eve")
    assert "Connected" not in after.text and await deputy.connections("alice") == []
    said = await Person(deputy, "alice").http.post(link, data={"key": "key-of-eve"})
    assert said.status_code >= 400 and await deputy.connections("alice") == []
    await deputy.close()


async def test_key_of_the_organization_is_used_after_each_users_press() -> None:
    keys = Keys("header:X-Api-Key")
    deputy = await deputy_with(keys, "header:X-Api-Key", client_secret=Secret(KEY))
    page, after = await Person(deputy, "alice").enter(await link_of(deputy), key="key-of-eve")
    assert 'type="password"' not in page and "Your organization" in page and "Connected" in after.text
    assert {one.state for one in await deputy.mcp.look("acme", "alice")} == {"new"}
    assert {request.headers["x-api-key"] for _, _, request in keys.foreign.asked} == {KEY}
    await deputy.close()


async def test_server_without_sign_in_gets_no_credential() -> None:
    keys = Keys("none")
    deputy = await deputy_with(keys, "none")
    page, after = await Person(deputy, "alice").enter(await link_of(deputy))
    assert 'type="password"' not in page and "Nobody signs in there" in page and "Connected" in after.text
    assert {one.state for one in await deputy.mcp.look("acme", "alice")} == {"new"}
    assert not any("authorization" in request.headers for _, _, request in keys.foreign.asked)
    await deputy.close()


async def test_key_ends_with_a_disconnect_and_is_not_used_at_another_address() -> None:
    keys = Keys("bearer")
    deputy = await deputy_with(keys, "bearer")
    await Person(deputy, "alice").enter(await link_of(deputy), key=KEY)
    assert len(await deputy.connections("alice")) == 1
    await deputy.revoke("alice", "acme")
    assert await link_of(deputy)
    await deputy.close()


@pytest.mark.parametrize(
    "said",
    ["", "oauth2", "header", "header:", "header:a b", "header:Host", "header:Mcp-Session-Id", "query:", "query:a&b",
     "bearer:x", "none:", "header:Cookie"],
)  # fmt: skip
def test_unusable_ways_to_sign_in_are_refused(said: str) -> None:
    with pytest.raises(SettingsError):
        McpServer("acme", URL, sign_in=said)


@pytest.mark.parametrize(
    "more", [{"client_id": "x"}, {"issuer": "https://a.example"}, {"scopes": ("a",)}, {"client_secret": Secret("a b")}]
)
def test_settings_of_oauth_do_not_go_with_a_key(more: Any) -> None:
    with pytest.raises(SettingsError):
        McpServer("acme", URL, sign_in="bearer", **more)
