"""The audit record of one call. Each step of the call adds facts. Exactly one audit row reports how the call ended."""

from __future__ import annotations

import time
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

from deputize.core.acts.missing_scopes import Asking, MissingScopes
from deputize.core.acts.spans import CallSpan, start_span
from deputize.core.audit import Audit
from deputize.core.audit.common_fields import OfCall
from deputize.core.audit.events import ActResult
from deputize.core.audit.pseudonyms import Subject
from deputize.core.errors import ApprovalRequired, ConsentRequired, DeputizeError, PolicyDenied, UserRequired
from deputize.core.tools.act import Act, Call
from deputize.core.tools.required_scopes import asks_of
from deputize.core.tools.summary import NO_SUMMARY, Summary
from deputize.core.vault.grant import AnyUser, Grant, User

MAX_TOOL_NAME_CHARACTERS: Final = 100
CUT_OFF: Final = "interrupted"
"""The decision that is recorded if a call ends by anything except a `DeputizeError`: a cancellation or a bug."""


class CallRow:
    """Facts of one call, collected step by step. They can no longer change once an audit row of the call was written.
    ``summary``: what the call does. Only the user may read it."""

    summary: Summary = NO_SUMMARY

    def __init__(self, tool: str, user: User, came_from: Call, agent: str) -> None:
        self.user = user
        self._act: Act | None = None
        self._facts: dict[str, Any] = {
            "tenant": user.tenant,
            "user": user.id,
            "agent": agent,
            "tool": tool,
            "thread": came_from.thread,
            "run": came_from.run,
            "call_id": came_from.id,
            "undoes": came_from.undoes.act if came_from.undoes else "",
        }

    @classmethod
    def start(cls, tool: str, user: AnyUser, call: Call | None, agent: str) -> CallRow:
        """Return a record with the facts known before any check. An invalid user is recorded as an empty one."""
        try:
            who = User.of(user)
        except UserRequired:
            who = User("")
        return cls(str(tool)[:MAX_TOOL_NAME_CHARACTERS], who, Call.of(call), agent)

    def record_act(self, act: Act, called: str, act_id: str) -> None:
        """Record the act that the call resolved to. ``called``: the tool name in the call, which may be an alias."""
        facts = self._facts
        facts["tool"], facts["called"], facts["act_id"] = act.tool.name, called if act.tool.called else "", act_id
        self._act = act

    def record_grant(self, act: Act, grant: Grant) -> None:
        """Record the act, with the user's edits, and the grant that it uses."""
        self._act, facts = act, self._facts
        facts["account_hash"], facts["grant_gen"] = Subject(grant.account.subject), grant.generation
        facts["source"] = grant.source
        facts["scopes_required"], facts["scopes_granted"] = asks_of(act.needs), sorted_scopes(grant.scopes)

    def record_rule(self, rule: str) -> None:
        """Record the policy's rule that decided last. Does nothing for ""."""
        if rule or "rule" in self._facts:
            self._facts["rule"] = rule

    def record_preview(self, digest: str) -> None:
        """Record the digest of the preview that the act carries out."""
        self._facts["show"] = digest

    def record_link(self, link: str) -> None:
        """Record the URL of the act's object at the provider. Does nothing for ""."""
        self.summary = Summary(self.summary.what, self.summary.parts, link) if link else self.summary

    def record_authorization(self, answered_by: str) -> None:
        """Record why the act may begin: ``policy``, ``user_message``, or the id of an approval or a mandate."""
        self._facts["answered_by"] = answered_by

    def record_incomplete(self, what: str) -> None:
        """Record which data is missing from a successful response."""
        self._facts["incomplete"] = what

    def start_span(self) -> CallSpan | None:
        """Start the call's span, if the process traces, and record its ids."""
        if (span := start_span(self._facts)) is not None:
            self._facts |= span.ids
        return span

    @property
    def act_id(self) -> str:
        """The id of the act; "" for a read, and before the call resolved to an act."""
        return str(self._facts.get("act_id", ""))

    @property
    def call(self) -> OfCall:
        """The common fields of every audit event of this call."""
        facts, act = self._facts.copy(), self._act
        if act is not None:
            facts["provider"], facts["app"], facts["effect"] = act.provider, act.app, act.effect.words()
            facts["organisation"] = act.organisation
        return OfCall.of(facts)


@lru_cache(maxsize=4096)
def sorted_scopes(scopes: frozenset[str]) -> tuple[str, ...]:
    """Return the scopes sorted."""
    return tuple(sorted(scopes))


class AuditedCall:
    """Context manager around one call, which writes the call's result row.

    It replaces `MissingScopes` by the error that asks the user for consent, so `MissingScopes` never leaves the deputy.
    """

    def __init__(self, audit: Audit, asking: Asking, row: CallRow) -> None:
        self.audit, self.asking, self.row = audit, asking, row
        self.began = time.monotonic()
        self._span: CallSpan | None = None

    async def __aenter__(self) -> None:
        await self.audit.learn(self.row.user.tenant, self.row.user.id)
        self._span = self.row.start_span()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return self._write_result("done", self._sealed_summary())
        if isinstance(error, PolicyDenied | ApprovalRequired):
            self.row.record_rule(error.rule if isinstance(error, PolicyDenied) else error.approval.rule)
        try:
            if isinstance(error, MissingScopes):
                raise await self.asking.consent_error(error) from None
        except BaseException as instead:
            self._write_result(_decision(instead))
            raise
        asks = isinstance(error, ApprovalRequired | ConsentRequired)
        self._write_result(_decision(error), "" if asks else self._sealed_summary())

    def _write_result(self, decision: str, sealed: str = "") -> None:
        duration = round((time.monotonic() - self.began) * 1000)
        call = self.row.call
        if self._span is not None:
            self._span.end(call.facts(), decision)
        facts: dict[str, object] = {"call": call, "decision": decision, "duration_ms": duration}
        self.audit.write(ActResult.of(facts | {"sealed": sealed} if sealed else facts))

    def _sealed_summary(self) -> str:
        """Return the summary encrypted for the user, or "". No audit listener and no row has it in plain text."""
        row, names = self.row, self.audit.names
        if row.summary is NO_SUMMARY or names is None or not row.act_id:
            return ""
        return names.seal(row.user.tenant, row.user.id, row.act_id, row.summary.pack())


def _decision(error: BaseException) -> str:
    return error.code if isinstance(error, DeputizeError) else CUT_OFF
