"""Sign-in to deputize's pages at a SAML 2.0 identity provider: Web Browser SSO and Single Logout profiles.

    GET  /sign-in/{name}            to the identity provider, with a signed request
    POST /sign-in/{name}/callback   the assertion consumer service: checks the response and stores what it says
    GET  /sign-in/{name}/callback   in the browser that began: takes the stored result, and a session begins
    GET  /sign-in/{name}/logout     single logout by HTTP-Redirect, in both directions; POST: by HTTP-POST
    GET  /sign-in/{name}/metadata   the metadata to register at the identity provider

The response is a POST from the identity provider's page. Browsers send no SameSite=Lax cookie with it, so only the GET
that follows can see whether the browser began this sign-in. What is stored in between was signed by the identity
provider, so others cannot fill the store. Each assertion is stored once, and taken once.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from lxml import etree
from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import SettingsError
from deputize.core.web.pages.rendering import asset, root_of, see_other
from deputize.core.web.pages.site import Page, Site, current_path, fields_of
from deputize.core.web.signin.base_sign_in import SIGNED_OUT, BaseSignIn, SignInRequest
from deputize.core.web.signin.issuer import claims_fault, user_at
from deputize.core.web.signin.saml.assertions import Assertion, read_logout, read_response
from deputize.core.web.signin.saml.parties import NAME_ID_FORMATS, IdentityProvider, ServiceProvider
from deputize.core.web.signin.saml.requests import (
    authn_request,
    from_base64,
    logout_answer,
    logout_request,
    read_redirect,
    redirect_url,
)
from deputize.core.web.signin.saml.xml_security import MAX_XML_BYTES, parse, refused, verify
from deputize.core.web.signin.sign_in_sessions import Session
from deputize.core.web.signing_key import sign

MAX_FIELD_BYTES: Final = MAX_XML_BYTES * 3 // 2
"""Bytes of a form with a message: Base64, and its escapes."""
_ANSWER: Final = re.compile(r"([0-9a-f]{32}\.)([0-9a-f]{64})")


class SamlSignIn(BaseSignIn):
    """Sign-in at one SAML identity provider.

    ``provider``: from its metadata. ``keys``: of deputize there (`read_keys`). ``name_id``: the format of its users'
    NameIDs, a name in `NAME_ID_FORMATS`. ``subject``: the attribute with the user id, which the identity provider gives
    to no other user; ``sub``: the NameID. ``required``: attributes that a user must have, with these values. ``more``:
    see `BaseSignIn`. Raises `SettingsError` in local mode, and if a transient NameID would be the user id.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        *,
        provider: IdentityProvider,
        keys: tuple[Any, ...],
        name_id: str = "persistent",
        subject: str = "sub",
        required: Mapping[str, str] = MappingProxyType({}),
        **more: Any,
    ) -> None:
        if name_id == "transient" and subject == "sub":
            raise SettingsError(
                "A transient NameID names nobody: it is new at each sign-in.",
                hint="Set saml_name_id to persistent, or sign_in_subject to an attribute with the user id.",
            )
        self.provider, self.subject, self.required = provider, subject, required
        self.name_id_format = NAME_ID_FORMATS[name_id]
        super().__init__(deputy, issuer_id=provider.entity_id, **more)
        self.service = ServiceProvider(f"{self.base}{self.at}", keys)
        self._metadata = self.service.metadata(self.name_id_format)

    def protocol_pages(self) -> tuple[Page, ...]:
        return (
            Page("GET", f"{self.at}/metadata", self._show_metadata),
            Page("POST", f"{self.at}/callback", self._receive),
            Page("GET", f"{self.at}/callback", self._finish),
            Page("GET", f"{self.at}/logout", self._log_out_by_redirect),
            Page("POST", f"{self.at}/logout", self._log_out_by_post),
        )

    @property
    def is_local(self) -> bool:
        return self.provider.sign_in_url.startswith("http:")

    async def _show_metadata(self, site: Site, request: Request) -> Response:
        return asset(self._metadata, "application/samlmetadata+xml")

    # ------------------------------------------------------------- in

    async def issuer_address(self, asked: SignInRequest) -> str:
        message = authn_request(
            self.provider,
            self.service,
            self.deputy.clock(),
            request_id=_request_id(asked),
            name_id_format=self.name_id_format,
            again=asked.step_up,
            acr_values=self.step_up.acr_values if self.step_up and asked.step_up else (),
        )
        to, key = self.provider.sign_in_url, self.service.keys[0]
        return redirect_url(to, "SAMLRequest", message, asked.state.reveal(), key)

    async def _receive(self, site: Site, request: Request) -> Response:
        fields = await fields_of(request, MAX_FIELD_BYTES)
        found = await asyncio.to_thread(
            read_response,
            from_base64(fields.get("SAMLResponse", "")),
            self.provider,
            self.service,
            self.name_id_format,
            self.deputy.clock(),
        )
        session = self._session(found)
        answer = self.deputy.vault.key_prefix(session.user) + sha256(found.id.encode()).hexdigest()
        content = {"session": session.packed(), "request": found.in_response_to, "expires": found.until}
        content["mapping"] = self.roles.digest
        data_key = await self.deputy.vault.data_keys.get(session.user.tenant)
        if not await self.deputy.vault.insert("assertion", self._key(answer), content, data_key):
            raise refused("was used before", "saml_replay")
        query = {"state": fields.get("RelayState", ""), "answer": answer}
        return see_other(f"{current_path(request)}?{urlencode(query)}")

    def _session(self, found: Assertion) -> Session:
        """Return the session of a verified assertion. Raises `InvalidInput` if it names no user."""
        if fault := claims_fault(found.attributes, self.required):
            raise refused(fault, "saml_required")
        subject = found.name_id if self.subject == "sub" else found.attributes.get(self.subject)
        user = user_at(self.provider.entity_id, subject, self.tenant)
        if user is None:
            raise refused(f"names nobody ({self.subject})", "saml_name_id")
        return Session(
            user,
            self.roles.roles_of(found.attributes),
            {"sub": found.name_id} | ({"sid": found.session} if found.session else {}),
            found.issued,
            found.authenticated_at,
            found.acr,
            ends=found.session_ends,
        )

    async def _finish(self, site: Site, request: Request) -> Response:
        asked = self.begun(request, request.query_params.get("state", ""))
        key = self._key(request.query_params.get("answer", ""))
        record = await self.deputy.vault.get("assertion", key) if key else None
        content = record.json if record else {}
        is_usable = "session" in content and content["expires"] > self.deputy.clock()
        if record is None or not is_usable or content.get("mapping") != self.roles.digest:
            raise refused("was used before, or has expired", "saml_replay")
        if not hmac.compare_digest(content["request"].encode(), _request_id(asked).encode()):
            raise refused("answers a request of another browser", "saml_unsolicited")
        if not await self.deputy.vault.swap(record, {"expires": content["expires"]}):
            raise refused("was used before", "saml_replay")
        return await self.finish(site, request, asked, Session.of(content["session"]))

    def _key(self, answer: str) -> str:
        """Return the key of a stored result below its user's prefix, or "" for an invalid name of one.

        Each sign-in has keys of its own, so none takes another one's result.
        """
        found = _ANSWER.fullmatch(answer)
        return found[1] + sign(self.key, "saml assertion", found[2]) if found else ""

    # ------------------------------------------------------------- out

    async def end_address(self, session: Session) -> str:
        name_id = session.names.get("sub", "")
        if not self.provider.logout_url or not name_id:
            return ""
        message = logout_request(
            self.provider,
            self.service,
            self.deputy.clock(),
            name_id,
            self.name_id_format,
            session.names.get("sid", ""),
        )
        return redirect_url(self.provider.logout_url, "SAMLRequest", message, "", self.service.keys[0])

    async def _log_out_by_redirect(self, site: Site, request: Request) -> Response:
        if "SAMLResponse" in request.query_params:  # the session here ended before the identity provider was asked
            return see_other(f"{root_of(request)}{SIGNED_OUT}")
        query = request.scope["query_string"].decode("latin-1")
        found, relay_state = await asyncio.to_thread(
            read_redirect, query, "SAMLRequest", self.provider.certificates, self.deputy.clock()
        )
        return await self._log_out(request, found, relay_state)

    async def _log_out_by_post(self, site: Site, request: Request) -> Response:
        fields = await fields_of(request, MAX_FIELD_BYTES)
        if "SAMLResponse" in fields:
            return see_other(f"{root_of(request)}{SIGNED_OUT}")
        found = await asyncio.to_thread(self._verified, fields.get("SAMLRequest", ""))
        return await self._log_out(request, found, fields.get("RelayState", ""))

    def _verified(self, encoded: str) -> etree._Element:
        return verify(parse(from_base64(encoded)), self.provider.certificates, self.deputy.clock())

    async def _log_out(self, request: Request, message: etree._Element, relay_state: str) -> Response:
        """End the sessions that the identity provider has ended, in any browser, and answer it."""
        now = self.deputy.clock()
        logouts = read_logout(message, self.provider, self.service, now)
        if not any([await self.log_out(one, is_user=self.subject == "sub") for one in logouts]):
            raise refused("was used before", "saml_replay")
        if not self.provider.logout_answer_url:
            return see_other(f"{root_of(request)}{SIGNED_OUT}")
        answer = logout_answer(self.provider, self.service, now, message.get("ID", ""))
        to, key = self.provider.logout_answer_url, self.service.keys[0]
        return see_other(redirect_url(to, "SAMLResponse", answer, relay_state, key))


def _request_id(asked: SignInRequest) -> str:
    """Return the ID of this browser's request, which only the holder of its cookie can answer."""
    return f"_{asked.nonce}"
