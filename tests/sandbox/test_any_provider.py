"""A custom provider, simulated from its definition: by the standards, and for the owner of each token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import (
    PROVIDERS,
    ApiRules,
    Deputy,
    Identity,
    OAuthEndpoints,
    Provider,
    ProviderUnavailable,
    ReconsentRequired,
    Request,
    Steps,
    Toolkit,
    any_of,
)
from deputize.core.settings import Settings
from deputize.sandbox import Sandbox
from deputize.sandbox.any_provider import ApiCall
from deputize.sandbox.deputies import apps
from tests.support.provider_fields import with_fields
from tests.support.sandbox_deputy import build, consent

ACME: Final = Provider(
    name="acme",
    label="Acme",
    oauth=OAuthEndpoints(
        authorize_url="https://acme.example/oauth/authorize",
        token_url="https://acme.example/oauth/token",
        revoke_url="https://acme.example/oauth/revoke",
    ),
    apis=ApiRules(
        roots={"acme": "https://api.acme.example/v1"},
        hosts=frozenset({"api.acme.example"}),
        identity=Identity("https://api.acme.example/v1/me", "{user.id}", "{email|name} ({user.name})"),
    ),
    scope_descriptions={"tasks:read": "read your tasks"},
)
TASKS: Final = Toolkit("tasks", provider="acme", api="acme")


@TASKS.tool(needs=[any_of("tasks:read")])
def mine() -> Steps:
    """Whose tasks these are."""
    found = yield Request("GET", "/tasks", params={"q": "x"})
    return found


def api(call: ApiCall) -> Any:
    call.need("tasks:read")
    return {"who": call.person.email, "path": call.path, "q": call.query["q"]}


async def deputy_at(sandbox: Sandbox, row: Provider) -> Deputy:
    return await build(sandbox, apps=apps(sandbox), providers={**PROVIDERS, "acme": row}, toolkits=[TASKS])


async def test_sandboxed_provider_requires_only_checked_features() -> None:
    sandbox, login = Sandbox(), "https://acme.example"
    row = with_fields(
        ACME,
        par_url=f"{login}/par",
        jwks_url=f"{login}/keys",
        client_auth="private_key_jwt",
        client_auth_methods=frozenset({"x"}),
        issuer=login,
        identity=Identity("", "{sub}", "{email}"),
    )
    sandbox.play(row, api)
    async with await deputy_at(sandbox, sandbox.played["acme"].row) as deputy:
        [asked] = await deputy.connect("alice", "acme", scopes=["tasks:read"])
        ended = await consent(deputy, sandbox, asked)
        assert (ended.status, ended.account) == ("granted", "alice@example.test")
        assert (await deputy.act("tasks_mine", {}, user="alice"))["who"] == "alice@example.test"
    moved = row.moved_to("http://127.0.0.1:1")
    assert (moved.oauth.par_url, moved.oauth.jwks_url, moved.oauth.client_auth) == ("", "", "post")
    assert moved.apis.identity.url == "http://127.0.0.1:1/acme.example/oauth/userinfo"


@pytest.mark.parametrize(
    "row",
    [
        ACME,
        replace(ACME, oauth=replace(ACME.oauth, client_auth="basic", scope_separator=",", always_scopes=("openid",))),
        replace(ACME, oauth=replace(ACME.oauth, issuer="https://acme.example", iss_required=True)),
        replace(ACME, oauth=replace(ACME.oauth, revoke_by="bearer", token_url="https://api.acme.example/token")),
        replace(ACME, oauth=replace(ACME.oauth, scope_param="", always_scopes=("tasks:read",))),
    ],
    ids=["default", "basic", "issuer", "bearer", "scopes of the registration"],
)
async def test_provider_definition_is_enough_to_connect_act_refresh_and_disconnect(row: Provider) -> None:
    sandbox = Sandbox()
    sandbox.play(row, api)
    async with await deputy_at(sandbox, replace(row)) as deputy:
        [asked] = await deputy.connect("alice", "acme", scopes=["tasks:read"])
        ended = await consent(deputy, sandbox, asked)
        assert (ended.status, ended.account) == ("granted", "alice@example.test (Alice Adams)")
        sandbox.expire_access_tokens()
        found = await deputy.act("tasks_mine", {}, user="alice")
        assert found == {"who": "alice@example.test", "path": "/v1/tasks", "q": "x"}
        [revoked] = await deputy.revoke("alice", "acme")
        assert revoked.upstream == "done" and sandbox.live_tokens()["alice@example.test"] == 0


async def test_missing_scope_is_refused_as_in_the_rfc() -> None:
    sandbox = Sandbox()
    sandbox.play(ACME, lambda call: call.need("tasks:admin"))
    async with await deputy_at(sandbox, ACME) as deputy:
        [asked] = await deputy.connect("alice", "acme", scopes=["tasks:read"])
        await consent(deputy, sandbox, asked)
        with pytest.raises(ReconsentRequired):
            await deputy.act("tasks_mine", {}, user="alice")


async def test_simulated_provider_cannot_be_added_twice() -> None:
    sandbox = Sandbox()
    sandbox.play(ACME)
    for row in (ACME, replace(ACME, name="google"), replace(ACME, name="other")):
        with pytest.raises(ValueError, match="already"):
            sandbox.play(row)
    Sandbox().play(ACME)  # of its own


async def test_provider_from_settings_connects_and_acts(tmp_path: Path) -> None:
    described = {
        "label": "Acme",
        "oauth": {
            "authorize_url": ACME.oauth.authorize_url,
            "token_url": ACME.oauth.token_url,
            "revoke_url": ACME.oauth.revoke_url,
        },
        "apis": {
            "roots": dict(ACME.apis.roots),
            "identity": {"url": ACME.apis.identity.url, "subject": "{user.id}", "name": "{email}"},
        },
        "scope_descriptions": dict(ACME.scope_descriptions),
    }
    row = Settings.load(home=tmp_path, providers={"acme": described}).all_providers()["acme"]
    sandbox = Sandbox()
    sandbox.play(row, api)
    async with await deputy_at(sandbox, row) as deputy:
        [asked] = await deputy.connect("alice", "acme", scopes=["tasks:read"])
        await consent(deputy, sandbox, asked)
        assert (await deputy.act("tasks_mine", {}, user="alice"))["who"] == "alice@example.test"


async def test_bug_in_a_simulated_api_is_a_logged_server_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(call: ApiCall) -> Any:
        return {"when": object()}

    sandbox = Sandbox()
    sandbox.play(ACME, broken)
    async with await deputy_at(sandbox, ACME) as deputy:
        [asked] = await deputy.connect("alice", "acme", scopes=["tasks:read"])
        await consent(deputy, sandbox, asked)
        with pytest.raises(ProviderUnavailable):
            await deputy.act("tasks_mine", {}, user="alice")
    logged = next(one for one in caplog.records if one.name == "deputize.sandbox")
    assert logged.getMessage() == "The API played for acme failed at GET /v1/tasks."
    assert logged.exc_info and "not JSON serializable" in str(logged.exc_info[1])
