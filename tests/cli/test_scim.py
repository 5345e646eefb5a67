"""Deprovisioning by SCIM at ``deputize serve``: the requests of Okta and Entra, and those of an attacker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.cli.http_app import application
from deputize.core import SettingsError
from deputize.core.web.local.server import serve
from tests.cli.tenants_world import BASE, NAMES, TOKENS, WEBHOOKS, Tenants, settings_of, tenants

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


async def call(
    world: Tenants, method: str, path: str, body: Any = None, *, tenant: str = "acme", token: str | None = None
) -> httpx.Response:
    headers = {"authorization": f"Bearer {TOKENS[tenant] if token is None else token}"}
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return await world.http.request(method, f"/scim/{tenant}/v2/{path}", content=content, headers=headers)


async def created(world: Tenants, name: str = "alice", *, tenant: str = "acme", **more: Any) -> str:
    """Create a user as Okta does, and return the id."""
    body = {"schemas": [USER], "userName": f"{name}@example.test", "externalId": name, "active": True}
    body |= {"name": {"givenName": "Alice", "familyName": "Doe"}, "displayName": "Alice Doe", "groups": []}
    answer = await call(world, "POST", "Users", body | more, tenant=tenant)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{BASE}/scim/{tenant}/v2/Users/{answer.json()['id']}"
    return str(answer.json()["id"])


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


DEACTIVATIONS = {
    "okta": ("PATCH", patch({"op": "replace", "value": {"active": False}})),
    "okta with PUT": (
        "PUT",
        {"schemas": [USER], "userName": "alice@example.test", "externalId": "alice", "active": False},
    ),
    "entra": ("PATCH", patch({"op": "Replace", "path": "active", "value": "False"})),
    "entra without a path": ("PATCH", patch({"op": "Replace", "value": {"active": "False", "displayName": "A"}})),
    "entra, conforming": ("PATCH", patch({"op": "replace", "path": "active", "value": False})),
    "entra, in a list": ("PATCH", patch({"op": "Add", "path": "active", "value": [{"value": "False"}]})),
    "with the schema": ("PATCH", patch({"op": "replace", "path": f"{USER}:active", "value": False})),
    "with the schema in lower case": (
        "PATCH",
        patch({"op": "replace", "path": f"{USER.lower()}:active", "value": False}),
    ),
    "below the schema": ("PATCH", patch({"op": "replace", "value": {USER: {"active": False}}})),
    "among others": (
        "PATCH",
        patch(
            {"op": "Add", "path": 'emails[type eq "work"].value', "value": "a@example.test"},
            {"op": "Replace", "path": "active", "value": "False"},
        ),
    ),
    "deleted": ("DELETE", None),
}


async def test_each_form_of_deactivation_offboards_the_user_of_this_tenant_only(
    home: Path, subtests: pytest.Subtests
) -> None:
    async with tenants(home) as world:
        for count, (form, (method, body)) in enumerate(DEACTIVATIONS.items(), 1):
            with subtests.test(form):
                name = await created(world)
                cookie, other = await world.sign_in("alice"), await world.sign_in("alice", "beta")
                answer = await call(world, method, f"Users/{name}", body)
                assert answer.status_code == (204 if method == "DELETE" else 200), answer.text
                assert method == "DELETE" or answer.json()["active"] is False
                assert not await world.is_signed_in(cookie) and await world.is_signed_in(other, "beta")
                assert len(await world.audited()) == 2 * count - 1
                await call(world, "DELETE", f"Users/{name}")
                assert (await call(world, "GET", f"Users/{name}")).status_code == 404
        assert set(await world.audited()) == {"SCIM: deactivated", "SCIM: deleted"}


async def test_nothing_but_names_and_state_is_stored_and_an_erasure_removes_it(home: Path) -> None:
    async with tenants(home) as world:
        name = await created(world, nickName="Ali")
        [record] = await world.deputy.vault.scan("scim_user")
        assert b"Doe" not in record.plain.reveal() and b"Ali" not in record.plain.reveal()
        shown = (await call(world, "GET", f"Users/{name}")).json()
        assert set(shown) == {"schemas", "id", "userName", "externalId", "active", "meta"}
        await world.deputy.erase(world.user("alice"))
        assert await world.deputy.vault.scan("scim_user") == await world.deputy.vault.scan("scim_name") == []
        assert await created(world) == name, "the provider may name the user again"


async def test_clients_find_users_by_the_filters_they_send(home: Path, subtests: pytest.Subtests) -> None:
    async with tenants(home) as world:
        await created(world)
        await created(world, "bob")
        await created(world, "alice", tenant="beta")
        for text, total in (
            ('userName eq "alice@example.test"', 1),
            ('userName Eq "ALICE@example.test"', 1),
            (f'{USER}:userName eq "alice@example.test"', 1),
            ('externalId eq "bob"', 1),
            ('externalId eq "BOB"', 0),
            ('userName eq "2f4ab1c0-no-such-user"', 0),
            ('userName eq "a\\"b"', 0),
        ):
            with subtests.test(text):
                found = await call(
                    world, "GET", f"Users?filter={httpx.QueryParams({'f': text})['f']}".replace("#", "%23")
                )
                assert (found.status_code, found.json().get("totalResults")) == (200, total), found.text
        for bad in (
            'userName eq "a" or userName eq "bob@example.test"',
            'userName ne "x"',
            'userName co "b"',
            "userName eq alice",
            'password eq "x"',
            'userName eq "a" and active eq true',
            'userName eq "a\n"',
            "(" * 5000,
            'id eq "../../beta"  x',
        ):
            with subtests.test(bad[:60]):
                answer = await world.http.get(
                    "/scim/acme/v2/Users",
                    params={"filter": bad},
                    headers={"authorization": f"Bearer {TOKENS['acme']}"},
                )
                assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")
        page = (await call(world, "GET", "Users?startIndex=2&count=1")).json()
        assert (page["totalResults"], page["itemsPerPage"], page["startIndex"]) == (2, 1, 2)
        assert (await call(world, "GET", "Users?count=0")).json()["Resources"] == []


async def test_another_tenants_token_and_ids_reach_nobody(home: Path, subtests: pytest.Subtests) -> None:
    async with tenants(home) as world:
        name, cookie = await created(world), await world.sign_in("alice")
        for token in (TOKENS["beta"], "", TOKENS["acme"][:-1], TOKENS["acme"] + "x", "tést", "x" * 9000):
            with subtests.test(token[:20]):
                for method, path in (("GET", "Users"), ("DELETE", f"Users/{name}"), ("GET", "Schemas")):
                    headers = {b"authorization": f"Bearer {token}".encode()}
                    refused = await world.http.request(method, f"/scim/acme/v2/{path}", headers=headers)
                    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert (await world.http.delete(f"/scim/acme/v2/Users/{name}")).status_code == 401
        for path in (f"Users/{name}", "Users/..%2fx", "Users/" + "0" * 32, "Users/a.b", "Users/", "Bulk", "Groups"):
            assert (await call(world, "DELETE", path, tenant="beta")).status_code in (404, 405), path
        for subject in (f"{world.issuers['acme']}#alice", "alice"):
            other = await created(world, subject, tenant="beta")
            assert (await call(world, "DELETE", f"Users/{other}", tenant="beta")).status_code == 204
        assert await world.is_signed_in(cookie)
        assert (await call(world, "GET", f"Users/{name}")).json()["active"] is True


async def test_subject_cannot_be_changed_but_a_deactivation_still_counts(home: Path) -> None:
    async with tenants(home) as world:
        name = await created(world)
        alice, bob = await world.sign_in("alice"), await world.sign_in("bob")
        renamed = {"userName": "new@example.test", "externalId": "bob", "active": True}
        refused = await call(world, "PUT", f"Users/{name}", renamed)
        assert (refused.status_code, refused.json()["scimType"]) == (400, "mutability")
        assert await world.is_signed_in(alice) and await world.is_signed_in(bob)
        assert (await call(world, "PUT", f"Users/{name}", renamed | {"active": False})).status_code == 400
        assert not await world.is_signed_in(alice) and await world.is_signed_in(bob)
        kept = await call(world, "PUT", f"Users/{name}", renamed | {"externalId": "alice"})
        assert kept.json()["userName"] == "new@example.test"
        await created(world, "carol")
        taken = await call(
            world, "PATCH", f"Users/{name}", patch({"op": "replace", "path": "userName", "value": "CAROL@example.test"})
        )
        assert (taken.status_code, taken.json()["scimType"]) == (409, "uniqueness")
        again = {"userName": "new@example.test", "externalId": "dave"}
        assert (await call(world, "POST", "Users", again)).status_code == 409
        assert (await call(world, "POST", "Users", again | {"userName": "alice@example.test"})).status_code == 201


async def test_deactivation_counts_though_the_rest_of_the_request_is_refused(
    home: Path, subtests: pytest.Subtests
) -> None:
    replace = {"op": "replace", "path": "active", "value": False}
    long = {"op": "replace", "path": "userName", "value": "x" * 300}
    async with tenants(home) as world:
        name = await created(world)
        for method, path, body in (
            ("PUT", f"Users/{name}", {"userName": "x" * 300, "externalId": "alice", "active": False}),
            ("PUT", f"Users/{name}", {"userName": 7, "externalId": 7, "active": "false"}),
            ("PATCH", f"Users/{name}", patch(long, replace)),
            ("PATCH", f"Users/{name}", patch(replace, {"op": "remove"})),
            ("PATCH", f"Users/{name}", patch({"op": "replace", "value": {"active": False, "userName": None}})),
            ("POST", "Users", {"externalId": "alice", "active": False}),
        ):
            with subtests.test(f"{method} {body}"[:90]):
                cookie = await world.sign_in("alice")
                assert (await call(world, method, path, body)).status_code == 400
                assert not await world.is_signed_in(cookie)
        before = len(await world.audited())
        again = patch(replace, replace | {"value": True})
        assert (await call(world, "PATCH", f"Users/{name}", again)).json()["active"] is True
        assert len(await world.audited()) == before, "the last operation counts"


async def test_malformed_and_huge_bodies_are_refused(home: Path, subtests: pytest.Subtests) -> None:
    async with tenants(home) as world:
        name = await created(world)
        for body, status in (
            (b"x" * 100_000, 413),
            (b"[" * 9000, 400),
            (b"[]", 400),
            (b"", 400),
            ({}, 400),
            (patch({"op": "replace", "path": "active", "value": "maybe"}), 400),
            (patch({"op": "replace", "path": "active", "value": 0}), 400),
            (patch({"op": "move", "path": "active", "value": False}), 400),
            (patch({"op": "remove", "path": "active"}), 400),
            (patch({"op": "remove"}), 400),
            (patch({"op": "replace", "value": "active"}), 400),
            (patch({"op": "replace", "path": "userName", "value": "x" * 300}), 400),
            ({"Operations": "active"}, 400),
            ({"Operations": [7]}, 400),
        ):
            with subtests.test(str(body)[:60]):
                answer = await call(world, "PATCH", f"Users/{name}", body)
                assert answer.status_code == status and answer.json()["status"] == str(status)
                assert answer.headers["content-type"].startswith("application/scim+json")
        for body in ({"externalId": "x"}, {"userName": "x"}, {"userName": "x", "externalId": " "}, {"userName": 7}):
            assert (await call(world, "POST", "Users", body)).status_code == 400, body
        assert await world.audited() == []


def test_weak_or_shared_tokens_are_refused_at_the_start(home: Path) -> None:
    issuers = {name: f"https://login.{name}.test" for name in NAMES}
    for token, words in (("tiny-x7", "too short"), ("x" * 40 + " y", "too short"), (TOKENS["beta"], "is also")):
        with pytest.raises(SettingsError, match=words) as caught:
            application(settings_of(home, issuers, acme={"scim_token": token}))
        assert token not in str(caught.value) + caught.value.hint
    with pytest.raises(SettingsError, match=r"signin.beta.offboarding_secret is also signin.acme.offboarding_secret"):
        application(settings_of(home, issuers, acme={"offboarding_secret": WEBHOOKS["beta"]}))


@pytest.mark.processes
async def test_scim2_tester_finds_no_fault(home: Path) -> None:
    from httpx2 import Client
    from scim2_client.engines.httpx2 import SyncSCIMClient
    from scim2_tester import Status, check_server

    async with tenants(home) as world:
        transport: Any = world.http._transport
        async with serve(transport.app) as url:

            def check() -> list[Any]:
                headers = {"authorization": f"Bearer {TOKENS['acme']}"}
                with Client(base_url=f"{url}/scim/acme/v2", headers=headers) as http:
                    client = SyncSCIMClient(http)
                    client.discover()
                    return list(check_server(client))

            results = await asyncio.to_thread(check)
    bad = [(one.title, one.reason) for one in results if one.status not in (Status.SUCCESS, Status.SKIPPED)]
    assert len(results) > 20 and not bad, bad
