"""Shared Signals: security event tokens that a transmitter pushes (RFC 8417, RFC 8935, OpenID SSF 1.0, CAEP, RISC).

    POST /signals/ssf           or /signals/ssf/{name} for the issuer of [signin.NAME]
    content-type: application/secevent+jwt

The transmitter is trusted, by its signature, for users of this issuer and tenant only. A token that was received before
has no effect again: its ``jti`` is stored once its work is done. The response is 202, or 400 with a code of RFC 8935.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.acts.offboard import end_sessions
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import SessionsEnded
from deputize.core.errors import DeputizeError
from deputize.core.oauth.id_token import CLOCK_SKEW_SECONDS
from deputize.core.oauth.jose import ALGS, header_of
from deputize.core.vault.grant import Secret, User
from deputize.core.web.pages.site import Page, Site, body_of, note
from deputize.core.web.signin.base_sign_in import BaseSignIn
from deputize.core.web.signin.issuer import Issuer, user_at
from deputize.core.web.signing_key import sign

PATH: Final = "/signals/ssf"
MEDIA_TYPE: Final = "application/secevent+jwt"
MAX_BODY_BYTES: Final = 16384
MAX_AGE_SECONDS: Final = 7 * 86400.0
"""The greatest age of a token: a transmitter repeats it after an outage. Its id is stored for as long."""
MAX_EVENTS: Final = 20
_CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
_RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"

Effect: TypeAlias = Literal["sessions", "access"]
EFFECTS: Final[Mapping[str, Effect]] = {
    f"{_CAEP}session-revoked": "sessions",
    f"{_CAEP}credential-change": "sessions",
    f"{_RISC}account-disabled": "access",
    f"{_RISC}account-purged": "access",
}
"""What an event ends: the user's sessions and the grants that came from them, or all of the user's access."""

log = logging.getLogger("deputize")


class Transmitter(Issuer):
    """A transmitter of Shared Signals, whose keys its metadata names (SSF 1.0, 7.1)."""

    def metadata_urls(self) -> tuple[str, ...]:
        parts = urlsplit(self.url)
        return (f"{parts.scheme}://{parts.netloc}/.well-known/ssf-configuration{parts.path.rstrip('/')}",)


class Refused(Exception):
    """A refusal of a token. ``code``: of RFC 8935 2.4."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class SharedSignals:
    """The receiver of one transmitter's events about the users of one issuer.

    ``audience``: of this receiver at the transmitter. ``subject``: the claim that is the user: a subject counts if its
    format (RFC 9493) has that claim's value.
    """

    def __init__(self, sign_in: BaseSignIn, transmitter: Transmitter, audience: str, subject: str) -> None:
        self.sign_in, self.deputy, self.transmitter = sign_in, sign_in.deputy, transmitter
        self.audience, self.subject = audience, subject
        self.path: Final = f"{PATH}/{sign_in.name}" if sign_in.name else PATH

    @property
    def page(self) -> Page:
        """The address and its handler."""
        return Page("POST", self.path, self._receive)

    async def _receive(self, site: Site, request: Request) -> Response:
        try:
            claims = await self._claims(request)
            await self._work(claims)
        except Refused as refused:
            log.warning("A token to %s was refused: %s (%s)", self.path, refused.code, refused.why)
            content = json.dumps({"err": refused.code, "description": refused.why})
            headers = {"cache-control": "no-store", "content-language": "en"}
            return Response(content, 400, headers, media_type="application/json")
        except DeputizeError as error:  # the transmitter sends it again
            note(error, f"POST {self.path}")
            return Response(status_code=503, headers={"cache-control": "no-store"})
        return Response(status_code=202, headers={"cache-control": "no-store"})

    async def _claims(self, request: Request) -> dict[str, Any]:
        """Return the claims of a token that the transmitter made for this receiver."""
        body = await body_of(request, MAX_BODY_BYTES)
        if body is None or request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
            raise Refused("invalid_request", f"The body is not {MEDIA_TYPE} of {MAX_BODY_BYTES} bytes at most.")
        token = Secret(body.decode("ascii", errors="replace").strip())
        if str(header_of(token.reveal()).get("typ", "")).lower() not in ("secevent+jwt", MEDIA_TYPE):
            raise Refused("invalid_request", "The type of the token is not secevent+jwt.")
        claims = await self.transmitter.claims(token, frozenset(ALGS))
        if isinstance(claims, str):
            raise Refused("invalid_key", f"The token {claims}.")
        audience, now = claims.get("aud"), self.deputy.clock()
        if claims.get("iss") != self.transmitter.url:
            raise Refused("invalid_issuer", "The token is another issuer's.")
        if self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise Refused("invalid_audience", "The token is for another audience.")
        issued, ends = claims.get("iat"), claims.get("exp", now + 1)
        if not (_is_time(issued) and _is_time(ends)):
            raise Refused("invalid_request", "The token does not say when it was made.")
        if not now - MAX_AGE_SECONDS < issued <= now + CLOCK_SKEW_SECONDS or ends <= now - CLOCK_SKEW_SECONDS:
            raise Refused("invalid_request", "The token is too old, or comes from the future.")
        name, events = claims.get("jti"), claims.get("events")
        if not isinstance(name, str) or not 0 < len(name) <= 512:
            raise Refused("invalid_request", "The token has no jti.")
        if not isinstance(events, dict) or not 0 < len(events) <= MAX_EVENTS:
            raise Refused("invalid_request", "The token has no events.")
        return claims

    async def _work(self, claims: Mapping[str, Any]) -> None:
        """Do what the events of a token demand, once."""
        vault = self.deputy.vault
        place = "logged_out", f"{sign(vault.keys.web, 'ssf', self.path, self.transmitter.url, claims['jti'])}."
        if await vault.get(*place) is not None:
            return
        for user, event in self._demands(claims):
            cause = f"SSF: {event.rpartition('/')[2]}"
            if EFFECTS[event] == "access":
                await self.deputy.offboard(user, cause)
            else:
                await self._end_sessions(user, cause, float(claims["iat"]))
        await vault.insert(*place, {"expires": self.deputy.clock() + MAX_AGE_SECONDS + 2 * CLOCK_SKEW_SECONDS})

    def _demands(self, claims: Mapping[str, Any]) -> list[tuple[User, str]]:
        """Return user and event of everything to do. Raises `Refused` before anything is done."""
        found = list[tuple[User, str]]()
        for event, details in claims["events"].items():
            if event not in EFFECTS:
                continue
            if not isinstance(details, dict):
                raise Refused("invalid_request", "An event is not an object.")
            if event.endswith("/credential-change") and details.get("change_type") == "create":
                continue  # what the user signed in with is still good
            subject = self._subject_of(claims.get("sub_id", details.get("subject")))
            user = user_at(self.sign_in.sessions.issuer, subject, self.sign_in.tenant)
            if user is None:
                raise Refused("invalid_request", "The subject is not a user of this issuer in a known format.")
            found.append((user, event))
        return found

    def _subject_of(self, given: Any) -> str:
        """Return the user's subject at the issuer, or "" if this names none (RFC 9493, SSF 1.0 3)."""
        if isinstance(given, dict) and isinstance(given.get("user"), dict):
            given = given["user"]  # a complex subject
        if not isinstance(given, dict):
            return ""
        kind = str(given.get("format", given.get("subject_type", ""))).replace("-", "_")
        if kind == "iss_sub" and self.subject == "sub":
            known = given.get("iss") in (self.sign_in.sessions.issuer, self.transmitter.url)
            found = given.get("sub") if known else None
        else:
            found = (
                given.get("email") if kind == self.subject == "email" else given.get("id") if kind == "opaque" else None
            )
        return found if isinstance(found, str) else ""

    async def _end_sessions(self, user: User, cause: str, issued: float) -> None:
        """End the user's sessions, those that begin by an earlier id_token, and the grants that came from sessions."""
        ended = await end_sessions(user, self.deputy.vault, issued, self.deputy.clock())
        await self.deputy.sources.session_ended(user)
        await self.deputy.audit.record(SessionsEnded(OfUser(tenant=user.tenant, user=user.id), cause, ended))


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
