"""LlamaIndex agents of each kind over the Gmail tools, with models that answer from the history alone.

``python -m tests.support.llamaindex_agents FOLDER STAGE`` plays one stage of every conversation of the matrix in
a process of its own: what it leaves to the next one lies in FOLDER. Prints the mails that each conversation has sent,
as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    CompletionResponse,
    CompletionResponseGen,
    CustomLLM,
    LLMMetadata,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.workflow import Event

from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    ConsentRequest,
    ConsentResponse,
    GmailToolSpec,
    UserSource,
    resume_paused,
    save_paused,
)
from deputize.core import Deputy, User
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND
from tests.support.sandbox_deputy import build, consent, new_vault

KINDS: Final = ("FunctionAgent", "AgentWorkflow", "ReActAgent")
MAILS: Final = {"granted": 1, "denied": 0, "early": 0, "duplicate": 1, "foreign": 1}
"""Number of mails of a conversation about one mail, by its events."""
STAGES: Final = ("begin", "consent", "approve")
KEY: Final = bytes(range(3, 240, 7))[:32]
ALICE: Final = User("alice")


class Scripted(CustomLLM):
    """A model without function calling: it requests one call, and then repeats what it observed."""

    call: dict[str, Any]

    @property
    def metadata(self) -> LLMMetadata:
        """See `LLM`."""
        return LLMMetadata(context_window=200_000)

    def complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponse:
        """See `LLM`."""
        _, seen, observed = prompt.rpartition("user: Observation: ")
        if seen:
            return CompletionResponse(text=f"Thought: I can answer without using any more tools.\nAnswer: {observed}")
        args = json.dumps(self.call["args"])
        text = f"Thought: I need to use a tool.\nAction: {self.call['name']}\nAction Input: {args}\n"
        return CompletionResponse(text=text)

    def stream_complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponseGen:
        """See `LLM`."""
        answer = self.complete(prompt)
        yield CompletionResponse(text=answer.text, delta=answer.text)


class Calling(CustomLLM, FunctionCallingLLM):
    """A model with function calling; LlamaIndex's own mock of one is newer than the oldest supported release."""

    respond: Any

    @property
    def metadata(self) -> LLMMetadata:
        """See `LLM`."""
        return LLMMetadata(context_window=200_000, is_function_calling_model=True)

    async def achat(self, messages: Sequence[ChatMessage], **more: Any) -> ChatResponse:
        """See `LLM`."""
        return ChatResponse(message=self.respond(messages))

    async def astream_chat(self, messages: Sequence[ChatMessage], **more: Any) -> ChatResponseAsyncGen:
        """See `LLM`: the whole answer at once."""

        async def stream() -> ChatResponseAsyncGen:
            yield await self.achat(messages)

        return stream()

    def complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponse:
        """See `LLM`."""
        return CompletionResponse(text=str(self.respond([ChatMessage(role="user", content=prompt)]).content))

    def stream_complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponseGen:
        """See `LLM`."""
        yield self.complete(prompt)

    def _prepare_chat_with_tools(
        self,
        tools: Any,
        user_msg: Any = None,
        chat_history: Any = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        return {"messages": chat_history}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **more: Any
    ) -> list[ToolSelection]:
        """See `FunctionCallingLLM`."""
        asked: list[Any] = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        return [ToolSelection(tool_id=c.tool_call_id, tool_name=c.tool_name, tool_kwargs=c.tool_kwargs) for c in asked]


@dataclass
class Model:
    """Makes these calls once after each user message, then repeats the answers. Keeps what it was told."""

    calls: Sequence[dict[str, Any]]
    told: list[str] = field(default_factory=list)

    def __call__(self, messages: Sequence[ChatMessage], **more: Any) -> ChatMessage:
        self.told.append("\n".join(str(message) for message in messages))
        asked = [i for i, m in enumerate(messages) if m.role == "user"]
        if not asked:  # a second event may begin one more step while the run ends
            return ChatMessage(role="assistant", content=str(messages[-1].content))
        answers = [str(m.content) for m in messages[asked[-1] :] if m.role == "tool"]
        if answers:
            return ChatMessage(role="assistant", content=" | ".join(answers))
        blocks = [ToolCallBlock(tool_call_id=c["id"], tool_name=c["name"], tool_kwargs=c["args"]) for c in self.calls]
        return ChatMessage(role="assistant", blocks=blocks)


def agent(
    kind: str,
    deputy: Deputy,
    *calls: dict[str, Any],
    user: UserSource = "alice",
    more: Sequence[Any] = (),
    model: Model | None = None,
) -> Any:
    """Build an agent that will make these calls; a ReAct one makes the first."""
    tools: list[Any] = [*GmailToolSpec(deputy, user=user).to_tool_list(), *more]
    if kind == "ReActAgent":
        return ReActAgent(tools=tools, llm=Scripted(call=calls[0]), timeout=30, streaming=False)
    llm = Calling(respond=model or Model(calls))
    one = FunctionAgent(name="one", tools=tools, llm=llm, timeout=30, streaming=False)
    return AgentWorkflow(agents=[one], root_agent="one", timeout=30) if kind == "AgentWorkflow" else one


async def asked(handler: Any, count: int = 1) -> list[Any]:
    """Return the next requests in the stream; fewer if it ends before."""
    found: list[Any] = []
    async for event in handler.stream_events():
        if isinstance(event, ConsentRequest | ApprovalRequest):
            found.append(event)
            if len(found) == count:
                break
    return found


async def rest(handler: Any) -> list[Event]:
    """Return the rest of the stream."""
    return [event async for event in handler.stream_events()]


async def ended(handler: Any) -> str:
    """Return the model's last message."""
    return str(await asyncio.wait_for(handler, 25))


def plainly(handler: Any) -> dict[str, Any]:
    """Return the run's context as LlamaIndex serializes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves out the memory, and says so
        return dict(handler.ctx.to_dict())


async def visit(deputy: Deputy, sandbox: Any, consent_id: str, *, deny: bool = False) -> None:
    """Follow a link as the user, to an approval or a denial."""
    found = await deputy.consents.status(consent_id)
    assert found is not None
    await consent(deputy, sandbox, found, deny=deny)


@dataclass
class Play:
    """One conversation about one mail, in three stages; each may run in another process."""

    deputy: Deputy
    sandbox: Sandbox
    kind: str
    how: str

    def agent(self) -> Any:
        """Build the agent again."""
        return agent(self.kind, self.deputy, SEND)

    def sent(self) -> int:
        """Return the number of mails so far; only Alice may have sent any."""
        assert self.sandbox.sent("bob@example.test") == []
        return len(self.sandbox.sent("alice@example.test"))

    async def begin(self) -> Any:
        """Run to the request for consent."""
        handler = self.agent().run("go on")
        [request] = await asked(handler)
        assert isinstance(request, ConsentRequest)
        return handler

    async def consent(self, handler: Any) -> bool:
        """Run to the request for approval; return whether there is one."""
        [waiting] = await self.deputy.consents.list_pending(ALICE)
        if self.how == "foreign":
            handler.ctx.send_event(ConsentResponse(consent_id="another"))
            handler.ctx.send_event(ApprovalResponse(approval_id="another", by="alice", decision="approve"))
        if self.how != "early":
            await visit(self.deputy, self.sandbox, waiting.id, deny=self.how == "denied")
        self._send(handler, ConsentResponse(consent_id=waiting.id))
        if self.how in ("early", "denied"):
            said = await ended(handler)
            assert ("must allow" in said) == (self.how == "early") and "Sent." not in said
            return False
        [request] = await asked(handler)
        if isinstance(request, ConsentRequest):  # a restored run streams what still waits again
            assert request.consent_id == waiting.id
            [request] = await asked(handler)
        assert isinstance(request, ApprovalRequest) and self.sent() == 0
        return True

    async def approve(self, handler: Any) -> None:
        """Run to the end."""
        [waiting] = await self.deputy.approvals.list_pending(ALICE)
        if self.how == "foreign":
            for approval, who in (("another", "alice"), (waiting.id, "bob"), (waiting.id, "")):
                handler.ctx.send_event(ApprovalResponse(approval_id=approval, by=who, decision="approve"))
            await asyncio.sleep(0.05)
            assert self.sent() == 0
        self._send(handler, ApprovalResponse(approval_id=waiting.id, by="alice", decision="approve"))
        result = await asyncio.wait_for(handler, 25)
        assert "Sent." in str(result) and len(result.tool_calls) == 1

    def _send(self, handler: Any, event: Event) -> None:
        for _ in range(3 if self.how == "duplicate" else 1):
            handler.ctx.send_event(event)

    async def saved(self, stage: str, blob: Path) -> None:
        """Play a stage with what the previous one left in the file, and leave what the next one needs."""
        if stage == "begin":
            blob.write_text(await save_paused(await self.begin()))
        elif blob.exists():
            handler = await resume_paused(self.agent(), blob.read_text())
            blob.unlink()
            if stage == "approve":
                await self.approve(handler)
            elif await self.consent(handler):
                blob.write_text(await save_paused(handler))


async def stage_of_all(folder: Path, stage: str) -> dict[str, int]:
    """Play one stage of every conversation; return the mails that each has sent so far."""
    counted = {}
    for kind in KINDS:
        for how in MAILS:
            place = folder / kind / how
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            sandbox = Sandbox(state=place / "sandbox.json")
            async with await build(sandbox, vault=await new_vault(place / "vault.sqlite", KEY)) as deputy:
                play = Play(deputy, sandbox, kind, how)
                await play.saved(stage, place / "paused.json")
                counted[f"{kind} {how}"] = play.sent()
    return counted


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # LlamaIndex's own
    print(json.dumps(asyncio.run(stage_of_all(Path(sys.argv[1]), sys.argv[2]))), flush=True)
