"""A signed webhook that offboards a user, in the form of Standard Webhooks (https://www.standardwebhooks.com).

    POST /signals/webhook, or /signals/webhook/{name} for the issuer of [signin.NAME]
    webhook-id: msg_2KWPBgLlAfxdpx2AI54pPJ85f4W      stored once the work is done, so that a repetition has no effect
    webhook-timestamp: 1800000000                    Unix seconds, five minutes old at most
    webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
    {"type": "user.offboarded", "timestamp": "...", "data": {"subject": "00u1ab"}}

The subject is the claim by which the issuer of this address names its users, so a sender reaches those users only. The
response is the same whether deputize knows the user or not, and every offboarding is in the audit.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import re
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import SettingsError
from deputize.core.vault.grant import Secret, User
from deputize.core.web.pages.site import Page, Site, body_of
from deputize.core.web.signing_key import sign

PATH: Final = "/signals/webhook"
MAX_AGE_SECONDS: Final = 300.0
"""How far the timestamp of a message may be from now."""
MAX_BODY_BYTES: Final = 16384
EVENT: Final = "user.offboarded"
_MIN_SECRET_BYTES: Final = 24
_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")
_HEADERS: Final = {"cache-control": "no-store"}

log = logging.getLogger("deputize")


class Webhook:
    """The receiver of one sender's messages.

    ``secret``: ``whsec_`` and base64 of 24 bytes or more, shared with the sender. ``user_of``: returns the user for a
    subject, or None for an invalid one. ``name``: of the sign-in, "" for the only one. Raises `SettingsError` for
    another form of secret.
    """

    def __init__(
        self, deputy: BaseDeputy, secret: Secret, user_of: Callable[[Any], User | None], name: str = ""
    ) -> None:
        self.deputy, self._user_of, self.name = deputy, user_of, name
        self.path: Final = f"{PATH}/{name}" if name else PATH
        try:
            self._key = base64.b64decode(secret.reveal().removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            self._key = b""
        if len(self._key) < _MIN_SECRET_BYTES:
            raise SettingsError(
                f"{f'signin.{name}' if name else 'serve'}.offboarding_secret is not a secret of Standard Webhooks.",
                hint=f"Set whsec_ and base64 of {_MIN_SECRET_BYTES} random bytes or more.",
            )

    @property
    def page(self) -> Page:
        """The address and its handler."""
        return Page("POST", self.path, self._receive)

    async def _receive(self, site: Site, request: Request) -> Response:
        """Offboard the user of a message. The reason for refusing one is in the log, not in the response."""
        body = await body_of(request, MAX_BODY_BYTES)
        name = request.headers.get("webhook-id", "")
        if body is None or not self._is_genuine(name, request, body):
            log.warning("A message to %s has no valid signature of now, or is too long.", self.path)
            return Response(status_code=401, headers=_HEADERS)
        vault = self.deputy.vault
        place = "logged_out", f"{sign(vault.keys.web, 'webhook', self.name, name)}."
        if await vault.get(*place) is not None:
            return Response(status_code=204, headers=_HEADERS)
        event, subject = _read(body)
        user = self._user_of(subject)
        if event == EVENT and user is None:
            log.warning("A message to %s names no subject.", self.path)
            return Response(status_code=400, headers=_HEADERS)
        if event == EVENT and user is not None:
            await self.deputy.offboard(user, "webhook")
        await vault.insert(*place, {"expires": self.deputy.clock() + 3 * MAX_AGE_SECONDS})
        return Response(status_code=204, headers=_HEADERS)

    def _is_genuine(self, name: str, request: Request, body: bytes) -> bool:
        """Return whether the sender signed this message, and lately."""
        stamp = request.headers.get("webhook-timestamp", "")
        if not _ID.fullmatch(name) or not re.fullmatch("[0-9]{1,12}", stamp):
            return False
        if abs(self.deputy.clock() - int(stamp)) > MAX_AGE_SECONDS:
            return False
        digest = hmac.digest(self._key, f"{name}.{stamp}.".encode() + body, "sha256")
        wanted = f"v1,{base64.b64encode(digest).decode()}".encode()
        given = request.headers.get("webhook-signature", "").split(" ")[:8]
        return any([hmac.compare_digest(one.encode(), wanted) for one in given])


def _read(body: bytes) -> tuple[Any, Any]:
    """Return type and subject, as far as the message has them."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    data = message.get("data") if isinstance(message, dict) else None
    return (message.get("type"), data.get("subject")) if isinstance(data, dict) else (None, None)
