"""Resolution of a tool call into an act: the tool, the app and the validated arguments."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any

from deputize.core.errors import InvalidInput, SettingsError
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.sources.service_account import check_reference, organisation_of
from deputize.core.providers.origin import origin_change
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act, Call
from deputize.core.tools.app_binding import check_people_search
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.continuation import References
from deputize.core.tools.required_scopes import asks_of
from deputize.core.tools.tool import Effect, Tool
from deputize.core.vault.grant import AnyUser, User


class CallResolver:
    """Finds the tool and the app of each call and validates its arguments."""

    def __init__(self, services: Services, catalog: Catalog, accounts: Accounts) -> None:
        self.services, self.providers, self.catalog, self.accounts = services, services.providers, catalog, accounts
        self.references = References(services.vault.keys.index)

    async def tool(self, name: str) -> Tool:
        """Return the tool of this name. Unloaded toolkits are imported in a thread, not on the event loop."""
        at_hand = self.catalog.is_loaded(name)
        return self.catalog.tool(name) if at_hand else await asyncio.to_thread(self.catalog.tool, name)

    async def resolve(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        user: AnyUser,
        account: str | None,
        call: Call | None,
        agent: str,
        app: str = "",
    ) -> Act:
        """Return the act for a call, with its user, tool, effect and key. For `read_more`, it is the referenced call.

        Raises `UserRequired` without a user, `InvalidInput` for an unknown tool or invalid arguments, and
        `SettingsError` if no app is configured for the provider.
        """
        who, what, call = User.of(user), await self.tool(tool), Call.of(call)
        if what.follows:
            what, arguments, account, app = await self._follow_reference(who, what, arguments, app)
        valid = what.validate(arguments)
        return await self.act_of(who, what, valid, what.effect_of(valid), account, call, agent, app)

    async def act_of(
        self,
        who: User,
        what: Tool,
        valid: Mapping[str, Any],
        effect: Effect,
        account: str | None,
        call: Call,
        agent: str,
        app: str,
    ) -> Act:
        """Return the act with these validated arguments. Raises the errors of `resolve` about the app."""
        if app:
            check_people_search(what, self.services.apps, app)
        way = await self.accounts.choose_app(who, what.provider, app, account) if what.provider else None
        return Act(
            user=who,
            tool=what,
            arguments=valid,
            effect=effect,
            call=call,
            agent=agent or self.services.agent,
            app=way.name if way else "",
            provider=way.provider if way else "",
            account=account,
            nonce="" if call.id else os.urandom(16).hex(),
            provider_base=self.providers[way.provider].base if way else "",
            organisation=organisation_of(way) if way else "",
        )

    async def _follow_reference(
        self, user: User, follows: Tool, arguments: Mapping[str, Any], app: str
    ) -> tuple[Tool, Mapping[str, Any], str | None, str]:
        """Return the call in a reference, whose tool must belong to the same toolkit and only read. ``app``: the app
        that your application chose."""
        called = self.references.call(user, **follows.validate(arguments))
        what = await self.tool(called.tool)
        if what.toolkit != follows.toolkit or what.follows or what.gravest is not Effect.READS:
            raise InvalidInput(f"ref: belongs to {what.toolkit}.", hint=f"Pass it to {what.toolkit}_read_more.")
        check_reference(self.services.apps, app, called.app)
        return what, called.arguments, called.account, called.app or app

    async def ready(self, user: User, tools: Iterable[Tool]) -> list[Tool]:
        """Return the tools whose call with default arguments the user's grants permit."""
        tools = list(tools)
        held = {provider: await self._granted_scopes(user, provider) for provider in {tool.provider for tool in tools}}
        return [
            tool for tool in tools if (has := held[tool.provider]) and not asks_of(tool.usual_needs(has[0]), has[1])
        ]

    async def _granted_scopes(self, user: User, provider: str) -> tuple[str, frozenset[str]] | None:
        """Return the provider's `base` and the granted scopes for the app that acts would use, or None without a valid
        grant."""
        if not provider:
            return "", frozenset()
        try:
            app = await self.accounts.choose_app(user, provider, "", None)
        except SettingsError:
            return None
        row, grant = (
            self.providers[app.provider],
            await self.services.vault.find_undamaged(user, app.provider, app.name),
        )
        usable = grant and grant.status == "active" and not origin_change(grant.origin, row, app)
        return (row.base, row.implied_scopes(grant.scopes)) if grant and usable else None
