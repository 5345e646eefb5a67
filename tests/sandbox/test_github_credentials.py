"""GitHub's endpoint that revokes tokens for whoever has found them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from deputize.sandbox import Sandbox
from deputize.sandbox.github.credentials import MAX_TOKENS, PATH
from tests.sandbox.connected_users import visitor

URL = f"https://api.github.com{PATH}"


async def post(sandbox: Sandbox, content: Any, **headers: str) -> httpx.Response:
    """Send the list without authentication."""
    async with httpx.AsyncClient(transport=sandbox.transport()) as http:
        return await http.post(URL, json=content, headers=headers)


@pytest.mark.parametrize("provider", ["github", "github_app"])
async def test_leaked_github_tokens_can_be_revoked_by_anybody(sandbox: Sandbox, provider: str) -> None:
    async with visitor(sandbox) as people:
        assert await people.connect(provider) == "granted"
        grant = await people.grant(provider)
        told = await post(sandbox, {"credentials": ["gho_nobody_knows", grant.access_token.reveal()]})
        assert told.status_code == 202 and sandbox.live_tokens()["alice@example.test"] == 0
        assert (await people.call("GET", "https://api.github.com/user", grant)).status_code == 401


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({}, 422),
        ({"credentials": []}, 422),
        ({"credentials": "gho_x"}, 422),
        ({"credentials": [7]}, 422),
        ({"credentials": ["gho_x"] * (MAX_TOKENS + 1)}, 422),
        ({"credentials": ["gho_x"] * MAX_TOKENS}, 202),
    ],
)
async def test_invalid_token_list_is_refused(sandbox: Sandbox, content: Any, status: int) -> None:
    assert (await post(sandbox, content)).status_code == status


async def test_authenticated_credential_revocation_is_refused(sandbox: Sandbox) -> None:
    for says in ("Bearer gho_x", "Basic eDp5", "x"):
        assert (await post(sandbox, {"credentials": ["gho_x"]}, authorization=says)).status_code == 403
