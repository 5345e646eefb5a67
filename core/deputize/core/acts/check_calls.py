"""Checks of calls before they run: consent, approval and policy. Nothing is written at a provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.elicitation import Questions
from deputize.core.acts.find_grant import Known
from deputize.core.acts.missing_scopes import MissingScopes, as_missing_scopes
from deputize.core.acts.preview import Previewer
from deputize.core.acts.provider_errors import MissingScope
from deputize.core.acts.read_ahead import ActReads
from deputize.core.acts.resolve_call import CallResolver
from deputize.core.errors import DeputizeError
from deputize.core.grants.refresh import GrantLost
from deputize.core.idempotency.ledger import Ledger
from deputize.core.tools.act import Act, ToolCall
from deputize.core.vault.grant import AnyUser


class CallChecker:
    """Checks calls, and requests their missing consents and approvals."""

    def __init__(
        self,
        resolver: CallResolver,
        authorizer: Authorizer,
        previewer: Previewer,
        ledger: Ledger,
        questions: Questions,
        act_reads: ActReads,
    ) -> None:
        self.resolver, self.authorizer, self.previewer = resolver, authorizer, previewer
        self.ledger, self.questions, self.act_reads = ledger, questions, act_reads

    async def blockers(
        self, calls: Iterable[ToolCall], user: AnyUser, agent: str, approved: set[str] | None, app: str = ""
    ) -> list[DeputizeError | MissingScopes | None]:
        """Return for each call the error that prevents it, or None. Adds the ids of approved calls to ``approved``."""
        found: list[DeputizeError | MissingScopes | None] = []
        beside, known = Counter[str](), Known()
        for one in calls:
            tool, arguments, call = _parts_of(one)
            try:
                act = await self.resolver.resolve(tool, arguments, user, None, call, agent, app)
                async with self.act_reads.read_before_lock(act, check_only=True):
                    is_approved = await self._check(act, beside, known)
                if is_approved and approved is not None:
                    approved.add(call.id)
                found.append(None)
            except (DeputizeError, MissingScopes) as e:
                found.append(e.with_traceback(None))  # a value from here on: no frame stays alive with it
        return found

    async def missing_scopes(
        self, calls: Iterable[ToolCall], user: AnyUser, agent: str, app: str = ""
    ) -> list[MissingScopes]:
        """Return the scopes that these calls lack, from what the vault stores. Requests nothing. Other errors are
        skipped: each call's own check reports them."""
        found: list[MissingScopes] = []
        for one in calls:
            tool, arguments, call = _parts_of(one)
            try:
                act = await self.resolver.resolve(tool, arguments, user, None, call, agent, app)
                if not await self.ledger.has_begun(act):
                    await self.authorizer.find_stored(act)
            except MissingScopes as e:
                found.append(e.with_traceback(None))
            except DeputizeError:
                continue
        return found

    async def _check(self, act: Act, beside: Counter[str], known: Known) -> bool:
        """Request the missing consent and approval of an act. Return True if the user has approved it.

        Requests nothing if the act's outcome is recorded, or if a run of it has begun to write. ``beside``: as in
        `Previewer.preview`. Raises the errors of `Authorizer.authorize`, and those of the reads for the preview.
        """
        if act.tool.may_ask:
            await self.questions.refuse_if_open(act)
        if await self.ledger.has_begun(act):
            return False
        act, grant, asked = await self.authorizer.authorize(act, None, known)
        if not act.shows:
            return act.approved
        try:
            return await self.previewer.preview(act, grant, asked, beside)
        except (GrantLost, MissingScope) as failure:
            raise as_missing_scopes(failure, self.resolver.providers, act, grant) from None


def _parts_of(one: ToolCall) -> ToolCall:
    if not isinstance(one, tuple | list) or len(one) != 3:
        raise TypeError("A call to check is a tuple: the tool's name, its arguments, and a Call.")
    return one
