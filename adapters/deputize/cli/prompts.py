"""Prompts at the terminal: consent through a link, approval by an answer, and waiting for both."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from deputize.cli import show
from deputize.cli.browser import open_browser
from deputize.cli.prompt_input import AnsweredElsewhere, typed_line
from deputize.core import (
    Approval,
    ApprovalRequired,
    Call,
    Conflict,
    Consent,
    ConsentRequired,
    Declined,
    DeputizeError,
    Deputy,
    MandateOffer,
    NotFound,
    ProviderUnavailable,
    ScopeNotGranted,
    SettingsError,
    User,
)
from deputize.core.approvals.mandate_record import MAX_ACTS
from deputize.core.approvals.outcome import describe_outcome
from deputize.core.oauth.refusals import REMEDIES
from deputize.core.settings import Settings
from deputize.core.web.pages.local_links import approval_link, show_anew

QUESTION: Final = {False: "Do this? [y/N] ", True: "Do this? [y/N, or m for: yes, and more like it] "}
"""The question, by whether the user may also give a mandate."""


@dataclass(frozen=True)
class Asking:
    """How to ask the user. ``seconds``: limit for a consent. ``yes``: approve without asking. ``device``: by code."""

    deputy: Deputy
    user: User
    browser: bool = True
    seconds: float = 600.0
    yes: bool = False
    device: bool = False

    def consents(self, asked: Sequence[Consent], seconds: float | None = None) -> list[Consent]:
        """Show each link, wait until all consents have ended, and return them. Unanswered: pending or expired."""
        if self.device:
            return [self.deputy.run(self._connect_by_device(one)) for one in asked]
        for one in asked:
            self.deputy.run(show_anew(self.deputy, one.link))
            show.consent(one.payload(), self.label(one.provider), one.agent or self.deputy.agent)
            if self.browser:
                open_browser(one.link)
        with show.waiting("Waiting for you in the browser (Ctrl-C to stop) ..."):
            return self.deputy.run(
                self.deputy.wait_for_consents(asked, timeout=self.seconds if seconds is None else seconds)
            )

    async def _connect_by_device(self, asked: Consent) -> Consent:
        """Show a device code, and wait until the user has entered it at the provider."""
        payload = asked.payload() | {"link": ""}
        show.consent(payload, self.label(asked.provider), asked.agent or self.deputy.agent)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                with show.waiting("Waiting for the code to be entered (Ctrl-C to stop) ..."):
                    return await self.deputy.connect_by_device_code(self.user, asked, show.code)
        return await self.deputy.get_consent(asked) or asked

    def act(self, tool: str, arguments: Mapping[str, Any], account: str | None, app: str = "") -> Any:
        """Act, and ask for missing consents and approvals. Raises `DeputizeError` if the act is rejected or fails."""
        token, deputy = secrets.token_hex(16), self.deputy
        call = Call(thread="cli", message=token, id=token)
        result = self.run_until_done(
            lambda: deputy.act(tool, arguments, user=self.user, account=account, app=app, call=call)
        )
        for one in deputy.run(deputy.undoable(self.user)):
            if one.call == token:
                show.note(f"To undo it: deputize undo {one.id}")
        return result

    def undo(self, act: str) -> Any:
        """Undo an act, asking like `act`. Raises `DeputizeError` if the undo is rejected or fails."""
        return self.run_until_done(lambda: self.deputy.undo(self.user, act))

    def run_until_done(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Return the result of an attempt, repeated after each answered request."""
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                return self.deputy.run(attempt())
            except ConsentRequired as needed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._unanswered_error(needed) from None
                self.consents([needed.consent], left)
            except ApprovalRequired as needed:
                self._decide(needed)
                now = self.deputy.run(self.deputy.get_approval(needed.approval, by=self.user))
                if now is not None and now.status == "rejected":
                    raise Declined(f"The user declined: {now.tool}.", hint=now.reason) from None

    def _unanswered_error(self, needed: ConsentRequired) -> DeputizeError:
        scopes = " ".join(f"--scopes {scope}" for scope in needed.consent.scopes)
        foreign = needed.consent.provider in self.deputy.registry.late  # its scopes are the server's to name
        hint = "Run the command again." if foreign else f"deputize connect {needed.consent.provider} {scopes}".strip()
        return ConsentRequired(needed.message, consent=needed.consent, hint=hint)

    def _decide(self, needed: ApprovalRequired) -> None:
        """Record the user's answer. Raises ``needed`` without a terminal."""
        approval = needed.approval
        if approval.kind == "question":
            return self._wait_for_page(needed)
        if approval.approvers:
            return self._wait_for_others(needed)
        show.approval(approval, page="" if self.yes else approval_page(self.deputy, self.user, approval))
        try:
            answer = "y" if self.yes else asked(QUESTION[bool(approval.targets)], lambda: self._is_decided(approval))
            offer = self._offer(approval) if answer == "m" and approval.targets else None
        except AnsweredElsewhere:
            show.err.print()
            show.note(describe_decision(self.deputy.run(self.deputy.get_approval(approval, by=self.user))))
            return
        if answer is None or (answer == "m" and approval.targets and offer is None):
            raise ApprovalRequired(
                needed.message, approval=approval, hint="Answer at a terminal, or pass --yes."
            ) from None
        good = offer is not None or answer in ("y", "yes")
        try:
            self.deputy.run(self.deputy.decide(approval, "approve" if good else "reject", by=self.user, mandate=offer))
        except Conflict:  # it was decided elsewhere
            show.note(describe_decision(self.deputy.run(self.deputy.get_approval(approval, by=self.user))))
        except NotFound:  # it has expired: the user is asked again
            pass

    def _wait_for_page(self, needed: ApprovalRequired) -> None:
        """Wait until the user has answered a foreign server's question on its page.

        Raises ``needed`` after the timeout, or if no page can be served.
        """
        page = approval_page(self.deputy, self.user, needed.approval)
        show.approval(needed.approval, page=page)
        if page and self.browser:
            open_browser(page)
        with show.waiting("Waiting for you on that page (Ctrl-C to stop) ..."):
            if not page or not self._is_decided(needed.approval, self.seconds):
                raise needed

    def _wait_for_others(self, needed: ApprovalRequired) -> None:
        """Wait until somebody with the role has decided. Raises ``needed`` after the timeout, and in local mode, where
        nobody signs in."""
        approval = needed.approval
        if Settings.load().local:
            hint = f"In local mode nobody signs in, so nobody has the role {approval.approvers}. Set DEPUTIZE_BASE_URL."
            raise ApprovalRequired(needed.message, approval=approval, hint=hint) from None
        show.approval(approval)
        page = f"{Settings.load().base_url.rstrip('/')}/others"
        with show.waiting(f"Waiting for somebody with the role {approval.approvers}, who decides at {page} ..."):
            if not self._is_decided(approval, self.seconds):
                hint = "Run the command again with a longer --wait. It asks anew."
                raise ApprovalRequired(needed.message, approval=approval, hint=hint) from None

    def _is_decided(self, approval: Approval, within: float = 0.0) -> bool:
        now = self.deputy.run(self.deputy.get_approval(approval, by=self.user, timeout=within))
        return now is None or now.status != "pending" or now.id != approval.id

    def _offer(self, approval: Approval) -> MandateOffer | None:
        """Return the mandate that the user creates: how many more acts, and how long. None at the end of the input."""
        who = f"{approval.tool} as {approval.account}"
        show.note(f"{who} then reaches only: {', '.join(approval.targets)}. You are not asked before.")
        most = number("How many more?", 10, MAX_ACTS, lambda: self._is_decided(approval))
        hours = number("For how many hours?", 24, 90 * 24, lambda: self._is_decided(approval)) if most else None
        return MandateOffer(most, self.deputy.clock() + hours * 3600.0) if most and hours else None

    def label(self, provider: str) -> str:
        """Return a provider's display name."""
        return self.deputy.providers[provider].label


def approval_page(deputy: Deputy, user: User, approval: Approval) -> str:
    """Return the URL of the page with this act and its decision, or "" if no page can be served."""
    try:
        return deputy.run(approval_link(deputy, user, approval.id))
    except SettingsError:  # no web framework, or the port is taken: the terminal still asks
        return ""


def describe_decision(approval: Approval | None) -> str:
    """Return a sentence with what was decided on the page, or that the act is already done, in local time."""
    if approval is None or approval.status == "pending":
        return "This approval no longer waits."
    if approval.status == "used":
        return f"Too late: {describe_outcome(approval, None)}."
    return f"Decided on the page: {approval.status}."


def asked(question: str, elsewhere: Callable[[], bool]) -> str | None:
    """Ask on stderr. Return the answer in lower case, or None at the end of the input. Raises `AnsweredElsewhere`."""
    show.err.print(show.plain(question, "bold"), end="")
    answer = typed_line(elsewhere)
    return None if answer is None else answer.lower()


def number(question: str, usual: int, most: int, elsewhere: Callable[[], bool]) -> int | None:
    """Return the number that the user types, ``usual`` for an empty line, or None at the end of the input."""
    while (answer := asked(f"{question} [{usual}] ", elsewhere)) is not None:
        found = usual if not answer else int(answer) if answer.isascii() and answer.isdecimal() else 0
        if 0 < found <= most:
            return found
        show.note(f"A number from 1 to {most}, please.")
    return None


def raise_unless_granted(consent: Consent, label: str) -> None:
    """Raise a `DeputizeError` about the outcome unless the user consented to everything."""
    if consent.status == "granted":
        return
    if consent.status == "partial":
        raise ScopeNotGranted(f"{label} granted only a part of it.", hint="deputize accounts shows what was granted.")
    if consent.status in ("pending", "expired"):
        raise ProviderUnavailable("The link was not used in time.", hint="Run the command again for a new link.")
    if consent.status == "failed":
        remedy = REMEDIES.get(consent.reason_code, "").format(label=label)
        raise ProviderUnavailable(
            f"{label} could not be connected: {consent.reason_code or 'unknown'}.",
            hint=remedy[:1].upper() + remedy[1:] or "deputize doctor",
        )
    raise Declined(f"{label} was not connected: {consent.status}.", hint="Run the command again to be asked again.")
