"""Consent on a machine without a browser: the user enters a short code elsewhere. Source: RFC 8628.

    created -> opened (there are codes) -> confirmed (there are tokens) -> granted | partial
       any  -> denied | failed | cancelled

Nothing ties the browser in which the code is entered to our user, as a link of ours does. So this is for local mode
alone, where the person who reads the terminal is the user; whose account it became is said there and in the audit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from deputize.core.consent.browser import Visits, reason_of
from deputize.core.consent.record import Content, is_them, refused
from deputize.core.errors import InvalidInput, ProviderUnavailable, SettingsError
from deputize.core.failures import Kind, Outcome, classify, lost
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import App, Provider
from deputize.core.pending import Consent
from deputize.core.portal import portal
from deputize.core.providers.origin import MOVED, noted, origin_in, origin_of
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.vault import Record

Sleep = Callable[[float], Awaitable[None]]

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
SLOWER: Final = 5.0
"""Seconds more between two questions, when we are told to slow down (RFC 8628 3.5)."""
SLOWEST: Final = 60.0
LONGEST: Final = 1800.0


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the user is shown: enter ``code`` at ``address``, before ``expires_at`` (Unix seconds)."""

    code: str
    address: str
    expires_at: float


class Devices(Visits):
    """Consents whose browser is on another machine."""

    async def by_device(
        self, consent_id: str, user: User, tell: Callable[[DeviceCode], None], sleep: Sleep = asyncio.sleep
    ) -> Consent:
        """Get a code, let ``tell`` show it to the user, and ask the provider until it was entered; how that ended.

        Raises `SettingsError` outside local mode, `InvalidInput` for a provider without device flow and for a consent
        that is over or another user's, `ProviderUnavailable` where no code can be had.
        """
        record, first = await self._begin(consent_id, user, tell)
        interval: float | None = first
        while interval is not None:
            await sleep(interval)
            opened = await self._opened(record)
            if opened is None:
                break
            interval = await portal().hop(partial(self._asked_again, opened, interval))
        ended = await self._by("asked", fingerprint(consent_id))
        return await self._public((ended or record).json)

    async def _begin(self, consent_id: str, user: User, tell: Callable[[DeviceCode], None]) -> tuple[Record, float]:
        if urlsplit(await self.pages.base_url()).hostname not in LOOPBACK:
            raise SettingsError(
                "A code instead of a link is for local mode only: it cannot show who entered it.",
                hint="Give the user the link of the consent.",
            )
        while True:
            record = await self._mine(consent_id, user)
            content = record.json
            provider, app = self._row(content)
            if not provider.device:
                raise InvalidInput(f"{provider.label} gives no codes for other devices.", hint="Open the link instead.")
            await self._stay(user, app)
            asked = await self._asked(content, provider)
            given = await self._codes(provider, app, asked)
            expires = self.clock() + min(given.lifetime, LONGEST)
            content |= {
                "status": "opened",
                "device": {"code": given.code, "expires": expires},
                "visit_expires": expires,
                "asked": sorted(asked | set(provider.always)),
                **noted(origin_of(provider, app)),
            }
            if stored := await self.vault.swap(record, content):
                self.audit.write("consent.opened", **self._facts(content), by="device")
                tell(DeviceCode(given.user_code, given.address, expires))
                return stored, given.interval

    async def _mine(self, consent_id: str, user: User) -> Record:
        record = await self._by("asked", fingerprint(consent_id))
        if record is None or not is_them(user, record.json):
            self._suspect("user_mismatch" if record else "unknown_consent", self._facts(record.json) if record else {})
            raise refused("unknown_consent")
        if record.json["status"] not in ("created", "opened"):
            self._suspect("used", self._facts(record.json))
            raise refused("used")
        return record

    async def _codes(self, provider: Provider, app: App, scopes: frozenset[str]) -> flow.DeviceCodes:
        answer = await self.http.send(flow.device_codes(provider, app, scopes=scopes), max_bytes=2**20)
        outcome = classify(
            provider.rules, "revoke", answer.status_code, answer.headers, answer.content, now=self.clock()
        )
        if outcome.kind is not Kind.OK and outcome.fix_by == "operator":
            raise SettingsError(
                f"{provider.label} gives this app no codes for other devices.",
                hint="Switch the device flow on in the app's registration.",
            )
        return flow.parse_device_codes(provider, outcome.data if outcome.kind is Kind.OK else None)

    async def _opened(self, record: Record) -> Record | None:
        """The consent, if it still waits for this very code to be entered."""
        now = await self.vault.get(record.kind, record.key)
        if now is None or now.json["id"] != record.json["id"] or now.json["status"] != "opened":
            return None
        if now.json.get("device") != record.json["device"]:
            return None
        if self.clock() < now.json["device"]["expires"]:
            return now
        await self._end(now, "failed", "expired_code")
        return None

    async def _asked_again(self, record: Record, interval: float) -> float | None:
        """Ask the provider once; how long to wait before the next time, None where its answer has ended it.

        Runs to its end once begun: tokens that are on their way are kept or ended, though nobody waits any more.
        """
        content, asked_at = record.json, self.clock()
        provider, app = self._row(content)
        if origin_in(content) != origin_of(provider, app):
            await self._end(record, "failed", MOVED)
            return None
        outcome = await self._polled(provider, app, content["device"]["code"])
        if outcome.kind is Kind.OK:
            endpoint = Endpoint(self.http, provider, app, self.clock)
            await self._entered(record, endpoint, outcome, asked_at)
            return None
        match _name(outcome):
            case "authorization_pending":
                return interval
            case "slow_down":
                return min(max(interval + SLOWER, _said(outcome)), SLOWEST)
            case "access_denied":
                await self._end(record, "denied", "consent_denied")
            case "expired_token":
                await self._end(record, "failed", "expired_code")
            case _ if outcome.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
                return min(max(2 * interval, outcome.wait or 0.0), SLOWEST)
            case _ if await self._opened(record):
                await self._end(record, "failed", reason_of(outcome))
        return None

    async def _polled(self, provider: Provider, app: App, code: Secret) -> Outcome:
        try:
            answer = await self.http.send(flow.device_token(provider, app, code=code), max_bytes=2**20)
        except ProviderUnavailable as e:
            return lost("refresh", sent=e.sent)  # the same code may be asked for again
        return classify(provider.rules, "code", answer.status_code, answer.headers, answer.content, now=self.clock())

    async def _entered(self, record: Record, endpoint: Endpoint, outcome: Outcome, asked_at: float) -> None:
        """The tokens are here: keep them, if the consent still waits for them."""
        try:
            tokens = flow.parse_tokens(endpoint.provider, outcome.data)
        except ProviderUnavailable:
            await self._end(record, "failed", "no_token")
            return
        while True:
            taken: Content = {"status": "confirmed", "visits": [], "device": {}, "returned": self.clock()}
            if confirmed := await self.vault.swap(record, record.json | taken):
                return await self._hold(confirmed, endpoint, tokens, asked_at)
            again = await self._opened(record)
            if again is None:  # disconnected, or finished by the link meanwhile
                self._suspect("late_code", self._facts(record.json))
                return await self._discard(record.json, tokens)
            record = again


def _name(outcome: Outcome) -> str:
    data = outcome.data if isinstance(outcome.data, dict) else {}
    return str(data.get("error", ""))


def _said(outcome: Outcome) -> float:
    """The interval that a "slow down" names (GitHub)."""
    data = outcome.data if isinstance(outcome.data, dict) else {}
    return float(data["interval"]) if isinstance(data.get("interval"), int) else 0.0
