"""Sign-in at several issuers, each for the users of one tenant.

    sign_ins = SignIns(deputy, [SignIn(deputy, name="acme", tenant="acme", ...), ...], domains={"acme.example": "acme"})
    pages = pages_app(deputy, verifier=sign_ins, sign_in=sign_ins.path, pages=[*PAGES, *sign_ins.pages])

    GET  /sign-in         asks for the user's e-mail address, whose domain chooses the issuer; POST leads there
    GET  /sign-in/{name}  to the issuer of this name

The address only chooses the issuer, and no page lists the tenants. Who signs in is what the issuer says, in the
issuer's own tenant. Each issuer has its own callback address, so no issuer can answer for another one (RFC 9700 4.4).
A session belongs to the issuer and the tenant in which it began. An issuer can answer for any of its users, so none
replaces the session of another one: users sign out first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import SettingsError
from deputize.core.vault.grant import User
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path
from deputize.core.web.signin.base_sign_in import PATH, BaseSignIn, checked_target, sign_out_pages
from deputize.core.web.signin.sign_in_sessions import Session

MAX_ADDRESS_CHARACTERS: Final = 320


class SignIns:
    """Sign-in at several issuers, and the `UserVerifier` of pages that use them.

    ``sign_ins``: at least one, each with a name. ``domains``: the name of a sign-in for each domain of e-mail
    addresses. Raises `SettingsError` if two of them could not be told apart.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        sign_ins: Iterable[BaseSignIn],
        domains: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.sign_ins: Final = tuple(sign_ins)
        by_name = {one.name: one for one in self.sign_ins}
        self._by_realm = {(one.sessions.issuer, one.tenant): one for one in self.sign_ins}
        if not self.sign_ins or "" in by_name or len(by_name) < len(self.sign_ins):
            raise SettingsError("Each sign-in needs a name of its own.")
        if len(self._by_realm) < len(self.sign_ins):
            raise SettingsError(
                "Two sign-ins have the same issuer and the same tenant.", hint="Remove one of them, or name its tenant."
            )
        if unknown := [name for name in domains.values() if name not in by_name]:
            raise SettingsError(f"A domain leads to the sign-in {unknown[0]!r}, which does not exist.")
        self._by_domain = {domain.lower(): by_name[name] for domain, name in domains.items()}
        self._sessions = self.sign_ins[0].sessions  # reads the records of all of them
        for one in self.sign_ins:
            one.signed_in = self
        self._local = " http:" if any(one.is_local for one in self.sign_ins) else ""
        self.path: Final = urlsplit(self.sign_ins[0].base).path + PATH
        """The page that signs people in, for ``pages_app(sign_in=...)`` and for your own links."""
        self.pages: Final = (
            Page("GET", PATH, self._ask),
            Page("POST", PATH, self._choose),
            *(page for one in self.sign_ins for page in one.own_pages),
            *sign_out_pages(self.find),
        )

    async def __call__(self, request: Request) -> User | None:
        """Return the user who is signed in at this browser, or None."""
        sign_in = await self.find(request)
        return await sign_in(request) if sign_in else None

    async def session(self, request: Request) -> Session | None:
        """Return the session of this browser with the roles of its user, or None."""
        sign_in = await self.find(request)
        return await sign_in.session(request) if sign_in else None

    async def find(self, request: Request) -> BaseSignIn | None:
        """Return the sign-in whose session this browser has, or None."""
        record = await self._sessions.record(self.sign_ins[0].cookie(request))
        if record is None:
            return None
        content = record.json
        return self._by_realm.get((content["issuer"], content["user"][0]))

    async def step_up_link(self, request: Request, path: str) -> str:
        """Return the address of a new sign-in that leads back to ``path``, or "" if none is needed."""
        sign_in = await self.find(request)
        return await sign_in.step_up_link(request, path) if sign_in else ""

    # ------------------------------------------------------------- which one

    async def _ask(self, site: Site, request: Request) -> Response:
        target = checked_target(request, request.query_params.get("next", ""))
        if await self(request):
            return see_other(target)
        return await self._page(site, request, target)

    async def _choose(self, site: Site, request: Request) -> Response:
        fields = await site.form(request, None)
        target = checked_target(request, fields.get("next", ""))
        address = fields.get("email", "").strip()[:MAX_ADDRESS_CHARACTERS]
        sign_in = self._by_domain.get(address.rpartition("@")[2].lower())
        if sign_in is None:
            return await self._page(site, request, target, unknown=address)
        return see_other(f"{sign_in.path}?{urlencode({'next': target})}")

    async def _page(self, site: Site, request: Request, target: str, unknown: str = "") -> Response:
        return await site.with_forms(
            request,
            "choose_sign_in.html",
            None,
            f"'self' https:{self._local}",
            status=404 if unknown else 200,
            action=current_path(request),
            next=target,
            unknown=unknown,
        )
