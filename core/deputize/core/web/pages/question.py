"""A foreign server's question to its user during a call, at the address of an approval.

GET /approve/{approval} question_page question.html: an address to open, or a form; what was said, once it was POST
/approve/{approval} take_reply back to the same address, or to the list of all that the step asks

The server's texts and its form are untrusted, and shown in a frame that says so. Its address is written out, and opened
in a tab without access to ours. The user's answers go to that server alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.approvals.record import Reply
from deputize.core.errors import Conflict, InvalidInput
from deputize.core.mcp.elicitation import read_form
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import User
from deputize.core.web.pages import texts
from deputize.core.web.pages.request_summary import Step
from deputize.core.web.pages.site import Site, current_path, note


async def question_page(
    site: Site,
    request: Request,
    user: User,
    question: Approval,
    step: Step,
    step_link: str,
    given: Mapping[str, str] | None = None,
    fault: str = "",
) -> Response:
    """Show the question, or the reply to it. ``given``: invalid answers, with the reason ``fault``."""
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
    return await site.with_forms(request, "question.html", user, "'self'", action=current_path(request), **facts)


async def take_reply(site: Site, request: Request, user: User, question: Approval, fields: Mapping[str, str]) -> str:
    """Record the user's reply, and return what is wrong with the form, or "". Raises the refusal of malformed forms."""
    reply, content = fields.get("decision", ""), dict[str, Any]()
    if reply not in ("accept", "decline", "cancel"):
        raise InvalidInput("The form has no valid decision.", fix_by="user", reason="invalid_form")
    if reply == "accept":
        kept = await site.deputy.questions.load_kept(question.id, user)
        try:
            content = {part["key"]: _read_answer(place, part, fields) for place, part in _forms(kept)}
        except InvalidInput as wrong:
            return wrong.message
    try:
        await site.deputy.questions.reply(question.id, cast("Reply", reply), by=user, content=content)
    except Conflict as e:
        note(e, "POST /approve/{approval}")
    return ""


def _forms(kept: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(place, part) for place, part in enumerate(kept["parts"]) if not part["url"]]


def _read_answer(place: int, part: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"{place}."
    return read_form(part, {name.removeprefix(prefix): v for name, v in fields.items() if name.startswith(prefix)})
