"""Alice's and Bob's sessions at oidc-provider, exchanged there for tokens of the API, by an independent server.

The exchange itself is a custom grant type there (`exchange.mjs`); oidc-provider decides about a session token's
validity, the client's right to it, and the use and end of the issued tokens.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest

from deputize.core import ConsentRequired, Deputy, InvalidInput, ReconsentRequired, User
from deputize.core.oauth.app import SessionToken, TokenExchange
from deputize.core.oauth.pkce import challenge_of
from tests.support.counterparts import require_oidc_provider
from tests.support.oidc_provider import OidcProvider, Person, deputy_for
from tests.support.sandbox_deputy import PAGES

pytestmark = pytest.mark.counterpart
BY_ID_TOKEN = TokenExchange(session="id_token")


@pytest.fixture(scope="module")
def server() -> Iterator[OidcProvider]:
    require_oidc_provider()
    with OidcProvider() as running:
        yield running


async def session(server: OidcProvider, name: str, client: str = "web", kind: str = "id_token") -> str:
    """Return the application's token of a signed-in user."""
    verifier, back = secrets.token_urlsafe(40), f"{PAGES}/callback/{client}"
    asked = {"client_id": client, "response_type": "code", "redirect_uri": back, "scope": "openid email", "state": "s"}
    asked |= {"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"}
    code = (await Person(server, name).visit(f"https://exchange.op.test/auth?{urlencode(asked)}"))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
    form |= {"client_id": client, "client_secret": f"{client}-secret-{client}-secret-32"}
    async with httpx.AsyncClient(transport=server.transport()) as browser:
        answer = await browser.post("https://exchange.op.test/token", data=form)
    return str(answer.raise_for_status().json()[kind])


@asynccontextmanager
async def exchanging(
    server: OidcProvider, client: str = "deputy", source: TokenExchange = BY_ID_TOKEN
) -> AsyncIterator[tuple[Deputy, dict[str, str]]]:
    """Return a deputy, and the sessions of its application by user."""
    sessions: dict[str, str] = {}
    async with deputy_for(server, client, issuer="exchange", sources={client: source}) as deputy:
        deputy.sources.token_for = lambda user: sessions.get(user.id)
        yield deputy, sessions


@pytest.mark.parametrize("kind", ["id_token", "access_token"])
async def test_two_users_act_as_themselves_and_a_disconnect_leaves_nothing(server: OidcProvider, kind: str) -> None:
    source = TokenExchange(session=kind, user_claim="sub" if kind == "id_token" else "", token_audience="notes")  # type: ignore[arg-type]
    async with exchanging(server, source=source) as (deputy, sessions):
        for name in (f"alice-{kind}", f"bob-{kind}"):
            sessions[name] = await session(server, name, kind=kind)
        for name in sessions:
            assert await deputy.act("notes_count_notes", {}, user=name) == {"user": name, "notes": 0}
            assert (await deputy.act("notes_write_note", {"text": "hi"}, user=name))["user"] == name
            assert [one.account for one in await deputy.connections(name)] == [f"{name}@example.test"]
        for name in sessions:
            assert deputys(server, name), "or the next line shows nothing"
            assert [one.upstream for one in await deputy.revoke(name)] == ["done"]
            assert deputys(server, name) == []


def deputys(server: OidcProvider, name: str) -> list[dict[str, str]]:
    """Return the access tokens of this user that the deputy has obtained."""
    return [one for one in server.alive("exchange", name)["access"] if one["client"] == "deputy"]


async def test_concurrent_acts_cause_one_exchange_also_after_a_refused_token(server: OidcProvider) -> None:
    async with exchanging(server) as (deputy, sessions):
        sessions["hera"] = await session(server, "hera")
        name = "exchange urn:ietf:params:oauth:grant-type:token-exchange"
        begun = server.events().get(name, 0)
        for herd in (1, 2):
            acts = (deputy.act("notes_count_notes", {}, user="hera") for _ in range(50))
            assert {one["user"] for one in await asyncio.gather(*acts)} == {"hera"}
            assert server.events()[name] == begun + herd
            await end_there(server, deputy, "hera")


async def test_expired_token_is_obtained_again(server: OidcProvider) -> None:
    async with exchanging(server, "deputyshort") as (deputy, sessions):
        sessions["eos"] = await session(server, "eos")
        for _ in range(2):
            assert (await deputy.act("notes_count_notes", {}, user="eos"))["user"] == "eos"
            await asyncio.sleep(3.2)


async def test_token_revoked_at_the_server_is_obtained_again_during_the_session(server: OidcProvider) -> None:
    async with exchanging(server) as (deputy, sessions):
        sessions["rhea"] = await session(server, "rhea")
        for _ in range(2):
            await deputy.act("notes_count_notes", {}, user="rhea")
            await end_there(server, deputy, "rhea")
        del sessions["rhea"]
        with pytest.raises(ReconsentRequired, match="sign in to the application again"):
            await deputy.act("notes_count_notes", {}, user="rhea")


async def end_there(server: OidcProvider, deputy: Deputy, user: str) -> None:
    """Revoke the deputy's access token as an administrator."""
    [grant] = await deputy.vault.list_grants(User(user))
    form = {"token": grant.access_token.reveal(), "client_id": "deputy"}
    form["client_secret"] = "deputy-secret-deputy-secret-32"
    async with httpx.AsyncClient(transport=server.transport()) as admin:
        (await admin.post("https://exchange.op.test/token/revocation", data=form)).raise_for_status()


async def test_session_of_another_client_grants_nothing(server: OidcProvider) -> None:
    async with exchanging(server) as (deputy, sessions):
        sessions["ares"] = await session(server, "ares", "other")
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="ares")
        assert deputys(server, "ares") == []


@pytest.mark.parametrize(("given", "said"), [("id_token", "access_token"), ("access_token", "id_token")])
async def test_token_of_an_unexpected_type_grants_nothing(server: OidcProvider, given: str, said: SessionToken) -> None:
    """An id_token names a user to its audience; it grants no access, and is no session of an API."""
    source = TokenExchange(session=said, user_claim="")
    async with exchanging(server, source=source) as (deputy, sessions):
        sessions["kore"] = await session(server, "kore", kind=given)
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="kore")
        assert await deputy.vault.list_grants(User("kore")) == [] and deputys(server, "kore") == []


async def test_another_audience_is_refused(server: OidcProvider) -> None:
    async with exchanging(server, source=TokenExchange(session="id_token", token_audience="payroll")) as (
        deputy,
        sessions,
    ):
        sessions["aura"] = await session(server, "aura")
        with pytest.raises(InvalidInput) as refused:
            await deputy.act("notes_count_notes", {}, user="aura")
        assert refused.value.fix_by == "operator"


async def test_session_of_bob_for_alice_is_refused_before_sending(server: OidcProvider) -> None:
    async with exchanging(server) as (deputy, sessions):
        sessions["alice"] = await session(server, "bob")
        begun = server.events()
        with pytest.raises(InvalidInput, match="not verifiably this user's"):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert server.events() == begun
