"""Import of existing tokens: accepted only if they belong to the stated account, and afterwards used by the deputy
only."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import AccountMismatch, App, ConsentRequired, Deputy, InvalidInput, ProviderUnavailable, Secret, User
from deputize.core.audit import Audit
from deputize.core.grants.sources.store_tokens import is_called
from deputize.core.oauth.identity import Imports
from deputize.core.providers import PROVIDERS
from deputize.core.vault.grant import Account, Grant
from deputize.sandbox import Sandbox, github, linear, slack
from tests.support.sandbox_deputy import Clock, build, new_vault
from tests.support.token_sources import READ, WRITE, World, app, bot_app, deputy_with, provider

ALICE = "alice@acme.test"


@pytest.fixture
def world() -> World:
    return World(Clock(1_800_000_000.0))


@pytest.fixture
async def deputy(world: World) -> AsyncIterator[Deputy]:
    row = provider(imports=Imports("x-oauth-scopes", "pat_", unique_names=True))
    async with await deputy_with(world, app(None), bot_app(world), row=row) as deputy:
        yield deputy


async def grants(deputy: Deputy, user: str = "alice") -> list[Grant]:
    return await deputy.vault.list_grants(User(user))


async def test_imported_tokens_are_rotated_and_the_user_can_act(world: World, deputy: Deputy) -> None:
    access, refresh = world.tokens_of("alice", READ, WRITE)
    found = await deputy.sources.import_tokens(
        "alice", "api", account=ALICE, by="operator", access_token=access, refresh_token=refresh
    )
    assert (found.account, found.scopes, found.rotated) == (ALICE, (READ, WRITE), True)
    assert "stop the program that has it" in found.advice
    assert refresh not in world.refresh_tokens
    [grant] = await grants(deputy)
    assert (grant.source, grant.refresh_token is not None) == ("import", True)
    assert (await deputy.act("notes_count_notes", {}, user="alice"))["user"] == "alice"
    assert world.asked["auth.api.test/token"] == 1
    assert [one.upstream for one in await deputy.revoke("alice")] == ["done"]
    assert world.alive == []


async def test_refresh_token_alone_can_be_imported(world: World, deputy: Deputy) -> None:
    _, refresh = world.tokens_of("alice", READ)
    found = await deputy.sources.import_tokens("alice", "api", account="alice", by="operator", refresh_token=refresh)
    assert found.account == ALICE


async def test_expired_access_token_does_not_prevent_import(world: World, deputy: Deputy) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    access, refresh = world.tokens_of("alice", READ)
    clock.now += 1000
    found = await deputy.sources.import_tokens(
        "alice", "api", account=ALICE, by="operator", access_token=access, refresh_token=refresh
    )
    assert found.rotated


async def test_tokens_of_another_account_are_left_unchanged(world: World, deputy: Deputy) -> None:
    access, refresh = world.tokens_of("bob", READ)
    for user, account in (("alice", ALICE), ("alice", "alice")):
        with pytest.raises(AccountMismatch, match="not of the"):
            await deputy.sources.import_tokens(
                user, "api", account=account, by="operator", access_token=access, refresh_token=refresh
            )
    assert await grants(deputy) == []
    assert (world.alive, list(world.refresh_tokens)) == (["bob"], [refresh])


async def test_import_for_another_account_than_the_connected_one_is_refused(world: World, deputy: Deputy) -> None:
    for subject in ("alice", "mallory"):
        access, refresh = world.tokens_of(subject, READ)
        given: dict[str, Any] = {"access_token": access, "refresh_token": refresh}
        if subject == "alice":
            await deputy.sources.import_tokens("alice", "api", account=ALICE, by="operator", **given)
            continue
        with pytest.raises(AccountMismatch):
            await deputy.sources.import_tokens("alice", "api", account="mallory", by="operator", **given)
        assert refresh in world.refresh_tokens
    assert [one.account.subject for one in await grants(deputy)] == ["alice"]


async def test_foreign_refresh_token_never_becomes_a_grant(world: World, deputy: Deputy) -> None:
    """Without a live access token this shows only after an exchange, and then neither program has the token."""
    _, refresh = world.tokens_of("bob", READ)
    with pytest.raises(AccountMismatch) as refused:
        await deputy.sources.import_tokens("alice", "api", account=ALICE, by="operator", refresh_token=refresh)
    assert "so they no longer work" in refused.value.hint
    assert (await grants(deputy), world.refresh_tokens) == ([], {})


async def test_account_name_equal_to_the_connected_id_is_refused(world: World, deputy: Deputy) -> None:
    """Users choose their account names: one may equal another's id."""
    _, refresh = world.tokens_of("alice", READ)
    await deputy.sources.import_tokens("alice", "api", account=ALICE, by="operator", refresh_token=refresh)
    _, refresh = world.tokens_of("mallory", READ)
    world.answers["auth.api.test/me"] = 200, {"sub": "mallory", "email": "alice"}
    with pytest.raises(AccountMismatch):
        await deputy.sources.import_tokens("alice", "api", account="alice", by="operator", refresh_token=refresh)
    assert [one.account.subject for one in await grants(deputy)] == ["alice"]


@pytest.mark.parametrize(
    ("name", "said", "same"),
    [
        ("ken@acme.test", "KEN@ACME.test", True),
        ("\u212aen@acme.test", "ken@acme.test", False),  # the Kelvin sign
        ("stra\u00dfe@acme.test", "strasse@acme.test", False),
        ("\u0430lice@acme.test", "alice@acme.test", False),  # Cyrillic
        ("583231", "583231", False),  # a login that is another account's id
        ("u-1", "u-1", True),
    ],
)
def test_lookalike_account_name_is_another_account(name: str, said: str, same: bool) -> None:
    assert is_called(Account("42", name), said) is same
    assert is_called(Account("583231", name), "583231")


@pytest.mark.parametrize("name", ["slack", "linear"])
async def test_user_chosen_name_does_not_identify_an_account(name: str) -> None:
    """Anyone may create a workspace with the same name, and call themselves Alice there."""
    sandbox, client = Sandbox(), {"slack": slack.APP, "linear": linear.APP}[name]
    app = App(name, client.client_id, Secret(client.client_secret))
    reply = sandbox.give(name, "alice@example.test", ["users:read" if name == "slack" else "read"])
    async with await build(sandbox, apps=[app]) as deputy:
        given = {"by": "ops", "access_token": reply["access_token"], "foreign": True}
        called = {"slack": "@alice in Acme", "linear": "Alice Adams in acme"}[name]
        with pytest.raises(InvalidInput, match="the name is ambiguous") as refused:
            await deputy.sources.import_tokens("alice", name, account=called, **given)
        assert refused.value.reason == "name_of_many" and await grants(deputy) == []
        [subject] = re.findall(rf"These are of {called}, (\S+): is that", refused.value.hint)
        with pytest.raises(InvalidInput, match="Several accounts at"):  # before it is used, and so ends
            await deputy.sources.import_tokens("alice", name, account=called, by="ops", refresh_token="refresh")
        if name == "linear":  # which does not say what a token may do
            assert PROVIDERS[name].apis.identity.may_be_subject(subject)
            return
        await deputy.sources.import_tokens("alice", name, account=subject, **given)
        assert [one.account.subject for one in await grants(deputy)] == [subject]


@pytest.mark.parametrize(
    ("scopes", "foreign", "says"),
    [
        ((READ, WRITE), True, "these tokens are for another client than its app"),
        ((READ,), True, "these tokens are for another client than its app"),
        ((READ,), False, f"they lack {WRITE}"),
    ],
)
async def test_weaker_tokens_do_not_replace_a_live_connection(
    world: World, deputy: Deputy, scopes: tuple[str, ...], foreign: bool, says: str
) -> None:
    world.shows_scopes = True
    access, refresh = world.tokens_of("alice", READ, WRITE)
    usual: dict[str, Any] = {"account": ALICE, "by": "operator"}
    await deputy.sources.import_tokens("alice", "api", **usual, access_token=access, refresh_token=refresh)
    [before] = await grants(deputy)
    access, refresh = world.tokens_of("alice", *scopes)
    given: dict[str, Any] = {"access_token": access} | ({"foreign": True} if foreign else {"refresh_token": refresh})
    with pytest.raises(InvalidInput, match=says) as refused:
        await deputy.sources.import_tokens("alice", "api", **usual, **given)
    assert refused.value.reason == "connected" and refresh in world.refresh_tokens
    assert await grants(deputy) == [before]
    await deputy.revoke("alice")
    await deputy.sources.import_tokens("alice", "api", **usual, **given)


async def test_access_token_import_needs_a_provider_that_names_its_client(world: World, deputy: Deputy) -> None:
    access, _ = world.tokens_of("alice", READ)
    given: dict[str, Any] = {"account": ALICE, "by": "operator", "access_token": access}
    with pytest.raises(InvalidInput, match="does not say whether an access token is of the app 'api'") as unknown:
        await deputy.sources.import_tokens("alice", "api", **given)
    assert "--foreign" in unknown.value.hint
    with pytest.raises(InvalidInput, match="does not say what this token may do"):
        await deputy.sources.import_tokens("alice", "api", **given, foreign=True)
    assert await grants(deputy) == []
    world.shows_scopes = True
    found = await deputy.sources.import_tokens("alice", "api", **given, foreign=True)
    assert (found.scopes, found.rotated) == ((READ,), False)
    assert "nobody here can refresh it" in found.advice
    assert [one.source for one in await grants(deputy)] == ["import_foreign"]
    with pytest.raises(ConsentRequired):
        await deputy.act("notes_post_note", {"text": "hello"}, user="alice")


@pytest.mark.parametrize("ours", [True, False])
async def test_token_of_another_client_is_refused_unless_declared_foreign(ours: bool) -> None:
    """GitHub reveals a token's owner and revokes it for anyone who has the token."""
    sandbox = Sandbox()
    reply = sandbox.give("github", "alice@example.test", ["repo"])
    client = github.APP if ours else github.GITHUB_APP
    async with await build(sandbox, apps=[App("github", client.client_id, Secret(client.client_secret))]) as deputy:
        given: dict[str, Any] = {"account": "alice", "by": "ops", "access_token": reply["access_token"]}
        if not ours:
            with pytest.raises(InvalidInput, match="is of another client of GitHub than the app 'github'") as refused:
                await deputy.sources.import_tokens("alice", "github", **given)
            assert refused.value.reason == "foreign_client" and await grants(deputy) == []
        found = await deputy.sources.import_tokens("alice", "github", **given, foreign=not ours)
        assert found.scopes == ("repo",) and reply["access_token"] not in found.advice
        assert [one.upstream for one in await deputy.revoke("alice")] == ["done"]
        paths = [seen.path for seen in sandbox.requests if seen.host == "api.github.com"]
        assert ("/credentials/revoke" in paths) is not ours
        with pytest.raises(InvalidInput, match="dead, or another app's"):
            await deputy.sources.import_tokens("alice", "github", **given, foreign=True)


async def test_import_without_known_scopes_grants_none(world: World, deputy: Deputy) -> None:
    access, refresh = world.tokens_of("alice", READ)
    world.says_scopes = False
    found = await deputy.sources.import_tokens(
        "alice", "api", account=ALICE, by="operator", access_token=access, refresh_token=refresh
    )
    assert found.scopes == ()
    with pytest.raises(ConsentRequired):
        await deputy.act("notes_count_notes", {}, user="alice")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no token to import"),
        ({"access_token": "two words"}, "is no token"),
        ({"access_token": "pat_123"}, "no user has given an app"),
        ({"refresh_token": "dead"}, "dead, or another app's"),
        ({"access_token": "dead"}, "dead, or another app's"),
        ({"refresh_token": "good", "by": " "}, "who imports it"),
        ({"refresh_token": "good", "account": ""}, "who imports it"),
        ({"refresh_token": "good", "foreign": True}, "and for no other"),
        ({"refresh_token": "good", "app": "bot"}, "no user can grant it"),
    ],
)
async def test_unimportable_tokens_are_refused_with_a_message(deputy: Deputy, given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        usual: dict[str, Any] = {"account": ALICE, "by": "operator"}
        await deputy.sources.import_tokens("alice", "api", **(usual | given))
    told = str(refused.value) + refused.value.hint
    assert refused.value.fix_by == "operator" and "pat_123" not in told and "two words" not in told


async def test_provider_outage_during_import_changes_nothing(world: World, deputy: Deputy) -> None:
    world.answers["auth.api.test/me"] = 503, {}
    access, refresh = world.tokens_of("alice", READ)
    with pytest.raises(ProviderUnavailable):
        await deputy.sources.import_tokens(
            "alice", "api", account=ALICE, by="operator", access_token=access, refresh_token=refresh
        )
    assert refresh in world.refresh_tokens


async def test_audit_names_who_imported(world: World, tmp_path: Path) -> None:
    vault = await new_vault()
    async with await deputy_with(world, app(None), vault=vault, audit=Audit(tmp_path, vault.keys.audit)) as deputy:
        _, refresh = world.tokens_of("alice", READ)
        await deputy.sources.import_tokens("alice", "api", account=ALICE, by="ops@acme.test", refresh_token=refresh)
    rows = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    [row] = [row for row in rows if row["event"] == "grant.obtained"]
    assert (row["source"], row["imported_by"]) == ("import", "ops@acme.test")
    assert refresh not in json.dumps(rows)


@pytest.mark.parametrize(("name", "token"), [("github", "ghp_1"), ("github", "github_pat_1"), ("slack", "xoxb-1")])
async def test_personal_and_bot_tokens_are_refused(name: str, token: str) -> None:
    from deputize.core.grants.sources.import_tokens import check_tokens

    assert "no user has given an app" in check_tokens(PROVIDERS[name], Secret(token), None)
    assert check_tokens(PROVIDERS[name], Secret("gho_1"), None) == ""
