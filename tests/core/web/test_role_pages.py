"""The pages of operators and auditors: what each of them sees and does, and what neither may."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from deputize.core import InvalidInput, PolicyDenied, User
from deputize.core.grants import connections
from deputize.core.web.pages import auditor
from deputize.sandbox.deputies import give_grant
from tests.core.web.web_application import SEND, World, hidden, make, values_of, words_of

ROLES = {"olga": ["operator"], "udo": ["auditor"], "fin": ["finance"]}


def held(user: User) -> list[str]:
    return ROLES.get(user.id, [])


@pytest.fixture
async def office() -> World:
    """Alice and Bob are connected in the tenant of everybody, and Zoe in another one."""
    world = await make(roles=held)
    for user in (User("alice"), User("bob"), User("zoe", "globex")):
        grant = [SEND]
        given = {"provider": "google", "email": "alice@example.test"}
        await asyncio.to_thread(give_grant, world.sandbox, world.deputy, cast("Any", user), grant, **given)
    return world


async def connected(world: World) -> list[str]:
    return [name for name in ("alice", "bob") if await world.deputy.connections(name)]


async def test_operator_sees_the_tenants_connections_and_nothing_else(office: World) -> None:
    page = await office.send("GET", "/operator", user="olga")
    words = words_of(page)
    assert "alice" in words and "bob" in words and "zoe" not in page.text
    assert (await office.send("GET", "/connections", user="olga")).text.count("Nothing is connected.") == 1
    assert (await office.send("GET", "/audit", user="olga")).status_code == 403
    assert "Operator" in words_of(await office.send("GET", "/connections", user="olga"))
    assert "Operator" not in words_of(await office.send("GET", "/connections", user="alice"))


async def test_operator_disconnects_with_a_reason_that_the_audit_names(office: World) -> None:
    page = await office.send("GET", "/operator", user="olga")
    jar = values_of(page)
    alice = page.text.split('value="alice"')[1]
    data = {"form": hidden(page), "user": "alice", "provider": "google", "app": "google"}
    data["account"] = alice.split('name="account" value="')[1].split('"')[0]
    path = "/operator/disconnect"
    asked = await office.send("POST", path, user="olga", cookies=jar, data=data)
    assert 'name="reason"' in asked.text and await connected(office) == ["alice", "bob"]
    for reason in ("", "   "):
        again = await office.send("POST", path, user="olga", cookies=jar, data=data | {"sure": "yes", "reason": reason})
        assert 'name="reason"' in again.text and await connected(office) == ["alice", "bob"]
    sure = data | {"sure": "yes", "reason": "Laptop\u202e lost"}
    assert (await office.send("POST", path, user="olga", cookies=jar, data=sure)).status_code == 303
    assert await connected(office) == ["bob"]
    [row] = [row for row in office.deputy.audit.rows() if row["event"] == "operator.disconnects"]
    assert row["justification"] == "Laptop[U+202E] lost" and row["operator"] != row["user"]
    assert "olga" not in json.dumps(row) and "alice" not in json.dumps(row)


@pytest.mark.parametrize("user", ["alice", "udo", "fin", "mallory"])
async def test_nobody_else_opens_or_posts_to_the_operators_page(office: World, user: str) -> None:
    page = await office.send("GET", "/operator", user="olga")
    refused = await office.send("GET", "/operator", user=user)
    assert refused.status_code == 403 and "sign out and sign in again" in refused.text
    for form in (hidden(page), ""):
        data = {"form": form, "user": "bob", "provider": "", "sure": "yes", "reason": "x"}
        sent = await office.send("POST", "/operator/disconnect", user=user, cookies=values_of(page), data=data)
        assert sent.status_code == 403
    with pytest.raises(PolicyDenied):
        await office.deputy.disconnect_for(user, "bob", reason="x")
    with pytest.raises(PolicyDenied):
        await office.deputy.connections_in_tenant(user)
    assert await connected(office) == ["alice", "bob"]


async def test_operator_reaches_no_other_tenant_and_forged_forms_are_refused(office: World) -> None:
    page = await office.send("GET", "/operator", user="olga")
    jar, form = values_of(page), hidden(page)
    path = "/operator/disconnect"
    zoe = {"form": form, "user": "zoe", "provider": "", "sure": "yes", "reason": "x"}
    await office.send("POST", path, user="olga", cookies=jar, data=zoe)
    assert await office.deputy.connections(User("zoe", "globex"))
    bob = zoe | {"user": "bob"}
    evil = {"origin": "https://evil.test"}
    tries: list[dict[str, Any]] = [
        {"cookies": {}},
        {"cookies": jar, "headers": evil},
        {"cookies": jar, "data": bob | {"form": "x"}},
    ]
    for more in tries:
        sent = await office.send("POST", path, user="olga", **{"data": bob, **more})
        assert sent.status_code == 403
    assert (await office.send("POST", path, user="olga", cookies=jar, data=zoe | {"user": ""})).status_code == 403
    with pytest.raises(InvalidInput, match="reason is required"):
        await office.deputy.disconnect_for("olga", "bob", reason=" \n")
    assert await connected(office) == ["alice", "bob"]
    await office.deputy.disconnect_for("olga", "bob", reason="Left the company")
    assert await connected(office) == ["alice"]


async def test_connections_are_paged(office: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_SCANNED_GRANTS", 1)
    found, after, pages = list[str](), "", 0
    while True:
        some, after = await office.deputy.connections_in_tenant("olga", after=after)
        found += [one.user for one in some]
        pages += 1
        if not after:
            break
    assert sorted(found) == ["alice", "bob"] and pages == 4
    page = await office.send("GET", "/operator", user="olga")
    assert "?after=" in page.text
    for junk in ("..%2f", "zz", "A" * 300):
        assert (await office.send("GET", f"/operator?after={junk}", user="olga")).status_code == 200


async def test_auditor_reads_the_tenants_rows_and_changes_nothing(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.deputy.revoke("alice", "google")
    await office.deputy.revoke(User("zoe", "globex"), "google")
    page = await office.send("GET", "/audit", user="udo")
    words = words_of(page)
    assert "grant.revoked" in words and "alice" in words and "zoe" not in words and "globex" not in words
    monkeypatch.setattr(auditor, "ROWS_PER_PAGE", 1)
    exported = await office.send("GET", "/audit/export", user="udo")
    rows = [json.loads(line) for line in exported.text.splitlines()]
    assert {row["user"] for row in rows} >= {"alice", "udo"} and not any(
        "sealed" in row or "mac" in row for row in rows
    )
    assert "audit.viewed" in {row["event"] for row in rows}
    older = (await office.send("GET", "/audit", user="udo")).text.split("?before=")
    assert (
        len(older) > 1 and (await office.send("GET", "/audit?before=" + older[1].split('"')[0], user="udo")).is_success
    )
    for path in ("/operator", "/others/" + "0" * 40 + "-" + "0" * 8):
        assert (await office.send("GET", path, user="udo")).status_code == 403
    for path in ("/operator/disconnect", "/connections/revoke", "/audit"):
        assert (await office.send("POST", path, user="udo", data={"user": "bob"})).status_code in (403, 405)


@pytest.mark.parametrize("user", ["alice", "olga", "fin", ""])
async def test_nobody_else_reads_the_audit(office: World, user: str) -> None:
    for path in ("/audit", "/audit/export", "/audit?before=9", "/audit/export?before=x"):
        assert (await office.send("GET", path, user=user)).status_code == (403 if user else 401)


async def test_local_mode_has_no_operator_and_no_auditor() -> None:
    world = await make(local=True)
    for path in ("/me/x/operator", "/me/x/audit", "/operator", "/audit"):
        assert (await world.send("GET", path)).status_code in (403, 404)
