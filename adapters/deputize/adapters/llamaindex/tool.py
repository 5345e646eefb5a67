"""A deputize tool as a LlamaIndex tool: inside an agent it waits for its user, and acts as that user.

LlamaIndex would write the text of any exception into the conversation, so only its own waiting exception leaves a call.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from llama_index.core.llms import AudioBlock, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.workflow import Context
from workflows.runtime.types.results import WaitingForEvent

from deputize.adapters.llamaindex.consent_batching import Blocker, Together
from deputize.adapters.llamaindex.events import ApprovalRequest, ApprovalResponse, ConsentRequest, ConsentResponse
from deputize.adapters.llamaindex.host import MessageSource, UserSource, acting_user, add_message
from deputize.adapters.llamaindex.redelivery import Delivery
from deputize.adapters.media import Media, media_of
from deputize.adapters.model_messages import as_text, failure_text
from deputize.adapters.operator_warnings import warn_operator
from deputize.core import (
    ApprovalRequired,
    Call,
    Conflict,
    ConsentRequired,
    DeputizeError,
    DeputyProtocol,
    InvalidInput,
    NotFound,
    Tool,
    User,
)

__all__ = ["ActTool"]

log = logging.getLogger("deputize.adapters.llamaindex")
ASKS: Final = 3
"""How often one call asks for approval, if its effect keeps changing."""
QUESTIONS: Final = 6
"""How often one call acts, because a foreign server may ask its user something first, five times at most."""
KINDS: Final = ("image", "audio", "pdf")
"""The kinds of files that a tool's output may have."""
ALONE: Final = Call()
"""The identity of a call outside an agent: unknown."""
CLIENT_DECIDES: Final = (
    "The decision in an ApprovalResponse from a client of a workflow server was ignored. Serve the runs through "
    "UserMiddleware, or call Deputy.decide where the user is known and send the event without a decision."
)


F = TypeVar("F", bound=Callable[..., Any])


def with_signature(method: F) -> F:
    """Return the method with its signature stored (PEP 362). LlamaIndex's tracing reads it in every call, a third of
    its cost."""
    method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return method


def _block(one: Media) -> ImageBlock | AudioBlock | DocumentBlock:
    if one.kind == "image":
        return ImageBlock(image=one.content, image_mimetype=one.mime)
    if one.kind == "audio":
        return AudioBlock(audio=one.content, format=one.mime.partition("/")[2])
    return DocumentBlock(data=one.content, document_mimetype=one.mime, title=str(one.part.get("name")))


class ActTool(FunctionTool):
    """One deputize tool as a `FunctionTool`. In an agent it can wait for the user; called directly it acts or fails at
    once.

    ``user``: the user, or your application's function of the run's `Context`; see `deputize.adapters.llamaindex.host`.
    ``user_message``: your application's function of it that returns what the user wrote for this turn.
    """

    def __init__(
        self,
        tool: Tool,
        shown: ToolMetadata,
        deputy: DeputyProtocol,
        user: UserSource,
        agent: str,
        app: str,
        user_message: MessageSource | None = None,
    ) -> None:
        self.user_message = user_message
        self.tool, self.deputy, self.user, self.agent, self.app = tool, deputy, user, agent, app
        super().__init__(async_fn=self.acall, metadata=shown)
        self.requires_context, self.ctx_param_name = True, "ctx"  # agents fill it in, replacing a value of the model's

    def call(self, /, *args: Any, **arguments: Any) -> ToolOutput:
        """Act like `acall`, but without waiting for the user."""
        return self.deputy.run(self.acall(*args, **arguments))

    @with_signature
    async def acall(self, /, *args: Any, **arguments: Any) -> ToolOutput:
        """Act as the user, in an agent after waiting for the user if needed. Return the result, or a failure."""
        ctx = arguments.pop("ctx") if isinstance(arguments.get("ctx"), Context) else None
        try:
            if args:
                raise InvalidInput("Arguments must be passed by name.")
            return await self._delivered(ctx, arguments)
        except WaitingForEvent:
            raise
        except DeputizeError as error:
            return self._failed(arguments, error)
        except Exception as error:
            return self._broken(arguments, error)

    async def _delivered(self, ctx: Context | None, arguments: dict[str, Any]) -> ToolOutput:
        """Wait until nothing blocks the call, take it, and act. Outside an agent, act at once."""
        user = await acting_user(self.user, ctx)
        delivery = await Delivery.of(ctx, user) if ctx else None
        if ctx is None or delivery is None:
            return await self._act(arguments, user, ALONE)
        delivery = replace(delivery, call=await add_message(delivery.call, self.user_message, ctx))
        lacking = await self._clear(delivery, arguments)
        if lacking:
            await delivery.take()
        output = self._failed(arguments, lacking) if lacking else await self._acted(delivery, arguments)
        try:
            await delivery.done()
        except Exception as error:  # the result is returned all the same
            log.warning("%s: could not record that the call is answered: %s", self.tool.name, type(error).__name__)
        return output

    async def _acted(self, delivery: Delivery, arguments: dict[str, Any]) -> ToolOutput:
        """Act and return the output. Answers to the provider's questions are waited for like approvals."""
        asked: ApprovalRequired | None = None
        for _ in range(QUESTIONS):
            await delivery.take()
            try:
                return await self._act(arguments, delivery.user, delivery.call)
            except ApprovalRequired as question:
                asked = question
            delivery.let_go()
            call = (self.tool.name, arguments, delivery.call)
            try:
                await self._approved(asked, Together(self.deputy, self.agent, self.app, delivery, call))
            except (InvalidInput, NotFound, Conflict) as error:  # no answer, or not here: the act checks again
                log.debug("%s: %s", self.tool.name, type(error).__name__)
        await delivery.take()
        return self._failed(arguments, asked or Conflict("The tool asks its user too often."))

    async def _clear(self, delivery: Delivery, arguments: dict[str, Any]) -> ConsentRequired | ApprovalRequired | None:
        """Wait for a missing consent, then for the approval. Return a consent that the user has not given yet, or None.
        If nobody is there to answer (`User.unattended`), return what is missing, without a wait.

        The act itself reports any other error that still blocks the call.
        """
        asked = (self.tool.name, arguments, delivery.call)
        call = Together(self.deputy, self.agent, self.app, delivery, asked)
        try:
            blocker = await call.blocker()
            if isinstance(blocker, ConsentRequired | ApprovalRequired) and blocker.unattended:
                return blocker
            if isinstance(blocker, ConsentRequired):
                consent = blocker.consent
                await call.remember(consent.id)
                request = ConsentRequest.model_validate(consent.payload())
                await delivery.wait(ConsentResponse, request, tells=call.speaks, consent_id=consent.id)
                if await call.still_waits(consent.id):
                    return blocker
                blocker = await call.alone()
            await self._approved(blocker, call)
        except WaitingForEvent:
            raise
        except Exception as error:  # decided elsewhere, too late, no store: the vault decides
            log.debug("%s: %s", self.tool.name, type(error).__name__)
        return None

    async def _approved(self, blocker: Blocker, call: Together) -> None:
        """Wait for the user's approval, and for another one if the call's effect has changed since."""
        for _ in range(ASKS):
            if not isinstance(blocker, ApprovalRequired):
                return
            request, user = ApprovalRequest.model_validate(blocker.approval.payload()), call.delivery.user
            done = await call.delivery.wait(ApprovalResponse, request, approval_id=blocker.approval.id, by=user.id)
            with suppress(Conflict):  # decided elsewhere, or changed: the vault says what is asked now
                await self._decide(done, call.delivery)
            asked, blocker = blocker.approval.id, await call.alone()
            if isinstance(blocker, ApprovalRequired) and blocker.approval.id == asked:
                return  # resumed too early

    async def _decide(self, done: ApprovalResponse, delivery: Delivery) -> None:
        """Record the decision of an event, if it is the user's."""
        if not done.decision:
            return
        if not delivery.decisions_count:
            return log.warning(CLIENT_DECIDES)
        who = User(done.by, delivery.user.tenant)
        said: dict[str, Any] = {"reason": done.reason, "arguments": done.arguments}
        await self.deputy.decide(done.approval_id, done.decision, by=who, **said)

    async def _act(self, arguments: dict[str, Any], user: User, call: Call) -> ToolOutput:
        """Act and return the output, also for a failure: from here on the call counts as answered.

        Raises `ApprovalRequired` if the provider asks the user something first, and an answer could be matched to the
        call.
        """
        try:
            whose: dict[str, Any] = {"user": user, "app": self.app, "agent": self.agent}
            result = await self.deputy.act(self.tool.name, arguments, call=call, **whose)
            media = await media_of(self.deputy, self.tool, result, user, KINDS)
        except DeputizeError as error:
            is_question = isinstance(error, ApprovalRequired) and error.approval.kind == "question"
            if is_question and call.has_id and not user.unattended:
                raise
            return self._failed(arguments, error)
        except Exception as error:
            return self._broken(arguments, error)
        given = {"kwargs": arguments}
        blocks: list[Any] = [TextBlock(text=as_text(result)), *map(_block, media)]
        return ToolOutput(self.metadata.get_name(), blocks=blocks, raw_input=given, raw_output=result)

    def _broken(self, arguments: dict[str, Any], error: Exception) -> ToolOutput:
        """Return the output for an unexpected error. Only its type is logged, because its text may contain anything."""
        log.warning("%s failed: %s", self.tool.name, type(error).__name__)
        return self._failed(arguments, DeputizeError("The tool failed."))

    def _failed(self, arguments: dict[str, Any], error: DeputizeError) -> ToolOutput:
        warn_operator(error)
        name, given, why = self.metadata.get_name(), {"kwargs": arguments}, dict[str, Any](error=error.code)
        if isinstance(error, ConsentRequired) and error.unattended:
            why["consent"] = error.consent.payload()
        if isinstance(error, ApprovalRequired) and error.unattended:
            why["approval"] = error.approval.payload()
        return ToolOutput(name, failure_text(error), raw_input=given, raw_output=why, is_error=True)
