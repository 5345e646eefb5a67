"""Consent on a machine without a browser: the user enters a short code on another device. Source: RFC 8628.

    created -> opened (there are codes) -> confirmed (there are tokens) -> granted | partial
       any  -> denied | failed | cancelled

Unlike a link, a code does not bind the browser in which it is entered to the user. So this flow is for local mode only,
where the person who reads the terminal is the user. The terminal and the audit name the account that was connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from deputize.core.audit.events import ConsentOpened
from deputize.core.consent.grant_writer import reason_of
from deputize.core.consent.record import OPENABLE, ConsentRecord, DeviceWait, refuse_link
from deputize.core.consent.redeem import Redeemer
from deputize.core.consent.repository import ConsentRepository
from deputize.core.errors import InvalidInput, ProviderUnavailable, SettingsError
from deputize.core.failures import Kind, Outcome, classify, outcome_without_answer
from deputize.core.oauth import messages as flow
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.provider import App, Provider
from deputize.core.providers.origin import MOVED, origin_of
from deputize.core.user_requests import Consent
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret, User

Sleep = Callable[[float], Awaitable[None]]

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
SLOW_DOWN_SECONDS: Final = 5.0
"""Seconds more between two questions, when we are told to slow down (RFC 8628 3.5)."""
MAX_POLL_INTERVAL_SECONDS: Final = 60.0
MAX_DEVICE_CODE_SECONDS: Final = 1800.0


@frozen
class DeviceCode(ValueObject):
    """A code for the user, who enters ``code`` at the URL ``address`` before ``expires_at`` (Unix seconds)."""

    code: str
    address: str
    expires_at: float


class Device:
    """Completion of consents by device codes."""

    def __init__(self, repository: ConsentRepository, redeemer: Redeemer) -> None:
        self.repository, self.redeemer = repository, redeemer

    async def connect_by_device_code(
        self, consent_id: str, user: User, tell: Callable[[DeviceCode], None], sleep: Sleep = asyncio.sleep
    ) -> Consent:
        """Get a code, show it with ``tell``, and poll the provider until it is entered. Return the ended consent.

        Raises `SettingsError` outside local mode. Raises `InvalidInput` if the provider has no device flow, or the
        consent is closed or another user's. Raises `ProviderUnavailable` if the provider issues no code.
        """
        record, first = await self._begin(consent_id, user, tell)
        interval: float | None = first
        while interval is not None:
            await sleep(interval)
            opened = await self._reload_opened(record)
            if opened is None:
                break
            interval = await self.repository.services.in_flight.run(partial(self._poll_again, opened, interval))
        ended = await self.repository.find_by_id(consent_id)
        return await self.repository.to_public(ended or record)

    async def _begin(
        self, consent_id: str, user: User, tell: Callable[[DeviceCode], None]
    ) -> tuple[ConsentRecord, float]:
        services = self.repository.services
        if urlsplit(await services.pages.base_url()).hostname not in LOOPBACK:
            raise SettingsError(
                "Device codes are for local mode only: nothing shows who entered a code.",
                hint="Give the user the link of the consent.",
            )
        while True:
            record = await self._load_openable(consent_id, user)
            provider, app = self.repository.get_provider_and_app(record)
            if not provider.oauth.device_url:
                raise InvalidInput(f"{provider.label} gives no codes for other devices.", hint="Open the link instead.")
            await self.repository.check_origin(user, app)
            scopes = await self.repository.scopes_to_ask(record, provider)
            given = await self._codes(provider, app, scopes)
            wait = DeviceWait(given.code, services.clock() + min(given.lifetime, MAX_DEVICE_CODE_SECONDS))
            asked = scopes | set(provider.oauth.always_scopes)
            opened = record.open_by_device(wait, asked=asked, origin=origin_of(provider, app))
            if stored := await self.repository.save(opened):
                await services.audit.record(ConsentOpened(stored.facts(), by="device"))
                tell(DeviceCode(given.user_code, given.address, wait.expires))
                return stored, given.interval

    async def _load_openable(self, consent_id: str, user: User) -> ConsentRecord:
        """Return the user's consent of this id. Raises `InvalidInput` if it cannot be opened."""
        record = await self.repository.find_by_id(consent_id)
        if record is None or not record.is_for(user):
            await self.repository.audit_misuse("user_mismatch" if record else "unknown_consent", record)
            raise refuse_link("unknown_consent")
        if record.status not in OPENABLE:
            await self.repository.audit_misuse("used", record)
            raise refuse_link("used")
        return record

    async def _codes(self, provider: Provider, app: App, scopes: frozenset[str]) -> flow.DeviceCodes:
        services = self.repository.services
        answer = await services.http.send(flow.device_codes(provider, app, scopes=scopes), max_bytes=2**20)
        outcome = classify(
            provider.rules, "revoke", answer.status_code, answer.headers, answer.content, now=services.clock()
        )
        if outcome.kind is not Kind.OK and outcome.fix_by == "operator":
            raise SettingsError(
                f"{provider.label} gives this app no codes for other devices.",
                hint="Switch the device flow on in the app's registration.",
            )
        return flow.parse_device_codes(provider, outcome.data if outcome.kind is Kind.OK else None)

    async def _reload_opened(self, record: ConsentRecord) -> ConsentRecord | None:
        """Return the consent if it still waits for this code, or None."""
        now = await self.repository.reload(record)
        if now is None or now.status != "opened" or now.device is None or now.device != record.device:
            return None
        if self.repository.services.clock() < now.device.expires:
            return now
        await self.repository.end(now, "failed", "expired_code")
        return None

    async def _poll_again(self, record: ConsentRecord, interval: float) -> float | None:
        """Poll the provider once. Return the seconds until the next poll, or None if the reply ended the consent.

        A poll that has started runs to its end: its tokens are stored or revoked even if the caller is cancelled.
        """
        repository, asked_at = self.repository, self.repository.services.clock()
        provider, app = repository.get_provider_and_app(record)
        if record.origin != origin_of(provider, app):
            await repository.end(record, "failed", MOVED)
            return None
        outcome = await self._poll(provider, app, record)
        if outcome.kind is Kind.OK:
            await self._keep_tokens(record, provider, app, outcome, asked_at)
            return None
        match _error_of(outcome):
            case "authorization_pending":
                return interval
            case "slow_down":
                return min(max(interval + SLOW_DOWN_SECONDS, _interval_of(outcome)), MAX_POLL_INTERVAL_SECONDS)
            case "access_denied":
                await repository.end(record, "denied", "consent_denied")
            case "expired_token":
                await repository.end(record, "failed", "expired_code")
            case _ if outcome.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
                return min(max(2 * interval, outcome.wait or 0.0), MAX_POLL_INTERVAL_SECONDS)
            case _ if await self._reload_opened(record):
                await repository.end(record, "failed", reason_of(outcome))
        return None

    async def _poll(self, provider: Provider, app: App, record: ConsentRecord) -> Outcome:
        services, code = self.repository.services, record.device.code if record.device else Secret("")
        try:
            answer = await services.http.send(flow.device_token(provider, app, code=code), max_bytes=2**20)
        except ProviderUnavailable as e:
            return outcome_without_answer("refresh", sent=e.sent)  # the same code may be polled again
        return classify(
            provider.rules, "code", answer.status_code, answer.headers, answer.content, now=services.clock()
        )

    async def _keep_tokens(
        self, record: ConsentRecord, provider: Provider, app: App, outcome: Outcome, asked_at: float
    ) -> None:
        """Store the received tokens if the consent still waits for them."""
        services, code = self.repository.services, record.device.code if record.device else Secret("")
        try:
            tokens = flow.parse_tokens(provider, outcome.data)
        except ProviderUnavailable:
            await self.repository.end(record, "failed", "no_token")
            return
        endpoint = Endpoint(services.http, provider, app, services.clock)
        await self.redeemer.take_from_device(record, endpoint, tokens, asked_at, code)


def _error_of(outcome: Outcome) -> str:
    data = outcome.data if isinstance(outcome.data, dict) else {}
    return str(data.get("error", ""))


def _interval_of(outcome: Outcome) -> float:
    """Return the interval of a "slow_down" error (GitHub sends one), or 0.0."""
    data = outcome.data if isinstance(outcome.data, dict) else {}
    return float(data["interval"]) if isinstance(data.get("interval"), int) else 0.0
