"""Models of providers that know every family of tokens, who it belongs to, and why it ended.

acme    refresh tokens work once, and a second use ends the family; revoking a used one does nothing
birch   the same, but revoking any token of a person ends all that the app has of them
cedar   refresh tokens work until they are revoked; deputize is not told whether it can revoke older tokens alone, and
        in every second schedule it cannot: all consents of a person are one grant (RFC 7009 2.1)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

import httpx

from deputize.core import (
    ApiRules,
    App,
    Audience,
    Effect,
    Identity,
    OAuthEndpoints,
    Preview,
    Provider,
    Request,
    Secret,
    Steps,
    Toolkit,
    any_of,
)
from deputize.core.oauth.pkce import fingerprint
from tests.simulation.loop import Process, SimulatedLoop

PAL: Final = "pal@acme.example"
SCOPES: Final = ("notes:read", "notes:write")
LIFETIME: Final = 3600.0
GRACE_FOR_CODES: Final = 600.0
FRESH: Final = 1.0
"""Seconds within which every process knows that all grants have ended."""
Reply: TypeAlias = tuple[int, dict[str, Any]]


def _row(name: str) -> Provider:
    login = f"https://{name}.example"
    return Provider(
        name=name,
        label=name.title(),
        oauth=OAuthEndpoints(
            authorize_url=f"{login}/oauth/authorize",
            token_url=f"{login}/oauth/token",
            revoke_url=f"{login}/oauth/revoke",
            device_url=f"{login}/oauth/device",
            revokes_all=name == "birch",
            ends_replaced="at_once" if name == "acme" else "with_grant",
        ),
        apis=ApiRules(
            roots={name: f"https://api.{name}.example/v1"},
            hosts=frozenset({f"api.{name}.example"}),
            identity=Identity(f"https://api.{name}.example/v1/me", "{id}", "{email}"),
        ),
        scope_descriptions={"notes:read": "read your notes", "notes:write": "post notes"},
    )


ROWS: Final = {name: _row(name) for name in ("acme", "birch", "cedar")}
APPS: Final = [App(name, f"client-of-{name}", Secret(f"secret-of-{name}"), name) for name in ROWS]


def _kit(name: str) -> Toolkit:
    kit = Toolkit(name, provider=name, api=name, shows=True)

    @kit.tool(needs=[any_of(*SCOPES)])
    def read() -> Steps:
        """Say whose notes these are."""
        return (yield Request("GET", "/notes"))

    @kit.tool(needs=[any_of("notes:write")], effect=Effect.SENDS)
    def post(text: str, to: str = PAL) -> Steps:
        """Post a note for somebody."""
        yield Preview("Post a note", audience=Audience.PEOPLE, people=[to], text=text)
        return (yield Request("POST", "/notes", json={"text": text}))

    return kit


TOOLKITS: Final = [_kit(name) for name in ROWS]


@dataclass(frozen=True)
class Acting:
    """The user for whom a step of the simulation runs, and when that began; ``at``: by the loop's clock."""

    user: str
    provider: str
    began: int
    at: float


ACTING: Final = ContextVar[Acting | None]("acting", default=None)


@dataclass(eq=False)
class Family:
    """All tokens of one code.

    ``requested``: when the request of the consent began, and ``asked``: when it had returned; ``redeemed``: tokens
    were issued; ``lost``: the reply with its latest tokens never came to a process that could store them;
    ``ended_by``: "" while it is alive.
    """

    name: str
    user: str
    provider: str
    email: str
    requested: int
    asked: int
    consent: str
    redeemed: bool = False
    access: dict[str, float] = field(default_factory=dict)
    refresh: str = ""
    used: set[str] = field(default_factory=set)
    lost: bool = False
    ended_by: str = ""
    refreshes: int = 0

    @property
    def alive(self) -> bool:
        return self.redeemed and not self.ended_by


@dataclass(eq=False)
class Disconnect:
    """An order to end families: of a user at a provider, or of all if both are "".

    ``ended``: when it had returned, and ``at``, by the loop's clock; ``cut``: when it had failed or its process had
    died. It has neither while it may go on.
    """

    user: str
    provider: str
    began: int
    ended: int = 0
    at: float = 0.0
    cut: int = 0

    def covers(self, family: Family) -> bool:
        """Whether it may have ended this family."""
        mine = self.user in ("", family.user) and self.provider in ("", family.provider)
        over = self.ended or self.cut
        return mine and (not over or family.requested <= over)

    def must_end(self, family: Family) -> bool:
        """Whether this family must be over after it."""
        mine = self.user in ("", family.user) and self.provider in ("", family.provider)
        return mine and bool(self.ended) and family.asked < self.began


@dataclass(eq=False)
class Post:
    """A note that was posted. ``began``: when the job began that wanted it."""

    family: Family
    text: str
    began: int


class Wrong(AssertionError):
    """Something happened that must not."""


@dataclass(eq=False)
class Providers:
    """All of them, and what they saw. ``wrong``: what must not happen and did."""

    loop: SimulatedLoop
    now: int = 0
    families: dict[str, Family] = field(default_factory=dict)
    codes: dict[str, tuple[Family, float]] = field(default_factory=dict)
    devices: dict[str, Family | None] = field(default_factory=dict)
    """Device codes, and the families of those that a person has entered."""
    tokens: dict[str, Family] = field(default_factory=dict)
    fingerprints: dict[str, Family] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    trouble: set[tuple[str, str]] = field(default_factory=set)
    """What fails now: a provider's name, and ``token``, ``revoke``, ``me``, ``api`` or ``401``."""
    disconnects: list[Disconnect] = field(default_factory=list)
    trace: Callable[[str], None] | None = None
    ends_all: tuple[str, ...] = ()
    """Where one revocation ends all families of a person."""
    whose_asked: dict[str, asyncio.Event] = field(default_factory=dict)
    """Set when a program asks this provider whose tokens it has, for those who wait."""
    unstored: dict[str, tuple[Family, Process]] = field(default_factory=dict)
    """Tokens that came to a process and were not stored yet."""
    _number: Any = field(default_factory=count)

    def tick(self) -> int:
        """The next moment."""
        self.now += 1
        return self.now

    def violated(self, said: str) -> None:
        self.wrong.append(said)

    def family(self, user: str, provider: str, email: str, consent: str, *, requested: int, asked: int) -> Family:
        """A person has consented."""
        name = f"{provider}-{email.partition('@')[0]}-{next(self._number)}"
        self.families[name] = family = Family(name, user, provider, email, requested, asked, consent)
        return family

    def authorize(self, family: Family) -> str:
        """The code that the browser of this person brings back."""
        code = f"code-of-{family.name}"
        self.codes[code] = family, self.loop.time() + GRACE_FOR_CODES
        return code

    def enter(self, user_code: str, family: Family) -> None:
        """A person enters this code."""
        self.devices[f"device-of-{user_code}"] = family

    def issue(self, family: Family, *, rotate: bool) -> dict[str, Any]:
        """New tokens of a family."""
        number, family.redeemed = next(self._number), True
        access = f"at-{family.name}-{number}"
        family.access[access] = self.loop.time() + LIFETIME
        reply: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "expires_in": LIFETIME}
        reply["scope"] = " ".join(SCOPES)
        self._know(access, family)
        if rotate:
            family.refresh = reply["refresh_token"] = f"rt-{family.name}-{number}"
            self._know(family.refresh, family)
        return reply

    def stored(self, plain: bytes) -> None:
        """Tokens in this record are stored now."""
        for token in [one for one in self.unstored if one.encode() in plain]:
            del self.unstored[token]

    def _know(self, token: str, family: Family) -> None:
        self.tokens[token] = family
        self.fingerprints[fingerprint(Secret(token))] = family

    # ------------------------------------------------------------- requests

    def rotated_by(self, request: httpx.Request) -> list[Family]:
        """The family whose refresh token this request will use up, if it is one of those that work once."""
        if not request.url.path.endswith("/token"):
            return []
        family = self.tokens.get(parse_qs(request.content.decode()).get("refresh_token", [""])[0])
        return [family] if family and family.provider != "cedar" else []

    def handle(self, request: httpx.Request) -> tuple[Reply, Family | None]:
        """Carry out a request, and return the answer. Also the family whose new tokens are in it."""
        host, path = request.url.host, request.url.path
        provider = host.removeprefix("api.").removesuffix(".example")
        kind = path.rpartition("/")[2]
        if (provider, "api" if kind == "notes" else kind) in self.trouble:
            return (503, {"error": "server_error"}), None
        if kind == "device":
            code = f"user-code-{next(self._number)}"
            self.devices[f"device-of-{code}"] = None
            reply = {"device_code": f"device-of-{code}", "user_code": code, "expires_in": 600, "interval": 5}
            return (200, {**reply, "verification_uri": f"https://{provider}.example/device"}), None
        if kind in ("token", "revoke"):
            form = {name: value[0] for name, value in parse_qs(request.content.decode()).items()}
            return self._token(provider, form) if kind == "token" else (self._revoke(provider, form), None)
        return self._api(provider, request, kind), None

    def _token(self, provider: str, form: Mapping[str, str]) -> tuple[Reply, Family | None]:
        refused: tuple[Reply, None] = (400, {"error": "invalid_grant"}), None
        if "code" in form:
            family, until = self.codes.pop(form["code"], (None, 0.0))
            if family is None or family.provider != provider or until < self.loop.time():
                return refused
            return (200, self.issue(family, rotate=True)), family
        if "device_code" in form:
            if form["device_code"] not in self.devices:
                return refused
            if (entered := self.devices[form["device_code"]]) is None:
                return (400, {"error": "authorization_pending"}), None
            del self.devices[form["device_code"]]
            return (200, self.issue(entered, rotate=True)), entered
        token, acting = form.get("refresh_token", ""), ACTING.get()
        family = self.tokens.get(token)
        if family is None or family.provider != provider:
            self.violated(f"{provider} got a refresh token that it never issued")
            return refused
        if acting and acting.user and acting.user != family.user:
            self.violated(f"a step of {acting.user} refreshed {family.name} of {family.user}")
        if token in family.used and family.alive:
            if not family.lost:
                self.violated(f"a refresh token of {family.name} was used a second time, and its reply was not lost")
            family.ended_by = "reuse"
        if not family.alive:
            return refused
        family.refreshes += 1
        rotates = provider != "cedar"
        if rotates:
            family.used.add(token)
        return (200, self.issue(family, rotate=rotates)), family if rotates else None

    def _revoke(self, provider: str, form: Mapping[str, str]) -> Reply:
        token = form.get("token", "")
        family = self.tokens.get(token)
        if family and family.provider == provider and not (provider == "acme" and token in family.used):
            for one in self.persons(family) if provider in self.ends_all else [family]:
                if one.alive:
                    one.ended_by = "revoked"
        return 200, {}

    def persons(self, family: Family) -> list[Family]:
        """All families of the same person."""
        return [one for one in self.families.values() if (one.provider, one.email) == (family.provider, family.email)]

    def _api(self, provider: str, request: httpx.Request, kind: str) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        family = self.tokens.get(token)
        if family is None:
            self.violated(f"{provider} got an access token that it never issued")
            return 401, {}
        if kind == "notes":
            self._judge(provider, family)
        if token in self.unstored:
            self.violated(f"an access token of {family.name} was used before it was stored")
        if (provider, "401") in self.trouble or not family.alive or family.access[token] < self.loop.time():
            return 401, {"error": "invalid_token"}
        if kind == "me":
            self.whose_asked.pop(provider, asyncio.Event()).set()
            return 200, {"id": f"id-of-{family.email}", "email": family.email}
        if request.method == "POST":
            acting = ACTING.get()
            self.posts.append(Post(family, json.loads(request.content)["text"], acting.began if acting else 0))
            return 200, {"id": str(len(self.posts))}
        return 200, {"who": family.email}

    def _judge(self, provider: str, family: Family) -> None:
        acting = ACTING.get()
        if acting is None or acting.user != family.user or family.provider != provider:
            self.violated(f"{acting.user if acting else 'nobody'} acted with {family.name} of {family.user}")
            return
        for order in self.disconnects:
            known = order.user or order.at + FRESH < acting.at
            if known and order.ended < acting.began and order.must_end(family):
                self.violated(f"{family.user} acted with {family.name} after the disconnect had returned")


@dataclass(eq=False)
class Line(httpx.AsyncBaseTransport):
    """The network of one process. ``weather``: what may happen to a request, each with its probability.

    ``under_way``: the families whose refresh token is on its way from this process, or whose new tokens are on their
    way to it.
    """

    providers: Providers
    process: Process
    weather: Mapping[str, float]
    under_way: list[Family] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process.on_death.append(self._lose)

    def _lose(self) -> None:
        """The process is dead: what is under way to it is lost, and what it has not stored."""
        for family in self.under_way:
            family.lost = True
        for token, (family, process) in self.providers.unstored.items():
            if process is self.process and token == family.refresh and family.alive and not family.lost:
                family.lost = True
                self._say(f"had not stored the latest tokens of {family.name}")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop, rng = self.providers.loop, self.providers.loop.rng
        drawn = rng.random()
        fate = ""
        for fate, probability in self.weather.items():  # noqa: B007
            drawn -= probability
            if drawn < 0:
                break
        else:
            fate = ""
        answer: asyncio.Future[httpx.Response] = loop.create_future()
        acting, came = ACTING.get(), [] if fate == "cut before" else self.providers.rotated_by(request)
        if fate == "unsent":
            await asyncio.sleep(0)
            raise httpx.ConnectError("refused")

        def arrive() -> None:
            if fate == "cut before":
                ended()
                return fail()
            ACTING.set(acting)
            (status, body), family = self.providers.handle(request)
            self._say(f"{request.method} {request.url.host}{request.url.path} -> {status}")
            slow = rng.uniform(10.0, 90.0) if fate == "slow" else rng.random() * 0.2
            if status != 200:  # no token was used, or its family is over
                ended()
                came.clear()
            if family and family not in came:
                came.append(family)
                self.under_way.append(family)
            if family:
                family.lost |= answer.done() or self.process.dead or fate == "cut after"
            loop.after(slow, reply, status, body)
            self.process.mark(request.url.path.rpartition("/")[2])

        def reply(status: int, body: dict[str, Any]) -> None:
            ended()
            if answer.done() or self.process.dead or fate == "cut after":
                self._say(f"the answer to {request.method} {request.url.path} was lost")
                return fail()
            for token in (body.get("access_token"), body.get("refresh_token")):
                if token:
                    self.providers.unstored[token] = self.providers.tokens[token], self.process
            answer.set_result(httpx.Response(status, json=body))

        def fail() -> None:
            if not answer.done():
                answer.set_exception(httpx.ReadError("the connection was cut"))

        def ended() -> None:
            for family in came:
                self.under_way.remove(family)

        self.under_way += came
        loop.after(rng.random() * 0.1, arrive)
        try:
            return await answer
        except asyncio.CancelledError:  # the program waits no longer
            for family in came:
                family.lost = True
            raise

    def _say(self, what: str) -> None:
        if self.providers.trace:
            self.providers.trace(f"{self.process.name} {what}")
