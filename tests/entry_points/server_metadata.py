"""Metadata of authorization servers with hostile values for each key that deputize reads, up to the user's link."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import httpx

from deputize.core import App, DeputizeError, discover
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.oauth.server_metadata import check_origins, provider_from_metadata
from tests.entry_points.hostile_values import NUMBERS, TEXTS, Report, is_documented, place_of, some
from tests.support.sandbox_deputy import build, public_names

ISSUER: Final = "https://as.example.test"
METADATA: Final[Mapping[str, Any]] = {
    "issuer": ISSUER,
    **{f"{name}_endpoint": f"{ISSUER}/{name}" for name in ("authorization", "token", "userinfo", "revocation")},
    **{"jwks_uri": f"{ISSUER}/keys", "code_challenge_methods_supported": ["S256"], "scopes_supported": ["openid"]},
}
ADDRESSES: Final = (
    "https://[",
    "https://[::1",
    "https://a:b/",
    "https://as.example.test:99999/",
    "//x",
    "http://127.0.0.1/",
)
ADDRESSES_TOO: Final = (
    f"{ISSUER}/\r\nx: y",
    f"{ISSUER}/é",
    f"{ISSUER}@evil.test/",
    f"{ISSUER}/#",
    "file:///etc/passwd",
    "https:",
)
VALUES: Final[tuple[Any, ...]] = (
    *(*TEXTS, *ADDRESSES, *ADDRESSES_TOO, *NUMBERS, None, [], {}, [None], [[]], {"a": []}),
    *([text] for text in TEXTS),
    ["a"] * 3000,
)


class Keys(dict[str, Any]):
    """A document that notes which of its keys are read."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(document)
        self.read = set[str]()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def keys() -> list[str]:
    """Return the keys that are read of a document."""
    document = Keys(METADATA)
    words: dict[str, Any] = {"name": "acme", "label": "", "api": {}, "resource": "", "audience": "issuer"}
    provider_from_metadata(ISSUER, document, **words, par=False, dpop=False)
    check_origins(ISSUER, document, ())
    return sorted({*document.read, "issuer", "require_pushed_authorization_requests"})


async def play(random: Random, share: float) -> Report:
    """Return what came of this share of all cases."""
    report = Report()
    for key in keys():
        for value in some(random, VALUES, share):
            await tried(report, key, value, json.dumps({**METADATA, key: value}))
    for body in ("", "[]", "null", "{", "[" * 100_000, '{"issuer": 1e999}', '"\\ud800"', "9" * 5000, "\ufeff{}"):
        await tried(report, "the whole document", body, body)
    return report


async def tried(report: Report, key: str, value: Any, body: str) -> None:
    """Discover this server, and lead a user to it."""
    report.calls += 1

    def answer(request: httpx.Request) -> httpx.Response:
        if "well-known" in request.url.path:
            return httpx.Response(200, content=body.encode(errors="surrogatepass"))
        return httpx.Response(400, json={"error": "invalid_request"})

    transport = httpx.MockTransport(answer)
    try:
        row = await discover(ISSUER, name="acme", transport=transport, resolve=public_names)
        async with await build(
            transport=transport, providers={"acme": row}, apps=[App("acme", "an-id")], toolkits=[]
        ) as deputy:
            [consent] = await deputy.connect("alice", "acme", scopes=["openid"])
            await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
    except DeputizeError as e:
        if not is_documented(e):
            report.fault(key, place_of(e), value)
    except Exception as e:
        report.fault(key, place_of(e), value)
