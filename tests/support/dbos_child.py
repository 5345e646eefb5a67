"""A pydantic-ai agent in a DBOS workflow, in a process that may be killed: the program of docs/pydantic-ai.md.

``python -m tests.support.dbos_child FOLDER STAGE BASE``: FOLDER keeps the vault and DBOS's database; Google is at BASE.
Each stage recovers the workflow, prints the kind of the question that Alice is asked next or the workflow's result, and
waits to be killed. "start" starts the workflow. "consent" connects Google. "cut" approves, and kills the process when
Google has the mail. "whole" does all of this, and kills the process when the model reads the result. "finish" only
recovers.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any, Final

import httpx
from dbos import DBOS, SetWorkflowID
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from deputize.adapters.pydantic_ai import DeputyToolset, answers
from deputize.core import PROVIDERS, Approval, Consent, Deputy
from tests.docs.blocks import block, run
from tests.support.deferred_conversations import KEY, Deadly, killed
from tests.support.graphs import SEND
from tests.support.pydantic_ai_runs import Deps, model_of
from tests.support.sandbox_deputy import build, consent, new_vault

WORKFLOW: Final = "chat-1"
NAMES: Final = {"DeferredToolRequests": DeferredToolRequests, "Agent": Agent, "Deps": Deps, "answers": answers}


def model(stage: str) -> FunctionModel:
    """Return a model that sends one mail and repeats the answer."""
    respond: Any = model_of([SEND]).function

    def responds(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        response: ModelResponse = respond(messages, info)
        if stage == "whole" and not response.tool_calls:
            killed()
        return response

    return FunctionModel(responds)


async def question(deputy: Deputy, kind: type[Any]) -> Any:
    """Return the question of this kind as soon as Alice is asked it."""
    while True:
        for one in await deputy.pending("alice"):
            if isinstance(one, kind):
                return one
        await asyncio.sleep(0.05)


async def main(folder: Path, stage: str, base: str) -> None:
    """Run one stage; see the top of this module."""
    vault = await new_vault(folder / "vault", KEY)
    providers = {"google": PROVIDERS["google"].moved_to(base)}

    def transport() -> httpx.AsyncBaseTransport:
        network = httpx.AsyncHTTPTransport(trust_env=False)
        return Deadly(network) if stage == "cut" else network

    async with await build(vault=vault, transport=transport, providers=providers) as deputy:
        database = f"sqlite:///{folder / 'dbos.sqlite'}"
        DBOS(config={"name": "mailer", "application_version": "1", "system_database_url": database})
        gmail = DeputyToolset(deputy, "gmail", user=lambda ctx: ctx.deps.user_id)
        names = {**NAMES, "gmail": gmail, "model": model(stage)}
        program = await run(block("docs/pydantic-ai.md", "DBOSDurability"), names)
        DBOS.launch()
        listening = asyncio.create_task(deputy.handle_ended_questions(program["resume"]))
        asked: Any = None
        if stage in ("start", "whole"):
            with SetWorkflowID(WORKFLOW):
                await DBOS.start_workflow_async(program["converse"], "go on", "alice")
            asked = await question(deputy, Consent)
        if stage in ("consent", "whole"):
            found = await deputy.consents.status((await question(deputy, Consent)).id)
            assert found is not None
            async with httpx.AsyncHTTPTransport(trust_env=False) as browser:
                await consent(deputy, browser, found)
            asked = await question(deputy, Approval)
        if stage in ("cut", "whole"):
            await deputy.decide(await question(deputy, Approval), "approve", by="alice")
        if stage in ("start", "consent"):
            print(type(asked).__name__, flush=True)
        else:
            handle: Any = await DBOS.retrieve_workflow_async(WORKFLOW)
            print(await handle.get_result(), flush=True)
        await listening


if __name__ == "__main__":
    logging.getLogger("dbos").setLevel(logging.WARNING)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
