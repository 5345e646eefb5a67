"""All requests of one agent step on one page, ``/asks/{step}``: the consents and approvals of one model message.

The name of a step is `Call.ask`, a hash of the thread and the message. Consents store the names of the steps that led
to them, approvals that of their own. The name is no secret, because only the user's own records are searched for it.

Pending approvals for one account of one provider are displayed in full, one below another, and can be answered
together. The form names each approval that was displayed, with the digest of its preview. If another set waits by then,
nothing is approved. An approval that deserves a look of its own is never among them: see `_reason_to_ask_alone`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple, cast

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.approvals.headline import LOOKS_LIKE
from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.approvals.service import Decision
from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.tools.preview import DANGERS, Audience, Preview
from deputize.core.user_requests import Approval, Consent
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.approval_lines import Reading, arrange_rows, first_line
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.site import Page, Site, current_path, note

_NAME: Final = re.compile(r"[0-9a-f]{32}")


@frozen
class Question(ValueObject):
    """One consent or approval of a step. ``outcome``: its style, "" while pending. ``link``: a consent's link.
    ``alone``: why it is asked alone, "" if there is no reason. ``reading``: its preview, if it is in a bundle."""

    kind: Literal["consent", "approval"]
    id: str
    title: str
    detail: str
    said: str
    outcome: str
    link: str = ""
    alone: str = ""
    reading: Reading | None = None


@frozen
class Bundle(ValueObject):
    """Pending approvals that can be answered together. ``digests``: those of their previews, by approval id."""

    agent: str
    provider: str
    account: str
    questions: tuple[Question, ...]
    digests: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The ids and digests of all approvals, as the form sends them back."""
        return " ".join(f"{id}:{digest}" for id, digest in sorted(self.digests.items()))


@frozen
class Step(ValueObject):
    """The requests of one step, consents first, each kind in the order in which it was requested."""

    name: str
    questions: tuple[Question, ...] = ()
    bundles: tuple[Bundle, ...] = ()

    @property
    def single(self) -> list[Question]:
        """The requests that are in no bundle."""
        return [one for one in self.questions if one.reading is None]

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
    found = await deputy.approvals.records_by_request(user, name)
    zone, home = await deputy.services.zones.of(user), deputy.services.home
    tools = {record.tool for record in found if record.status is Status.PENDING}
    # a tool's toolkit may have to be loaded, never in the event loop
    labels = await asyncio.to_thread(_providers_of, deputy, tools) if len(found) > 1 else {}
    approvals, bundles = _bundled([(record, record.public(home, zone)) for record in found], labels)
    return Step(name, (*consents, *approvals), bundles)


def _bundled(
    found: Sequence[tuple[ApprovalRecord, Approval]], labels: Mapping[str, str]
) -> tuple[list[Question], tuple[Bundle, ...]]:
    """Return the approvals, and the bundles of those that wait and belong together: two or more of one agent, for one
    account. ``labels``: of the providers, by tool."""
    places: dict[_Place, list[tuple[ApprovalRecord, Approval]]] = {}
    for record, approval in found:
        if record.status is Status.PENDING:
            place = _Place(record.agent, labels.get(record.tool, ""), record.account, record.subject or "")
            places.setdefault(place, []).append((record, approval))
    readings, alone, digests = dict[str, Reading](), dict[str, str](), dict[_Place, dict[str, str]]()
    for place, waiting in places.items():
        if len(waiting) > 1:
            alone |= {record.id: _reason_to_ask_alone(record, approval) for record, approval in waiting}
        together = [(record, approval) for record, approval in waiting if not alone.get(record.id)]
        if len(together) > 1:
            digests[place] = {record.id: record.digest for record, _ in together}
            readings |= {record.id: arrange_rows(approval) for record, approval in together}
    questions = {one.id: _approval(one, alone.get(one.id, ""), readings.get(one.id)) for _, one in found}
    bundles = [
        Bundle(texts.agent_words(place.agent), place.provider, place.account, tuple(questions[id] for id in of), of)
        for place, of in digests.items()
    ]
    return [*questions.values()], tuple(bundles)


class _Place(NamedTuple):
    """The agent that wants to act, and the account at a provider's label."""

    agent: str
    provider: str
    account: str
    subject: str


def _providers_of(deputy: BaseDeputy, tools: Iterable[str]) -> dict[str, str]:
    """Return the label of each tool's provider. A tool that this process does not have is left out."""
    found: dict[str, str] = {}
    for tool in tools:
        with suppress(InvalidInput):
            provider = deputy.catalog.tool(tool).provider
            row = deputy.providers.get(provider)
            found[tool] = row.label if row else provider
    return found


def _reason_to_ask_alone(record: ApprovalRecord, approval: Approval) -> str:
    """Return why this approval deserves a look of its own, or "" if it may be answered with others."""
    if record.approvers:
        return f"Somebody with the role {record.approvers} decides it, not you."
    if record.question is not None or not record.show:
        return "You answer it on its own page."
    show = Preview.of(record.show)
    if show.destroys or record.effect == "destructive":
        return "Something would be lost."
    if show.dangers:
        return DANGERS[show.dangers[0]]
    if show.audience is Audience.UNKNOWN:
        return "It is not known who will see it."
    if show.audience is Audience.PUBLIC:
        return "Everybody will see it."
    if record.first_contacts:
        return "It reaches somebody to whom you have never written, as far as is known."
    if record.outside or record.chosen_by_others:
        return "Somebody else named an address or another detail in it, or that is not known."
    if LOOKS_LIKE in approval.preview:
        return "An address in it looks like another one."
    return "It has changed since you were asked." if record.changed else ""


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


def _approval(approval: Approval, alone: str, reading: Reading | None) -> Question:
    outcome = {"pending": "", "rejected": "declined"}.get(approval.status, "done")
    heads = texts.QUESTION_HEADS if approval.kind == "question" else texts.APPROVAL_HEADS
    said = heads.get(approval.status, "")
    title, detail = approval.summary, first_line(approval.preview)
    return Question("approval", approval.id, title, detail, said, outcome, alone=alone, reading=reading)


async def asks(site: Site, request: Request) -> Response:
    """Show all requests of a step with their states and links. After an answer, the user returns to this page."""
    name = request.path_params["step"]
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, f"/asks/{name}")
    return await _page(site, request, user, await step_of(site.deputy, user, name))


async def decide_together(site: Site, request: Request) -> Response:
    """Record one decision about all approvals of a bundle. An approval counts only if exactly these wait."""
    name = request.path_params["step"]
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, f"/asks/{name}")
    fields = await site.form(request, user)
    decision, shown = fields.get("decision", ""), fields.get("shown", "")
    if decision not in ("approve", "reject"):
        raise InvalidInput("The form has no valid decision.", fix_by="user", reason="invalid_form")
    step = await step_of(site.deputy, user, name)
    bundle = next((one for one in step.bundles if one.shown == shown), None)
    if bundle is None:
        return await _page(site, request, user, step, changed=True)
    for approval in bundle.digests:
        try:
            await site.deputy.decide(approval, cast("Decision", decision), by=user)
        except (Conflict, NotFound) as e:  # decided elsewhere, or changed, a moment ago
            note(e, "POST /asks/{step}")
    return see_other(current_path(request))


async def _page(site: Site, request: Request, user: User, step: Step, *, changed: bool = False) -> Response:
    """Return the page of a step. ``changed``: its approvals have changed since the user saw them."""
    if not step.questions:
        raise NotFound("Nothing is asked under this name.")
    above = current_path(request).removesuffix(f"/asks/{step.name}")
    return await site.with_forms(
        request,
        "asks.html",
        user,
        "'self'",
        status=409 if changed else 200,
        changed=changed,
        step=step,
        above=above,
        path=current_path(request),
        back=site.return_to.default,
    )


PAGES: Final = (
    Page("GET", "/asks/{step}", asks, own=True),
    Page("POST", "/asks/{step}", decide_together, own=True),
)
