"""From a tool call to an act that may happen: the one way in. Only what the user is asked about is read from here.

    plan      which tool, through which app; the arguments validated; the key that makes it this act
    policy    a no              -> PolicyDenied
    grant     none, lost, from elsewhere, too narrow -> MissingScopes
    approval  the policy asks, and no yes fits       -> ApprovalRequired

An act that shows what it will do is judged again, and asked about, where it has shown it: see `plans`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeAlias

from deputize.core.acts.audit_record import CallRow
from deputize.core.acts.elicitation import Questions
from deputize.core.acts.held_scopes import held_scopes
from deputize.core.acts.missing_scopes import MissingScopes
from deputize.core.acts.preview import Asked, Planner
from deputize.core.acts.response_errors import MissingScope
from deputize.core.approvals.record import ApprovalRecord, Edit
from deputize.core.approvals.service import Approvals
from deputize.core.engine import Engine
from deputize.core.errors import DeputizeError, InvalidInput, PolicyDenied
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.refresh import GrantLost, Refresher
from deputize.core.grants.sources.acquire import GrantSources
from deputize.core.grants.sources.service_account import check_reference, organisation_of, owner_of
from deputize.core.grants.sources.session import NotObtained
from deputize.core.idempotency.ledger import Ledger
from deputize.core.idempotency.undo import refuse_if_changed
from deputize.core.policy.policy import Judge, Verdict
from deputize.core.provenance.store import OutsideRecord
from deputize.core.providers.origin import MOVED, differs, moved
from deputize.core.tools.act import Act, Call, ToolCall
from deputize.core.tools.app_binding import check_people_search
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.continuation import References
from deputize.core.tools.local_provider import no_grant
from deputize.core.tools.needs import asks_of, wanted_of
from deputize.core.tools.tool import Effect, Tool
from deputize.core.vault.grant import AnyUser, Grant, User

RESTRICTED: Final = "restricted scope in grant"

Known: TypeAlias = dict[tuple[User, str, str, str | None], Grant | None]
"""Grants as they lay there a moment ago, for several calls that only read and are looked at together."""


class Gate:
    """Lets acts pass that policy, grant and user allow. Every raise of it says what is in the way."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        judge: Judge,
        accounts: Accounts,
        ledger: Ledger,
        approvals: Approvals,
        planner: Planner,
        refresher: Refresher,
        outside: OutsideRecord,
        sources: GrantSources,
        questions: Questions,
    ) -> None:
        self.engine, self.vault, self.providers = engine, engine.vault, engine.providers
        self.catalog, self.judge, self.accounts, self.ledger = catalog, judge, accounts, ledger
        self.approvals, self.planner, self.refresher, self.outside = approvals, planner, refresher, outside
        self.sources, self.questions, self.references = sources, questions, References(engine.vault.keys.index)

    # ------------------------------------------------------------- plan

    async def tool(self, name: str) -> Tool:
        """The tool of this name; toolkits are looked for and imported off the event loop."""
        at_hand = self.catalog.at_hand(name)
        return self.catalog.tool(name) if at_hand else await asyncio.to_thread(self.catalog.tool, name)

    async def plan(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        user: AnyUser,
        account: str | None,
        call: Call | None,
        agent: str,
        app: str = "",
    ) -> Act:
        """The call, validated: whose, which tool, which effect, and the key that makes it this act. What `read_more` is
        to follow is the call of the tool that has given the reference.

        Raises `UserRequired` where nobody is named, `InvalidInput` for a tool or arguments that are wrong, and
        `SettingsError` where no app leads to the provider.
        """
        who, what, call = User.of(user), await self.tool(tool), call or Call()
        if what.follows:
            what, arguments, account, app = await self._followed(who, what, arguments, app)
        valid = what.validate(arguments)
        check_people_search(what, self.engine.apps, app)
        way = await self.accounts.app(who, what.provider, app, account) if what.provider else None
        return Act(
            user=who,
            tool=what,
            arguments=valid,
            effect=what.effect_of(valid),
            call=call,
            agent=agent or self.engine.agent,
            app=way.name if way else "",
            provider=way.provider if way else "",
            account=account,
            nonce="" if call.known else secrets.token_hex(16),
            provider_base=self.providers[way.provider].base if way else "",
            organisation=organisation_of(way) if way else "",
        )

    async def _followed(
        self, user: User, follows: Tool, arguments: Mapping[str, Any], app: str
    ) -> tuple[Tool, Mapping[str, Any], str | None, str]:
        """The call that a reference stands for: of a reading tool of the same toolkit. ``app``: the host's."""
        called = self.references.call(user, **follows.validate(arguments))
        what = await self.tool(called.tool)
        if what.toolkit != follows.toolkit or what.follows or what.gravest is not Effect.READS:
            raise InvalidInput(f"ref: is one of {what.toolkit}.", hint=f"{what.toolkit}_read_more takes it.")
        check_reference(self.engine.apps, app, called.app)
        return what, called.arguments, called.account, called.app or app

    # ------------------------------------------------------------- policy, grant, approval

    async def permitted(self, act: Act, row: CallRow) -> tuple[Act, Grant]:
        """Policy, then the grant, then the user's yes where the policy wants one; the act, as the user changed it.

        An act that shows what it will do is asked about there, and only a denial counts before. ``row``, for the
        audit, is told of the grant. Raises `PolicyDenied`, `MissingScopes`, `ApprovalRequired` or
        `Declined`.
        """
        act, grant, _ = await self._let_through(act, row, None)
        return act, grant

    async def _let_through(self, act: Act, row: CallRow | None, known: Known | None) -> tuple[Act, Grant, Asked]:
        """The same, with what its approval says. ``known``: for an act that is only looked at."""
        act = await self._noticed(act)
        verdict, grant = await self._judged(act, known)
        self._note(row, act, grant)
        if not act.shows:
            refuse_if_changed(act)
        changed: Mapping[str, Any] | None = None
        asked: Asked = ...
        if verdict is Verdict.ASK and not act.shows:
            changed = await self.approvals.require(act, grant.account)
            act = act.having(approved=True)
        elif act.effect is not Effect.READS:
            asked = await self.approvals.unspent(act, grant.account)
            changed = asked.edited if isinstance(asked, ApprovalRecord) else None
            act = self.planner.begun(act, asked) if act.shows else act
        if changed is None:
            return act, grant, asked
        act = await self._noticed(self._edited(act, changed))
        _, grant = await self._judged(act)
        self._note(row, act, grant)
        return act, grant, asked

    async def unasked(self, act: Act, row: CallRow) -> Grant:
        """The grant for an act that reads, about which nobody is asked anything. Raises `PolicyDenied` where the policy
        would ask, `MissingScopes` where the grant does not suffice."""
        verdict, grant = await self._judged(act)
        if verdict is Verdict.ASK:
            raise PolicyDenied(f"{act.tool.name} would need the user's yes here.")
        self._note(row, act, grant)
        return grant

    async def ahead(self, act: Act, beside: Counter[str], known: Known) -> bool:
        """Ask for what the act lacks, and about what it would do. Whether the user has said yes to it. ``beside``: as
        `Planner.look` has it.

        Raises as `permitted` does, and what reading for its preview came to. Nothing is asked about an act whose
        outcome is recorded, or that a run has begun to write.
        """
        if act.tool.may_ask:
            await self.questions.refuse_if_open(act)
        if await self.ledger.begun(act):
            return False
        act, grant, asked = await self._let_through(act, None, known)
        if not act.shows:
            return act.approved
        with self.lacking(act, grant):
            return await self.planner.look(act, grant, asked, beside)

    async def blockers(
        self, calls: Iterable[ToolCall], user: AnyUser, agent: str, approved: set[str] | None, app: str = ""
    ) -> list[DeputizeError | MissingScopes | None]:
        """What is in the way of each call, or None. ``approved`` is given the ids of those with the user's yes."""
        found: list[DeputizeError | MissingScopes | None] = []
        beside, known = Counter[str](), Known()
        for tool, arguments, call in calls:
            try:
                act = await self.plan(tool, arguments, user, None, call, agent, app)
                if await self.ahead(act, beside, known) and approved is not None:
                    approved.add(call.id)
                found.append(None)
            except (DeputizeError, MissingScopes) as e:
                found.append(e.with_traceback(None))  # a value from here on: no frame stays alive with it
        return found

    @contextmanager
    def lacking(self, act: Act, grant: Grant) -> Iterator[None]:
        """What the provider says is missing is asked for, whatever the vault believed. Raises `MissingScopes`."""
        needs = act.needs
        try:
            yield
        except GrantLost as lost:
            raise MissingScopes(act, asks_of(needs), lost.grant, lost.reason) from None
        except MissingScope as missing:
            row = self.providers[grant.provider]
            covered = row.covered(grant.scopes)
            known = covered if missing.named else frozenset[str]()
            asks = asks_of(needs, covered) or wanted_of(needs, missing.needed, known)
            more = missing.needed if row.rules.challenge_names_all else () if asks else missing.needed[:1]
            asks = tuple(dict.fromkeys((*asks, *more))) or row.oauth.fallback_scopes  # a challenge that names none
            asks = tuple(scope for scope in asks if scope not in covered) or asks  # what is new, if anything is
            raise MissingScopes(act, asks, grant, "scope_missing") from None

    async def _noticed(self, act: Act) -> Act:
        """A write that will not show what it does, with those of its arguments that strangers have named."""
        return act if act.shows or act.effect is Effect.READS else await self.outside.noticed(act)

    async def _judged(self, act: Act, known: Known | None = None) -> tuple[Verdict, Grant]:
        return await self.judge.verdict(act), await self._granted(act, known)

    async def _granted(self, act: Act, known: Known | None) -> Grant:
        """The user's grant with every scope that these arguments need."""
        if not act.provider:
            return no_grant(act.user)
        grant = await self._found(act, known)
        if grant is None or grant.status != "active":
            raise MissingScopes(act, asks_of(act.needs), grant, grant.reason if grant else "")
        row = self.providers[grant.provider]
        if where := differs(grant.origin, row, self.engine.apps[act.app]):
            raise moved(grant, row) if where == "place" else MissingScopes(act, asks_of(act.needs), grant, MOVED)
        if any(row.apis.incompatible_scopes.get(scope) == act.tool.api for scope in grant.scopes):
            lost = await self.refresher.end(grant, RESTRICTED)
            if known:
                known.clear()
            raise MissingScopes(act, asks_of(act.needs), lost.grant, lost.reason)
        if asks := asks_of(act.needs, row.covered(grant.scopes)):
            raise MissingScopes(act, asks, grant)
        return grant

    async def _found(self, act: Act, known: Known | None) -> Grant | None:
        """The grant as it lies there; of an app with a source, as that brings it."""
        app = self.engine.apps[act.app]
        owner = owner_of(app, act.user)
        whose = owner, act.provider, act.app, act.account
        if app.source is not None or known is None or act.effect is not Effect.READS:  # a preview reads with the token
            held = await self.vault.find(*whose)
        elif whose in known:
            held = known[whose]
        else:
            held = known[whose] = await self.vault.find(*whose)
        if app.source is None:
            return held
        covered = self.providers[app.provider].covered(held.scopes) if held and held.status == "active" else frozenset()
        try:
            found = await self.sources.ready(owner, app, held, asks_of(act.needs, covered))
        except NotObtained as none:
            raise MissingScopes(act, asks_of(act.needs), held, none.reason, none.claims) from None
        return found if found is held else await self.vault.find(*whose)

    def _edited(self, act: Act, changed: Mapping[str, Any]) -> Act:
        """The act with what the user wrote, under the tool's own name: an alias would make something else of it."""
        valid = self.catalog.tool(act.tool.name).validate(changed)
        effect = act.tool.effect_of(valid)
        return replace(act, arguments=valid, effect=effect, asked=act.arguments, approved=True)

    def _note(self, row: CallRow | None, act: Act, grant: Grant) -> None:
        if row:
            row.permitted(act, grant)

    async def edit(self, approval_id: str, user: User, arguments: Mapping[str, Any]) -> Edit:
        """Other arguments for the act that an approval is about. Raises `NotFound` or `InvalidInput`."""
        row = await self.approvals.row(approval_id, user)
        return Edit.of(await self.tool(row.tool), arguments)

    # ------------------------------------------------------------- what could pass

    async def ready(self, user: User, tools: Iterable[Tool]) -> list[Tool]:
        """Those of these tools that the user's grants allow already, called without unusual arguments."""
        tools = list(tools)
        named = {tool.provider for tool in tools}
        held = {provider: await held_scopes(self.engine, self.accounts, user, provider) for provider in named}
        return [
            tool for tool in tools if (has := held[tool.provider]) and not asks_of(tool.usual_needs(has[0]), has[1])
        ]
