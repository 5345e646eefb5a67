"""Search for people in every connected account that already permits it, without asking the user for consent.

Each toolkit reads its own people (`Toolkit.people`). Such a read is an act like any other: the policy decides about it,
it is audited, it counts against the user's rate limit, and it uses the user's own grant. If the policy requires an
approval, the account is skipped.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from deputize.core.acts.audit_record import AuditedCall, CallRow
from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.execute import Executor
from deputize.core.acts.execution_context import ExecutionContext
from deputize.core.acts.missing_scopes import Asking, MissingScopes
from deputize.core.errors import (
    DeputizeError,
    InvalidInput,
    OrgBlocked,
    PolicyDenied,
    ScopeNotGranted,
    SettingsError,
)
from deputize.core.grants.sources.service_account import organisation_of, owner_of
from deputize.core.shared_services import Services
from deputize.core.tools import people
from deputize.core.tools.act import Act, Call
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.find_people import find_people, found_people
from deputize.core.tools.people import Looked, NotLooked, Sighting, Someone
from deputize.core.tools.required_scopes import asks_of
from deputize.core.tools.steps import ADDRESS, EVERYBODY, ResolvePerson
from deputize.core.tools.tool import Effect, Tool
from deputize.core.tools.toolkit import READERS
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Grant, User
from deputize.core.visible_text import visible

MAX_ADDRESSES: Final = 3
"""Addresses of matching people with which the other accounts are searched again."""
_REFUSED: Final = (PolicyDenied, ScopeNotGranted, OrgBlocked)
"""Errors of an account that may not be searched. Any other error is a failure: the account may hold a match."""


@frozen
class Asker(Printed):
    """The user and the call for which people are searched. ``service_account``: the app whose account acts, the only
    account searched; "" for the user's own accounts."""

    user: User
    agent: str
    call: Call
    service_account: str = ""


class PeopleSearch:
    """Search for people in the accounts of users."""

    REFUSED: Final = _REFUSED

    def __init__(
        self, services: Services, catalog: Catalog, authorizer: Authorizer, executor: Executor, asking: Asking
    ) -> None:
        self.services, self.catalog, self.authorizer = services, catalog, authorizer
        self.executor, self.asking = executor, asking

    async def handle_step(self, run: ExecutionContext, whom: ResolvePerson) -> Any:
        """Return the person that a step asks for. Searches only if this run or an earlier one has not found the
        person."""
        if whom.wanted == EVERYBODY and run.act.tool is find_people():
            return found_people(*await self.find(Asker(run.act.user, run.act.agent, run.act.call), whom.who))
        asked = f"{whom.wanted} {whom.who}"
        if asked not in run.people:
            if run.shown is not None or run.act.tool.toolset == READERS:
                raise run.fault("asks who is meant where it reads people, or after its Preview")
            if run.act.effect is not Effect.READS and not run.act.shows:
                raise run.undeclared_show("asks who is meant")
            if whom.wanted not in (ADDRESS, run.act.tool.toolkit):
                raise run.fault("asks for an id of another toolkit")
            run.people[asked] = await self.resolve(run.act, run.exchange.grant, whom)
        return run.people[asked]

    async def resolve(self, act: Act, grant: Grant, whom: ResolvePerson) -> str:
        """Return the person's id or address for the tool of this act. Raises `InvalidInput` unless exactly one person
        matches."""
        asker, who = Asker(act.user, act.agent, act.call, act.service_account), people.plain(whom.who)
        looked = await self.look(asker, who)
        everybody = people.merge_rows(looked.found)
        fits, certain = people.fits(everybody, who)
        told = [one for one in looked.not_looked if one.failed]
        if fits and certain and not told:
            answers = await self._answers(asker, looked, fits, whom, (act.tool.toolkit, grant.account.subject))
            if len(answers) == 1:
                return answers.pop()
        raise _person_error(whom, people.nearest(everybody, fits), looked.not_looked, found=bool(fits))

    async def find(self, asker: Asker, who: str) -> tuple[list[Someone], Looked]:
        """Return the people who match a name or an address exactly or nearly, and the results of all accounts. Exact
        matches are completed by data from other accounts."""
        who = people.plain(who)
        looked = await self.look(asker, who)
        fits, _ = people.fits(people.merge_rows(looked.found), who)
        await self._look_by_address(asker, looked, who, fits)
        return people.merge_rows(looked.found), looked

    async def look(self, asker: Asker, who: str, at: tuple[str, str] | None = None) -> Looked:
        """Search all accounts for a name or an address, or only the account ``at``, a pair of toolkit and subject."""
        readers = await asyncio.to_thread(self.catalog.readers_of_people)
        looked = Looked()
        reads = [
            self._read(tool, one, asker, who, looked)
            for tool in readers
            for one in await self._accounts(tool, asker, looked)
            if at is None or at == (tool.toolkit, one.account.subject)
        ]
        await asyncio.gather(*reads)
        looked.found.sort(key=lambda one: one.at)  # answers come in any order; the result must not depend on it
        looked.not_looked.sort()
        return looked

    async def _answers(
        self, asker: Asker, looked: Looked, fits: list[Someone], whom: ResolvePerson, at: tuple[str, str]
    ) -> set[str]:
        """Return the ids or addresses of all matches. The person is certain if there is exactly one id or address."""
        if whom.wanted == ADDRESS:
            return set().union(*(one.reached_at for one in fits))
        here = [one for person in fits for one in person.rows if one.at == at and one.id]
        if found := {one.id for one in here if one.is_itself(whom.who)}:
            return found
        if len(fits) > 1:  # an address on several cards identifies none of them in other accounts
            return set()
        if found := {one.id for one in here if one.verified}:
            return found
        await self._look_by_address(asker, looked, people.plain(whom.who), fits, at)
        reached = set().union(*(one.reached_at for one in fits))
        rows = [one for one in looked.found if one.at == at and one.verified and one.addresses & reached]
        return {one.id for one in rows if one.id}

    async def _look_by_address(
        self, asker: Asker, looked: Looked, who: str, fits: Iterable[Someone], at: tuple[str, str] | None = None
    ) -> None:
        """Search again by the addresses of the matches, to find people who have another name in another account."""
        addresses = sorted(set().union(*(one.reached_at | one.proven for one in fits)) - {who.lower()})
        for more in [await self.look(asker, address, at) for address in addresses[:MAX_ADDRESSES]]:
            known = {(one.at, one.id) for one in looked.found if one.id}
            looked.found.extend(one for one in more.found if one.id and (one.at, one.id) not in known)
            looked.not_looked.extend([one for one in more.not_looked if one not in looked.not_looked])

    # ------------------------------------------------------------- one account

    async def _accounts(self, tool: Tool, asker: Asker, looked: Looked) -> list[Grant]:
        """Return the grants that this people reader can use: the user's own grants, or the service account's grant."""
        registry, own = self.services.registry, asker.service_account
        try:
            apps = registry.apps_for(tool.provider) if not own else [registry.apps[own]]
        except SettingsError:
            return []  # nobody could connect it here
        if own and not registry.serves(own, tool.provider):
            return []
        whose = [(owner_of(app, asker.user), app.provider, app.name) for app in apps]
        grants = [one for each in whose for one in await self.services.vault.list_grants(*each)]
        held = [one for one in grants if one.status != "revoked"]
        if not held:
            looked.not_looked.append(NotLooked(tool.toolkit, "not connected"))
        return held

    async def _read(self, tool: Tool, grant: Grant, asker: Asker, who: str, looked: Looked) -> None:
        """Search one account for a name and add the rows to ``looked``."""
        where = f"{tool.toolkit} ({visible(grant.account.name)[:80]})"
        act = self._act(tool, grant, asker, {"who": who})
        if grant.status != "active":
            looked.not_looked.append(NotLooked(where, "must be connected again"))
            return
        if missing := self._missing_scopes(act, grant):
            short = ", ".join(one.rpartition("/")[2] for one in missing)
            looked.not_looked.append(NotLooked(where, f"not granted: {short}"))
            return
        try:
            result = await self._perform(act)
        except _REFUSED as refused:
            looked.not_looked.append(NotLooked(where, refused.message))
        except DeputizeError as failed:
            looked.not_looked.append(NotLooked(where, failed.message, failed=True))
        else:
            _collect_rows(result, where, tool, grant, looked)

    async def list_readable(self, tool: Tool, asker: Asker) -> list[Grant]:
        """Return the user's grants that this reader can use now, without a new consent."""
        held = await self._accounts(tool, asker, Looked())
        usable = [one for one in held if one.status == "active"]
        return [one for one in usable if not self._missing_scopes(self._act(tool, one, asker, None), one)]

    async def read_account(self, tool: Tool, grant: Grant, asker: Asker, arguments: Mapping[str, Any]) -> Any:
        """Return the reader's result for one account. Raises one of `REFUSED` if the account may not be read."""
        return await self._perform(self._act(tool, grant, asker, arguments))

    def _missing_scopes(self, act: Act, grant: Grant) -> Sequence[str]:
        return asks_of(act.needs, self.services.providers[grant.provider].implied_scopes(grant.scopes))

    def _act(self, tool: Tool, grant: Grant, asker: Asker, arguments: Mapping[str, Any] | None) -> Act:
        """Return the act of a reader. ``arguments``: None if the caller only needs the act's required scopes."""
        call = Call(asker.call.thread, asker.call.message, run=asker.call.run)
        return Act(
            user=asker.user,
            tool=tool,
            arguments={} if arguments is None else tool.validate(arguments),
            effect=Effect.READS,
            call=call,
            agent=asker.agent,
            app=grant.app,
            provider=grant.provider,
            account=grant.connection_id,
            nonce=secrets.token_hex(16),
            provider_base=self.services.providers[grant.provider].base,
            organisation=organisation_of(self.services.apps[grant.app]),
        )

    async def _perform(self, act: Act) -> Any:
        """Return the act's result without asking the user for a missing consent or approval. The act is audited."""
        row = CallRow.start(act.tool.name, act.user, act.call, act.agent)
        async with AuditedCall(self.services.audit, self.asking, row):
            row.record_act(act, act.tool.name, "")
            try:
                grant = await self.authorizer.authorize_without_asking(act, row)
                return await self.executor.execute(act, grant, row)
            except MissingScopes as lacking:
                raise ScopeNotGranted("Not granted, or not any more.", scopes=tuple(lacking.scopes)) from None


def _collect_rows(result: Any, where: str, tool: Tool, grant: Grant, looked: Looked) -> None:
    """Collect the rows of a reader's result and the accounts that it reports as not searched."""
    said: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
    told, left_out = said.get("people"), said.get("not_looked") or {}
    if not isinstance(told, list) or not isinstance(left_out, Mapping):
        looked.not_looked.append(NotLooked(where, "its toolkit returned an invalid list of people", failed=True))
        return
    rows = [one for one in told if isinstance(one, Mapping)][: people.MAX_PEOPLE_PER_ACCOUNT]
    whole = said.get("whole") is not False and len(told) <= people.MAX_PEOPLE_PER_ACCOUNT
    looked.found.extend(Sighting(tool.toolkit, grant.account, one, whole) for one in rows)
    looked.not_looked.extend(NotLooked(f"{where}: {name}", str(why)) for name, why in left_out.items())
    if not whole:
        looked.not_looked.append(NotLooked(where, "has more people than were looked at"))


def _person_error(whom: ResolvePerson, near: list[str], not_looked: list[NotLooked], *, found: bool) -> InvalidInput:
    """Return the error for a person who is not certain, with a hint."""
    who = visible(" ".join(whom.who.split()))[:80]
    failed = [one for one in not_looked if one.failed]
    if failed:
        said = f"{whom.field}: who is {who!r} is not guessed while {failed[0].where} cannot be looked through."
    elif found:
        said = f"{whom.field}: {who!r} is not certainly one person, or has several addresses or accounts."
    else:
        said = f"{whom.field}: nobody whom the user or the organisation knows has exactly the name or address {who!r}."
    kind = "an email address" if whom.wanted == ADDRESS else f"what {whom.wanted} calls the person"
    parts = [f"May be: {'; '.join(near)}."] if near else []
    parts.append(f"Ask the user who is meant, and give {kind}.")
    if not_looked:
        parts.append(
            "Not looked at: " + "; ".join(f"{one.where}, {one.why.rstrip('.')}" for one in not_looked[:6]) + "."
        )
    return InvalidInput(said, hint=" ".join(parts))
