"""No token is in any frame of any error, whatever fails: reporters print the locals of frames."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sentry_sdk
from rich.console import Console
from rich.traceback import Traceback
from sentry_sdk.transport import Transport
from sentry_sdk.utils import event_from_exception

from deputize.core import PROVIDERS, App, DeputizeError, Secret, User, VaultError
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.grants import refresh
from deputize.core.oauth import messages as flow
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.vault.backup import back_up
from deputize.core.vault.encoding import decode, encode
from deputize.core.vault.grant import Account, Grant, SecretBytes
from deputize.core.vault.rotation import reseal
from deputize.sandbox import Browser
from deputize.sandbox.deputies import apps
from tests.core.consent.test_consents import House
from tests.support.canary import Wiretap, frame_hits, frames, hits
from tests.support.faults import GMAIL_API, REVOKE, TOKEN, USERINFO, answer, broken
from tests.support.gmail_toolkit import ALL, PREFIX
from tests.support.lanes import sample
from tests.support.sandbox_deputy import at_provider, new_vault

LOCAL = AnyLocalUser()
ALWAYS = 10**6
Work = Coroutine[Any, Any, Any]
Attempt = Callable[[House, dict[str, str]], Awaitable[Callable[[], Work]]]
"""Prepares something, and returns the step during which something fails. Adds the secrets it knows."""


class _Collected(Transport):
    """A Sentry transport that records what would be sent."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.sent.append(envelope.serialize().decode())


@pytest.fixture(scope="module")
def sentry() -> sentry_sdk.Client:
    """Sentry with its defaults, but without the integrations, which patch the whole process."""
    return sentry_sdk.Client(dsn="http://key@127.0.0.1/1", transport=_Collected, default_integrations=False)


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "SAVE_TRIES", 2)


async def caught(work: Callable[[], Work]) -> Exception | None:
    """Return the raised error; this frame holds no secret."""
    try:
        await work()
    except Exception as error:
        return error
    return None


def reported(error: Exception, sentry: sentry_sdk.Client, *, with_rich: bool = True) -> Iterator[tuple[str, str]]:
    """Return what reporters make of it by default."""
    event, hint = event_from_exception(error, client_options=sentry.options)
    assert sentry.capture_event(event, hint)
    assert isinstance(sentry.transport, _Collected) and '"vars"' in sentry.transport.sent[-1]
    yield "sentry", sentry.transport.sent.pop()
    if not with_rich:
        return
    out = io.StringIO()
    shown = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=300, locals_max_length=5
    )
    Console(file=out, width=2000).print(shown)
    assert "locals" in out.getvalue()
    yield "rich", out.getvalue()


def clean(error: Exception, secrets: dict[str, str], sentry: sentry_sdk.Client) -> None:
    """Check that no frame shows any of these secrets.

    Reporters inspect the same frames less deeply: each place is checked once.
    """
    assert frame_hits(error, secrets, but=("/tests/", "/deputize/sandbox/")) == []
    if (place := frozenset(where for where, _ in frames(error) if "/deputize/core/" in where)) not in _reported:
        _reported.add(place)
        few = len(_reported) % 5 == 1  # rich takes its time
        assert hits(secrets, dict(reported(error, sentry, with_rich=few))) == []


_reported: set[frozenset[str]] = set()


# ------------------------------------------------------------- what is tried


async def acting(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    return lambda: house.deputy.act("gmail_search", {}, user="alice")


async def writing(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    return lambda: house.act("send")


async def refreshing(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    house.clock.now += 7200
    return lambda: house.deputy.act("gmail_search", {}, user="alice")


async def revoking(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    return lambda: house.deputy.revoke("alice", "google")


async def owing(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    house.line.answers[REVOKE] = [answer(503)]
    await house.deputy.revoke("alice")
    return house.deputy.revoker.retry


async def erasing(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    return lambda: house.deputy.erase("alice")


async def starting(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    ticket = (await house.ask()).link.rpartition("/")[2]
    return lambda: house.deputy.consents.start(ticket, LOCAL)


async def finishing(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    started = await house.start(await house.ask())
    secrets[parse_qs(urlsplit(started.url).query)["state"][0]] = "state"
    back = await at_provider(house.sandbox.transport(), started.url, as_="alice@example.test")
    secrets[back["code"]] = "code"
    nonce = started.nonce.reveal()
    return lambda: house.deputy.consents.finish("google", back, LOCAL, nonce)


async def stepping_up(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected("readonly")
    started = await house.start(await house.ask("send"))
    back = await at_provider(house.sandbox.transport(), started.url, as_="alice@example.test")
    secrets[back["code"]] = "code"
    nonce = started.nonce.reveal()
    return lambda: house.deputy.consents.finish("google", back, LOCAL, nonce)


async def connect_by_device_code(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    [asked] = await house.deputy.connect("alice", "github", scopes=["gist"])
    shown: list[Any] = []

    async def elsewhere(seconds: float) -> None:
        browser = Browser(house.sandbox.transport())
        page = await browser.open(shown[-1].address)
        page = await browser.submit(page, page.forms[0], user_code=shown[-1].code)
        if page.forms:
            await browser.submit(page, page.forms[0], account="alice@example.test", decision="allow")

    return lambda: house.deputy.consents.connect_by_device_code(asked.id, User("alice"), shown.append, elsewhere)


async def resealing(house: House, secrets: dict[str, str]) -> Callable[[], Work]:
    await house.connected(*ALL)
    house.deputy.vault.rekey([b"n" * 16 + b"k" * 16, b"k" * 32])
    return lambda: reseal(house.deputy.vault)


async def importing(house: House, secrets: dict[str, str], **wrong: Any) -> Callable[[], Work]:
    """Prepare an import: tokens arrive as plain strings, as a program has them."""
    given = house.sandbox.give(
        "google",
        "alice@example.test",
        ["openid", "https://www.googleapis.com/auth/userinfo.email", f"{PREFIX}readonly"],
    )
    tokens = {name: given[name] for name in ("access_token", "refresh_token")}
    secrets |= {token: name for name, token in tokens.items()}
    asked = {"user": "alice", "provider": "google", "account": "alice@example.test", "by": "operator", **tokens}
    return lambda: house.deputy.sources.import_tokens(**asked | wrong)


ATTEMPTS: list[Attempt] = [
    acting,
    writing,
    refreshing,
    revoking,
    owing,
    erasing,
    starting,
    finishing,
    stepping_up,
    connect_by_device_code,
    resealing,
    importing,
]
KINDS = ("meta", "grant", "intent", "outbox", "consent", "asked", "ticket", "state", "act", "person", "received")
FAULTS = [(method, kind) for method in ("get", "insert", "swap", "delete", "scan") for kind in KINDS]


async def tapped() -> tuple[House, dict[str, str]]:
    house = House()
    tap = Wiretap(house.line.inner)
    house.line.inner = tap
    await house.begin(apps=apps())
    return house, tap.secrets


@pytest.mark.processes
@pytest.mark.parametrize("attempt", sample(ATTEMPTS, lambda one: one is revoking), ids=lambda a: a.__name__)
async def test_store_failure_leaves_no_token_in_any_frame(attempt: Attempt, sentry: sentry_sdk.Client) -> None:
    failed = 0
    for fault in FAULTS:
        house, secrets = await tapped()
        work = await attempt(house, secrets)
        house.store.failing[fault] = ALWAYS
        error = await caught(work)
        house.store.failing.clear()
        known = secrets | {"the" * 9: "a canary that saw nothing proves nothing"}
        if error is not None:
            failed += 1
            clean(error, known, sentry)
    assert failed


ODD = {"access_token": "ya29.of-an-odd-reply", "refresh_token": "1//of-an-odd-reply", "token_type": "mac"}
ANSWERS: list[tuple[tuple[str, str], Callable[[httpx.Request], httpx.Response]]] = [
    (TOKEN, answer(500, {"access_token": ODD["access_token"]})),
    (TOKEN, answer(400, {"error": "invalid_grant", "refresh_token": ODD["refresh_token"]})),
    (TOKEN, answer(200, ODD)),
    (TOKEN, answer(200, {"token": ODD})),
    (TOKEN, lambda request: httpx.Response(200, text="1//of-an-odd-reply and no JSON")),
    (TOKEN, broken(httpx.ReadTimeout)),
    (TOKEN, broken(httpx.ConnectError)),
    (USERINFO, answer(500)),
    (USERINFO, answer(200, {"email": "alice@example.test"})),
    (USERINFO, broken(httpx.ReadTimeout)),
    (GMAIL_API, answer(500)),
    (GMAIL_API, answer(401)),
    (GMAIL_API, answer(403)),
    (GMAIL_API, lambda request: httpx.Response(200, text=str(request.headers))),
    (GMAIL_API, broken(httpx.ReadTimeout)),
    (REVOKE, answer(500)),
    (REVOKE, broken(httpx.ReadError)),
]


@pytest.mark.parametrize(
    "attempt", sample([refreshing, acting, writing, revoking, finishing, importing]), ids=lambda a: a.__name__
)
@pytest.mark.parametrize("store", sample([None, ("swap", "consent"), ("swap", "grant"), ("insert", "outbox")]))
async def test_provider_failure_leaves_no_token_in_any_frame(
    attempt: Attempt, store: tuple[str, str] | None, sentry: sentry_sdk.Client
) -> None:
    for place, reply in ANSWERS:
        house, secrets = await tapped()
        work = await attempt(house, secrets)
        secrets |= {ODD["access_token"]: "access_token", ODD["refresh_token"]: "refresh_token"}
        house.line.answers[place] = [reply] * 3
        if store:
            house.store.failing[store] = ALWAYS
        if error := await caught(work):
            clean(error, secrets, sentry)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": ""},
        {"provider": "nowhere"},
        {"app": "nowhere"},
        {"account": " "},
        {"foreign": True},
        {"access_token": f"two words, one of them {ODD['access_token']}"},
        {"account": "bob@example.test"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_refused_import_leaves_no_token_in_any_frame(wrong: dict[str, Any], sentry: sentry_sdk.Client) -> None:
    house, secrets = await tapped()
    work = await importing(house, secrets, **wrong)
    error = await caught(work)
    assert isinstance(error, DeputizeError)
    clean(error, secrets | {ODD["access_token"]: "access_token"}, sentry)


async def test_canary_finds_a_planted_token(sentry: sentry_sdk.Client) -> None:
    def leaky() -> None:
        token = {"inside": ["ya29.canary-canary"]}
        raise ValueError(len(token))

    async def work() -> None:
        leaky()

    error = await caught(work)
    assert error is not None
    secrets = {"ya29.canary-canary": "token"}
    assert len(frame_hits(error, secrets, but=())) == 1
    assert {hit.rpartition(" ")[2] for hit in hits(secrets, dict(reported(error, sentry)))} == {"sentry", "rich"}


# ------------------------------------------------------------- at the edges

CANARY = "-".join(("ya29.canary", "canary"))  # in one piece, Sentry would find it in the lines it shows of this file


def raised(work: Callable[[], Any]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def grant(name: str) -> Grant:
    return Grant(User("alice"), "google", "google", Account("1", name), frozenset(), Secret(CANARY), Secret(CANARY))


@pytest.mark.parametrize("name", ["a\0b", "half of a character: \ud83d"])
def test_unwritable_grant_error_contains_no_token(name: str, sentry: sentry_sdk.Client) -> None:
    odd = grant(name)
    error = raised(odd.pack)
    assert isinstance(error, VaultError)
    clean(error, {CANARY: "token"}, sentry)


@pytest.mark.parametrize("cut", [1, 5, 20, 60])
def test_invalid_grant_error_contains_no_content(cut: int, sentry: sentry_sdk.Client) -> None:
    odd = SecretBytes(grant("alice").pack().reveal()[:-cut] + CANARY.encode())
    error = raised(lambda: Grant.unpack(odd, 1))
    assert isinstance(error, VaultError)
    clean(error, {CANARY: "token"}, sentry)


def test_invalid_json_error_contains_no_content(sentry: sentry_sdk.Client) -> None:
    odd = SecretBytes(f'{{"token": "{CANARY}", '.encode())
    error = raised(lambda: decode("outbox", odd))
    assert isinstance(error, VaultError)
    clean(error, {CANARY: "token"}, sentry)


def test_tokens_in_records_stay_opaque_between_open_and_seal() -> None:
    plain = encode({"visits": [{"verifier": Secret("v")}], "code": Secret("c"), "device": {"code": Secret("d")}})
    read = decode("consent", plain)
    assert "v" not in repr(read).replace("verifier", "").replace("device", "").replace("visits", "")
    assert read["device"]["code"] == Secret("d") and encode(read) == plain
    assert decode("act", SecretBytes(b'{"code": "a", "token": "b"}')) == {"code": "a", "token": "b"}
    assert decode("outbox", encode({"leaked": [Secret("a")]}))["leaked"] == [Secret("a")]


async def test_refused_token_reply_leaves_no_token_in_any_frame(sentry: sentry_sdk.Client) -> None:
    class Odd(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json={"access_token": CANARY, "instance_url": "https://evil.example"})

    from deputize.core.http import Http

    endpoint = Endpoint(Http(Odd()), PROVIDERS["salesforce"], App("salesforce", "id", Secret("the-client-secret")))
    error = await caught(lambda: endpoint.refresh(Secret("1//refresh-refresh")))
    assert isinstance(error, Refusal)
    clean(error, {CANARY: "token", "1//refresh-refresh": "token", "the-client-secret": "secret"}, sentry)
    assert isinstance(raised(lambda: flow.parse_tokens(PROVIDERS["salesforce"], {"access_token": ""})), Exception)


async def test_failed_backup_leaves_no_key_in_any_frame(tmp_path: Path, sentry: sentry_sdk.Client) -> None:
    vault = await new_vault(tmp_path / "home" / "vault.sqlite", b"k" * 32)
    keys = {vault.keys.index.hex(): "index key", repr(vault.keys.index)[2:-1]: "index key"}
    taken = tmp_path / "taken"
    taken.touch()
    error = await caught(lambda: back_up(vault, taken, 1.0))
    assert error is not None
    clean(error, keys, sentry)
    await vault.close()
