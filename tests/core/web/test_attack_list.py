"""Ten ways in, each tried from end to end, each refused, and each a row of the audit.

| attack | refused by | audit |
|---|---|---|
| a link given to a victim | the user who is signed in | connect.user_mismatch |
| a victim's browser fed an attacker's callback | the cookie of the browser | connect.browser_mismatch |
| a ticket replayed | single use | connect.link_ended |
| a state swapped between providers | one callback path an app | connect.app_mismatch |
| a mix-up with another issuer | iss | connect.issuer_mismatch |
| an open redirect | no address out of a request | connect.unknown_state |
| hostile tool arguments | segments, one by one | act.result, invalid_input |
| rows swapped in the vault | associated data | act.result, vault_error |
| a pickle in the vault | a codec of our own | act.result, vault_error |
| scopes taken away on the way | granted is compared with asked | consent.partial |
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    App,
    Call,
    Effect,
    InvalidInput,
    Request,
    ScopeNotGranted,
    Secret,
    Steps,
    Toolkit,
    User,
    VaultError,
    allow_all,
    any_of,
)
from deputize.core.tools.catalog import Catalog
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.stores import open_store
from deputize.sandbox.slack import SLACK_CLIENT_ID, SLACK_CLIENT_SECRET
from tests.core.vault.test_sqlite_rules import Bomb, plant
from tests.core.web.web_application import READ, SEND, World, answered, make, path_of, press, query_of, words_of

mail = Toolkit("mail", provider="google", api="gmail")


@mail.tool(needs=[any_of(READ)])
def read(id: str) -> Steps:
    """Read one mail."""
    return (yield Request("GET", "/users/me/messages/{id}", at={"id": id}))


@mail.tool(needs=[any_of(READ)])
def whole(path: str) -> Steps:
    """Read whatever lies there."""
    return (yield Request("GET", path))


@mail.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def send(subject: str) -> Steps:
    """Send a mail with a header of one's own making."""
    yield Request("POST", "/users/me/messages/send", json={"raw": "x"}, headers={"if-match": subject})
    return "sent"


async def seen(world: World, event: str, **facts: Any) -> dict[str, Any]:
    """Return the only audit row about it."""
    named = (await People.of(world.deputy.vault)).resolve_row
    rows = [named(row) for row in world.deputy.audit.rows() if row["event"] == event]
    found = [row for row in rows if all(row.get(name) == value for name, value in facts.items())]
    assert len(found) == 1, (event, facts, [row["event"] for row in world.deputy.audit.rows()])
    return found[0]


async def nothing_happened(world: World, *users: str) -> None:
    """Check that no code was redeemed, and that nobody is connected."""
    assert world.token_requests == 0
    for user in users:
        assert await world.deputy.connections(user) == []


async def test_a_link_given_to_a_victim_is_refused(world: World) -> None:
    consent = await world.asked(user="mallory")
    assert (await world.browser("victoria").open(consent.link)).status == 403
    await seen(world, "connect.user_mismatch", user="mallory")
    assert await world.status(consent) == ("failed", "user_mismatch")
    await nothing_happened(world, "mallory", "victoria")


async def test_a_victims_browser_fed_an_attackers_callback_is_refused(world: World) -> None:
    url, _ = await press(world, await world.asked(user="mallory"), user="mallory")
    callback = await answered(world, url, as_="bob@example.test")
    response = await world.send("GET", callback, user="victoria")
    assert response.headers["location"] == "/refused"
    await seen(world, "connect.browser_mismatch", user="mallory")
    await nothing_happened(world, "mallory", "victoria")


async def test_a_ticket_replayed_is_refused(world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    asked = await browser.open(consent.link)
    await browser.allow(consent.link)
    page = await browser.submit(asked, asked.forms[0])  # the same form once more
    assert page.status == 403 and world.token_requests == 1
    await seen(world, "connect.link_ended", user="alice", consent_id=consent.id)
    assert (await world.browser("mallory").open(consent.link)).status == 403
    await seen(world, "connect.user_mismatch", user="alice", consent_id=consent.id)
    [held] = await world.deputy.connections("alice")
    assert held.status == "active"


async def test_a_state_swapped_between_providers_is_refused(world: World) -> None:
    world.deputy.apps["slack"] = App("slack", SLACK_CLIENT_ID, Secret(SLACK_CLIENT_SECRET), pkce=True)
    mine = await world.asked()
    (other,) = await world.deputy.connect("alice", "slack", scopes=["users:read"])
    url, jar = await press(world, mine)
    there, more = await press(world, other)
    code = query_of(await answered(world, url))["code"]
    for path, state in (("slack", query_of(url)["state"]), ("google", query_of(there)["state"])):
        swapped = f"/callback/{path}?code={code}&state={state}"
        response = await world.send("GET", swapped, user="alice", cookies=jar | more)
        assert response.headers["location"] == "/refused"
    await seen(world, "connect.app_mismatch", app="google")
    await seen(world, "connect.app_mismatch", app="slack")
    assert world.sandbox.count("slack.com", "/api") == 0
    await nothing_happened(world, "alice")


async def test_a_mix_up_with_another_issuer_is_refused(world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    callback = f"{await answered(world, url)}&iss=https%3A%2F%2Fevil.example.test"
    assert (await world.send("GET", callback, user="alice", cookies=jar)).headers["location"] == "/refused"
    await seen(world, "connect.issuer_mismatch", consent_id=consent.id)
    await nothing_happened(world, "alice")


@pytest.mark.parametrize(
    "more",
    [
        "next=https://evil.example.test",
        "return_to=//evil.example.test",
        "redirect_uri=https%3A%2F%2Fevil.example.test",
        "state=https://evil.example.test",
        "state=%0d%0aLocation:%20https://evil.example.test",
        "state=%2f%2fevil.example.test",
    ],
)
async def test_an_open_redirect_is_refused(more: str, world: World) -> None:
    response = await world.send("GET", f"/callback/google?code=x&{more}", user="alice")
    assert (response.status_code, response.headers["location"]) == (303, "/refused")
    assert "evil" not in str(response.headers)
    await seen(world, "connect.unknown_state")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        *(("read", {"id": one}) for one in ("../../../users/bob", "..", "a/b", "a%2fb", "a\\b", "", "a\r\nHost: evil")),
        *(("read", {"id": one}) for one in ("https://evil.example.test/x", "\x00")),
        *(("whole", {"path": one}) for one in ("https://evil.example.test/", "//evil.example.test", "@evil.test/x")),
        *(("whole", {"path": one}) for one in ("/../../../admin", "/users/me/%2e%2e", "\\\\evil.example.test")),
        ("send", {"subject": "x\r\nAuthorization: Bearer other"}),
        ("read", {"id": "1", "user": "bob"}),
    ],
)
async def test_hostile_tool_arguments_are_refused(tool: str, arguments: dict[str, str]) -> None:
    world = await make(policy=allow_all)
    world.deputy.resolver.catalog = Catalog([mail])
    await world.connected("readonly", "send")
    before = len(world.sandbox.requests)
    with pytest.raises(InvalidInput):
        await world.deputy.act(f"mail_{tool}", arguments, user="alice", call=Call(id="1"))
    row = await seen(world, "act.result", tool=f"mail_{tool}", decision="invalid_input")
    assert len(world.sandbox.requests) == before
    assert not any(one in repr(row) for one in arguments.values() if len(one) > 4)


async def test_rows_swapped_in_the_vault_are_refused(world: World) -> None:
    world.deputy.resolver.catalog = Catalog([mail])
    await world.connected("readonly")
    (theirs,) = await world.deputy.connect("bob", "google", scopes=[READ])
    await world.browser("bob").allow(theirs.link, as_="bob@example.test")
    store, vault = world.deputy.vault.store, world.deputy.vault
    places = [(await vault.scan("grant", vault.key_prefix(User(user))))[0].key for user in ("alice", "bob")]
    rows = [await store.get("grant", place) for place in places]
    for place, old, new in zip(places, rows, reversed(rows), strict=True):
        assert old and new and await store.swap("grant", place, old, new)
    before = len(world.sandbox.requests)
    for user in ("alice", "bob"):
        with pytest.raises(VaultError):
            await world.deputy.act("mail_read", {"id": "1"}, user=user)
        await seen(world, "act.result", user=user, decision="vault_error")
    assert len(world.sandbox.requests) == before


async def test_a_pickle_in_the_vault_is_refused(tmp_path: Path) -> None:
    path, marker = tmp_path / "vault.sqlite", tmp_path / "it ran"
    world = await make(store=open_store(str(path), create=True))
    world.deputy.resolver.catalog = Catalog([mail])
    await world.connected("readonly")
    [record] = await world.deputy.vault.scan("grant")
    plant(path, f"grant/{record.key}", pickle.dumps(Bomb(marker)))
    before = len(world.sandbox.requests)
    with pytest.raises(VaultError):
        await world.deputy.act("mail_read", {"id": "1"}, user="alice")
    await seen(world, "act.result", user="alice", decision="vault_error")
    assert not marker.exists() and len(world.sandbox.requests) == before
    await world.deputy.close()


async def test_scopes_taken_away_on_the_way_to_the_provider_are_noticed() -> None:
    world = await make(policy=allow_all)
    world.deputy.resolver.catalog = Catalog([mail])
    consent = await world.asked("readonly", "send")
    url, jar = await press(world, consent)
    lowered = url.replace("gmail.send", "gmail.readonly")
    response = await world.send("GET", await answered(world, lowered), user="alice", cookies=jar)
    assert response.headers["location"] == path_of(consent)
    row = await seen(world, "consent.partial", consent_id=consent.id)
    assert SEND in row["scopes_required"] and SEND not in row["scopes_granted"]
    with pytest.raises(ScopeNotGranted):
        await world.deputy.act("mail_send", {"subject": "x"}, user="alice", call=Call(id="1"))
    await seen(world, "act.result", tool="mail_send", decision="scope_not_granted")
    assert "You did not allow" in words_of(await world.send("GET", path_of(consent), user="alice"))


def test_attack_table_names_every_test_here() -> None:
    attacks = [line.split("|")[1].strip() for line in (__doc__ or "").splitlines() if line.startswith("| ")][1:]
    tests = [name for name in globals() if name.startswith("test_")]
    for attack in attacks:
        words = attack.replace("'", "").replace("-", "_").replace(" ", "_")
        assert any(name.removeprefix("test_").startswith(words) for name in tests), attack
