"""On-behalf-of requests equal those of Microsoft's own library (MSAL), recorded without a network."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deputize.core import App, Secret
from deputize.core.grants.sources.token_exchange import request
from deputize.core.oauth.app import TokenExchange
from deputize.core.oauth.client_auth import ASSERTION_TYPE
from deputize.core.oauth.client_key import key_in
from deputize.core.oauth.jose import content_of
from deputize.core.providers.entra import ENTRA_RULES
from deputize.core.providers.from_settings import ProviderSettings
from deputize.core.vault.grant import SecretBytes
from tests.support.counterparts import msal

pytestmark = pytest.mark.counterpart
AUTHORITY: Final = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111"
READ: Final = "https://graph.microsoft.com/Mail.Read"
GRAPH: Final = ProviderSettings.model_validate(
    {
        "oauth": {
            "authorize_url": f"{AUTHORITY}/oauth2/v2.0/authorize",
            "token_url": f"{AUTHORITY}/oauth2/v2.0/token",
            "always_scopes": ["offline_access", "openid", "profile"],
        },
        "apis": {
            "roots": {"graph": "https://graph.microsoft.com/v1.0"},
            "identity": {
                "url": "https://graph.microsoft.com/v1.0/me",
                "subject": "{id}",
                "name": "{userPrincipalName}",
            },
        },
    }
).row("graph")


class Line:
    """An HTTP client for MSAL: it records what was posted, and answers as Entra does."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, str]]] = []

    def get(self, url: str, **more: Any) -> Any:
        ends = {f"{name}_endpoint": f"{AUTHORITY}/oauth2/v2.0/{name}" for name in ("authorize", "token")}
        return Answer({"authorization_endpoint": ends["authorize_endpoint"], **ends, "issuer": f"{AUTHORITY}/v2.0"})

    def post(self, url: str, **more: Any) -> Any:
        data = more["data"]
        form = dict(data if isinstance(data, dict) else parse_qsl(data))
        self.posted.append((url, {name: v.decode() if isinstance(v, bytes) else str(v) for name, v in form.items()}))
        return Answer({"access_token": "AT", "expires_in": 3599, "token_type": "Bearer", "scope": READ})

    def close(self) -> None:
        """Nothing is open."""


class Answer:
    """A response of that client."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.status_code, self.text, self.headers = 200, json.dumps(body), dict[str, str]()
        self.content = self.text.encode()

    def raise_for_status(self) -> None:
        """Never raises."""

    def json(self) -> Any:
        return json.loads(self.text)


def of_msal(credential: Any) -> tuple[str, dict[str, str]]:
    """Return address and form of MSAL's request."""
    line = Line()
    made = msal().ConfidentialClientApplication(
        "mid-id", credential, authority=AUTHORITY, instance_discovery=False, http_client=line
    )
    made.acquire_token_on_behalf_of("eyJ.user.token", [READ])
    [posted] = line.posted
    return posted


def of_ours(app: App) -> tuple[str, dict[str, str]]:
    """Return address and form of the deputy's request."""
    made = request(GRAPH, app, TokenExchange(on_behalf_of=True), Secret("eyJ.user.token"), frozenset({READ}))
    return str(made.url), dict(parse_qsl(made.content.decode(), strict_parsing=True))


def alike(form: dict[str, str]) -> dict[str, Any]:
    """Remove MSAL's own fields, and normalise the order of scopes (RFC 6749 3.3)."""
    return {**{k: v for k, v in form.items() if k != "client_info"}, "scope": frozenset(form["scope"].split())}


def test_on_behalf_of_request_with_a_secret_matches_msal() -> None:
    theirs, ours = of_msal("mid-secret"), of_ours(App("graph", "mid-id", Secret("mid-secret"), "graph"))
    assert theirs[0] == ours[0] and alike(theirs[1]) == alike(ours[1])
    assert set(theirs[1]) - set(ours[1]) == {"client_info"}
    assert ours[1]["requested_token_use"] == "on_behalf_of" and ours[1]["assertion"] == "eyJ.user.token"


def test_on_behalf_of_assertion_with_a_key_matches_msal() -> None:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    how = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = made.private_bytes(serialization.Encoding.PEM, *how).decode()
    key = key_in(SecretBytes(pem.encode()))
    assert not isinstance(key, str)
    theirs = of_msal({"private_key": pem, "thumbprint": "A1" * 20})
    ours = of_ours(App("graph", "mid-id", None, "graph", key=key))
    said = [alike(form) for _, form in (theirs, ours)]
    assertions = [content_of(one.pop("client_assertion")) for one in said]
    assert said[0] == said[1] and said[1]["client_assertion_type"] == ASSERTION_TYPE
    for name in ("aud", "iss", "sub"):
        assert assertions[0][name] == assertions[1][name], name
    assert {"jti", "exp"} <= assertions[0].keys() & assertions[1].keys()


def test_graph_provider_uses_entras_failure_rules() -> None:
    assert GRAPH.rules is ENTRA_RULES
