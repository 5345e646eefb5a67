"""All requests of one agent step on one page, ``/asks/{step}``: the consents and approvals of one model message.

The name of a step is `Call.ask`, a hash of the thread and the message. Consents store the names of the steps that led
to them, approvals that of their own. The name is no secret, because only the user's own records are searched for it.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import NotFound
from deputize.core.user_requests import Approval, Consent
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.reading_order import first_line
from deputize.core.web.pages.site import Page, Site, current_path

_NAME: Final = re.compile(r"[0-9a-f]{32}")


@frozen
class Question(ValueObject):
    """One consent or approval of a step. ``outcome``: its style, "" while pending. ``link``: a consent's link."""

    kind: Literal["consent", "approval"]
    id: str
    title: str
    detail: str
    said: str
    outcome: str
    link: str = ""


@frozen
class Step(ValueObject):
    """The requests of one step, consents first, each kind in the order in which it was requested."""

    name: str
    questions: tuple[Question, ...] = ()

    @property
    def done(self) -> int:
        """The number of answered requests."""
        return sum(bool(question.outcome) for question in self.questions)

    @property
    def waiting(self) -> int:
        """The number of pending requests."""
        return len(self.questions) - self.done

    @property
    def progress(self) -> str:
        """``2 of 3 done``; "" for a single request, which has its own page."""
        return f"{self.done} of {len(self.questions)} done" if len(self.questions) > 1 else ""


async def step_of(deputy: BaseDeputy, user: User, name: str) -> Step:
    """Return the step of this name with its requests to this user. An unknown name gives a step without requests."""
    if not _NAME.fullmatch(name):
        return Step(name)
    repository = deputy.consents.repository
    records = [record for record in await repository.list_for_user(user) if name in record.asks]
    consents = [_consent(deputy, await repository.to_public(record)) for record in records]
    approvals = [_approval(one) for one in await deputy.approvals.list_by_request(user, name)]
    return Step(name, (*consents, *approvals))


def _consent(deputy: BaseDeputy, consent: Consent) -> Question:
    row = deputy.providers.get(consent.provider)
    label = row.label if row else consent.provider
    over = consent.status not in ("pending", "expired")
    return Question(
        "consent",
        consent.id,
        f"Connect {label}",
        "; ".join(consent.scope_descriptions),
        texts.sentence(texts.HEADS, consent.status, texts.HEAD_ELSE, label) if over else "",
        texts.OUTCOMES.get(consent.status, "failed") if over else "",
        consent.link if consent.status == "pending" else "",
    )


def _approval(approval: Approval) -> Question:
    outcome = {"pending": "", "rejected": "declined"}.get(approval.status, "done")
    heads = texts.QUESTION_HEADS if approval.kind == "question" else texts.APPROVAL_HEADS
    said = heads.get(approval.status, "")
    return Question("approval", approval.id, approval.summary, first_line(approval.preview), said, outcome)


async def asks(site: Site, request: Request) -> Response:
    """Show all requests of a step with their states and links. After an answer, the user returns to this page."""
    name = request.path_params["step"]
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, f"/asks/{name}")
    step = await step_of(site.deputy, user, name)
    if not step.questions:
        raise NotFound("Nothing is asked under this name.")
    above = current_path(request).removesuffix(f"/asks/{name}")
    return await site.with_forms(
        request,
        "asks.html",
        user,
        "'self'",
        step=step,
        above=above,
        path=current_path(request),
        back=site.return_to.default,
    )


PAGES: Final = (Page("GET", "/asks/{step}", asks, own=True),)
