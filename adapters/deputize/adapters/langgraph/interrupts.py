"""The payload of deputize's LangGraph pauses, and the form of their resume values.

    {"type": "deputize.consent", "v": 1, "consents": [...]}      resume with `RESUME`: the gate reads the vault again
    {"type": "deputize.approval", "v": 1, "approvals": [...]}    resume with `RESUME`, or with decisions: `Answers`

A decision in a resume value is stored as the resuming user's, and only the stored decision counts. Any value of another
form works like `RESUME`: it raises nothing and decides nothing. Resuming another user's pause is refused, and the pause
stays open.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, Final, Literal, NamedTuple, NotRequired

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from deputize.adapters.kit import question_id
from deputize.adapters.langchain.run_context import bare_resume_value, run_of
from deputize.adapters.langgraph.inline_execution import PAD, RESUMED_BY_ID, SAVER, answers_in, read_resume_value
from deputize.adapters.operator_warnings import NO_CHECKPOINTER, warn_once
from deputize.core import (
    Approval,
    ApprovalPayload,
    Conflict,
    ConsentPayload,
    Decisions,
    DeputyProtocol,
    InvalidInput,
    NotFound,
    PolicyDenied,
    User,
)

__all__ = [
    "ANSWERS_FORM",
    "ANYTHING",
    "MADE_IN",
    "RESUME",
    "Answers",
    "ApprovalPause",
    "ConsentPause",
    "Missing",
    "Payload",
    "approval_ids_in",
    "approval_payload",
    "decisions_in",
    "drop_kept_answer",
    "missing_requests",
    "record",
    "rejections_in",
    "same_user",
    "wait_for",
]

Payload = dict[str, Any]


class _Inbox(TypedDict, total=False):
    """The keys for inboxes, in a pause with ``interrupt_mode="hitl"``: see `inbox_format`."""

    action_requests: list[dict[str, Any]]
    review_configs: list[dict[str, Any]]
    action_request: dict[str, Any]
    config: dict[str, bool]
    description: str


class ConsentPause(_Inbox):
    """The value of an interrupt that waits for consents."""

    type: Literal["deputize.consent"]
    v: Literal[1]
    consents: list[ConsentPayload]


class ApprovalPause(_Inbox):
    """The value of an interrupt that waits for approvals. ``owner``: the encrypted owner of a single write's pause."""

    type: Literal["deputize.approval"]
    v: Literal[1]
    approvals: list[ApprovalPayload]
    owner: NotRequired[dict[str, str]]


class Missing(TypedDict, total=False):
    """The request that a call reports as missing."""

    consent: ConsentPayload
    approval: ApprovalPayload


NOT_WAITING: Final = (
    "A resume value decides %r, but no approval with this id waits for this user, so this decision is ignored. "
    "The waiting ids are those of the current pause, see requests_in(pauses, 'approval')."
)
MAX_LOGGED_ID_CHARACTERS: Final = 80
"""Characters of an id in the log: the caller may have made it up."""

log = logging.getLogger("deputize")

RESUME: Final[dict[str, Any]] = {"wake": True}
"""The value to resume a pause with, ``Command(resume=RESUME)``: the graph reads the vault again. It decides nothing."""

ANYTHING: Final = {"description": "Anything: it resumes the graph and proves nothing."}
"""The schema of the resume value of a consent pause."""

NO_ANSWER: Final = "A resume value looks like an answer but decides nothing, so the user is asked again. %s %s"
ANSWER_WORDS: Final = frozenset(("decisions", "decision", "type", "approve", "accept", "reject", "ignore", "edit"))
"""Words that make a resume value look like an answer, in deputize's format or an inbox's."""


@with_config(ConfigDict(extra="allow"))
class Answers(TypedDict, total=False):
    """The resume value of an approval pause: decisions by approval id. Without decisions it only resumes."""

    decisions: Decisions
    reason: str


ANSWERS_FORM: Final = TypeAdapter(Answers)


BY_ID: Final = 'Write {"decisions": {approval_id: "approve"}}, "reject" or {"decision": "edit", "arguments": {...}}.'


MADE_IN: Final = "made_in"
"""Key in a pause's record: the run in which the pause was made."""


def wait_for(pause: Mapping[str, Any], schema: Any, note: Mapping[str, Any]) -> Any:
    """Pause here, once, and return the resume value, parsed by ``schema``.

    A value of another form counts as `RESUME`, and is logged if it looks like an answer. A value that names no
    interrupt counts only if this run itself was resumed with it, and if the pause is older than the run (``note``, the
    pause's record): a value of an earlier run may be another user's, or answer what was asked then. A pause without a
    checkpointer is logged.
    """
    config = get_config()
    try:
        if bare_resume_value(config) is not None and run_of(config) != note.get(MADE_IN):
            return _answer_of(_asked(pause, schema), schema)
        with set_config_context(_deaf(config)) as context:
            return _answer_of(context.run(_asked, pause, schema), schema)
    except GraphInterrupt:
        if config.get("configurable", {}).get(SAVER) is None:
            warn_once(NO_CHECKPOINTER)
        raise


def _asked(pause: Mapping[str, Any], schema: Any) -> Any:
    """Pause with the schema as JSON. With any other schema, LangGraph raises for a value that does not match."""
    return interrupt(pause, response_schema=_form(schema))


def _answer_of(value: Any, schema: Any) -> Any:
    """Return the parsed resume value, or that of `RESUME` if the value does not match the schema."""
    if isinstance(schema, dict):  # which takes anything
        return value
    adapter = TypeAdapter[Any](schema)
    try:
        answer, wrong = adapter.validate_python(value), None
    except ValidationError as error:
        answer, wrong = adapter.validate_python(RESUME), error
    if not decisions_in(answer) and _looks_like_answer(value):
        log.warning(NO_ANSWER, *_unusable(value, wrong))
    return answer


def _looks_like_answer(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return any(
        not ANSWER_WORDS.isdisjoint(part)
        if isinstance(part, Mapping)
        else isinstance(part, str) and part in ANSWER_WORDS
        for part in parts
    )


def _deaf(config: RunnableConfig) -> RunnableConfig:
    """Return the configuration without the bare resume value, which stays for the pause it was meant for."""
    inside = config.get("configurable") or {}
    if PAD not in inside:
        return config
    return {**config, "configurable": {**inside, PAD: replace(inside[PAD], get_null_resume=lambda consume=False: None)}}


@cache
def _form_of(schema: type[Any]) -> dict[str, Any]:
    return TypeAdapter(schema).json_schema()


def _form(schema: Any) -> dict[str, Any]:
    """Return a schema as JSON. LangGraph would generate it for each pause, a tenth of the pause's cost."""
    if isinstance(schema, dict):
        return schema
    return _form_of(schema) if isinstance(schema, type) else TypeAdapter(schema).json_schema()


def _unusable(value: Any, wrong: ValidationError | None) -> tuple[str, str]:
    """Return an error about a value, without its content, and a hint, for the log."""
    more = " decisions_by_id translates answers that count positions." if not isinstance(value, str) else ""
    if wrong is None:
        return "It has no decisions by approval id.", f"{BY_ID}{more}"
    first = wrong.errors(include_input=False)[0]
    about = getattr(first.get("ctx", {}).get("error"), "__cause__", None)  # the error of `read_hitl`
    if isinstance(about, InvalidInput):
        return str(about)[:MAX_LOGGED_ID_CHARACTERS], about.hint
    where = ".".join(str(part) for part in first["loc"])[:MAX_LOGGED_ID_CHARACTERS] or "value"
    return f"Its {where!r} does not fit: {first['msg']}.", f"{BY_ID}{more}"


def decisions_in(answer: Any) -> Mapping[Any, Any]:
    """Return the decisions by id in an answer that was not validated yet."""
    named = answer.get("decisions") if isinstance(answer, Mapping) else getattr(answer, "decisions", None)
    return named if isinstance(named, Mapping) else {}


def drop_kept_answer(config: RunnableConfig, asked: Container[str] | None) -> None:
    """Make a pause receive this run's resume value instead of the answer that an earlier run could not record.

    LangGraph stores the answer of a failed run, and would pass it to the pause instead of the new value. If the run has
    no value, the pause receives the stored answer again. ``asked``: the pause's approvals, by which its answer differs
    from those of your own pauses in the same task. None: the task has no other pause.
    """
    came, before = read_resume_value(config)
    if came is not None and before and (asked is None or any(one in asked for one in decisions_in(before[-1]))):
        answers_in(config).remove(before[-1])


def approval_ids_in(note: Mapping[str, Any]) -> list[str]:
    """Return the ids of the approvals in a recorded pause."""
    return [ask["approval_id"] for ask in (note.get("pause") or {}).get("approvals", ())]


def rejections_in(config: RunnableConfig) -> list[Answers]:
    """Return the rejections by id in this run's resume value. Malformed values are ignored."""
    inside: Mapping[str, Any] = config.get("configurable") or {}
    found = list[Answers]()
    for one in [*(inside.get(RESUMED_BY_ID) or {}).values()] or [bare_resume_value(config)]:
        if "reject" in decisions_in(one).values():
            with suppress(ValidationError):
                said = ANSWERS_FORM.validate_python(one)
                noes: Decisions = {id: what for id, what in said.get("decisions", {}).items() if what == "reject"}
                found.append({"decisions": noes, "reason": said.get("reason", "")})
    return found


class Recorded(NamedTuple):
    """Result of recording a resume value: approved ids, and errors by the id of the question (`question_id`)."""

    agreed: set[str]
    faults: dict[str, str]


async def record(deputy: DeputyProtocol, given: Any, user: User | None) -> Recorded:
    """Record the decisions in a resume value as this user's. Return the approved ids and the errors."""
    answers, agreed, faults = ANSWERS_FORM.validate_python(given), set[str](), dict[str, str]()
    reason = answers.get("reason", "")
    for approval, said in answers.get("decisions", {}).items():
        what, changed = (said, None) if isinstance(said, str) else (said["decision"], said["arguments"])
        try:
            await deputy.decide(approval, what, by=user, reason=reason, arguments=changed)
            agreed |= {approval} if what != "reject" else set()
        except NotFound:  # expired, or a mistake
            log.warning(NOT_WAITING, approval[:MAX_LOGGED_ID_CHARACTERS])
        except (InvalidInput, Conflict) as wrong:  # an exception would be raised again by every resume
            if not isinstance(wrong, Conflict) or wrong.reason == "changed":  # else decided elsewhere
                faults[question_id(approval)] = str(wrong)
    return Recorded(agreed, faults)


def approval_payload(approval: Approval, faults: Mapping[str, str]) -> ApprovalPayload:
    """Return an approval's payload for a pause, with the error of the user's last decision."""
    payload = approval.payload()
    if fault := faults.get(question_id(approval.id)):
        payload["fault"] = fault
    return payload


def same_user(note: Mapping[str, Any], user: User | None) -> User:
    """Return the user who started the run. Raises `PolicyDenied` for another user; the pause stays open."""
    if user is None or (user.id, user.tenant) != (note.get("user"), note.get("tenant")):
        raise PolicyDenied("This pause belongs to another user.", hint="Resume as the user who started it.")
    return user


def missing_requests(answer: Any) -> Missing:
    """Return the consent or approval that this tool message reports as missing, by kind; else empty. Also empty if
    nobody is there to answer (`User.unattended`): the message is then the call's result."""
    if not isinstance(answer, ToolMessage) or answer.status != "error" or not isinstance(answer.artifact, Mapping):
        return {}
    if answer.artifact.get("unattended"):
        return {}
    found: Any = {kind: answer.artifact[kind] for kind in ("consent", "approval") if kind in answer.artifact}
    missing: Missing = found
    return missing
