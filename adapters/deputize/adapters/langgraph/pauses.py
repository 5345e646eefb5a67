"""What a pause of LangGraph asks of the user, and what a resume of it may say.

    {"type": "deputize.consent", "v": 1, "consents": [...]}      resume with anything: the vault is asked again
    {"type": "deputize.approval", "v": 1, "approvals": [...]}    resume with anything, or with decisions: `Answers`

What a resume says of an approval is recorded as the resuming user's decision; the recorded row counts. Whoever resumes
another user's pause is refused, and the pause stays open.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from deputize.adapters.langchain.running import came_with_bare, run_of
from deputize.adapters.langgraph.fast_path import ANSWERS, PAD, RESUMED_BY_ID, SAVER
from deputize.adapters.operator_warnings import NO_CHECKPOINTER, warn_once
from deputize.core import Acting, Approval, Conflict, InvalidInput, NotFound, PolicyDenied, User

__all__ = [
    "WAKE",
    "Answers",
    "Edited",
    "HandedAlong",
    "Payload",
    "asked_in",
    "asking_again",
    "came_before",
    "decisions_in",
    "mark_of",
    "missing_of",
    "noes_in",
    "record",
    "same_user",
    "wait_for",
    "yes_at_hand",
]

Payload = dict[str, Any]
HandedAlong: TypeAlias = AbstractAsyncContextManager[None]
"""While an act runs in it, it may take the yes that came with it."""

NOT_WAITING: Final = (
    "A resume decides %r, and no approval of this id waits for this user: that part of it only wakes the graph. "
    "The ids that wait are those of the pause that is shown now, see asked_of(pauses, 'approval')."
)
LONGEST: Final = 80
"""Of an id in the log, which whoever resumes may have made up."""

log = logging.getLogger("deputize")

WAKE = {"description": "Anything: it wakes the graph and proves nothing."}
"""The schema of what a resume of a consent pause may hold."""


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
    """Pause here, once; what the graph is resumed with.

    Raises `InvalidInput` for a value of another form than ``schema``: LangGraph then saves nothing, and the pause can
    be answered again. One that the ``note`` of this pause knows was there before it: nobody can have meant this pause,
    so it is not heard. A pause that nothing keeps is logged.
    """
    config = get_config()
    try:
        if not _is_older(config, schema, note or {}):
            return _asked(pause, schema)
        with set_config_context(_deaf(config)) as context:
            return context.run(_asked, pause, schema)
    except GraphInterrupt:
        if config.get("configurable", {}).get(SAVER) is None:
            warn_once(NO_CHECKPOINTER)
        raise
    except ValidationError as wrong:
        error = _unusable(wrong)
        vars(error).update(vars(wrong))  # LangGraph's own mark of such a value; see its `is_invalid_resume`
    raise error


def _asked(pause: Payload, schema: Any) -> Any:
    return interrupt(pause, response_schema=schema if _is_answered() else _form(schema))


def came_before(config: RunnableConfig) -> Payload:
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


def _is_answered() -> bool:
    """Whether the graph may have been resumed with something for this pause."""
    pad: Any = get_config().get("configurable", {}).get(PAD)
    return not hasattr(pad, ANSWERS) or bool(getattr(pad, ANSWERS)) or pad.get_null_resume(False) is not None


@cache
def _form_of(schema: type[BaseModel]) -> dict[str, Any]:
    return TypeAdapter(schema).json_schema()


def _form(schema: Any) -> Any:
    """A schema as LangGraph shows it, which makes it anew for each pause, for a tenth of what the pause costs."""
    return _form_of(schema) if isinstance(schema, type) and issubclass(schema, BaseModel) else schema


def _unusable(wrong: ValidationError) -> InvalidInput:
    first = wrong.errors()[0]
    about = getattr(first.get("ctx", {}).get("error"), "__cause__", None)  # what a reader of its own has said
    if isinstance(about, InvalidInput):
        return InvalidInput(str(about), hint=about.hint, fix_by="operator")
    where = ".".join(str(part) for part in first["loc"][:1]) or "value"
    return InvalidInput(f"The resume has another form than this pause wants: its {where}.", hint=_hint(wrong))


def _hint(wrong: ValidationError) -> str:
    listed = isinstance(wrong.errors()[0]["input"], list)
    more = " deputize.adapters.langgraph.decisions_by_id translates a list of decisions." if listed else ""
    return f"{BY_ID}{more}"


def decisions_in(answer: Any) -> Mapping[Any, Any]:
    """What an answer decides by ids, before anybody has looked whether it has the form of one."""
    named = answer.get("decisions") if isinstance(answer, Mapping) else getattr(answer, "decisions", None)
    return named if isinstance(named, Mapping) else {}


def asked_in(note: Mapping[str, Any]) -> list[str]:
    """The ids of the approvals that a pause has asked for, by what was noted of it."""
    return [ask["approval_id"] for ask in (note.get("pause") or {}).get("approvals", ())]


def noes_in(config: RunnableConfig) -> list[Payload]:
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


async def record(deputy: Acting, given: Any, user: User | None) -> Recorded:
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


async def yes_at_hand(deputy: Acting, given: Any, pause: Payload, user: User) -> tuple[Payload, HandedAlong] | None:
    """A plain yes to the one approval of a pause, and nothing else: what `Acting.yes_at_hand` needs to hear it again,
    and what that gives. None where what was said has to be recorded before anything is done."""
    answers, asked = Answers.model_validate(given), [ask["approval_id"] for ask in pause["approvals"]]
    if len(asked) != 1 or answers.decisions != {asked[0]: "approve"}:
        return None
    said = {"approval": asked[0], "reason": answers.reason}
    yes = await deputy.yes_at_hand(**said, by=user)
    return None if yes is None else (said, yes)


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
