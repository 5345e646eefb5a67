"""What is in the way of calls before they are made: consent, approval, policy. Nothing is written at a provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.elicitation import Questions
from deputize.core.acts.find_grant import Known
from deputize.core.acts.missing_scopes import MissingScopes, report_missing_scopes
from deputize.core.acts.preview import Previewer
from deputize.core.acts.resolve_call import CallResolver
from deputize.core.errors import DeputizeError
from deputize.core.idempotency.ledger import Ledger
from deputize.core.tools.act import Act, ToolCall
from deputize.core.vault.grant import AnyUser


class CallChecker:
    """Checks calls, and asks for what they lack and about what they would do."""

    def __init__(
        self, resolver: CallResolver, authorizer: Authorizer, previewer: Previewer, ledger: Ledger, questions: Questions
    ) -> None:
        self.resolver, self.authorizer, self.previewer = resolver, authorizer, previewer
        self.ledger, self.questions = ledger, questions

    async def blockers(
        self, calls: Iterable[ToolCall], user: AnyUser, agent: str, approved: set[str] | None, app: str = ""
    ) -> list[DeputizeError | MissingScopes | None]:
        """What is in the way of each call, or None. ``approved`` is given the ids of those with the user's yes."""
        found: list[DeputizeError | MissingScopes | None] = []
        beside, known = Counter[str](), Known()
        for tool, arguments, call in calls:
            try:
                act = await self.resolver.resolve(tool, arguments, user, None, call, agent, app)
                if await self._check(act, beside, known) and approved is not None:
                    approved.add(call.id)
                found.append(None)
            except (DeputizeError, MissingScopes) as e:
                found.append(e.with_traceback(None))  # a value from here on: no frame stays alive with it
        return found

    async def _check(self, act: Act, beside: Counter[str], known: Known) -> bool:
        """Ask for what the act lacks, and about what it would do. Whether the user has said yes to it. ``beside``: as
        `Previewer.preview` has it.

        Raises as `Authorizer.authorize` does, and what reading for the preview came to. Nothing is asked about an act
        whose outcome is recorded, or that a run has begun to write.
        """
        if act.tool.may_ask:
            await self.questions.refuse_if_open(act)
        if await self.ledger.begun(act):
            return False
        act, grant, asked = await self.authorizer.authorize(act, None, known)
        if not act.shows:
            return act.approved
        with report_missing_scopes(self.resolver.providers, act, grant):
            return await self.previewer.preview(act, grant, asked, beside)
