"""The command line with a server known only from its metadata."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.cli.prompts import raise_unless_granted
from deputize.core import Consent, Provider, ProviderUnavailable, from_settings
from deputize.core.oauth.discover import discover
from tests.cli.conftest import Command
from tests.support.oidc_server import API, CLIENT, ISSUER, SECRET, OidcServer

SETTINGS = {
    "DEPUTIZE_PORT": "0",
    "DEPUTIZE_USER": "alice",
    "DEPUTIZE_APPS__NATIVE__CLIENT_ID": CLIENT,
    "DEPUTIZE_APPS__NATIVE__CLIENT_SECRET": SECRET,
    "DEPUTIZE_APPS__NATIVE__ISSUER": ISSUER,
    "DEPUTIZE_APPS__NATIVE__API": f'{{"acme": "{API}"}}',
    "DEPUTIZE_APPS__NATIVE__ALLOW_PRIVATE_NETWORK": "true",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> OidcServer:
    """Return the server behind the issuer."""
    played = OidcServer()

    async def at_server(issuer: str, **given: Any) -> Provider:
        at_played: dict[str, Any] = {**given, "transport": played}
        return await discover(issuer, **at_played)

    monkeypatch.setattr(from_settings, "discover", at_server)
    return played


def asking(cli: Command, *scopes: str) -> Any:
    """Run ``deputize connect``, which nobody answers."""
    words = [word for scope in scopes for word in ("--scopes", scope)]
    return cli("connect", "native", *words, "--no-browser", "--wait", "0.1", **SETTINGS)


def test_listed_scope_is_requested(cli: Command, server: OidcServer) -> None:
    found = asking(cli, "api:read")
    assert "/connect/" in found.output and "was not used in time" in found.stderr
    assert "does not list" not in found.output


def test_scope_without_description_is_called_a_permission(cli: Command, server: OidcServer) -> None:
    said = " ".join(asking(cli, "api:read").stderr.split())
    assert 'Your agent needs your consent at native to: │ │ • use the permission "api:read" │' in said


def test_unlisted_scope_is_requested_with_a_warning(cli: Command, server: OidcServer) -> None:
    found = asking(cli, "api:raed")
    assert "native does not list the scope 'api:raed'. Did you mean api:read?" in " ".join(found.stderr.split())
    assert "/connect/" in found.output and "was not used in time" in found.stderr


def test_malformed_scope_list_is_used_as_far_as_valid(cli: Command, server: OidcServer) -> None:
    odd = ["api:read", 7, None, "", "a b", "\u202etxt", 'q"', "x" * 300]
    server.said = {"scopes_supported": [*odd, *map(str, range(900))]}
    assert "does not list" not in asking(cli, "api:read").output
    assert "does not list the scope 'x'" in " ".join(asking(cli, "x").stderr.split())


def test_operator_fault_is_explained_in_the_terminal() -> None:
    consent = Consent(
        "id", "acme", "acme", ("a",), ("a",), "", 0.0, status="failed", reason_code="redirect_uri_mismatch"
    )
    with pytest.raises(ProviderUnavailable, match="Acme could not be connected") as e:
        raise_unless_granted(consent, "Acme")
    assert e.value.hint.startswith("The address that browsers come back to") and "at Acme" in e.value.hint


def test_doctor_says_that_a_server_is_usable_and_how(cli: Command, server: OidcServer) -> None:
    server.par = True
    found = " ".join(cli("doctor", **SETTINGS).stdout.split())
    assert "native: login.example.test can be used; requests are pushed (RFC 9126)" in found


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"token_endpoint_auth_methods_supported": ["tls_client_auth"]}, "certificate"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "private_key_file"),
        ({"require_signed_request_object": True}, "RFC 9101"),
        ({"issuer": "https://other.example.test"}, "another name"),
    ],
)
def test_doctor_names_what_a_server_lacks(cli: Command, server: OidcServer, said: dict[str, Any], words: str) -> None:
    server.said = said
    found = cli("doctor", **SETTINGS)
    assert found.exit_code == 1 and words in found.stdout and "Traceback" not in found.output
    assert words not in cli("doctor", "--offline", **SETTINGS).stdout
