"""A provider without user info: each grant is its own account, and no identity is guessed."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deputize.core import PROVIDERS, Call, Consent, Declined, Deputy, User, allow_all
from deputize.core.oauth.identity import NAMELESS
from deputize.core.vault.grant import Grant
from deputize.core.web.app import pages_app
from deputize.sandbox import Sandbox
from tests.support.faults import USERINFO, Line
from tests.support.gmail_toolkit import PREFIX, gmail
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import PAGES, build, consent

ROW = with_fields(
    PROVIDERS["google"],
    identity=NAMELESS,
    always_scopes=(),
    login_hint="",
    params={},
    params_consent={},
)


class House:
    """A deputy whose Google returns no user info."""

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        self.line = Line(self.sandbox.transport())
        self.deputy: Deputy

    async def ask(self, *scopes: str, **more: Any) -> Consent:
        asked = await self.deputy.connect("alice", "google", scopes=[f"{PREFIX}{s}" for s in scopes], **more)
        return asked[0]

    async def connect(self, *scopes: str, as_: str = "alice@example.test", **more: Any) -> Consent:
        """Request a consent and complete it."""
        return await consent(self.deputy, self.sandbox, await self.ask(*scopes, **more), as_=as_)

    async def grants(self) -> list[Grant]:
        return [g for g in await self.deputy.vault.list_grants(User("alice")) if g.status == "active"]


@pytest.fixture
async def house() -> House:
    made = House()
    made.deputy = await build(
        made.sandbox, toolkits=[gmail], transport=made.line, policy=allow_all, providers={"google": ROW}
    )
    return made


async def test_grant_without_identity_works_and_sends_no_identity_request(house: House) -> None:
    ended = await house.connect("readonly", "labels")
    assert (ended.status, ended.account) == ("granted", "an account of Google")
    assert isinstance(await house.deputy.act("gmail_search", {}, user="alice", call=Call(id="1")), list)
    (grant,) = await house.grants()
    assert len(grant.account.subject) == 32 and not [
        one for one in house.line.sent if (one.url.host, one.url.path) == USERINFO
    ]


async def test_step_up_of_a_grant_without_identity_keeps_its_account(house: House) -> None:
    await house.connect("readonly")
    (before,) = await house.grants()
    assert (await house.connect("labels")).status == "granted"
    (after,) = await house.grants()
    assert after.account == before.account and {f"{PREFIX}readonly", f"{PREFIX}labels"} <= after.scopes


async def test_two_links_open_at_once_make_one_account(house: House) -> None:
    first, second = await house.ask("readonly"), await house.ask("labels")
    for one in (first, second):
        assert (await consent(house.deputy, house.sandbox, one)).status == "granted"
    assert len(await house.grants()) == 1


async def test_second_account_without_identity_has_its_own_name(house: House) -> None:
    await house.connect("readonly")
    await house.connect("readonly", as_="bob@example.test", add_account=True)
    names = [one.account for one in await house.deputy.connections("alice")]
    assert len(set(names)) == 2 and all(name.startswith("an account of Google") for name in names)


async def test_accounts_without_identity_are_not_shared_between_users(house: House) -> None:
    await house.connect("readonly")
    (theirs,) = await house.deputy.connect("bob", "google", scopes=[f"{PREFIX}readonly"])
    await consent(house.deputy, house.sandbox, theirs, as_="bob@example.test")
    subjects = {g.account.subject for u in ("alice", "bob") for g in await house.deputy.vault.list_grants(User(u))}
    assert len(subjects) == 2


async def test_consent_without_scopes_sends_none_and_its_denial_is_remembered(house: House) -> None:
    """A server may have no scopes: the parameter is then omitted (RFC 6749 3.3 allows no empty one)."""
    app, alice = house.deputy.apps["google"], User("alice")
    asked = await house.deputy.consents.require(alice, app, [], ask="run-1")
    ticket = asked.link.rpartition("/")[2]
    started = await house.deputy.consents.start(ticket, alice)
    assert "scope" not in parse_qs(urlsplit(started.url).query, keep_blank_values=True)
    await house.deputy.consents.decline(ticket, alice)
    with pytest.raises(Declined):
        await house.deputy.consents.require(alice, app, [], ask="run-1")
    assert await house.deputy.consents.require(alice, app, [], ask="run-1", insist=True)


async def test_account_without_identity_is_new_after_a_disconnect(house: House) -> None:
    await house.connect("readonly")
    (before,) = await house.grants()
    await house.deputy.revoke("alice", "google")
    await house.connect("readonly")
    (after,) = await house.grants()
    assert after.account.subject != before.account.subject


async def test_page_says_that_another_account_cannot_be_detected(house: House) -> None:
    asked = await house.ask("readonly")
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(pages_app(house.deputy, verifier=lambda request: "alice")), base_url=PAGES
    )
    shown = (await client.get(asked.link)).text
    assert "does not tell us whose account" in shown and "To know which account" not in shown
