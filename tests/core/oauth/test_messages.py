"""The protocol without I/O: what is sent, and how each response is interpreted."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

import deputize.core
from deputize.core import PROVIDERS, App, Identity, Provider, ProviderUnavailable, Secret, SettingsError
from deputize.core.oauth import messages as flow
from deputize.core.oauth.pkce import challenge_of, fingerprint, new_pkce, new_state
from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Permissions
from tests.support.provider_fields import with_fields

GOOGLE = PROVIDERS["google"]
CORE = Path(deputize.core.__file__ or "").parent
APP = App("google", "client id/1", Secret("s&cret="))
every_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)


def made(**more: Any) -> Provider:
    """Return a provider with these fields."""
    row = Provider(
        name="made",
        label="Made",
        oauth=OAuthEndpoints(
            authorize_url="https://login.example.test/authorize?audience=all",
            token_url="https://login.example.test/token",
            revoke_url="https://login.example.test/revoke",
        ),
        apis=ApiRules(
            roots={"made": "https://api.example.test/v1"},
            hosts=frozenset({"api.example.test"}),
            identity=Identity("https://api.example.test/me", "{team.id}:{user.id}", "{user.name}", {"plan": "{plan}"}),
        ),
    )
    return with_fields(row, **more)


def asked(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query, strict_parsing=True)


def form(request: httpx.Request) -> dict[str, str]:
    """Return the parameters of a form; check that none occurs twice."""
    pairs = parse_qsl(request.content.decode(), strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def authorize(provider: Provider, app: App = APP, **more: Any) -> str:
    given: dict[str, Any] = {
        "redirect_uri": "http://127.0.0.1:8736/callback/google",
        "scopes": frozenset({"b", "a"}),
        "state": Secret("the-state"),
        "challenge": challenge_of("x" * 43),
    }
    return flow.authorize_url(provider, app, **given | more)


# ------------------------------------------------------------- PKCE


def test_A2_pkce_challenge_matches_RFC_7636_appendix_B() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_A2_ten_thousand_verifiers_are_distinct_and_well_formed() -> None:
    pairs = [new_pkce() for _ in range(10_000)]
    verifiers = {pair.verifier.reveal() for pair in pairs}
    assert len(verifiers) == len({pair.challenge for pair in pairs}) == 10_000
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) for verifier in verifiers)


def test_A2_verifier_is_hidden_from_repr() -> None:
    pair = new_pkce()
    assert pair.verifier.reveal() not in repr(pair)


def test_A4_states_are_distinct_with_at_least_128_bits() -> None:
    states = {new_state().reveal() for _ in range(1_000)}
    assert len(states) == 1_000
    assert all(len(base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))) * 8 >= 128 for state in states)


def test_A4_state_is_stored_as_a_hash() -> None:
    assert re.fullmatch("[0-9a-f]{64}", fingerprint("x")) and fingerprint("x") != fingerprint("y")


def test_A1_source_has_no_plain_pkce_implicit_or_password_grant() -> None:
    forbidden = re.compile(
        r"""["']plain["']|response_type=token|["']token["'],\s*response_type|["']password["']|["']implicit["']"""
    )
    of_a_form = 'schema.get("format") == "password"'  # JSON Schema's, in what is never asked for
    for path in sorted(CORE.rglob("*.py")):
        assert not forbidden.search(path.read_text().replace(of_a_form, "")), path.name


# ------------------------------------------------------------- the authorization request


@every_provider
def test_A1_every_provider_is_asked_for_a_code_with_S256(provider: Provider) -> None:
    url = authorize(provider, app=replace(APP, pkce=True))
    query = asked(url)
    assert url.startswith(provider.oauth.authorize_url)
    assert query["response_type"] == ["code"] and query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert query["state"] == ["the-state"] and query["client_id"] == ["client id/1"]
    assert query["redirect_uri"] == ["http://127.0.0.1:8736/callback/google"]
    assert all(len(values) == 1 for values in query.values())


@every_provider
def test_provider_definition_is_complete_and_https_only(provider: Provider) -> None:
    addresses = (
        provider.oauth.authorize_url,
        provider.oauth.token_url,
        provider.oauth.revoke_url,
        provider.apis.identity.url,
    )
    roots = [url for url in provider.apis.roots.values() if not url.startswith("{")]
    assert all(url.startswith("https://") for url in (*addresses, *roots))
    assert {urlsplit(url).netloc for url in roots} <= provider.apis.hosts
    assert provider.apis.roots and provider.describe("no such scope") == 'use the permission "no such scope"'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"orders": "see your orders"}, "see your orders"),
        ({"orders": "Orders"}, 'use the permission "orders"'),
        ({"orders": " "}, 'use the permission "orders"'),
        ({}, 'use the permission "orders"'),
    ],
)
def test_scope_is_described_as_a_permission(words: dict[str, str], said: str) -> None:
    assert made(scope_descriptions=words).describe("orders") == said


def test_A13_scopes_are_joined_in_the_providers_format_with_the_basic_ones() -> None:
    comma = made(scope_separator=",", always_scopes=("identify",))
    assert asked(authorize(comma))["scope"] == ["identify,a,b"]
    assert asked(authorize(GOOGLE))["scope"] == ["openid email a b"]
    assert asked(authorize(GOOGLE, scopes=frozenset({"email"})))["scope"] == ["openid email"]


def test_authorize_url_keeps_its_own_parameters() -> None:
    assert asked(authorize(made()))["audience"] == ["all"]


def test_google_is_asked_for_a_refresh_token_each_time() -> None:
    query = asked(authorize(GOOGLE))
    assert (query["access_type"], query["prompt"]) == (["offline"], ["consent"])


def test_login_hint_is_sent_only_if_supported() -> None:
    assert asked(authorize(GOOGLE, login_hint="alice@example.test"))["login_hint"] == ["alice@example.test"]
    assert "alice" not in authorize(made(), login_hint="alice@example.test")
    assert "login_hint" not in asked(authorize(GOOGLE))


def test_special_characters_stay_inside_their_parameter() -> None:
    odd = "a&scope=evil#x y"
    query = asked(authorize(GOOGLE, state=Secret(odd), scopes=frozenset({"s&redirect_uri=https://evil.example.test"})))
    assert query["state"] == [odd] and query["redirect_uri"] == ["http://127.0.0.1:8736/callback/google"]


@pytest.mark.parametrize("field", ["authorize_url", "token_url", "revoke_url"])
@pytest.mark.parametrize(
    "url", ["http://login.example.test/x", "https://user@login.example.test/x", "javascript:alert(1)", "file:///x"]
)
def test_A11_provider_url_without_https_is_refused(field: str, url: str) -> None:
    with pytest.raises(SettingsError, match=rf"Provider made: oauth\.{field} "):
        made(**{field: url})


@pytest.mark.parametrize(
    "base",
    [
        "http://evil.example.test",
        "http://127.0.0.1.example.test",
        "http://localhost:1",
        "https://127.0.0.1:1",
        "https://evil.example.test",
    ],
)
def test_A7_plain_http_is_for_loopback_addresses_only(base: str) -> None:
    with pytest.raises(SettingsError):
        GOOGLE.moved_to(base)


def test_moved_provider_sends_tokens_to_its_new_address_only() -> None:
    moved = GOOGLE.moved_to("http://127.0.0.1:9000")
    assert (
        moved.apis.hosts == {"127.0.0.1:9000"}
        and moved.oauth.token_url == "http://127.0.0.1:9000/oauth2.googleapis.com/token"
    )


@pytest.mark.parametrize("name", ["a/b", "a?b", "../x", "a b", "ä/ö", "a%2Fb", "."])
def test_A5_app_name_that_is_not_a_path_segment_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        App("google", "id", name=name)


@pytest.mark.parametrize("client_id", ["", "  "])
def test_app_without_a_client_id_is_refused(client_id: str) -> None:
    with pytest.raises(SettingsError):
        App("google", client_id)


# ------------------------------------------------------------- token requests


def exchange(provider: Provider, app: App = APP) -> httpx.Request:
    return flow.exchange(
        provider, app, code=Secret("c/&1"), verifier=Secret("v" * 43), redirect_uri="https://host.example.test/cb?x=1"
    )


def test_A1_code_exchange_sends_the_verifier_and_the_same_redirect_uri() -> None:
    request = exchange(GOOGLE)
    assert (request.method, str(request.url)) == ("POST", GOOGLE.oauth.token_url)
    assert form(request) == {
        "grant_type": "authorization_code",
        "code": "c/&1",
        "code_verifier": "v" * 43,
        "redirect_uri": "https://host.example.test/cb?x=1",
        "client_id": "client id/1",
        "client_secret": "s&cret=",
    }


def test_A17_basic_authentication_encodes_id_and_secret() -> None:
    request = exchange(made(client_auth="basic"))
    user, _, password = (
        base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    )
    assert (user, password) == ("client%20id%2F1", "s%26cret%3D")
    assert not {"client_id", "client_secret"} & form(request).keys()


@pytest.mark.parametrize("auth", ["post", "basic", "none"])
def test_A17_public_client_sends_its_id_and_no_secret(auth: str) -> None:
    request = exchange(made(client_auth=auth), replace(APP, client_secret=None))
    assert form(request)["client_id"] == "client id/1" and "client_secret" not in form(request)
    assert "authorization" not in request.headers


def test_A17_provider_without_client_authentication_gets_no_secret() -> None:
    request = exchange(made(client_auth="none"))
    assert b"cret" not in request.content.replace(b"client_secret=", b"") and "authorization" not in request.headers


@every_provider
def test_refresh_request_names_no_scopes(provider: Provider) -> None:
    request = flow.refresh(provider, APP, refresh_token=Secret("r/1&"))
    assert request.headers["accept"] == "application/json" and request.headers["user-agent"]
    sent = form(request)
    assert sent["grant_type"] == "refresh_token" and sent["refresh_token"] == "r/1&" and "scope" not in sent


@every_provider
def test_A16_url_contains_no_secret(provider: Provider) -> None:
    requests = [
        exchange(provider),
        flow.refresh(provider, APP, refresh_token=Secret("canary")),
        flow.revoke(provider, APP, token=Secret("canary")),
        flow.identity(provider, access_token=Secret("canary")),
    ]
    for request in requests:
        assert not any(secret in str(request.url) for secret in ("canary", "s&cret", "v" * 43, "c%2F%261"))


def test_revocation_sends_the_complete_token() -> None:
    assert form(flow.revoke(GOOGLE, APP, token=Secret("1//a+b/c&d=é")))["token"] == "1//a+b/c&d=é"


def test_bearer_revocation_sends_the_token_in_its_header_without_secret() -> None:
    request = flow.revoke(made(revoke_by="bearer", client_auth="basic"), APP, token=Secret("at"))
    assert (request.method, request.headers["authorization"], request.content) == ("POST", "Bearer at", b"")


def test_app_revocation_names_the_token_and_authenticates_the_app() -> None:
    provider = made(revoke_by="app", revoke_url="https://api.example.test/applications/{client_id}/grant")
    request = flow.revoke(provider, App("made", "Iv1/x", Secret("s")), token=Secret("at"))
    assert (request.method, str(request.url)) == ("DELETE", "https://api.example.test/applications/Iv1%2Fx/grant")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"Iv1%2Fx:s").decode()
    assert request.content == b'{"access_token":"at"}' and request.headers["content-type"] == "application/json"


def test_identity_request_may_have_a_graphql_body() -> None:
    shape = Identity("https://api.example.test/graphql", "{id}", "{id}", method="POST", json={"query": "{ viewer }"})
    request = flow.identity(made(identity=shape), access_token=Secret("at"))
    assert (request.method, request.content) == ("POST", b'{"query":"{ viewer }"}')
    assert request.headers["authorization"] == "Bearer at"


def test_A1_app_without_pkce_sends_neither_challenge_nor_verifier() -> None:
    provider = made(pkce="if_app_enabled")
    assert "code_challenge" not in authorize(provider)
    assert "code_verifier" not in form(exchange(provider))


@pytest.mark.parametrize("app", [replace(APP, pkce=True), replace(APP, client_secret=None)], ids=["enabled", "public"])
def test_A1_pkce_apps_and_public_clients_send_challenge_and_verifier(app: App) -> None:
    provider = made(pkce="if_app_enabled")
    assert asked(authorize(provider, app))["code_challenge_method"] == ["S256"]
    assert form(exchange(provider, app))["code_verifier"] == "v" * 43


def test_scopes_are_sent_in_the_providers_parameter() -> None:
    assert asked(authorize(made(scope_param="user_scope")))["user_scope"] == ["a b"]
    assert "scope" not in asked(authorize(made(scope_param="")))


# ------------------------------------------------------------- token replies


def reply(**more: Any) -> dict[str, Any]:
    """Return a token reply; None leaves a field out."""
    fields = {"access_token": "at", "token_type": "Bearer", "expires_in": 3599, "refresh_token": "rt", "scope": "a b"}
    return {name: value for name, value in (fields | more).items() if value is not None}


def test_complete_token_reply_is_parsed() -> None:
    tokens = flow.parse_tokens(GOOGLE, reply())
    assert (tokens.access, tokens.refresh) == (Secret("at"), Secret("rt"))
    assert tokens.scopes == frozenset({"a", "b"}) and tokens.lifetime == 3599
    assert "at" not in re.findall(r"'(\w+)'", repr(tokens))


_NONSENSE: tuple[Any, ...] = (None, "", "soon", -1, 0, [], {}, "nan", "inf", 1e30)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("3599", 3599), (3599.5, 3599.5), (" 60 ", 60)),
        *((odd, 0) for odd in _NONSENSE),
    ],
)
def test_expires_in_may_be_a_string_missing_or_invalid(value: Any, seconds: float) -> None:
    assert flow.parse_tokens(GOOGLE, reply(expires_in=value)).lifetime == seconds


def test_missing_expires_in_uses_the_providers_default() -> None:
    provider = made(default_lifetime=7200)
    assert flow.parse_tokens(provider, reply(expires_in=None)).lifetime == 7200
    assert flow.parse_tokens(provider, reply(expires_in="nonsense")).lifetime == 7200


def test_R6_fields_missing_from_a_reply_are_none() -> None:
    tokens = flow.parse_tokens(GOOGLE, reply(refresh_token=None, scope=None))
    assert tokens.refresh is None and tokens.scopes is None


@pytest.mark.parametrize("value", ["", 7, [], {"a": 1}, False])
def test_R6_invalid_refresh_token_is_none(value: Any) -> None:
    assert flow.parse_tokens(GOOGLE, reply(refresh_token=value)).refresh is None


def test_A13_scopes_are_split_on_spaces_and_commas_with_aliases() -> None:
    scope = "a,b, c  https://www.googleapis.com/auth/userinfo.email"
    assert flow.parse_tokens(GOOGLE, reply(scope=scope)).scopes == frozenset({"a", "b", "c", "email"})
    assert flow.parse_tokens(GOOGLE, reply(scope=["a", "b c", 7])).scopes == frozenset({"a", "b", "c"})


KEEPING = {"kept_fields": {"instance_url": r"https://[a-z0-9-]+\.example\.test"}}


def test_extra_reply_fields_are_kept_in_the_defined_form() -> None:
    tokens = flow.parse_tokens(made(**KEEPING), reply(instance_url="https://acme.example.test", other="x"))
    assert tokens.extra == {"instance_url": "https://acme.example.test"}
    assert flow.parse_tokens(made(**KEEPING), reply()).extra == {}


@pytest.mark.parametrize(
    "value",
    [
        *("https://evil.test", "http://acme.example.test", "https://acme.example.test.evil.test", "", 7, None, []),
        *(
            "https://acme.example.test/",
            "https://x@acme.example.test",
            "https://acme.example.test\n",
            "https://ACME.example.test",
        ),
    ],
)
def test_D1_reply_naming_a_foreign_instance_is_refused(value: Any) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        flow.parse_tokens(made(**KEEPING), {**reply(), "instance_url": value})
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "text",
        b"bytes",
        {},
        reply(access_token=None),
        reply(access_token=""),
        reply(access_token=7),
        reply(token_type="mac"),
        reply(token_type="DPoP"),
        reply(token_type=["bearer"]),
    ],
)
def test_reply_without_a_bearer_token_is_an_error_without_its_values(bad: Any) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        flow.parse_tokens(GOOGLE, bad)
    assert str(caught.value) == "Google answered without a usable token."


@pytest.mark.parametrize("token", ["tökén", "a\r\nX-Evil: 1", "a\x00b", "a\tb", "\ud800"])
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_D5_token_with_characters_outside_RFC_6749_is_refused(name: str, token: str) -> None:
    try:
        tokens = flow.parse_tokens(GOOGLE, reply(**{name: token}))
    except ProviderUnavailable:
        return
    assert name == "refresh_token" and tokens.refresh is None


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", None])
def test_token_type_is_case_insensitive_and_optional(kind: str | None) -> None:
    assert flow.parse_tokens(GOOGLE, reply(token_type=kind)).access == Secret("at")


# ------------------------------------------------------------- callbacks and identities


def test_callback_is_parsed_and_its_code_hidden() -> None:
    back = flow.parse_callback({"code": "c-123", "state": "s-123", "iss": "https://accounts.google.com", "x": "y"})
    assert back.code == Secret("c-123") and (back.state, back.error) == (Secret("s-123"), "")
    assert "c-123" not in repr(back)


def test_empty_callback_is_parsed() -> None:
    assert flow.parse_callback({}) == flow.Callback(Secret(""), None, "", "")
    assert flow.parse_callback({"code": ""}).code is None


def test_identity_is_read_from_nested_fields() -> None:
    account, extra = flow.parse_identity(
        made(), {"team": {"id": "T1"}, "user": {"id": 7, "name": "Alice"}, "plan": "x"}
    )
    assert (account.subject, account.name, extra) == ("T1:7", "Alice", {"plan": "x"})


def test_account_without_a_name_uses_its_subject() -> None:
    account, extra = flow.parse_identity(made(), {"team": {"id": "T1"}, "user": {"id": "U", "name": None}})
    assert (account.name, extra) == ("T1:U", {})


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "x",
        b"<html>",
        {},
        {"team": "T1", "user": {"id": 7}},
        {"team": {"id": ""}, "user": {"id": 7}},
        {"team": {"id": True}, "user": {"id": 7}},
        {"team": {"id": ["T1"]}, "user": {"id": 7}},
        {"team": {"id": 1.5}, "user": {"id": 7}},
        {"team": {"id": "T1"}},
        {"team": {"id": "T\0"}, "user": {"id": 7}},
        {"team": {"id": "\ud800"}, "user": {"id": 7}},
    ],
)
def test_identity_without_a_subject_part_is_an_error(odd: Any) -> None:
    with pytest.raises(ProviderUnavailable):
        flow.parse_identity(made(), odd)


def test_lone_surrogate_in_a_name_or_scope_is_removed() -> None:
    assert flow.parse_identity(made(), {"team": {"id": "T"}, "user": {"id": 1, "name": "Al\ud800"}})[0].name == "Al"
    reply = {"access_token": "a-1", "token_type": "bearer", "scope": "read \ud800 \x00 write"}
    assert flow.parse_tokens(made(), reply).scopes == frozenset({"read", "write"})


def test_identity_template_uses_the_first_present_field() -> None:
    provider = made(identity=Identity("https://api.example.test/me", "{sub|id}", "{email|login}"))
    account, _ = flow.parse_identity(provider, {"id": 7, "login": "alice", "email": None})
    assert (account.subject, account.name) == ("7", "alice")
    assert flow.parse_identity(provider, {"sub": "s", "id": 7})[0].subject == "s"


RIGHTS = {"permissions": Permissions("https://api.example.test/installations", "installations", "permissions")}


def test_permissions_are_read_from_every_item_and_validated() -> None:
    said: dict[str, Any] = {
        "installations": [
            {"permissions": {"issues": "write", "metadata": "read"}},
            {"permissions": {"contents": "read", "odd one": "read", "x": 1}},
            {"permissions": None},
            "text",
        ]
    }
    found = flow.parse_permissions(made(**RIGHTS), said)
    assert found == (frozenset({"issues:write", "metadata:read", "contents:read"}), False)
    assert flow.parse_tokens(made(**RIGHTS), reply(scope="")).scopes is None


@pytest.mark.parametrize("odd", [None, [], {}, {"installations": {}}, b"<html>"])
def test_reply_without_permissions_is_an_error(odd: Any) -> None:
    with pytest.raises(ProviderUnavailable):
        flow.parse_permissions(made(**RIGHTS), odd)


def test_template_in_a_reply_is_not_expanded() -> None:
    account, _ = flow.parse_identity(made(), {"team": {"id": "{user.id}"}, "user": {"id": r"\1", "name": "{plan}"}})
    assert (account.subject, account.name) == (r"{user.id}:\1", "{plan}")
