"""Alice and Bob through the whole deputy at oidc-provider, a certified and independently written server.

It rotates refresh tokens, and ends the whole grant on reuse; the server itself is asked which tokens are alive.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from deputize.core import Call, ConsentRequired, Deputy, ReconsentRequired, User
from deputize.core.consent.device import DeviceCode
from deputize.core.oauth import messages as flow
from deputize.core.vault.grant import Grant
from tests.support.counterparts import require_oidc_provider
from tests.support.oidc_acting import KEY, acts
from tests.support.oidc_provider import READ, WRITE, OidcProvider, Person, deputy_for

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def server() -> Iterator[OidcProvider]:
    require_oidc_provider()
    with OidcProvider() as running:
        yield running


@pytest.fixture
async def deputy(server: OidcProvider) -> AsyncIterator[Deputy]:
    async with deputy_for(server, "web", "native", "short") as deputy:
        yield deputy


async def grant_of(deputy: Deputy, user: str) -> Grant:
    [grant] = await deputy.vault.list_grants(User(user))
    return grant


@pytest.mark.parametrize(
    ("issuer", "client"),
    [
        ("plain", "web"),
        ("plain", "basic"),
        ("plain", "native"),
        ("plain", "signs"),
        ("par", "web"),
        ("par", "native"),
        ("par", "signs"),
        ("resource", "web"),
        ("resource", "native"),
        ("dpop", "bound"),
        ("dpop", "boundnative"),
        ("dpop", "boundsigns"),
    ],
)
async def test_alice_and_bob_each_get_their_own_data(server: OidcProvider, issuer: str, client: str) -> None:
    """With pushed requests (RFC 9126), and with a signing client (private_key_jwt), as elsewhere."""
    people = [f"alice-{client}", f"bob-{client}"]
    async with deputy_for(server, client, issuer=issuer) as deputy:
        await asyncio.gather(*(Person(server, name).connect(deputy, READ, WRITE) for name in people))
        for name in people:
            wrote = await deputy.act("notes_write_note", {"text": f"of {name}"}, user=name, call=Call(id=name))
            assert wrote["user"] == name
            grant = await grant_of(deputy, name)
            renewed = await deputy.refresher.get_live(grant, failed=grant.access_token)
            assert renewed.refresh_token != grant.refresh_token
            assert await deputy.act("notes_count_notes", {}, user=name) == {"user": name, "notes": 1}
            assert [one.account for one in await deputy.connections(name)] == [f"{name}@example.test"]
            assert [one.upstream for one in await deputy.revoke(name)] == ["done"]
            assert server.alive(issuer, name) == {"refresh": [], "access": [], "grants": []}


async def test_replayed_refresh_token_ends_its_grant_and_asks_again(deputy: Deputy, server: OidcProvider) -> None:
    """The server does what the deputy must never cause; the affected user is asked to connect again."""
    await Person(server, "carol").connect(deputy, READ)
    before = await grant_of(deputy, "carol")
    renewed = await deputy.refresher.get_live(before, failed=before.access_token)
    assert renewed.refresh_token != before.refresh_token
    await deputy.refresher.clear(renewed)
    assert before.refresh_token
    again = flow.refresh(deputy.providers["op"], deputy.apps["web"], refresh_token=before.refresh_token)
    answer = await deputy.http.send(again)
    assert answer.status_code == 400 and server.events()["plain invalid_grant: refresh token already used"] == 1
    assert server.alive("plain", "carol") == {"refresh": [], "access": [], "grants": []}
    with pytest.raises(ReconsentRequired):
        await deputy.act("notes_count_notes", {}, user="carol")


@pytest.mark.parametrize("browser", ["the same browser", "another browser"])
@pytest.mark.parametrize(("issuer", "client"), [("plain", "web"), ("dpop", "boundnative")])
async def test_step_up_and_disconnect_end_tokens(server: OidcProvider, issuer: str, client: str, browser: str) -> None:
    name = f"dora in {browser}".replace(" ", "-")
    person, other = Person(server, name), Person(server, name)
    async with deputy_for(server, client, issuer=issuer) as deputy:
        await person.connect(deputy, READ)
        first = await grant_of(deputy, name)
        await (person if browser == "the same browser" else other).connect(deputy, READ, WRITE)
        assert await deputy.act("notes_count_notes", {}, user=name) == {"user": name, "notes": 0}
        second = await grant_of(deputy, name)
        renewed = await deputy.refresher.get_live(second, failed=second.access_token)
        assert len({first.refresh_token, second.refresh_token, renewed.refresh_token}) == 3
        families = {one["grant"] for one in server.alive(issuer, name)["refresh"]}
        assert len(families) == (1 if browser == "the same browser" else 2)  # the older is held until the disconnect
        assert [one.upstream for one in await deputy.revoke(name)] == ["done"]
        assert server.alive(issuer, name) == {"refresh": [], "access": [], "grants": []}
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user=name)


async def test_revoking_refused_tokens_keeps_the_accounts_grant(server: OidcProvider) -> None:
    """One more account was wanted, and the same one came back with fewer scopes: at this server both belong to one
    grant."""
    person = Person(server, "lena")
    async with deputy_for(server, "web") as deputy:
        await person.connect(deputy, READ, WRITE)
        [consent] = await deputy.connect("lena", "op", scopes=[READ], add_account=True)
        ended = await person.consent(deputy, consent)
        assert (ended.status, ended.reason_code) == ("failed", "same_account")
        grant = await grant_of(deputy, "lena")
        await deputy.refresher.get_live(grant, failed=grant.access_token)
        assert (await deputy.act("notes_write_note", {"text": "still"}, user="lena", call=Call(id="1")))[
            "user"
        ] == "lena"
        await deputy.revoke("lena")
    assert server.alive("plain", "lena") == {"refresh": [], "access": [], "grants": []}


async def test_dpop_binds_each_grant_to_its_own_key_at_the_server(server: OidcProvider) -> None:
    """A public client's refresh tokens, too (RFC 9449 5); a token without the key is useless."""
    async with deputy_for(server, "boundnative", issuer="dpop") as deputy:
        for name in ("gina", "hugo"):
            await Person(server, name).connect(deputy, READ)
            assert await deputy.act("notes_count_notes", {}, user=name) == {"user": name, "notes": 0}
        keys = {name: _keys(server.alive("dpop", name)) for name in ("gina", "hugo")}
        assert all(len(found) == 1 and "" not in found for found in keys.values()) and keys["gina"] != keys["hugo"]
        grant = await grant_of(deputy, "gina")
        for scheme in ("Bearer", "DPoP"):
            shown = {"authorization": f"{scheme} {grant.access_token.reveal()}"}
            answer = await deputy.http.send(httpx.Request("GET", "https://api.op.test/dpop/notes", headers=shown))
            assert answer.status_code == 401
        assert grant.refresh_token
        bare = flow.refresh(deputy.providers["op"], deputy.apps["boundnative"], refresh_token=grant.refresh_token)
        assert (await deputy.http.send(bare)).status_code == 400
        assert await deputy.act("notes_count_notes", {}, user="gina") == {"user": "gina", "notes": 0}


def _keys(alive: dict[str, list[dict[str, str]]]) -> set[str]:
    return {one["key"] for one in (*alive["refresh"], *alive["access"])}


# ------------------------------------------------------------- thousands of acts on tokens of three seconds


async def test_device_code_connects_and_its_tokens_are_renewed(
    server: OidcProvider,
) -> None:
    """RFC 8628; its id_token has no nonce."""
    async with deputy_for(server, "native") as deputy:
        [consent] = await deputy.connect("kate", "op", scopes=[READ])
        entered: list[asyncio.Task[None]] = []

        def tell(code: DeviceCode) -> None:
            kate = Person(server, "kate")
            entered.append(asyncio.create_task(kate.enter(code.address, code.code)))

        deputy.sleep = lambda seconds: asyncio.sleep(0.2)
        ended = await deputy.connect_by_device_code("kate", consent, tell)
        await asyncio.gather(*entered)
        assert ended.status == "granted"
        grant = await grant_of(deputy, "kate")
        await deputy.refresher.get_live(grant, failed=grant.access_token)
        assert (await deputy.act("notes_count_notes", {}, user="kate"))["user"] == "kate"
        assert [one.upstream for one in await deputy.revoke("kate")] == ["done"]
        assert server.alive("plain", "kate") == {"refresh": [], "access": [], "grants": []}


class Watch:
    """What the server did since the watch began, for tokens that are renewed 2.4 seconds after they are issued."""

    def __init__(self, server: OidcProvider, issuer: str = "plain") -> None:
        self.server, self.issuer, self.before, self.began = server, issuer, server.events(), time.monotonic()

    def of(self, what: str) -> int:
        """Return how often the server did what has this name, or one like it."""
        now, before = ({n: count for n, count in e.items() if what in n} for e in (self.server.events(), self.before))
        return sum(now.values()) - sum(before.values())

    def check(self) -> None:
        """Check for one refresh of each expired token, none with a used token, and no duplicate write."""
        most = (time.monotonic() - self.began) / 2.4 + 2
        assert 1 <= self.of(f"{self.issuer} refresh_token") <= most
        assert self.of("already used") == self.of("written twice") == 0


@pytest.mark.parametrize(("issuer", "client", "count"), [("plain", "short", 2000), ("dpop", "boundshort", 1000)])
async def test_acts_of_one_process_outlive_tokens(server: OidcProvider, issuer: str, client: str, count: int) -> None:
    async with deputy_for(server, client, issuer=issuer) as deputy:
        await Person(server, "emma").connect(deputy, READ, WRITE)
        watch, done = Watch(server, issuer), 0
        while not done or time.monotonic() < watch.began + 5:  # a fast machine does thousands within one token's life
            assert await acts(deputy, "emma", range(done, done + count)) == []
            done += count
        watch.check()
        assert await deputy.act("notes_count_notes", {}, user="emma") == {"user": "emma", "notes": done / 10}
        assert len(server.alive(issuer, "emma")["refresh"]) == 1


async def test_thousands_of_acts_in_four_processes_refresh_once_each_time(server: OidcProvider, tmp_path: Path) -> None:
    path = tmp_path / "vault" / "vault.sqlite"
    async with deputy_for(server, "short", path=path, key=KEY) as deputy:
        await Person(server, "fred").connect(deputy, READ, WRITE)
    watch = Watch(server)
    assert await _of_processes(4, path, server, "fred", 800) == [[], [], [], []]
    watch.check()
    async with deputy_for(server, "short", path=path, key=KEY) as deputy:
        assert await deputy.act("notes_count_notes", {}, user="fred") == {"user": "fred", "notes": 320}
        assert len(server.alive("plain", "fred")["refresh"]) == 1
        await deputy.revoke("fred")
    assert server.alive("plain", "fred") == {"refresh": [], "access": [], "grants": []}


async def test_killed_process_leaves_the_others_a_grant_or_nothing(server: OidcProvider, tmp_path: Path) -> None:
    """Killed between a request and its response it loses the family, which the server then ends; no token lives on."""
    path = tmp_path / "vault" / "vault.sqlite"
    async with deputy_for(server, "short", path=path, key=KEY) as deputy:
        await Person(server, "jane").connect(deputy, READ, WRITE)
    before = server.events().get("plain written twice", 0)
    said = await _of_processes(3, path, server, "jane", 300, killed=1)
    assert {failure.partition(":")[0] for failures in said for failure in failures} <= {"ReconsentRequired"}
    assert server.events().get("plain written twice", 0) == before
    async with deputy_for(server, "short", path=path, key=KEY) as deputy:
        grant = await grant_of(deputy, "jane")
        assert (grant.status == "active") == (not any(said))
        assert len(server.alive("plain", "jane")["refresh"]) == (grant.status == "active")
        if grant.status == "active":
            assert (await deputy.act("notes_count_notes", {}, user="jane"))["user"] == "jane"
        await deputy.revoke("jane")
    assert server.alive("plain", "jane")["refresh"] == []


async def _of_processes(
    number: int, path: Path, server: OidcProvider, user: str, count: int, *, killed: int = 0
) -> list[list[str]]:
    """Return the failures in each of this many concurrent processes, except those killed meanwhile."""
    fleet = [_process(str(path), str(server.port), user, str(count)) for _ in range(number)]
    try:
        for one in fleet:
            assert one.stdout and await asyncio.to_thread(one.stdout.readline) == "ready\n"
        ends = [
            asyncio.create_task(asyncio.to_thread(one.communicate, f"{place}\n", 120))
            for place, one in enumerate(fleet)
        ]
        await asyncio.sleep(2 * bool(killed))
        for one in fleet[:killed]:
            one.kill()
        return [json.loads(out) for out, _ in (await asyncio.gather(*ends))[killed:]]
    finally:
        for one in fleet:
            one.kill()
            one.wait()


def _process(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.oidc_acting", *arguments]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
