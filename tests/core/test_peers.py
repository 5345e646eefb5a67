"""Defects known of other projects in this field, each tested through the public API: a deputy, a vault on disk,
simulated providers. The numbers are those of docs/requirements.md; one test for each defect, or one for several
alike."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import os
import re
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import deputize.core
from deputize.core import (
    PROVIDERS,
    ApiRules,
    Call,
    ConsentRequired,
    DeputizeError,
    Deputy,
    InvalidInput,
    OAuthEndpoints,
    OutcomeUnknown,
    Provider,
    ProviderUnavailable,
    ScopeNotGranted,
    SettingsError,
    User,
    UserRequired,
    VaultError,
    Verdict,
    ask_before_sending,
)
from deputize.core.audit import Audit
from deputize.core.background_loop import portal
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.grants import refresh
from deputize.core.oauth.messages import Tokens, parse_tokens
from deputize.core.oauth.provider import Identity
from deputize.core.settings import Settings
from deputize.core.vault.grant import Grant, Secret
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.web.app import pages_app
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.core.grants.test_refresh import Fleet, _fleet
from tests.core.grants.test_refresh import _expired as expired_vault
from tests.sandbox.connected_users import SCOPES, visitor
from tests.support.faults import GMAIL_API, REVOKE, TOKEN, FaultyStore, Line, answer, broken, shown
from tests.support.gmail_toolkit import ALL, FALSY, MAIL, READ, gmail
from tests.support.replace_parts import exchange
from tests.support.sandbox_deputy import build, connect, consent, google_app, new_vault

HOUR = 3600.0
BOB = User("bob")


class DiskHouse(House):
    """A house whose vault and audit are on disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file, self.folder = folder / "vault" / "vault.sqlite", folder / "audit"
        self.store = FaultyStore(SqliteStore.open(self.file, create=True))

    async def ready(self) -> DiskHouse:
        await self.begin()
        audit = Audit(self.folder, self.deputy.vault.keys.audit, clock=self.clock)
        deputy, self.deputy.audit = self.deputy, audit
        for part in (deputy.revocation_queue, deputy.refresher, deputy.revoker, deputy.approvals.rows):
            part.audit = audit
        exchange(deputy, audit=audit)
        deputy.executor.audit = audit
        await self.connected(*ALL)
        self.sandbox.switches.rotate = self.sandbox.switches.reuse_kills_family = True
        self.forget()
        return self

    async def close(self) -> None:
        await self.deputy.close()
        self.deputy.audit.close()

    def forget(self) -> None:
        self.line.seen.clear()
        self.line.sent.clear()

    def expire(self) -> None:
        self.sandbox.expire_access_tokens()
        self.clock.now += HOUR

    @property
    def posts(self) -> int:
        return self.line.count(TOKEN)

    async def tokens(self) -> list[str]:
        """Return every token of Alice's that must not be visible."""
        found = await self.grant()
        assert found and found.refresh_token
        return [found.access_token.reveal(), found.refresh_token.reveal()]

    def disk(self) -> bytes:
        """Return all bytes on the disk."""
        self.deputy.audit.flush()
        files = [*self.file.parent.rglob("*"), *self.folder.rglob("*")]
        return b"".join(path.read_bytes() for path in files if path.is_file())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[DiskHouse]:
    made = await DiskHouse(tmp_path).ready()
    yield made
    await made.close()


# ------------------------------------------------------------- asking and waiting


@pytest.mark.processes
async def test_peer_N01_waiting_ends_with_a_denial_without_polling_the_provider(house: DiskHouse) -> None:
    asked = await house.ask("readonly", user="bob")
    house.forget()
    waiting = asyncio.create_task(house.deputy.wait_for_consents([asked], timeout=60))
    await asyncio.sleep(0.3)
    assert house.line.seen == []
    await consent(house.deputy, house.sandbox, asked, deny=True)
    [ended] = await asyncio.wait_for(waiting, 30)
    assert ended.status == "denied" and house.posts == 0


async def test_peer_N32_N71_waiting_blocks_no_loop_and_logs_no_link(
    house: DiskHouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = await house.ask("readonly", user="bob")
    waiting, ticks = asyncio.create_task(house.deputy.wait_for_consents([asked], timeout=0.4)), 0
    while not waiting.done():
        ticks += 1
        await asyncio.sleep(0.001)
    assert ticks > 5 and [one.status for one in await waiting] == ["pending"]
    assert asked.link.rpartition("/")[2] not in caplog.text and "/connect/" not in caplog.text


async def test_peer_N51_replayed_step_has_one_consent_with_one_link(house: DiskHouse) -> None:
    links = set()
    for _ in range(3):
        with pytest.raises(ConsentRequired) as caught:
            await house.deputy.act("gmail_search", {}, user=BOB, call=Call("t", "m", "c"))
        links.add((caught.value.consent.id, caught.value.consent.link))
    [waiting] = await house.deputy.consents.list_pending(BOB)
    assert links == {(waiting.id, waiting.link)}


async def test_peer_N31_error_text_for_the_model_contains_no_link(house: DiskHouse) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.deputy.act("gmail_search", {}, user=BOB)
    ticket = caught.value.consent.link.rpartition("/")[2]
    for text in (str(caught.value), repr(caught.value), caught.value.hint, caught.value.message):
        assert ticket not in text and "http" not in text


async def test_peer_N26_comma_separated_scopes_are_not_requested_again() -> None:
    async with visitor(Sandbox()) as people:
        for provider in ("github", "slack", "linear"):
            assert await people.connect(provider) == "granted"
            assert (await people.grant(provider)).scopes >= set(SCOPES[provider])
            assert await people.deputy.connect("alice", provider, scopes=SCOPES[provider]) == []


async def test_peer_N134_unticked_scope_is_noticed_when_the_user_returns(house: DiskHouse) -> None:
    asked = await house.ask("readonly", "send", user="bob")
    ended = await consent(house.deputy, house.sandbox, asked, as_="bob@example.test", untick=["gmail.send"])
    assert (ended.status, ended.reason_code) == ("partial", "scope_missing")
    with pytest.raises(ScopeNotGranted):
        await house.deputy.act("gmail_send", MAIL, user=BOB)
    assert house.sandbox.sent("bob@example.test") == [] and house.line.count(GMAIL_API) == 0


# ------------------------------------------------------------- whose act it is


async def test_peer_N05_missing_user_never_becomes_a_default_user(house: DiskHouse) -> None:
    nobody: list[Any] = [None, "", "  ", User("")]
    for one in nobody:
        for work in (
            lambda one=one: house.deputy.act("gmail_search", {}, user=one),
            lambda one=one: house.deputy.connect(one, "google", scopes=[READ]),
            lambda one=one: house.deputy.revoke(one),
        ):
            with pytest.raises(UserRequired):
                await work()
    assert house.line.seen == []
    for other in ("anonymous", "default", "None"):
        with pytest.raises(ConsentRequired):
            await house.deputy.act("gmail_search", {}, user=other)


async def test_peer_N20_bob_never_gets_alices_data_in_the_same_thread_and_run(house: DiskHouse) -> None:
    await house.connected(*ALL, user="bob", as_="bob@example.test")
    for n, user in enumerate(("alice", "bob", "alice", "bob", "bob")):
        await house.deputy.act("gmail_search", {}, user=user, call=Call("one thread", f"m{n}", "c", "one run"))
        assert house.sandbox.requests[-1].who == f"{user}@example.test"
    with pytest.raises(ConsentRequired):
        await house.deputy.act("gmail_search", {}, user="carol", call=Call("one thread", "m9", "c", "one run"))


async def test_peer_N63_two_concurrently_refreshed_users_get_their_own_tokens(house: DiskHouse) -> None:
    await house.connected(*ALL, user="bob", as_="bob@example.test")
    house.expire()
    house.forget()
    users = ["alice", "bob"] * 20
    await asyncio.gather(*(house.deputy.act("gmail_search", {}, user=user) for user in users))
    seen = [one.who for one in house.sandbox.requests if one.host == GMAIL_API[0]][-40:]
    assert house.posts == 2 and sorted(seen) == sorted(f"{user}@example.test" for user in users)
    grants = [await house.grant("alice"), await house.grant("bob")]
    assert all(grants) and len({one.access_token.reveal() for one in grants if one}) == 2


async def test_peer_N110_N70_tools_hold_no_credentials_and_ask_the_model_for_none(house: DiskHouse) -> None:
    await house.act()
    names = {"token", "access_token", "refresh_token", "credentials", "authorization", "api_key", "tenant", "act_as"}
    found = [*house.deputy.tools(), *(await build()).tools()]
    assert len(found) > 20
    for tool in found:
        assert names.isdisjoint(tool.schema.get("properties", {}))
        near = gc.get_referents(*gc.get_referents(tool))
        assert not any(isinstance(one, Secret | Grant | Deputy) for one in near)


async def test_peer_N136_two_deputies_share_nothing(house: DiskHouse) -> None:
    other = await build(house.sandbox, toolkits=[gmail])
    await house.act()
    with pytest.raises(ConsentRequired):
        await other.act("gmail_search", {}, user="alice")
    await other.close()


async def test_peer_N15_several_accounts_and_apps_of_one_provider_work(tmp_path: Path) -> None:
    house = DiskHouse(tmp_path)
    await house.begin(apps=[google_app(), google_app("work")])
    await house.connected("readonly")
    [more] = await house.deputy.connect("alice", "google", scopes=[READ], account="bob@example.test")
    assert (await consent(house.deputy, house.sandbox, more, as_="bob@example.test")).status == "granted"
    for account in ("alice@example.test", "bob@example.test"):
        await house.deputy.act("gmail_search", {}, user="alice", account=account)
        assert house.sandbox.requests[-1].who == account
    [work] = await house.deputy.connect("alice", "google", scopes=[READ], app="work")
    assert work.app == "work" and "/callback/work" in (await house.start(work)).url.replace("%2F", "/")
    await house.deputy.act("gmail_search", {}, user="alice")
    assert house.sandbox.requests[-1].who == "alice@example.test"
    await house.close()


# ------------------------------------------------------------- tokens stay inside


def _leaks(value: object, secrets: list[str]) -> bool:
    text = f"{value!r} {value} {json.dumps(value, default=repr)}"
    return any(secret in text for secret in secrets)


async def test_peer_N02_N52_N81_no_public_result_holds_a_token(house: DiskHouse) -> None:
    secrets, deputy = await house.tokens(), house.deputy
    given: list[object] = [
        await house.act(),
        await deputy.connections("alice"),
        await deputy.connect("alice", "google", scopes=["gmail.modify"]),
        await deputy.check_calls([("gmail_search", {}, Call(id="1"))], user="alice"),
        deputy.tools(),
        deputy.audit.rows(),
        [await house.grant()],
        await deputy.revoke("alice"),
    ]
    assert [value for value in given if _leaks(value, secrets)] == []


def test_peer_N135_no_public_function_takes_or_returns_a_bare_token() -> None:
    exempt = {"Secret", "App", "Grant"}  # what holds a secret, masked
    sealing = ("derive_key",)  # no token: an adapter's own key
    wrong = []
    for name in deputize.core.__all__:
        public = getattr(deputize.core, name)
        methods = [public] if inspect.isfunction(public) else []
        if inspect.isclass(public) and name not in exempt and not issubclass(public, BaseException):
            methods = [m for n, m in inspect.getmembers(public, inspect.isfunction) if not n.startswith("_")]
        for method in methods:
            parameters = inspect.signature(method).parameters
            given = str(method.__annotations__.get("return", ""))
            secret = "Secret" in given and method.__name__ not in sealing
            if secret or {"token", "access_token", "refresh_token", "credentials"} & set(parameters):
                wrong.append((name, method.__name__))
    assert wrong == []


async def test_peer_N03_tool_result_echoing_its_token_is_masked(house: DiskHouse) -> None:
    secrets = await house.tokens()

    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"messages": [{"id": request.headers["authorization"]}]})

    house.line.answers[GMAIL_API] = [echo]
    result = await house.act()
    assert house.line.sent[-1].headers["authorization"].endswith(secrets[0])
    assert not _leaks(result, secrets), "the token came back as a result"


async def test_peer_N25_N60_N113_secrets_are_not_readable_on_disk(house: DiskHouse) -> None:
    house.expire()
    await house.act()
    asked = await house.ask("readonly", user="bob")
    started = await house.start(asked)
    back = await house.allowed(started, as_="bob@example.test")
    [verifier] = [
        one["verifier"].reveal() for r in await house.deputy.vault.scan("consent") for one in r.json.get("visits", ())
    ]
    raw = house.disk()
    secrets = [*(await house.tokens()), verifier, back["state"], back["code"], asked.link.rpartition("/")[2]]
    secrets += [started.nonce.reveal()]
    assert [secret for secret in secrets if secret.encode() in raw] == []
    await house.finish(back, started)
    for path in [*house.file.parent.rglob("*"), *house.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_peer_N41_encrypted_record_is_bound_to_its_key_and_user(house: DiskHouse) -> None:
    await house.connected(*ALL, user="bob", as_="bob@example.test")
    with closing(sqlite3.connect(house.file, isolation_level=None)) as db:
        (one, hers), (two, his) = db.execute("SELECT key, value FROM vault WHERE key LIKE 'grant/%'").fetchall()
        db.executemany("UPDATE vault SET value = ? WHERE key = ?", [(his, one), (hers, two)])
    for user in ("alice", "bob"):
        with pytest.raises(VaultError):
            await house.deputy.act("gmail_search", {}, user=user)
    assert house.line.count(GMAIL_API) == 0


@pytest.mark.parametrize("key", ["password", "a" * 43, "", "correct horse battery staple....", "0" * 64])
def test_peer_N133_missing_or_weak_key_stops_the_start_without_making_one(tmp_path: Path, key: str) -> None:
    for local in ("", "https://deputy.example.test"):
        settings = Settings.load(home=tmp_path / "home", base_url=local, key=key)
        with pytest.raises(SettingsError):
            Deputy.from_settings(settings)
    with pytest.raises(SettingsError):
        Deputy.from_settings(Settings.load(home=tmp_path / "home", base_url="https://deputy.example.test"))
    assert not (tmp_path / "home" / "vault.sqlite").exists() and not (tmp_path / "home" / "key").exists()


async def test_peer_N115_logs_show_neither_results_nor_tokens(
    house: DiskHouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    house.expire()
    ids = await house.act()
    assert ids and [one for one in [*ids, *(await house.tokens()), "Bearer"] if one in caplog.text] == []


async def test_peer_N124_errors_and_reprs_contain_no_part_of_a_token_request(house: DiskHouse) -> None:
    house.expire()
    secrets = await house.tokens()
    for fault in (answer(500), answer(401, {"error": "invalid_client"}), answer(400, {"error": "invalid_grant"})):
        house.line.answers[TOKEN] = [fault] * 2
        with pytest.raises(DeputizeError) as caught:
            await house.act()
        assert not any(secret in shown(caught.value) for secret in secrets)
        house.clock.now += 400
    reply = {"access_token": "canary-access", "refresh_token": "canary-refresh", "token_type": "Bearer"}
    assert "canary" not in repr(parse_tokens(PROVIDERS["google"], reply))
    assert "canary" not in repr(Tokens(Secret("canary"), None, None, 0.0))


# ------------------------------------------------------------- the browser and the link


async def test_peer_N27_N42_state_is_valid_only_for_its_browser_and_user(house: DiskHouse) -> None:
    for nonce, who in (("", AnyLocalUser()), ("another", AnyLocalUser()), (None, User("mallory")), (None, None)):
        asked = await house.ask("readonly", user="bob")
        started = await house.start(asked)
        back = await house.allowed(started, as_="bob@example.test")
        with pytest.raises(InvalidInput):
            await house.finish(back, started, who, nonce=nonce)
    assert house.posts == 0 and await house.grant("bob") is None


async def test_peer_N30_N130_link_is_valid_for_its_user_only(house: DiskHouse) -> None:
    asked = await house.ask("readonly", user="bob")
    ticket = asked.link.rpartition("/")[2]
    with pytest.raises(InvalidInput):
        await house.deputy.consents.start(ticket, None)
    with pytest.raises(InvalidInput):
        await house.deputy.consents.start(ticket, User("alice"))
    assert (await house.status(asked))[0] == "failed" and house.line.seen == []
    with pytest.raises(SettingsError):
        pages_app(house.deputy, verifier=None)


async def test_peer_N131_state_is_accepted_once(house: DiskHouse) -> None:
    asked = await house.ask("readonly", user="bob")
    started = await house.start(asked)
    back = await house.allowed(started, as_="bob@example.test")
    await house.finish(back, started)
    posts = house.posts
    for _ in range(3):
        with suppress(InvalidInput):
            await house.finish(back, started)
    with pytest.raises(InvalidInput):
        await house.finish(back, started, User("mallory"))
    assert posts == 1 == house.posts


async def test_peer_N09_N132_every_provider_is_asked_with_a_pkce_challenge(house: DiskHouse) -> None:
    generic = Provider(
        name="acme",
        label="Acme",
        oauth=OAuthEndpoints(
            authorize_url="https://acme.example.test/authorize",
            token_url="https://acme.example.test/token",
        ),
        apis=ApiRules(
            roots={"acme": "https://acme.example.test/api"},
            hosts=frozenset({"acme.example.test"}),
            identity=Identity("https://acme.example.test/me", "{id}", "{name}"),
        ),
    )
    deputy = await build(providers={"acme": generic}, apps=[replace(google_app("acme"), provider="acme")])
    [asked] = await deputy.connect("alice", "acme", scopes=["read"])
    url = httpx.URL((await deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())).url)
    assert url.params["code_challenge_method"] == "S256" and len(url.params["code_challenge"]) == 43
    await deputy.close()
    await house.connected("readonly", user="bob", as_="bob@example.test")
    [exchange] = [request for request in house.line.sent if request.url.path == TOKEN[1]]
    assert b"code_verifier=" in exchange.content


# ------------------------------------------------------------- acting


async def test_peer_N06_act_is_one_request_without_reauthorization(house: DiskHouse) -> None:
    for n in range(20):
        await house.act(message=f"m{n}")
    assert len(house.line.seen) == 20 == house.line.count(GMAIL_API)


async def test_peer_N07_dead_missing_refused_and_forbidden_are_distinguished(house: DiskHouse) -> None:
    told: list[str] = []

    async def fails(tool: str = "search", **arguments: str) -> None:
        with pytest.raises(DeputizeError) as caught:
            await house.act(tool, message=f"m{len(told)}", **arguments)
        told.append(getattr(caught.value, "reason", "") or caught.value.code)

    house.line.answers[GMAIL_API] = [answer(403, {"error": {"errors": [{"reason": "insufficientPermissions"}]}})]
    await fails()
    house.line.answers[GMAIL_API] = [answer(403, {"error": {"errors": [{"reason": "domainPolicy"}]}})]
    await fails()
    house.deputy.policy = lambda act: Verdict.DENY
    await fails()
    house.deputy.policy = ask_before_sending
    await fails("send", **MAIL)
    house.line.answers[GMAIL_API] = [answer(404)]
    await fails()
    house.sandbox._world.authority.tokens.clear()
    await fails()
    wanted = ["org_blocked", "policy_denied", "approval_required", "not_found", "invalid_grant"]
    assert told[1:] == wanted and told[0] in ("consent_required", "scope_missing")


async def test_peer_N08_write_with_a_lost_answer_is_never_resent(house: DiskHouse) -> None:
    house.sandbox.switches.drop_after_commit.append("/gmail/v1/users/me/messages/send")
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await house.act("send", **MAIL)
    assert len(house.sandbox.sent("alice@example.test")) == 1


async def test_peer_N145_repeated_call_sends_once(house: DiskHouse) -> None:
    results = await asyncio.gather(*(house.act("send", **MAIL) for _ in range(5)))
    assert len({json.dumps(one) for one in results}) == 1 and len(house.sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("returns", FALSY)
async def test_peer_N12_falsy_result_is_returned(house: DiskHouse, returns: str) -> None:
    assert await house.act("falsy", returns=returns) == FALSY[returns]
    assert await house.act("label", message="m2", name=f"x{returns}", returns=returns) == FALSY[returns]


@pytest.mark.parametrize("tool", ["broken", "broken_at_once", "broken_read"])
async def test_peer_N80_tool_exception_text_is_not_shown_to_the_model(house: DiskHouse, tool: str) -> None:
    arguments = MAIL | {"body": "canary"} if tool == "broken" else {"body": "canary"}
    with pytest.raises(DeputizeError) as caught:
        await house.act(tool, **arguments)
    assert "canary" not in f"{caught.value} {caught.value.hint}" and "Traceback" not in str(caught.value)


async def test_peer_N111_no_tool_requests_full_mailbox_access() -> None:
    deputy = await build()
    asked = {need.ask for tool in deputy.tools("gmail") for need in tool.usual_needs()}
    assert asked and "https://mail.google.com/" not in asked and all(READ.rpartition(".")[0] in one for one in asked)
    await deputy.close()


async def test_peer_N23_N72_five_users_wait_concurrently(house: DiskHouse) -> None:
    house.line.held = GMAIL_API
    acts = [asyncio.create_task(house.act(message=f"m{n}")) for n in range(5)]
    await house.line.until_held(5)
    house.line.release()
    assert len(await asyncio.gather(*acts)) == 5


def test_peer_N23_threads_without_a_loop_wait_concurrently() -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    with portal().run(build(sandbox, toolkits=[gmail], transport=line)) as deputy:
        deputy.run(connect(deputy, sandbox, *ALL))
        line.held = GMAIL_API
        with ThreadPoolExecutor(5) as pool:
            acts = [pool.submit(lambda: deputy.run(deputy.act("gmail_search", {}, user="alice"))) for _ in range(5)]
            deputy.run(line.until_held(5))
            line.release()
            assert all(one.result(10) for one in acts)


# ------------------------------------------------------------- one token, refreshed once


async def _tasks(house: DiskHouse) -> int:
    return len([one for one in await asyncio.gather(*(house.act(message=f"m{n}") for n in range(10))) if one])


async def _two_deputies(house: DiskHouse) -> int:
    vault = await new_vault(house.file, b"k" * 32)
    other = await build(house.sandbox, vault=vault, toolkits=[gmail], transport=house.line, clock=house.clock)
    acts = [deputy.act("gmail_search", {}, user="alice") for deputy in (house.deputy, other) for _ in range(2)]
    good = [one for one in await asyncio.gather(*acts) if one]
    await other.close()
    return len(good)


async def _threads(house: DiskHouse) -> int:
    barrier = threading.Barrier(8)

    def act(_: int) -> bool:
        barrier.wait(10)
        return bool(asyncio.run(house.deputy.act("gmail_search", {}, user="alice")))

    with ThreadPoolExecutor(8) as pool:
        work = [asyncio.get_running_loop().run_in_executor(pool, act, n) for n in range(8)]
        return sum(await asyncio.gather(*work))


async def _one_after_the_other(house: DiskHouse) -> int:
    return sum([bool(await house.act(message=f"m{n}")) for n in range(5)])


@pytest.mark.parametrize(
    ("way", "callers"), [(_tasks, 10), (_two_deputies, 4), (_threads, 8), (_one_after_the_other, 5)]
)
async def test_peer_N62_N114_N120_concurrent_callers_with_an_expired_grant_cause_one_refresh(
    house: DiskHouse, way: Callable[[DiskHouse], Awaitable[int]], callers: int
) -> None:
    house.sandbox.switches.token_delay = 0.05
    house.expire()
    assert (await way(house), house.posts) == (callers, 1)
    house.expire()
    assert await house.act(message="later") and house.posts == 2  # the family is alive


@pytest.mark.processes
async def test_peer_N100_N120_processes_on_one_vault_cause_one_refresh(tmp_path: Path) -> None:
    sandbox, path = await expired_vault(tmp_path, rotate=True, reuse_kills_family=True, token_delay=0.1)
    before = sandbox.count(*TOKEN)
    with _fleet(sandbox, path) as fleet:
        assert isinstance(fleet, Fleet)
        assert await fleet.go(*(fleet.start(4) for _ in range(3))) == ["4 []"] * 3
    assert sandbox.count(*TOKEN) == before + 1


async def test_peer_N121_token_lifetime_below_the_margin_causes_no_refresh_storm(house: DiskHouse) -> None:
    house.sandbox.switches.access_ttl = 5
    house.expire()
    for second in range(20):
        assert len(
            [one for one in await asyncio.gather(*(house.act(message=f"{second}.{n}") for n in range(4))) if one]
        )
        house.clock.now += 1
    assert 4 <= house.posts <= 6


async def test_peer_N122_refusal_of_an_outdated_token_keeps_the_newer_grant(house: DiskHouse) -> None:
    house.expire()
    house.line.held, house.line.answers[TOKEN] = TOKEN, [answer(400, {"error": "invalid_grant"})]
    acting = asyncio.create_task(house.act())
    await house.line.until_held()
    old = await house.grant()
    assert old
    fresh = house.sandbox._world  # the user has consented anew meanwhile, in another process
    other = await build(
        house.sandbox, vault=await new_vault(house.file, b"k" * 32), toolkits=[gmail], clock=house.clock
    )
    [asked] = await other.connect("alice", "google", scopes=[f"{READ.rpartition('.')[0]}.modify"])
    assert (await consent(other, house.sandbox, asked)).status == "granted" and fresh
    house.line.release()
    assert await acting
    now = await house.grant()
    assert now and now.status == "active" and now.generation > old.generation and await house.act(message="m2")
    await other.close()


async def test_peer_N43_rotated_refresh_token_is_used_for_the_next_refresh(house: DiskHouse) -> None:
    for n in range(4):
        house.expire()
        assert await house.act(message=f"m{n}") and house.posts == n + 1


async def test_peer_N123_expired_grant_is_refreshed_after_a_restart_without_consent(house: DiskHouse) -> None:
    house.expire()
    vault = await new_vault(house.file, b"k" * 32)
    again = await build(house.sandbox, vault=vault, toolkits=[gmail], transport=house.line, clock=house.clock)
    assert await again.act("gmail_search", {}, user="alice") and house.posts == 1
    house.clock.now += 60
    assert await again.act("gmail_search", {}, user="alice") and house.posts == 1
    await again.close()


async def test_peer_N61_token_that_could_not_be_refreshed_is_not_used(house: DiskHouse) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(503)] * 2
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await house.act()
    assert house.line.count(GMAIL_API) == 0 and house.posts == 2  # one act asked twice, and held the others off


async def test_peer_N40_slow_lock_holder_keeps_its_lock_and_frees_no_other(
    house: DiskHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "LOCK_TIMEOUT_SECONDS", 0.1)
    house.expire()
    vault = await new_vault(house.file, b"k" * 32)
    other = await build(house.sandbox, vault=vault, toolkits=[gmail], transport=house.line, clock=house.clock)
    house.line.held = TOKEN
    slow = asyncio.create_task(house.act())
    await house.line.until_held()
    with pytest.raises(ProviderUnavailable):
        await other.act("gmail_search", {}, user="alice")
    assert house.posts == 1
    house.line.release()
    assert await slow and await other.act("gmail_search", {}, user="alice") and house.posts == 1
    name = f"grant-{house.deputy.vault.key_prefix(User('alice'))}"
    async with house.store.lock(name, 1):
        with pytest.raises(TimeoutError):
            async with vault.store.lock(name, 0.05):
                raise AssertionError("two hold it")
    await other.close()


async def test_peer_N44_failed_or_cancelled_refresh_does_not_block_the_next(house: DiskHouse) -> None:
    house.expire()
    house.line.answers[TOKEN] = [broken()] * 2
    with pytest.raises(ProviderUnavailable):
        await house.act()
    house.line.answers.clear()
    house.clock.now += 400
    house.line.held = TOKEN
    cancelled = asyncio.create_task(house.act())
    await house.line.until_held()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    house.line.release()
    assert await asyncio.wait_for(house.act(message="m2"), 10)


# ------------------------------------------------------------- ends


@pytest.mark.parametrize("provider", sorted(SCOPES))
async def test_peer_N14_N45_user_can_end_a_grant_and_its_tokens_at_every_provider(provider: str) -> None:
    sandbox = Sandbox()
    async with visitor(sandbox) as people:
        assert await people.connect(provider) == "granted"
        assert sandbox.live_tokens()["alice@example.test"] > 0
        assert [one.upstream for one in await people.deputy.revoke("alice", provider)] == ["done"]
        assert sandbox.live_tokens()["alice@example.test"] == 0
        named = await People.of(people.deputy.vault)
        events = [row["event"] for row in map(named.resolve_row, people.deputy.audit.rows()) if row["user"] == "alice"]
        assert events[-2:] == ["revoke.done", "grant.revoked"]


def test_peer_N53_disconnect_names_its_user_and_raises_typed_errors_in_sync_code(tmp_path: Path) -> None:
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    with portal().run(build(sandbox, toolkits=[gmail], transport=line)) as deputy:
        deputy.run(connect(deputy, sandbox, *ALL))
        deputy.run(connect(deputy, sandbox, *ALL, user="bob", as_="bob@example.test"))
        line.answers[REVOKE] = [answer(500, {"error": "canary"})]
        assert [one.upstream for one in deputy.run(deputy.revoke("alice", "google"))] == ["queued"]
        assert deputy.run(deputy.act("gmail_search", {}, user="bob"))
        with pytest.raises(InvalidInput) as caught:
            deputy.run(deputy.revoke("alice", "nowhere"))
        assert "canary" not in str(caught.value) and os.fspath(tmp_path) not in str(caught.value)


def test_documented_peer_faults_match_the_tests() -> None:
    page = (Path(__file__).parents[2] / "docs" / "requirements.md").read_text()
    table = page.partition("## Faults seen elsewhere")[2].partition("\n## ")[0]
    tried = {name for name in globals() if name.startswith("test_peer_")}
    assert {*re.findall(r"`(test_peer_\w+)`", table)} == tried
    numbered = {number for name in tried for number in re.findall(r"N\d+", name)}
    assert {*re.findall(r"^\| (N\d+) \|", table, re.MULTILINE)} == numbered
