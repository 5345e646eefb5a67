"""The authorization server of an MCP server: what is accepted, and what is refused with an error before anything is
sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from deputize.core import Provider, ProviderUnavailable, SettingsError
from deputize.core.mcp_client.authorization import KnownServers
from deputize.core.mcp_client.discovery import discover_server
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault

URL, ISSUER = "https://mcp.example.test/v1/mcp", "https://as.example.test"
PATH = "https://mcp.example.test/.well-known/oauth-protected-resource/v1/mcp"
ROOT = "https://mcp.example.test/.well-known/oauth-protected-resource"
AS = f"{ISSUER}/.well-known/oauth-authorization-server"
RESOURCE: dict[str, Any] = {"resource": URL, "authorization_servers": [ISSUER], "scopes_supported": ["tools:read"]}
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "response_types_supported": ["code"],
    "code_challenge_methods_supported": ["S256"],
    "authorization_response_iss_parameter_supported": True,
    "scopes_supported": ["tools:read", "tools:write", "offline_access"],
}
SERVER = McpServer("acme", URL)


class Web(httpx.AsyncBaseTransport):
    """An MCP server and its authorization server, as a table of addresses; requests are recorded in ``asked``."""

    def __init__(self, challenge: str = "Bearer", /, **said: Any) -> None:
        self.challenge, self.asked, self.down = challenge, list[str](), False
        self.said: dict[str, Any] = {PATH: RESOURCE, AS: METADATA} | said

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        self.asked.append(url)
        if self.down:
            raise httpx.ConnectError("down")
        if request.method == "POST":
            assert "authorization" not in request.headers
            return httpx.Response(401, headers={"www-authenticate": self.challenge})
        answer = self.said.get(url, 404)
        if isinstance(answer, int):
            return httpx.Response(answer, headers={"location": "https://as.example.test/elsewhere"})
        return httpx.Response(200, content=answer if isinstance(answer, bytes) else json.dumps(answer).encode())


async def resolved(host: str) -> list[str]:
    """The addresses of the hosts in these tests."""
    return ["10.0.0.7"] if host.startswith("inside") else ["93.184.215.14"]


async def ask(web: Web, server: McpServer = SERVER, known: KnownServers | None = None) -> Provider:
    return await discover_server(server, transport=web, resolve=resolved, known=known)


def prm(**changed: Any) -> dict[str, Any]:
    return {PATH: RESOURCE | changed}


def asm(**changed: Any) -> dict[str, Any]:
    return {AS: {k: v for k, v in (METADATA | changed).items() if v is not None}}


@pytest.fixture
async def known() -> KnownServers:
    return KnownServers(await Vault.open(MemoryStore(), [b"k" * 32]))


# ------------------------------------------------------------- what is found


async def test_server_url_is_enough_for_discovery() -> None:
    web = Web()
    row = await ask(web)
    assert web.asked == [URL, PATH, AS]
    assert (row.name, row.label, row.oauth.issuer, row.oauth.resource) == ("acme", "Acme", ISSUER, URL)
    assert (row.oauth.authorize_url, row.oauth.token_url, row.oauth.revoke_url) == (
        f"{ISSUER}/authorize",
        f"{ISSUER}/token",
        f"{ISSUER}/revoke",
    )
    assert (
        row.oauth.iss_required and row.apis.identity.nameless and not row.oauth.jwks_url and row.oauth.pkce == "always"
    )
    assert row.apis.roots == {"acme": "https://mcp.example.test", "mcp": URL} and row.oauth.fallback_scopes == (
        "tools:read",
    )
    assert row.oauth.always_scopes == ("offline_access",) and row.oauth.params_consent == {"prompt": "consent"}


async def test_token_is_limited_to_the_servers_host() -> None:
    assert (await ask(Web(**asm(userinfo_endpoint=f"{ISSUER}/me")))).apis.hosts == {"mcp.example.test"}


async def test_challenge_names_metadata_and_first_scopes() -> None:
    at = "https://mcp.example.test/meta"
    web = Web(f'Bearer resource_metadata="{at}", scope="tools:read files"', **{at: RESOURCE})
    row = await ask(web)
    assert (
        web.asked == [URL, at, AS]
        and row.oauth.always_scopes == ("tools:read", "files", "offline_access")
        and row.oauth.fallback_scopes == ()
    )


async def test_configured_scopes_precede_the_servers() -> None:
    row = await ask(Web('Bearer scope="everything"'), replace(SERVER, scopes=("tools:read",)))
    assert row.oauth.always_scopes == ("tools:read", "offline_access") and row.oauth.fallback_scopes == ()


async def test_offline_access_is_not_requested_alone() -> None:
    """It would replace the server's own default."""
    row = await ask(Web(**prm(scopes_supported=None)))
    assert row.oauth.always_scopes == () and row.oauth.fallback_scopes == ()


async def test_root_metadata_may_describe_a_path() -> None:
    web = Web(**{PATH: 404, ROOT: RESOURCE | {"resource": "https://mcp.example.test"}})
    row = await ask(web)
    assert web.asked == [URL, PATH, ROOT, AS] and row.oauth.resource == "https://mcp.example.test"


@pytest.mark.parametrize(
    "at",
    [
        "/.well-known/oauth-authorization-server/t",
        "/.well-known/openid-configuration/t",
        "/t/.well-known/openid-configuration",
    ],
)
async def test_issuer_with_a_path_is_found_at_three_locations(at: str) -> None:
    issuer = f"{ISSUER}/t"
    row = await ask(
        Web(**{PATH: RESOURCE | {"authorization_servers": [issuer]}, ISSUER + at: METADATA | {"issuer": issuer}})
    )
    assert row.oauth.issuer == issuer


async def test_id_token_names_the_account_if_the_server_supports_openid() -> None:
    said = {"jwks_uri": f"{ISSUER}/jwks", "scopes_supported": ["openid", "email", "tools:read"]}
    row = await ask(Web(**asm(**said)))
    assert row.oauth.jwks_url and not row.apis.identity.nameless and row.oauth.always_scopes == ("openid", "email")
    for odd in ({"id_token_signing_alg_values_supported": ["HS256"]}, {"scopes_supported": ["tools:read"]}):
        assert (await ask(Web(**asm(**said | odd)))).apis.identity.nameless


async def test_server_without_authorization_metadata_needs_the_operators_setting() -> None:
    web = Web(**{PATH: 404})
    with pytest.raises(SettingsError, match="names no authorization server") as refused:
        await ask(web)
    assert "without signing in is not taken" in refused.value.hint
    row = await ask(web, replace(SERVER, legacy_auth=True))
    assert (row.oauth.token_url, row.oauth.issuer, row.oauth.resource) == (
        "https://mcp.example.test/token",
        "https://mcp.example.test",
        URL,
    )


# ------------------------------------------------------------- what is refused


OTHER = "https://accounts.google.com/o/oauth2/v2/auth"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (asm(authorization_endpoint=OTHER), "authorization_endpoint elsewhere: https://accounts.google.com"),
        (asm(registration_endpoint="https://evil.test/r"), "registration_endpoint elsewhere"),
        (asm(authorization_endpoint="javascript:alert(1)"), "elsewhere: javascript:"),
        (asm(token_endpoint="http://as.example.test/token"), "token_endpoint elsewhere: http://as.example.test"),
        (asm(token_endpoint="https://[as"), "token_endpoint that is no address"),
        (asm(id_token_signing_alg_values_supported=[["x"]], jwks_uri=[], issuer={}), "calls itself by another name"),
        (asm(issuer="https://as.honest.test"), "calls itself by another name"),
        (asm(code_challenge_methods_supported=None), "does not say that it does PKCE with S256"),
        (asm(code_challenge_methods_supported=["plain"]), "does not say that it does PKCE with S256"),
        (asm(authorization_endpoint=None), "names no authorization_endpoint"),
        (prm(resource="https://mcp.honest.test/v1/mcp"), "metadata of something else"),
        (prm(resource="https://mcp.example.test/v1/mc"), "metadata of something else"),
        (prm(resource="https://mcp.example.test/v1/mcp/deeper"), "metadata of something else"),
        (prm(resource="https://mcp.example.test/v1/mcp#x"), "metadata of something else"),
        (prm(resource="https://mcp.example.test:8443/v1/mcp"), "metadata of something else"),
        (prm(resource=None), "metadata of something else"),
        (prm(authorization_servers=[]), "names no authorization server"),
        (prm(authorization_servers="https://as.example.test"), "names no authorization server"),
        (prm(authorization_servers=["http://as.example.test"]), "cannot be called"),
        (prm(authorization_servers=["https://inside.example.test"]), "not a public host"),
        (prm(authorization_servers=["https://169.254.169.254"]), "not a public host"),
        ({PATH: 404}, "names no authorization server"),
        ({PATH: 302}, "names no authorization server"),
        ({PATH: b"[]"}, "names no authorization server"),
    ],
)
async def test_metadata_that_leads_elsewhere_is_refused_with_a_message(said: dict[str, Any], words: str) -> None:
    async def inside(host: str) -> list[str]:
        return [host] if host[0].isdigit() else await resolved(host)

    web = Web(**said)
    with pytest.raises(SettingsError, match=words) as e:
        await discover_server(SERVER, transport=web, resolve=inside)
    assert e.value.hint and not {u for u in web.asked if "169.254" in u or "evil" in u or "inside" in u}


@pytest.mark.parametrize(
    "at",
    [
        "http://169.254.169.254/x",
        "https://evil.test/x",
        "https://mcp.example.test:444/x",
        "x",
        "//evil.test",
        "https://[x",
    ],
)
async def test_metadata_at_another_origin_is_not_read(at: str) -> None:
    web = Web(f'Bearer resource_metadata="{at}"')
    with pytest.raises(SettingsError, match="another origin"):
        await ask(web)
    assert web.asked == [URL]


async def test_endpoint_at_another_origin_is_accepted_if_configured() -> None:
    server = replace(SERVER, trusted_origins=("https://accounts.google.com",))
    assert (await ask(Web(**asm(authorization_endpoint=OTHER)), server)).oauth.authorize_url == OTHER


async def test_intranet_server_needs_the_operators_setting() -> None:
    server = McpServer("acme", "https://inside.example.test/mcp")
    web = Web()
    with pytest.raises(SettingsError, match="not a public host"):
        await ask(web, server)
    assert web.asked == []


async def test_invalid_signing_algorithms_are_ignored() -> None:
    said = asm(id_token_signing_alg_values_supported=[["x"], None, {}], jwks_uri=f"{ISSUER}/keys")
    assert (await ask(Web(**said))).apis.identity.nameless


async def test_invalid_scopes_are_ignored() -> None:
    row = await ask(Web('Bearer scope="a \\"b\\" c"', **prm(scopes_supported=["x y", 7, "z\n"])))
    assert row.oauth.always_scopes == ("a", "c", "offline_access")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_unavailable_server_is_not_treated_as_without_metadata(status: int) -> None:
    for said in ({PATH: status}, {AS: status}):
        with pytest.raises(ProviderUnavailable):
            await ask(Web(**said), replace(SERVER, legacy_auth=True))


# ------------------------------------------------------------- what changes


async def test_unavailable_server_keeps_its_known_metadata(known: KnownServers) -> None:
    web = Web()
    before = await ask(web, known=known)
    web.down = True
    assert (await ask(web, known=known)).oauth.token_url == before.oauth.token_url


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (asm(token_endpoint=f"{ISSUER}/token2"), "its token_endpoint is https://as.example.test/token2"),
        (asm(authorization_endpoint=f"{ISSUER}/a2"), "its authorization_endpoint is"),
        (asm(revocation_endpoint=None), "its revocation_endpoint is nothing"),
        (prm(resource="https://mcp.example.test/v1"), "its resource is https://mcp.example.test/v1"),
        (
            {
                PATH: RESOURCE | {"authorization_servers": ["https://as2.example.test"]},
                "https://as2.example.test/.well-known/oauth-authorization-server": {
                    k: v.replace("as.", "as2.") if isinstance(v, str) else v for k, v in METADATA.items()
                },
            },
            "another authorization server than before: https://as2.example.test, not https://as.example.test",
        ),
    ],
)
async def test_changed_endpoints_are_reported(known: KnownServers, said: Mapping[str, Any], words: str) -> None:
    await ask(Web(), known=known)
    for _ in range(2):  # the second time, too
        with pytest.raises(SettingsError, match=words) as e:
            await ask(Web(**said), known=known)
        assert "deputize mcp pin acme" in e.value.hint
    assert await ask(Web(), known=known)
    await known.forget(SERVER)
    assert await ask(Web(**said), known=known)


async def test_additional_scopes_are_not_reported_as_a_change(known: KnownServers) -> None:
    await ask(Web(), known=known)
    row = await ask(Web(**prm(scopes_supported=["tools:read", "new"])), known=known)
    assert row.oauth.fallback_scopes == ("tools:read", "new")


async def test_configured_issuer_must_be_listed(known: KnownServers) -> None:
    both = prm(authorization_servers=["https://other.test", ISSUER])
    server = replace(SERVER, issuer=ISSUER)
    assert (await ask(Web(**both), server, known)).oauth.issuer == ISSUER
    with pytest.raises(SettingsError, match="than you do"):
        await ask(Web(**prm(authorization_servers=["https://other.test"])), server, known)


async def test_server_error_text_is_printable_ascii() -> None:
    with pytest.raises(SettingsError) as e:
        await ask(Web(**prm(resource="https://evil.test/\x1b]0;owned\x07\u202e")))
    assert e.value.message.isprintable() and e.value.message.isascii()
