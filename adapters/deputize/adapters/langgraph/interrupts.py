"""What a pause of LangGraph asks of the user, and what a resume of it may say.

    {"type": "deputize.consent", "v": 1, "consents": [...]}      resume with `RESUME`: the gate reads the vault again
    {"type": "deputize.approval", "v": 1, "approvals": [...]}    resume with `RESUME`, or with decisions: `Answers`

What a resume says of an approval is recorded as the resuming user's decision; the recorded row counts. Every value that
is no answer of this form resumes like `RESUME`: it raises nothing and decides nothing. Whoever resumes another user's
pause is refused, and the pause stays open.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from deputize.adapters.langchain.run_context import came_with_bare, run_of
from deputize.adapters.langgraph.inline_execution import PAD, RESUMED_BY_ID, SAVER
from deputize.adapters.operator_warnings import NO_CHECKPOINTER, warn_once
from deputize.core import Approval, Conflict, DeputyProtocol, InvalidInput, NotFound, PolicyDenied, User

__all__ = [
    "ANYTHING",
    "RESUME",
    "Answers",
    "Edited",
    "Payload",
    "approval_ids_in",
    "asking_again",
    "decisions_in",
    "mark_of",
    "missing_of",
    "record",
    "rejections_in",
    "same_user",
    "stale_resume_marker",
    "wait_for",
]

Payload = dict[str, Any]

NOT_WAITING: Final = (
    "A resume decides %r, and no approval of this id waits for this user: that part of it only wakes the graph. "
    "The ids that wait are those of the pause that is shown now, see requests_in(pauses, 'approval')."
)
LONGEST: Final = 80
"""Of an id in the log, which whoever resumes may have made up."""

log = logging.getLogger("deputize")

RESUME: Final[dict[str, Any]] = {"wake": True}
"""What to resume a pause with, ``Command(resume=RESUME)``: the graph reads the vault again. It decides nothing."""

ANYTHING: Final = {"description": "Anything: it resumes the graph and proves nothing."}
"""The schema of what a resume of a consent pause may hold."""

NO_ANSWER: Final = "A resume looks like an answer and decides nothing, so the user is asked again. %s %s"
ANSWER_WORDS: Final = frozenset(("decisions", "decision", "type", "approve", "accept", "reject", "ignore", "edit"))
"""By these a resume value looks like an answer, in our form or in that of an inbox."""


class Edited(BaseModel):
    """A yes with other arguments: all of them, as the tool's schema names them."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["edit"]
    arguments: dict[str, Any]


class Answers(BaseModel):
    """What a resume of an approval pause may hold: decisions by approval id. Without any it is only a wake-up."""

    model_config = ConfigDict(extra="allow")

    decisions: dict[str, Literal["approve", "reject"] | Edited] = {}
    reason: str = ""


BY_ID: Final = 'Write {"decisions": {approval_id: "approve"}}, "reject" or {"decision": "edit", "arguments": {...}}.'


BEFORE: Final = "before"
"""Where what is noted of a pause has a mark of the bare value that was there when it was made."""
MADE_IN: Final = "made_in"
"""Beside that: the run in which it was made."""


def wait_for(pause: Payload, schema: Any, note: Mapping[str, Any] | None = None) -> Any:
    """Pause here, once; what the graph is resumed with, as ``schema`` reads it.

    A value of another form is read as `RESUME`, and logged where it looks like an answer. One that the ``note`` of this
    pause knows was there before it: nobody can have meant this pause, so it is not heard. A pause that nothing keeps is
    logged.
    """
    config = get_config()
    try:
        if not _is_older(config, schema, note or {}):
            return _answer_of(_asked(pause, schema), schema)
        with set_config_context(_deaf(config)) as context:
            return _answer_of(context.run(_asked, pause, schema), schema)
    except GraphInterrupt:
        if config.get("configurable", {}).get(SAVER) is None:
            warn_once(NO_CHECKPOINTER)
        raise


def _asked(pause: Payload, schema: Any) -> Any:
    """Pause, with the schema as JSON: with any other LangGraph raises at a value that does not fit it."""
    return interrupt(pause, response_schema=_form(schema))


def _answer_of(value: Any, schema: Any) -> Any:
    """What a resume value answers, by the schema of the pause; what `RESUME` does where it is no answer."""
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


def stale_resume_marker(config: RunnableConfig) -> Payload:
    """To note with a pause that is made now: a mark of what the run was resumed with, if that names no interrupt.

    LangGraph hands that to later runs, too, though a pause before this one has heard it.
    """
    bare = _bare(config)
    return {} if bare is None else {BEFORE: mark_of(bare), MADE_IN: run_of(config)}


def mark_of(answer: Any) -> str:
    """Of an answer, to know it again."""
    return blake2b(json.dumps(answer, skipkeys=True, default=repr).encode(), digest_size=16).hexdigest()


def _bare(config: RunnableConfig) -> Any:
    """What the graph was resumed with, now or before, that names no interrupt; None for nothing."""
    heard = getattr((config.get("configurable") or {}).get(PAD), "get_null_resume", None)
    return heard(False) if heard else None


def _is_older(config: RunnableConfig, schema: Any, note: Mapping[str, Any]) -> bool:
    """Whether a pause that there was before was resumed with this, which could be no answer to one of ours. The same
    word that was said anew, to this one, is not older."""
    if isinstance(schema, dict):  # which takes anything
        return False
    bare = _bare(config)
    if bare is None or mark_of(bare) != note.get(BEFORE):
        return False
    if came_with_bare(config) and run_of(config) != note.get(MADE_IN):
        return False
    try:
        TypeAdapter(schema).validate_python(bare)
    except ValidationError:
        return True
    return False


def _deaf(config: RunnableConfig) -> RunnableConfig:
    """The same, where nothing is heard but what names the interrupt: the rest stays for whom it was meant."""
    inside = config.get("configurable") or {}
    return {**config, "configurable": {**inside, PAD: replace(inside[PAD], get_null_resume=lambda consume=False: None)}}


@cache
def _form_of(schema: type[BaseModel]) -> dict[str, Any]:
    return TypeAdapter(schema).json_schema()


def _form(schema: Any) -> dict[str, Any]:
    """A schema as JSON. LangGraph would make it anew for each pause, for a tenth of what the pause costs."""
    if isinstance(schema, dict):
        return schema
    return _form_of(schema) if isinstance(schema, type) else TypeAdapter(schema).json_schema()


def _unusable(value: Any, wrong: ValidationError | None) -> tuple[str, str]:
    """What does not fit in a value, for the log: where it is and what is wanted, never what it holds; and a hint."""
    more = " decisions_by_id translates answers that count positions." if not isinstance(value, str) else ""
    if wrong is None:
        return "It has no decisions by approval id.", f"{BY_ID}{more}"
    first = wrong.errors(include_input=False)[0]
    about = getattr(first.get("ctx", {}).get("error"), "__cause__", None)  # what a reader of its own has said
    if isinstance(about, InvalidInput):
        return str(about)[:LONGEST], about.hint
    where = ".".join(str(part) for part in first["loc"])[:LONGEST] or "value"
    return f"Its {where!r} does not fit: {first['msg']}.", f"{BY_ID}{more}"


def decisions_in(answer: Any) -> Mapping[Any, Any]:
    """What an answer decides by ids, before anybody has looked whether it has the form of one."""
    named = answer.get("decisions") if isinstance(answer, Mapping) else getattr(answer, "decisions", None)
    return named if isinstance(named, Mapping) else {}


def approval_ids_in(note: Mapping[str, Any]) -> list[str]:
    """The ids of the approvals that a pause has asked for, by what was noted of it."""
    return [ask["approval_id"] for ask in (note.get("pause") or {}).get("approvals", ())]


def rejections_in(config: RunnableConfig) -> list[Payload]:
    """What this run was resumed with, as far as it says no by ids. What has another form says nothing."""
    inside: Mapping[str, Any] = config.get("configurable") or {}
    found = list[Payload]()
    for one in [*(inside.get(RESUMED_BY_ID) or {}).values()] or [_bare(config)]:
        if "reject" in decisions_in(one).values():
            with suppress(ValidationError):
                said = Answers.model_validate(one)
                noes = {id: what for id, what in said.decisions.items() if what == "reject"}
                found.append({"decisions": noes, "reason": said.reason})
    return found


class Recorded(NamedTuple):
    """What became of the decisions in a resume value: approvals with a yes, and what is wrong with edits, by id."""

    agreed: set[str]
    faults: dict[str, str]


async def record(deputy: DeputyProtocol, given: Any, user: User | None) -> Recorded:
    """Record the decisions that a resume value carries as this user's."""
    answers, agreed, faults = Answers.model_validate(given), set[str](), dict[str, str]()
    for approval, said in answers.decisions.items():
        what, changed = (said.decision, said.arguments) if isinstance(said, Edited) else (said, None)
        with suppress(Conflict):  # decided elsewhere: the row counts, the gate looks
            try:
                await deputy.decide(approval, what, by=user, reason=answers.reason, arguments=changed)
                agreed |= {approval} if what != "reject" else set()
            except NotFound:  # too late, or of a pause that a stranger has answered since; or somebody's mistake
                log.warning(NOT_WAITING, approval[:LONGEST])
            except InvalidInput as wrong:  # an exception here would come again with every resume
                faults[approval] = str(wrong)
    return Recorded(agreed, faults)


def asking_again(approval: Approval, faults: Mapping[str, str]) -> Payload:
    """An approval for a pause, with what is wrong with the user's last edit of it."""
    fault = faults.get(approval.id)
    return approval.payload() | ({"fault": fault} if fault else {})


def same_user(note: Mapping[str, Any], user: User | None) -> User:
    """The user who began. Raises `PolicyDenied` for another one, and the pause stays open for the right one."""
    if user is None or (user.id, user.tenant) != (note.get("user"), note.get("tenant")):
        raise PolicyDenied("This pause belongs to another user.", hint="Resume as the user who started it.")
    return user


def missing_of(answer: Any) -> Payload:
    """The consent or approval, by its kind, that this answer of a call says is missing; empty where it does not."""
    if not isinstance(answer, ToolMessage) or answer.status != "error" or not isinstance(answer.artifact, Mapping):
        return {}
    return {kind: answer.artifact[kind] for kind in ("consent", "approval") if kind in answer.artifact}
