"""The issuer reports a sign-out: the user's sessions at the pages end, in every process, and no others."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from deputize.core import User
from deputize.core.acts.offboard import LOGOUT_TTL
from deputize.core.web.signin.back_channel_logout import EVENT, LOGOUT_TOKEN_TTL
from deputize.core.web.signin.sign_in_sessions import Session
from tests.core.web.test_sign_in import Browser, Place, alice_at, place
from tests.support.oidc_server import CLIENT, ISSUER, ec_key

Claims = dict[str, Any]
PATH: Final = "/sign-in/backchannel"


async def with_sessions(**more: Any) -> Place:
    """Users get a ``sid``, which `Browser` of the place reports in turn."""
    here = await place(**more)
    clock = here.world.clock
    here.server.claims = lambda usual: usual | {"iat": clock(), "exp": clock() + 600, "sid": here.server.said["sid"]}
    return here


@pytest.fixture
async def here() -> Place:
    return await with_sessions()


async def signed_in(here: Place, name: str, sid: str) -> Browser:
    here.server.userinfo = {"sub": name, "email": f"{name}@example.test"}
    here.server.said = here.server.said | {"sid": sid}
    browser = here.browser()
    await browser.sign_in()
    assert await is_in(here, browser)
    return browser


async def is_in(here: Place, browser: Browser) -> bool:
    """Return True if another process of the application recognises the browser's user."""
    other = Browser(here.another(), here.server, jar=dict(browser.jar))
    return (await other.get("/connections")).status_code == 200


def logout(here: Place, key: ECKey | None = None, typ: str = "logout+jwt", **claims: Any) -> str:
    """Return a logout token, as in Back-Channel Logout 1.0 2.4. A claim that is None is left out."""
    now = here.world.clock()
    usual: Claims = {"iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8)}
    usual |= {"events": {EVENT: {}}} | claims
    header = {"alg": "ES256", "kid": "ec-1", "typ": typ}
    return jwt.encode(header, {name: v for name, v in usual.items() if v is not None}, key or ec_key())


async def tell(here: Place, token: str) -> httpx.Response:
    """Send it from server to server: no cookie, no origin."""
    return await here.another().send("POST", PATH, data={"logout_token": token})


async def test_logout_at_the_issuer_ends_its_sessions_here_and_no_others(here: Place) -> None:
    laptop, phone, bob = [
        await signed_in(here, *one) for one in (("alice-1", "s1"), ("alice-1", "s2"), ("bob-1", "s3"))
    ]
    said = await tell(here, logout(here, sid="s1", sub="alice-1"))
    assert (said.status_code, said.headers["cache-control"], said.content) == (200, "no-store", b"")
    assert [await is_in(here, one) for one in (laptop, phone, bob)] == [False, True, True]
    assert (await tell(here, logout(here, sub="alice-1"))).status_code == 200
    assert [await is_in(here, one) for one in (laptop, phone, bob)] == [False, False, True]
    assert (await tell(here, logout(here, sid="s3"))).status_code == 200
    assert not await is_in(here, bob)


async def test_logout_token_is_used_once_and_reveals_no_sessions(here: Place) -> None:
    token = logout(here, sub="alice-1")
    assert (await tell(here, token)).status_code == 200, "there is no session, and that is said to nobody"
    here.world.clock.now += 2
    alice = await signed_in(here, "alice-1", "s1")
    assert (await tell(here, token)).status_code == 400
    assert await is_in(here, alice)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("another issuer", {"iss": "https://evil.example"}),
        ("another client", {"aud": "another"}),
        ("another client of many", {"aud": ["another", "third"]}),
        ("no audience", {"aud": None}),
        ("no event", {"events": None}),
        ("another event", {"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}}),
        ("an event that is no object", {"events": {EVENT: True}}),
        ("a nonce", {"nonce": "n"}),
        ("a nonce that is empty", {"nonce": ""}),
        ("no id", {"jti": None}),
        ("nobody", {"sub": None}),
        ("a subject that is no text", {"sub": 7}),
        ("no time", {"iat": None}),
        ("a time that is no number", {"iat": "now"}),
        ("an end that is no number", {"exp": "soon"}),
        ("long ago", {"iat": 1.0, "exp": 2.0}),
        ("yet to come", {"iat": 4e9, "exp": 5e9}),
    ],
)
async def test_invalid_logout_token_ends_nothing(name: str, change: Claims, here: Place) -> None:
    alice = await signed_in(here, "alice-1", "s1")
    said = await tell(here, logout(here, None, **({"sub": "alice-1"} | change)))
    assert (said.status_code, said.content) == (400, b""), name
    assert await is_in(here, alice)


@pytest.mark.parametrize("kind", ["key", "none", "hmac", "id_token", "access token", "empty", "long", "no form"])
async def test_logout_token_not_signed_by_the_issuer_ends_nothing(kind: str, here: Place) -> None:
    alice = await signed_in(here, "alice-1", "s1")
    usual = {"iss": ISSUER, "aud": CLIENT, "sub": "alice-1", "iat": here.world.clock(), "exp": here.world.clock() + 60}
    made: dict[str, Callable[[], str]] = {
        "key": lambda: logout(here, ECKey.generate_key("P-256", {"kid": "ec-1"}), sub="alice-1"),
        "none": lambda: ".".join(["eyJhbGciOiJub25lIn0", logout(here, sub="alice-1").split(".")[1], ""]),
        "hmac": lambda: ".".join(["eyJhbGciOiJIUzI1NiJ9", *logout(here, sub="alice-1").split(".")[1:]]),
        "id_token": lambda: here.server.sign(usual | {"nonce": "n", "sid": "s1"}),
        "access token": lambda: logout(here, typ="at+jwt", sub="alice-1"),
        "empty": lambda: "",
        "long": lambda: "x" * 20_000,
        "no form": lambda: "\xff",
    }
    assert (await tell(here, made[kind]())).status_code == 400
    assert await is_in(here, alice)


async def test_logout_token_is_valid_for_minutes_only(here: Place) -> None:
    for ends in (None, here.world.clock() + 86400):
        alice = await signed_in(here, "alice-1", "s1")
        token = logout(here, sub="alice-1", exp=ends)
        late = logout(here, sub="alice-1", exp=ends)
        here.world.clock.now += LOGOUT_TOKEN_TTL - 1
        assert (await tell(here, token)).status_code == 200 and not await is_in(here, alice)
        here.world.clock.now += 200
        assert (await tell(here, late)).status_code == 400


async def test_logout_token_type_jwt_or_none_is_accepted(here: Place) -> None:
    for typ in ("JWT", "Logout+JWT"):
        alice = await signed_in(here, "alice-1", "s1")
        here.world.clock.now += 2
        assert (await tell(here, logout(here, typ=typ, sub="alice-1"))).status_code == 200
        assert not await is_in(here, alice)
        here.world.clock.now += 2


@pytest.mark.parametrize("named", [{"sid": "s1"}, {"sub": "alice-1"}])
async def test_sign_in_in_progress_at_the_logout_gets_no_session(named: Claims, here: Place) -> None:
    """The code was redeemed, and the session not stored yet: there was nothing to end."""
    here.server.said = here.server.said | {"sid": "s1"}
    browser = here.browser()
    back = here.server.authorize(await browser.set_out())
    begin = here.sign_in.sessions.begin

    async def meanwhile(*given: Any) -> str:
        assert (await tell(here, logout(here, None, **named))).status_code == 200
        return await begin(*given)

    vars(here.sign_in)["sessions"] = Stalled(here.sign_in.sessions, meanwhile)
    await browser.come_back(**back)
    vars(here.sign_in)["sessions"] = here.sign_in.sessions.inner  # type: ignore[attr-defined]
    assert not await is_in(here, browser)
    here.world.clock.now += 2
    assert await is_in(here, await signed_in(here, "alice-1", "s9")), "a sign-in after that is one"


async def test_delayed_logout_does_not_end_a_later_session(here: Place) -> None:
    browser, now = here.browser(), here.world.clock()
    here.server.said = here.server.said | {"sid": "s1"}
    back = here.server.authorize(await browser.set_out())
    begin = here.sign_in.sessions.begin

    async def meanwhile(*given: Any) -> str:
        for issued in (now, now - 30):
            assert (await tell(here, logout(here, sub="alice-1", iat=issued))).status_code == 200
        return await begin(*given)

    vars(here.sign_in)["sessions"] = Stalled(here.sign_in.sessions, meanwhile)
    await browser.come_back(**back)
    assert not await is_in(here, browser)


async def test_page_read_during_the_logout_keeps_no_session(monkeypatch: pytest.MonkeyPatch, here: Place) -> None:
    """The session was read, and this page's note is written after it was removed."""
    alice, sessions = await signed_in(here, "alice-1", "s1"), here.sign_in.sessions
    here.world.clock.now += 61
    swap, told = here.vault.swap, list[int]()

    async def late(old: Any, content: Any) -> Any:
        if old.kind == "session" and not told:
            told.append((await tell(here, logout(here, sid="s1"))).status_code)
        return await swap(old, content)

    monkeypatch.setattr(here.vault, "swap", late)
    await sessions.user(next(value for name, value in alice.jar.items() if name.endswith("-session")))
    assert told == [200] and not await is_in(here, alice) and await here.vault.scan("session") == []


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_logout_needs_a_posted_token(method: str, here: Place) -> None:
    alice = await signed_in(here, "alice-1", "s1")
    said = await alice.world.send(method, f"{PATH}?logout_token={logout(here, sub='alice-1')}", cookies=alice.jar)
    assert said.status_code == 405 and await is_in(here, alice)
    assert (await alice.post(PATH)).status_code == 400 and await is_in(here, alice)


class Stalled:
    """Sessions that begin only after something else has happened."""

    def __init__(self, inner: Any, begin: Any) -> None:
        self.inner, self.begin = inner, begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def test_same_subject_at_another_issuer_is_not_signed_out(here: Place) -> None:
    alice = await signed_in(here, "alice-1", "s1")
    other = type(here.sign_in.sessions)(here.vault, "https://other.example", here.world.clock)
    cookie = await other.begin(Session(User("https://other.example#alice-1")))
    assert (await tell(here, logout(here, sub="alice-1"))).status_code == 200
    assert not await is_in(here, alice) and await other.user(cookie) == User("https://other.example#alice-1")


async def test_interrupted_logout_is_completed_when_repeated(here: Place) -> None:
    alice, token, broken = await signed_in(here, "alice-1", "s1"), logout(here, sub="alice-1"), here.another()
    ended = list[User]()

    async def cut_off(user: User) -> None:
        raise asyncio.CancelledError

    async def kept(user: User) -> None:
        ended.append(user)

    broken.deputy.sources.session_ended = cut_off  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await broken.send("POST", PATH, data={"logout_token": token})
    again = here.another()
    again.deputy.sources.session_ended = kept  # type: ignore[method-assign, assignment]
    assert (await again.send("POST", PATH, data={"logout_token": token})).status_code == 200
    assert ended == [alice_at()] and not await is_in(here, alice)
    assert (await again.send("POST", PATH, data={"logout_token": token})).status_code == 400


async def test_logout_records_name_nobody_and_are_swept(here: Place) -> None:
    await signed_in(here, "alice-1", "secret-session")
    await tell(here, logout(here, sid="secret-session"))
    for kind, rows in (("session", 0), ("session_names", 2), ("logged_out", 2)):
        found = await here.vault.scan(kind)
        assert len(found) == rows
        told = "".join(record.key for record in found) + json.dumps([record.json for record in found])
        assert "secret-session" not in told and "alice" not in told
    here.world.clock.now += max(LOGOUT_TTL, 43200.0) + 1
    await here.world.deputy.sweeper.turn()
    assert [len(await here.vault.scan(kind)) for kind in ("session_names", "logged_out")] == [0, 0]
