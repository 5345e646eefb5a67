"""A provider from its own metadata: what is accepted, and what is refused before anything is sent there."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from deputize.core import Provider, ProviderUnavailable, SettingsError
from deputize.core.oauth.discover import discover

ISSUER = "https://login.example.test/tenant"
OAUTH = "https://login.example.test/.well-known/oauth-authorization-server/tenant"
INSERTED = "https://login.example.test/.well-known/openid-configuration/tenant"
OIDC = "https://login.example.test/tenant/.well-known/openid-configuration"
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/me",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "response_types_supported": ["code", "token"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_post"],
    "scopes_supported": ["openid", "email"],
}


class Server(httpx.AsyncBaseTransport):
    """Answers from a table of addresses, and records the requests."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, list[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        answer = self.answers.get(str(request.url), (404, b""))
        status, body = answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode())
        return httpx.Response(status, content=body)


async def resolved(host: str) -> list[str]:
    """The addresses of the hosts in these tests."""
    known = {
        "inside.example.test": ["10.0.0.7"],
        "both.example.test": ["93.184.215.14", "127.0.0.1"],
        "nowhere.example.test": [],
        "odd.example.test": ["not an address"],
        "10.0.0.7": ["10.0.0.7"],
        "2130706433": ["127.0.0.1"],
    }
    if host == "unknown.example.test":
        raise OSError("no such name")
    return known.get(host, ["93.184.215.14"])


async def found(said: Any = METADATA, issuer: str = ISSUER, at: str = OAUTH, **more: Any) -> Provider:
    given: dict[str, Any] = {"name": "acme", "resolve": resolved}
    return await discover(issuer, transport=Server({at: said}), **given | more)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in METADATA.items() if key != name}


async def test_server_is_configured_from_its_metadata() -> None:
    row = await found(label="Acme", api={"acme": "https://api.example.test/v1"})
    assert (row.name, row.label, row.oauth.issuer) == ("acme", "Acme", ISSUER)
    assert (row.oauth.authorize_url, row.oauth.token_url, row.oauth.revoke_url) == (
        f"{ISSUER}/authorize",
        f"{ISSUER}/token",
        f"{ISSUER}/revoke",
    )
    assert row.apis.hosts == {"login.example.test", "api.example.test"} and row.apis.identity.subject == "{sub}"
    assert (row.oauth.pkce, row.oauth.client_auth, row.oauth.iss_required) == ("always", "post", False)
    assert row.oauth.always_scopes == ("openid", "email") and row.oauth.params_consent == {}


async def test_openid_metadata_is_used_if_there_is_no_other() -> None:
    server = Server({OIDC: METADATA})
    row = await discover(ISSUER, transport=server, name="acme", resolve=resolved)
    assert row.oauth.token_url == f"{ISSUER}/token" and server.asked == [OAUTH, INSERTED, OIDC]


async def test_openid_well_known_path_may_precede_the_tenant() -> None:
    server = Server({INSERTED: METADATA})
    row = await discover(ISSUER, transport=server, name="acme", resolve=resolved)
    assert row.oauth.token_url == f"{ISSUER}/token" and server.asked == [OAUTH, INSERTED]


async def test_issuer_without_path_has_metadata_at_the_root() -> None:
    issuer = "https://login.example.test"
    at = f"{issuer}/.well-known/oauth-authorization-server"
    assert (await found(METADATA | {"issuer": issuer}, issuer, at)).oauth.issuer == issuer


@pytest.mark.parametrize(
    "spelt",
    [f"{ISSUER}/", ISSUER.upper(), ISSUER.replace("login", "LOGIN"), "https://login.example.test", "https://evil.test"],
)
async def test_A6_issuer_that_differs_in_a_byte_is_refused(spelt: str) -> None:
    with pytest.raises(SettingsError, match="another name"):
        await found(METADATA | {"issuer": spelt})


@pytest.mark.parametrize("said", [None, 7, [ISSUER], {}])
async def test_A6_issuer_that_is_not_a_string_is_refused(said: Any) -> None:
    with pytest.raises(SettingsError):
        await found(METADATA | {"issuer": said})


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["s256"], "S256", {"S256": 1}])
async def test_A3_server_without_S256_is_refused(methods: Any) -> None:
    with pytest.raises(SettingsError, match="S256"):
        await found(METADATA | {"code_challenge_methods_supported": methods})
    with pytest.raises(SettingsError, match="S256"):
        await found(without("code_challenge_methods_supported"))


async def test_A1_server_without_authorization_codes_is_refused() -> None:
    with pytest.raises(SettingsError):
        await found(METADATA | {"response_types_supported": ["token", "id_token"]})


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"])
async def test_missing_required_endpoint_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        await found(without(name))


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", ["https://[", "https://[::1", "https://h]/", "https://\u2100/"])
async def test_unparsable_metadata_url_is_refused(name: str, url: str) -> None:
    with pytest.raises(SettingsError):
        await found(METADATA | {name: url})


async def test_server_without_revocation_is_accepted() -> None:
    assert (await found(without("revocation_endpoint"))).oauth.revoke_url == ""


@pytest.mark.parametrize(
    ("methods", "auth"),
    [
        (None, "basic"),
        (["client_secret_basic"], "basic"),
        (["none"], "none"),
        (["tls_client_auth", "private_key_jwt"], "private_key_jwt"),
        (["private_key_jwt", "client_secret_basic"], "basic"),
        (["none", "client_secret_basic", "client_secret_post"], "post"),
    ],
)
async def test_A17_client_auth_method_follows_the_metadata(methods: Any, auth: str) -> None:
    said = without("token_endpoint_auth_methods_supported")
    row = await found(said if methods is None else said | {"token_endpoint_auth_methods_supported": methods})
    assert row.oauth.client_auth == auth


async def test_A17_server_with_unsupported_client_auth_is_refused() -> None:
    with pytest.raises(SettingsError, match="certificate"):
        await found(METADATA | {"token_endpoint_auth_methods_supported": ["tls_client_auth"]})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"require_signed_request_object": True}, "RFC 9101"),
        ({"response_modes_supported": ["form_post", "query.jwt"]}, "form_post, query.jwt"),
        ({"grant_types_supported": ["client_credentials"]}, "client_credentials"),
        ({"token_endpoint_auth_methods_supported": ["tls_client_auth", "self_signed_tls_client_auth"]}, "certificate"),
        ({"token_endpoint_auth_methods_supported": ["client_secret_jwt"]}, "no way"),
        ({"token_endpoint_auth_methods_supported": ["attest_jwt_client_auth"]}, "no way"),
        ({"token_endpoint_auth_methods_supported": []}, "no way"),
        ({"jwks_uri": f"{ISSUER}/jwks", "id_token_signing_alg_values_supported": ["HS256"]}, "resource"),
    ],
)
async def test_unsupported_server_requirement_stops_the_start(said: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why) as e:
        await found(METADATA | said, resource="https://api.example.test/")
    assert ISSUER in e.value.message and e.value.hint


async def test_additional_server_features_are_ignored() -> None:
    more = {
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", "implicit"],
        "require_signed_request_object": False,
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth", "client_secret_post"],
    }
    assert (await found(METADATA | more)).oauth.client_auth == "post"


async def test_uncheckable_id_tokens_are_not_requested_if_userinfo_exists() -> None:
    said = METADATA | {"jwks_uri": f"{ISSUER}/jwks", "id_token_signing_alg_values_supported": ["HS256", "none"]}
    assert (await found(said)).oauth.jwks_url == ""
    with pytest.raises(SettingsError, match="userinfo_endpoint"):
        await found({name: value for name, value in said.items() if name != "userinfo_endpoint"})


async def test_A5_server_that_announces_iss_must_send_it() -> None:
    assert (await found(METADATA | {"authorization_response_iss_parameter_supported": True})).oauth.iss_required


async def test_offline_access_is_requested_with_consent_if_offered() -> None:
    row = await found(METADATA | {"scopes_supported": ["openid", "offline_access", "profile", "x"]})
    assert row.oauth.always_scopes == ("openid", "profile", "offline_access") and row.oauth.params_consent == {
        "prompt": "consent"
    }
    assert all(row.describe(scope) != scope for scope in row.oauth.always_scopes)


# ------------------------------------------------------------- what is never called


@pytest.mark.parametrize(
    "issuer",
    [
        *("http://login.example.test", "ftp://x.test", "login.example.test", "", "https://", "file:///etc/passwd"),
        *("https://a@login.example.test", "https://login.example.test?x=1", "https://login.example.test#x"),
        *("https://login.example.test\\@evil.test", "https://login.example.test/a b", "https://[::1]/x"),
        *("https://login.example.test:0", "https://login.example.test\n", "https://login.example.test:99999999"),
    ],
)
async def test_D1_issuer_that_is_not_a_plain_https_url_is_refused(issuer: str) -> None:
    server = Server({})
    with pytest.raises(SettingsError):
        await discover(issuer, transport=server, name="acme", resolve=resolved)
    assert server.asked == []


@pytest.mark.parametrize(
    "host",
    ["inside.example.test", "both.example.test", "nowhere.example.test", "odd.example.test", "10.0.0.7", "2130706433"],
)
async def test_D1_private_host_is_never_contacted(host: str) -> None:
    server = Server({})
    with pytest.raises(SettingsError, match="public"):
        await discover(f"https://{host}/x", transport=server, name="acme", resolve=resolved)
    assert server.asked == []


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.1",
            "224.0.0.1",
        ),
        *("::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1"),
    ],
)
async def test_D1_private_address_is_refused_in_every_notation(address: str) -> None:
    async def leads_there(host: str) -> list[str]:
        return [address]

    with pytest.raises(SettingsError, match="public"):
        await found(resolve=leads_there)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
async def test_public_address_is_contacted(address: str) -> None:
    async def leads_there(host: str) -> list[str]:
        return [address]

    assert (await found(resolve=leads_there)).oauth.issuer == ISSUER


@pytest.mark.parametrize(
    "name",
    [
        *("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint"),
        *("jwks_uri", "device_authorization_endpoint", "pushed_authorization_request_endpoint"),
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        *("https://inside.example.test/x", "http://login.example.test/x", "javascript:alert(1)", "https://10.0.0.7/x"),
        *(
            "https://a@login.example.test/x",
            "https://login.example.test\\@inside.example.test/",
            "//login.example.test",
        ),
    ],
)
async def test_D1_metadata_cannot_lead_to_private_hosts(name: str, url: str) -> None:
    with pytest.raises(SettingsError):
        await found(METADATA | {"require_pushed_authorization_requests": name.startswith("pushed"), name: url})


@pytest.mark.parametrize(
    "name",
    [
        *("authorization_endpoint", "token_endpoint", "revocation_endpoint", "registration_endpoint"),
        *("device_authorization_endpoint", "pushed_authorization_request_endpoint"),
    ],
)
@pytest.mark.parametrize("origin", ["https://accounts.google.com", "https://login.example.test:444"])
async def test_endpoint_at_a_foreign_origin_needs_the_operators_setting(name: str, origin: str) -> None:
    """Otherwise people would sign in at a real page, and the metadata's author would get the code."""
    said = METADATA | {name: f"{origin}/x"}
    with pytest.raises(SettingsError, match=name) as e:
        await found(said)
    assert origin in e.value.message and "trusted_origins" in e.value.hint
    assert (await found(said, trusted_origins=[f"{origin}/"])).oauth.issuer == ISSUER


async def test_private_hosts_are_contacted_if_allowed() -> None:
    issuer = "https://inside.example.test"
    at = f"{issuer}/.well-known/oauth-authorization-server"
    row = await found(
        METADATA | {"issuer": issuer},
        issuer,
        at,
        allow_private_network=True,
        trusted_origins=["https://login.example.test"],
    )
    assert row.oauth.issuer == issuer


# ------------------------------------------------------------- odd answers


async def test_unresolvable_or_down_host_is_provider_unavailable() -> None:
    with pytest.raises(ProviderUnavailable):
        await found(issuer="https://unknown.example.test")
    for status in (429, 500, 503):
        with pytest.raises(ProviderUnavailable):
            await found((status, b"<html>"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000])
async def test_invalid_metadata_is_refused(body: bytes) -> None:
    with pytest.raises(SettingsError, match="no metadata"):
        await found((200, body))


async def test_D2_metadata_redirect_is_not_followed() -> None:
    server = Server({OAUTH: (302, b""), INSERTED: (302, b""), OIDC: (302, b"")})
    with pytest.raises(SettingsError):
        await discover(ISSUER, transport=server, name="acme", resolve=resolved)
    assert server.asked == [OAUTH, INSERTED, OIDC]


async def test_endless_metadata_is_cut_off() -> None:
    with pytest.raises(ProviderUnavailable):
        await found((200, b" " * (2**18 + 1)))


async def test_metadata_error_text_is_printable() -> None:
    odd = ["\x1b]0;owned\x07", "tls_client_auth\n", "\u202etxt", "x" * 1000, "tls_client_auth"]
    with pytest.raises(SettingsError) as e:
        await found(METADATA | {"token_endpoint_auth_methods_supported": odd, "response_modes_supported": ["query"]})
    assert "It offers: tls_client_auth. " in e.value.hint


async def test_resource_bound_token_is_not_sent_to_the_userinfo_host() -> None:
    said = METADATA | {"jwks_uri": f"{ISSUER}/jwks"}
    given: dict[str, Any] = {"api": {"acme": "https://api.example.test/v1"}, "resource": "https://api.example.test/"}
    assert (await found(said, **given)).apis.hosts == {"api.example.test"}
