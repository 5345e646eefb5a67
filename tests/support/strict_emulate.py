"""emulate made as strict as the providers, and a person who clicks on its consent page.

emulate 0.12.2 takes any unknown, expired or revoked token for its first user, checks no Google scope and no PKCE at
GitHub and Slack. `StrictTransport` refuses what the provider would refuse, keeps a ledger and can be told to fail.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx

from tests.support.discovery import Discovery
from tests.support.emulate import Place, Production, oauth_client, place

_OKTA: Final = "/oauth2/default/v1"
AUTHORIZE: Final = {
    *("/o/oauth2/v2/auth", "/login/oauth/authorize", "/oauth/v2/authorize", "/oauth/authorize", f"{_OKTA}/authorize"),
}
TOKEN: Final = {
    *("/oauth2/token", "/login/oauth/access_token", "/api/oauth.v2.access", "/oauth/token", f"{_OKTA}/token"),
}
REVOKE: Final = {"/oauth2/revoke", "/oauth/revoke", f"{_OKTA}/revoke"}
INTROSPECT: Final = {f"{_OKTA}/introspect"}
ROTATING: Final = {"github": ("ghu_", "ghr_", 28800), "slack": ("xoxe.xoxp-", "xoxe-1-", 43200)}

Send = Callable[[], httpx.Response]
Fault = Callable[[httpx.Request, Send], httpx.Response]
"""A fault of one request: `send()` lets the service act and returns its answer."""


class Entry(NamedTuple):
    """One request of the ledger, by the provider's own path; never a query, a header or a body."""

    method: str
    service: str
    path: str
    status: int | None  # None: the caller saw no answer


@dataclass
class Asked:
    """What one visit of a consent page requested."""

    redirect_uri: str
    code_challenge: str


@dataclass
class Grant:
    """The tokens of one consent: all end together, as at Google."""

    ended: bool = False


@dataclass
class Issued:
    """An access token, as the transport saw it issued."""

    grant: Grant
    scopes: frozenset[str]
    expires_at: float  # time.monotonic()
    stands_for: str = ""  # the token that emulate knows, where it knows no rotation

    @property
    def lives(self) -> bool:
        """Return whether it would be accepted now."""
        return not self.grant.ended and self.expires_at > time.monotonic()


class StrictTransport(Production):
    """An httpx transport at the providers' addresses that refuses what they would refuse.

    - Access tokens that are unknown, expired or of an ended grant are refused; revoking any token ends its grant.
    - The verifier must match the challenge, and the redirect URI of the exchange that of the consent page, everywhere.
    - Google and GitHub take any port in a loopback redirect URI (RFC 8252, 7.3).
    - Google's scopes are enforced by the given discovery documents.
    - Slack's auth.revoke and GitHub's DELETE /applications/{client_id}/grant and .../token are answered here.

    Args:
        urls: the services' addresses, `Emulate.urls`.
        access_ttl: seconds that new access tokens live, told to the client in `expires_in`; 0: born expired. None:
            what the service says. May be changed at any time.
        documents: the discovery documents by which Google's scopes are enforced.
        rotating: whether GitHub and Slack give tokens that expire and rotate; emulate knows only lasting ones.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        *,
        access_ttl: int | None = None,
        documents: Sequence[Discovery] = (),
        rotating: bool = False,
    ) -> None:
        super().__init__(urls)
        self.access_ttl, self.rotating = access_ttl, rotating
        self.ledger: list[Entry] = []
        self._documents = documents
        self._asked: dict[str, Asked] = {}  # by state
        self._codes: dict[str, Asked] = {}
        self._access: dict[str, Issued] = {}
        self._refresh: dict[str, Grant] = {}
        self._rotated: dict[str, Issued] = {}  # by refresh token: the access token that dies with it
        self._faults: dict[tuple[str, str], list[Fault]] = defaultdict(list)
        self._lock = threading.Lock()

    def inject(self, method: str, path: str, *faults: Fault) -> None:
        """Apply one of these faults to each of the next requests with this verb and path at the provider."""
        with self._lock:
            self._faults[method, path] += faults

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to one request, and record it in the ledger whatever the result."""
        to = place(request)
        request.read()
        status: int | None = None
        try:
            answer = self._fault(request.method, to.path)(request, functools.partial(self._send, to, request))
            status = answer.status_code
            return answer
        finally:
            self.ledger.append(Entry(request.method, to.service, to.path, status))

    def _fault(self, method: str, path: str) -> Fault:
        with self._lock:
            waiting = self._faults[method, path]
            return waiting.pop(0) if waiting else _no_fault

    def _send(self, to: Place, request: httpx.Request) -> httpx.Response:
        form = _form(request)
        refusal = self._refusal(to, request, form) or self._own(to, request, form)
        if refusal is not None:
            return refusal
        answer = self._forward(to, self._as_emulate_knows_it(_with_registered_port(to, request, form)))
        if to.target in AUTHORIZE and request.method == "GET" and answer.status_code == 200:
            query = dict.fromkeys(("state", "redirect_uri", "code_challenge"), "") | dict(request.url.params)
            self._asked[query["state"]] = Asked(query["redirect_uri"], query["code_challenge"])
        if to.target in TOKEN and answer.status_code == 200:
            return self._learn(to.service, form, answer)
        if answer.status_code in (302, 303):
            return self._called_back(answer)
        return answer

    def _called_back(self, answer: httpx.Response) -> httpx.Response:
        """Return a redirect to the client, with the port it requested; the code in it is recorded."""
        location = urlsplit(answer.headers["location"])
        query = dict(parse_qsl(location.query))
        asked = self._asked.get(query.get("state", ""))
        if asked and "code" in query:
            self._codes[query["code"]] = asked
            answer.headers["location"] = location._replace(netloc=urlsplit(asked.redirect_uri).netloc).geturl()
        return answer

    def _learn(self, service: str, form: Mapping[str, str], answer: httpx.Response) -> httpx.Response:
        """Record a token reply, with the lifetime of `access_ttl`."""
        reply: dict[str, Any] = answer.json()
        if self.rotating and service in ROTATING:
            _begin_rotation(service, reply)
        grant = self._refresh.get(form.get("refresh_token", "")) or Grant()
        for part in (reply, reply.get("authed_user") or {}):  # Slack nests the user's token
            if "access_token" not in part:
                continue
            if self.access_ttl is not None and "expires_in" in part:
                part["expires_in"] = self.access_ttl
            scopes = frozenset(re.split(r"[\s,]+", part.get("scope", "")))
            expires_at = time.monotonic() + part.get("expires_in", float("inf"))
            issued = Issued(grant, scopes, expires_at, part.pop("stands_for", ""))
            self._access[part["access_token"]] = issued
            if "refresh_token" in part:
                self._refresh[part["refresh_token"]] = grant
                if issued.stands_for:
                    self._rotated[part["refresh_token"]] = issued
        return _json(200, reply)

    def _own(self, to: Place, request: httpx.Request, form: Mapping[str, str]) -> httpx.Response | None:
        """Answer what the provider does and emulate does not: rotation, and ending grants."""
        if to.target in TOKEN and self.rotating and form.get("grant_type") == "refresh_token":
            return self._rotate(to.service, form) if to.service in ROTATING else None
        if to.target == "/api/auth.revoke":
            self._access[request.headers["authorization"].partition(" ")[2]].grant.ended = True
            return _json(200, {"ok": True, "revoked": True})
        if to.service == "github" and re.fullmatch(r"/applications/[^/]+/(grant|token)", to.target):
            return self._disconnect(to, request)
        return None

    def _rotate(self, service: str, form: Mapping[str, str]) -> httpx.Response:
        """Return a new pair for a refresh token, which ends with its access token. Slack's reply is flat here."""
        with self._lock:
            old = self._rotated.pop(form["refresh_token"], None)
        if old is None or old.grant.ended:
            return _json(200, _NO_REFRESH[service])
        old.expires_at = 0.0
        scope = ",".join(sorted(old.scopes))
        reply: dict[str, Any] = {"access_token": old.stands_for, "token_type": _TYPE[service], "scope": scope}
        reply |= {"ok": True} if service == "slack" else {}
        return self._learn(service, form, _json(200, reply))

    def _disconnect(self, to: Place, request: httpx.Request) -> httpx.Response:
        """Disconnect as in docs.github.com/en/rest/apps/oauth-applications: Basic with the app's id and secret."""
        client = oauth_client("github")
        basic = "Basic " + base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
        own, _, what = to.target.rpartition("/")
        if request.method != "DELETE" or own != f"/applications/{client.id}":
            return _json(404, {"message": "Not Found"})
        if request.headers.get("authorization") != basic:
            return _json(401, {"message": "Bad credentials"})
        issued = self._access.get(json.loads(request.content)["access_token"])
        if issued is None or not issued.lives:
            return _json(422, {"message": "Validation Failed"})
        if what == "token":
            issued.expires_at = 0.0
        else:
            issued.grant.ended = True
        return httpx.Response(204)

    def _as_emulate_knows_it(self, request: httpx.Request) -> httpx.Request:
        """Return the request with emulate's token in place of ours."""
        issued = self._access.get(request.headers.get("authorization", "").partition(" ")[2])
        if issued and issued.stands_for:
            request.headers["authorization"] = f"Bearer {issued.stands_for}"
        return request

    def _refusal(self, to: Place, request: httpx.Request, form: Mapping[str, str]) -> httpx.Response | None:
        """Return the provider's refusal, or None if it would act."""
        if to.target in TOKEN:
            return self._refused_exchange(to.service, form) or self._refused_refresh(form)
        if to.target in REVOKE:
            return self._refused_revocation(form)
        if "authorization" not in request.headers or "/applications/" in to.target or to.target in INTROSPECT:
            return None  # a page, or emulate's own 401; an app's own request
        scheme, _, token = request.headers["authorization"].partition(" ")
        issued = self._access.get(token) if scheme.lower() == "bearer" else None
        if issued is None or not issued.lives:
            return _dead_token(to.service, known=issued is not None)
        return self._refused_scope(request, issued.scopes)

    def _refused_exchange(self, service: str, form: Mapping[str, str]) -> httpx.Response | None:
        asked = self._codes.get(form.get("code", ""))
        if asked is None:
            return None  # a refresh, or a code that the service itself does not know
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked.code_challenge and asked.code_challenge != challenge:
            return _json(*_BAD_CODE[service])
        if form.get("redirect_uri", "") != asked.redirect_uri:
            return _json(*_BAD_REDIRECT_URI[service])
        return None

    def _refused_refresh(self, form: Mapping[str, str]) -> httpx.Response | None:
        grant = self._refresh.get(form.get("refresh_token", ""))
        return _json(400, {"error": "invalid_grant"}) if grant and grant.ended else None

    def _refused_revocation(self, form: Mapping[str, str]) -> httpx.Response | None:
        """Return None for a live token, whose grant ends here whatever emulate answers."""
        token = form.get("token", "")
        issued = self._access.get(token)
        grant = issued.grant if issued else self._refresh.get(token)
        if grant is None or grant.ended:
            return _json(400, {"error": "invalid_token"})
        grant.ended = True
        return None

    def _refused_scope(self, request: httpx.Request, granted: Collection[str]) -> httpx.Response | None:
        for document in self._documents:
            if document.find(request) and not document.accepted(request).intersection(granted):
                return _google_error(403, "PERMISSION_DENIED", "insufficientPermissions")
        return None


def _begin_rotation(service: str, reply: dict[str, Any]) -> None:
    """Replace a lasting token of emulate by an expiring one with another name and a refresh token."""
    access, refresh, seconds = ROTATING[service]
    part = reply.get("authed_user") or reply
    made = {"access_token": access + secrets.token_hex(20), "refresh_token": refresh + secrets.token_hex(20)}
    part |= {"stands_for": part["access_token"], "expires_in": seconds, **made}


_NO_REFRESH: Final[dict[str, dict[str, Any]]] = {
    "github": {"error": "bad_refresh_token"},
    "slack": {"ok": False, "error": "invalid_refresh_token"},
}
_TYPE: Final = {"github": "bearer", "slack": "user"}


def _no_fault(request: httpx.Request, send: Send) -> httpx.Response:
    return send()


def answered(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Return a fault that answers without passing the request to the service."""
    return lambda request, send: _json(status, body, headers)


def lost_before_sending(request: httpx.Request, send: Send) -> httpx.Response:
    """Return a fault: the connection is refused; the service has done nothing."""
    raise httpx.ConnectError("connection refused", request=request)


def lost_after_acting(request: httpx.Request, send: Send) -> httpx.Response:
    """Return a fault: the service has acted (a mail is sent, a refresh token rotated) and its answer is lost."""
    send()
    raise httpx.ReadError("connection reset", request=request)


_LOOPBACK: Final = re.compile(r"^http://(127\.0\.0\.1|\[::1\]):\d+(?=/)")
_ANY_PORT: Final = {"google", "github"}


def _with_registered_port(to: Place, request: httpx.Request, form: Mapping[str, str]) -> httpx.Request:
    """Return the request with the loopback port that the seed registers, if the provider accepts any."""
    if to.service not in _ANY_PORT or not (to.target in AUTHORIZE or to.target in TOKEN):
        return request
    registered = functools.partial(_LOOPBACK.sub, "http://127.0.0.1:8765")
    if request.method == "GET":
        uri = registered(request.url.params.get("redirect_uri", ""))
        return httpx.Request("GET", request.url.copy_set_param("redirect_uri", uri), headers=request.headers)
    if "redirect_uri" not in form:
        return request
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    changed = {**form, "redirect_uri": registered(form["redirect_uri"])}
    return httpx.Request(request.method, request.url, headers=headers, data=changed)


def _form(request: httpx.Request) -> dict[str, str]:
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return dict(parse_qsl(request.content.decode())) if is_form else {}


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    kind = {"content-type": "application/json"}
    return httpx.Response(status, headers={**kind, **(headers or {})}, content=json.dumps(body).encode())


def _google_error(status: int, name: str, reason: str) -> httpx.Response:
    errors = [{"domain": "global", "reason": reason, "message": "refused"}]
    headers = {"www-authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
    error = {"code": status, "status": name, "message": "refused", "errors": errors}
    return _json(status, {"error": error}, headers)


def _dead_token(service: str, known: bool) -> httpx.Response:
    if service == "google":
        return _google_error(401, "UNAUTHENTICATED", "authError")
    if service == "slack":
        return _json(200, {"ok": False, "error": "token_expired" if known else "invalid_auth"})
    if service == "linear":
        extensions = {"code": "AUTHENTICATION_ERROR", "type": "authentication error", "userError": True}
        return _json(401, {"errors": [{"message": "Authentication required", "extensions": extensions}]})
    if service == "okta":
        return _json(401, {"error": "invalid_token"}, {"www-authenticate": 'Bearer error="invalid_token"'})
    return _json(401, {"message": "Bad credentials", "status": "401"})


_BAD_CODE: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "google": (400, {"error": "invalid_grant"}),
    "github": (200, {"error": "bad_verification_code"}),
    "slack": (200, {"ok": False, "error": "invalid_code"}),
    "linear": (400, {"error": "invalid_grant"}),
    "okta": (400, {"error": "invalid_grant"}),
}
_BAD_REDIRECT_URI: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "google": (400, {"error": "redirect_uri_mismatch"}),
    "github": (200, {"error": "redirect_uri_mismatch"}),
    "slack": (200, {"ok": False, "error": "bad_redirect_uri"}),
    "linear": (400, {"error": "invalid_grant"}),
    "okta": (400, {"error": "invalid_grant"}),
}


@dataclass
class Form:
    """A form of a page: what a browser would submit, and the text a person reads on it."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = True
            self.forms.append(Form(given.get("action", "")))
        elif self._inside and tag in ("input", "button") and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.forms[-1].words += data.split()


def forms(page: str) -> list[Form]:
    """Return every form of an HTML page, in order."""
    return _Page(page).forms


async def consent_click(
    transport: httpx.AsyncBaseTransport, authorize_url: str, user_email: str, *, unticked: Collection[str] = ()
) -> str:
    """Open a consent page, press the button of this user, and return the callback URL it leads to, unvisited.

    Speaks to the transport itself: an httpx client would log the addresses, and the code in them.

    Args:
        unticked: scopes whose boxes the user clears; they are not granted.
    """
    page = await transport.handle_async_request(httpx.Request("GET", authorize_url))
    text = (await page.aread()).decode()
    assert page.status_code == 200, f"the consent page answered {page.status_code}"
    form = next((one for one in forms(text) if user_email in {*one.fields.values(), *one.words}), None)
    assert form, "the consent page has no button for this user"
    if unticked:
        form.fields["scope"] = " ".join(one for one in form.fields["scope"].split() if one not in unticked)
    target = urljoin(authorize_url, form.action)
    answer = await transport.handle_async_request(httpx.Request("POST", target, data=form.fields))
    assert answer.status_code in (302, 303), f"the consent form answered {answer.status_code}"
    return str(answer.headers["location"])
