"""APIs that take each user's key: generated with their provider, connected at deputize's page, called with the key."""

from __future__ import annotations

import copy
from typing import Any

import httpx
import pytest

from deputize.core import Call, ConsentRequired, Deputy, InvalidInput, User, allow_all
from deputize.openapi.description import from_parsed
from deputize.openapi.security import key_schemes
from tests.openapi.acme import ACME, acme, imported, make
from tests.support.sandbox_deputy import PAGES, new_vault, no_sleep

SCHEMES = {
    "header:X-Key": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "query:k": {"type": "apiKey", "in": "query", "name": "k"},
    "basic": {"type": "http", "scheme": "Basic"},
    "bearer": {"type": "apiKey", "in": "header", "name": "Authorization"},
}
SENT = {
    "header:X-Key": "x-key: s3cret",
    "query:k": "k=s3cret",
    "basic": "Basic YTpzM2NyZXQ=",
    "bearer": "Bearer s3cret",
}


def described(*ways: str, **more: Any) -> dict[str, Any]:
    """Return Acme's API with these keys alone."""
    made = copy.deepcopy(ACME)
    made["components"]["securitySchemes"] = {way: SCHEMES[way] for way in ways} | more
    made["security"] = [{way: []} for way in ways]
    for item in made["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    return made


class Api(httpx.AsyncBaseTransport):
    """Acme's API: it notes how requests carried their key. ``me``: the account of the key."""

    def __init__(self) -> None:
        self.requests, self.me = list[str](), {"id": 7, "email": "alice@acme.example"}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name in ("authorization", "x-key")}
        self.requests.append(f"{request.url} {' '.join(f'{name}: {value}' for name, value in headers.items())}")
        found = (
            self.me
            if request.url.path == "/v1/me"
            else {"total": 1, "items": [{"id": "T1", "title": self.requests[-1]}]}
        )
        return httpx.Response(200, json=found)


async def connected(deputy: Deputy, key: str, user: str = "alice") -> None:
    with pytest.raises(ConsentRequired) as asked:
        await deputy.act("acme_list_tasks", {}, user=user, call=Call("t", "m", "1"))
    started = await deputy.consents.start(asked.value.consent.link.rpartition("/")[2], User(user), "")
    back = {"state": started.state.reveal(), "code": key}
    await deputy.consents.finish("acme", back, User(user), started.nonce.reveal())


def deputy_of(document: Any, api: Api, vault: Any, **wanted: Any) -> Deputy:
    made = make(document, providers={}, **wanted)
    row = imported(made.provider, "acme_keys").ACME
    kit = imported(made.module).TOOLKIT
    more: dict[str, Any] = {"pages": PAGES, "toolkits": [kit], "transport": api, "sleep": no_sleep}
    return Deputy(vault, [], providers={"acme": row}, policy=allow_all, **more)


@pytest.mark.parametrize("way", SCHEMES)
async def test_call_carries_the_key_as_described_and_names_its_account(way: str) -> None:
    api = Api()
    deputy = deputy_of(described(way), api, await new_vault())
    await connected(deputy, "a:s3cret" if way == "basic" else "s3cret")
    [connection] = await deputy.connections("alice")
    assert connection.account == "alice@acme.example"
    got = await deputy.act("acme_list_tasks", {}, user="alice", call=Call("t", "m", "2"))
    assert len(api.requests) == 2 and all(SENT[way] in one for one in api.requests)
    assert "s3cret" not in str(got) and "YTpzM2NyZXQ=" not in str(got)
    with pytest.raises(ConsentRequired):
        await deputy.act("acme_list_tasks", {}, user="bob", call=Call("t", "m", "3"))
    await deputy.close()


def test_key_is_found_without_oauth_and_chosen_by_name_with_it() -> None:
    both = described("query:k", "header:X-Key")
    assert 'Credential.of("header:X-Key")' in make(both, providers={}).provider
    assert 'Credential.of("query:k")' in make(both, providers={}, sign_in="query:k").provider
    usual = acme()
    assert "Credential" not in make(usual).provider
    made = make(usual, sign_in="header:X-Key")
    assert list(made.tools) == ["acme_get_me", "acme_admin"] and 'Credential.of("header:X-Key")' in made.provider
    assert made.left_out["GET /tasks"] == "it requires another way to sign in than the user's key"
    with pytest.raises(InvalidInput, match="no 'header:Y' to sign in with"):
        make(usual, sign_in="header:Y")


def test_unusable_schemes_are_no_keys() -> None:
    odd = {
        "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
        "host": {"type": "apiKey", "in": "header", "name": "Host"},
        "bad": {"type": "apiKey", "in": "header", "name": "a\r\nb"},
        "digest": {"type": "http", "scheme": "digest"},
        "odd": [],
    }
    assert key_schemes(from_parsed(described(**odd))) == {}


def test_both_keys_at_once_are_not_taken() -> None:
    document = described("header:X-Key", "query:k")
    document["security"] = [{"header:X-Key": [], "query:k": []}]
    with pytest.raises(InvalidInput, match="another way to sign in"):
        make(document, providers={}, sign_in="header:X-Key")
