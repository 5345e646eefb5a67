"""The page of an act that waits for the user's approval, or of a foreign server's question during a call.

    GET   ask      approve.html or question.html; approval_result.html after the decision
    POST  decide   back to the same address, or to the list of all requests of the step

A foreign server's texts and its form are untrusted, and displayed in a frame that says so. Its address is written out,
and opened in a tab without access to this page. The user's answers are sent to that server only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.approvals.mandate_record import MAX_ACTS
from deputize.core.approvals.record import Reply
from deputize.core.approvals.service import Decision
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.core.mcp_client.elicitation import read_form
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.approval_lines import arrange_rows
from deputize.core.web.pages.mandates import PERIODS, list_mandates
from deputize.core.web.pages.rendering import see_other
from deputize.core.web.pages.request_summary import Step, step_of
from deputize.core.web.pages.site import Page, Site, current_path, note


async def ask(site: Site, request: Request) -> Response:
    """Show an act that waits for approval, or the decision about it. A link from before a change shows it as it is
    now."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, _path(request))
    act = await _act(site, request, user)
    step = await step_of(site.deputy, user, act.request_id)
    if act.kind == "question":
        return await _question_page(site, request, user, act, step, _list_of(request, step))
    facts: dict[str, Any] = {
        "step": step,
        "step_link": _list_of(request, step),
        "act": act,
        "requester": "",
        "reading": arrange_rows(act),
        "head": texts.approval_head(act, await site.deputy.services.zones.of(user)),
        "agent": texts.agent_words(act.agent),
        "effect": texts.EFFECTS.get(act.effect, act.effect),
        "back": site.return_to.default,
        "alike": await site.deputy.approvals.count_approved_alike(user, act.id),
        "mandates": await list_mandates(site, user, act.id),
        "most_acts": MAX_ACTS,
        "periods": PERIODS,
        "left": texts.minutes(act.expires_at - site.deputy.clock()),
        "step_up": await site.step_up_link(request, user, act.id) if act.status == "pending" else "",
    }
    template = "approve.html" if act.status == "pending" else "approval_result.html"
    return await site.with_forms(request, template, user, "'self'", action=_action(request, act), **facts)


async def decide(site: Site, request: Request) -> Response:
    """Record the user's decision. A rejection counts until the act begins. Otherwise the earlier decision is shown."""
    user = await site.user(request)
    if user is None:
        return site.redirect_to_sign_in(request, _path(request))
    fields = await site.form(request, user)
    decision, act = fields.get("decision", ""), await _act(site, request, user)
    if act.kind == "question" and decision != "reject":
        if fault := await _take_reply(site, request, user, act, fields):
            step = await step_of(site.deputy, user, act.request_id)
            return await _question_page(site, request, user, act, step, _list_of(request, step), fields, fault)
        decision = ""
    elif decision not in ("approve", "reject"):
        raise InvalidInput("The form has no valid decision.", fix_by="user", reason="invalid_form")
    if decision == "approve" and await site.step_up_link(request, user, act.id):
        return see_other(current_path(request))  # which links to the new sign-in
    try:
        if decision:
            await site.deputy.decide(request.path_params["approval"], cast("Decision", decision), by=user)
    except Conflict as e:
        note(e, "POST /approve/{approval}")
        return see_other(current_path(request))
    step = await step_of(site.deputy, user, act.request_id)
    return see_other(_list_of(request, step) or current_path(request))


async def _act(site: Site, request: Request, user: User) -> Approval:
    found = await site.deputy.approvals.get(request.path_params["approval"], by=user)
    if found is None or found.expires_at <= site.deputy.clock():
        raise NotFound("No such approval waits for this user.")
    return found


def _action(request: Request, act: Approval) -> str:
    """Return the address for the form, whose id says what the page shows."""
    return f"{current_path(request).rpartition('/')[0]}/{act.id}"


def _list_of(request: Request, step: Step) -> str:
    """Return the page with all requests of this step, or "" if there is only one."""
    above = current_path(request).rpartition("/approve/")[0]
    return f"{above}/asks/{step.name}" if step.progress else ""


def _path(request: Request) -> str:
    return f"/approve/{quote(request.path_params['approval'], safe='')}"


async def _question_page(
    site: Site,
    request: Request,
    user: User,
    question: Approval,
    step: Step,
    step_link: str,
    given: Mapping[str, str] | None = None,
    fault: str = "",
) -> Response:
    """Show the question, or the reply to it. ``given``: invalid answers to show again, with the error ``fault``."""
    asked = await site.deputy.questions.load_kept(question.id, user)
    facts: dict[str, Any] = {
        "question": question,
        "asked": asked,
        "label": site.label(asked["server"]),
        "agent": texts.agent_words(question.agent),
        "step": step,
        "step_link": step_link,
        "back": site.return_to.default,
        "left": texts.minutes(question.expires_at - site.deputy.clock()),
        "given": given,
        "fault": fault,
    }
    return await site.with_forms(request, "question.html", user, "'self'", action=_action(request, question), **facts)


async def _take_reply(site: Site, request: Request, user: User, question: Approval, fields: Mapping[str, str]) -> str:
    """Record the user's reply. Return the error in the form, or "". Raises the refusal of malformed forms."""
    reply, content = fields.get("decision", ""), dict[str, Any]()
    if reply not in ("accept", "decline", "cancel"):
        raise InvalidInput("The form has no valid decision.", fix_by="user", reason="invalid_form")
    if reply == "accept":
        kept = await site.deputy.questions.load_kept(question.id, user)
        try:
            content = {part["key"]: _read_answer(place, part, fields) for place, part in _form_parts(kept)}
        except InvalidInput as wrong:
            return wrong.message
    try:
        await site.deputy.questions.reply(
            request.path_params["approval"], cast("Reply", reply), by=user, content=content
        )
    except Conflict as e:
        note(e, "POST /approve/{approval}")
    return ""


def _form_parts(kept: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(place, part) for place, part in enumerate(kept["parts"]) if not part["url"]]


def _read_answer(place: int, part: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"{place}."
    return read_form(part, {name.removeprefix(prefix): v for name, v in fields.items() if name.startswith(prefix)})


PAGES: Final = (
    Page("GET", "/approve/{approval}", ask, own=True),
    Page("POST", "/approve/{approval}", decide, own=True),
)
