"""Alice and Bob through the whole deputy at oidc-provider, a certified server that nobody here wrote.

It rotates refresh tokens, and ends the whole grant where one comes twice; what is alive there, it is asked itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from deputize.core import Call, ConsentRequired, Deputy, ReconsentRequired, User, allow_all
from deputize.core.oauth import flow
from deputize.core.vault.grant import Grant
from tests.support.counterparts import require_oidc_provider
from tests.support.house import build
from tests.support.oidc_provider import READ, WRITE, OidcProvider, Person, app_of, found, notes

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def server() -> Iterator[OidcProvider]:
    require_oidc_provider()
    with OidcProvider() as running:
        yield running


async def deputy_for(server: OidcProvider, *clients: str, issuer: str = "plain", **more: Any) -> Deputy:
    return await build(
        transport=server.transport,
        apps=[app_of(client) for client in clients],
        providers={"op": await found(server, issuer)},
        toolkits=[notes],
        policy=allow_all,
        **more,
    )


@pytest.fixture
async def deputy(server: OidcProvider) -> AsyncIterator[Deputy]:
    async with await deputy_for(server, "web", "native", "short") as deputy:
        yield deputy


async def grant_of(deputy: Deputy, user: str) -> Grant:
    [grant] = await deputy.vault.grants(User(user))
    return grant


@pytest.mark.parametrize("client", ["web", "native"])
async def test_alice_and_bob_each_get_their_own(deputy: Deputy, server: OidcProvider, client: str) -> None:
    people = [f"alice-{client}", f"bob-{client}"]
    await asyncio.gather(*(Person(server, name).connect(deputy, READ, WRITE, app=client) for name in people))
    for name in people:
        wrote = await deputy.act("notes_write_note", {"text": f"of {name}"}, user=name, app=client, call=Call(id=name))
        assert wrote["user"] == name
        assert await deputy.act("notes_count_notes", {}, user=name, app=client) == {"user": name, "notes": 1}
        assert [one.account for one in await deputy.connections(name)] == [f"{name}@example.test"]


async def test_a_refresh_token_that_comes_twice_ends_all_of_its_grant(deputy: Deputy, server: OidcProvider) -> None:
    """The server does what we must never cause; and whoever it is done to is asked anew."""
    await Person(server, "carol").connect(deputy, READ)
    before = await grant_of(deputy, "carol")
    assert (await deputy.refresher.live(before, failed=before.access_token)).refresh_token != before.refresh_token
    assert before.refresh_token
    endpoint = deputy.refresher._endpoint(before)
    answer = await endpoint.http.send(flow.refresh(endpoint.provider, endpoint.app, refresh_token=before.refresh_token))
    assert answer.status_code == 400 and server.events()["plain invalid_grant: refresh token already used"] == 1
    assert server.alive("plain", "carol") == {"refresh": [], "access": [], "grants": []}
    with pytest.raises(ReconsentRequired):
        await deputy.act("notes_count_notes", {}, user="carol")


@pytest.mark.parametrize("browser", ["the same browser", "another browser"])
async def test_a_step_up_leaves_one_family_that_works_and_a_disconnect_leaves_nothing(
    deputy: Deputy, server: OidcProvider, browser: str
) -> None:
    name = f"dora in {browser}".replace(" ", "-")
    person = Person(server, name)
    await person.connect(deputy, READ)
    first = await grant_of(deputy, name)
    await (person if browser == "the same browser" else Person(server, name)).connect(deputy, READ, WRITE)
    assert await deputy.act("notes_count_notes", {}, user=name) == {"user": name, "notes": 0}
    second = await grant_of(deputy, name)
    renewed = await deputy.refresher.live(second, failed=second.access_token)
    assert len({first.refresh_token, second.refresh_token, renewed.refresh_token}) == 3
    families = {one["grant"] for one in server.alive("plain", name)["refresh"]}
    assert len(families) == (1 if browser == "the same browser" else 2)  # the older one is held until the disconnect
    assert [one.upstream for one in await deputy.revoke(name)] == ["done"]
    assert server.alive("plain", name) == {"refresh": [], "access": [], "grants": []}
    with pytest.raises(ConsentRequired):
        await deputy.act("notes_count_notes", {}, user=name)
