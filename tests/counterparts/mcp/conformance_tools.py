"""Our deputy as the client that MCP's conformance suite tests, where it is about tools and not about how a grant comes.

The suite's servers want no token, so Alice has a grant that nobody gave her. All that they list is pinned, and called
once, or as the scenario says; what they ask of their user is accepted on our page's side.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from deputize.core import App, ApprovalRequired, Call, DeputizeError, Deputy, User, allow_all
from deputize.core.mcp_client.server_config import McpServer
from tests.counterparts.mcp.conformance_client import AsHttps
from tests.support.foreign_mcp import give, provider_at
from tests.support.sandbox_deputy import PAGES, new_vault

CONTEXT: Final[dict[str, Any]] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
ALICE: Final = User("alice")
MAX_ASKED: Final = 6
PLAIN: Final[Mapping[str, Any]] = {"string": "x", "integer": 5, "number": 5, "boolean": True, "array": [], "object": {}}


async def main() -> None:
    """List, pin and call the tools."""
    server = McpServer(
        "conf", sys.argv[-1].replace("http://localhost", "https://localhost"), allow_private_network=True
    )
    deputy = Deputy(
        await new_vault(),
        [App("conf", "client", name="conf")],
        pages=PAGES,
        providers={"conf": provider_at(server)},
        toolkits=[],
        transport=AsHttps(),
        policy=allow_all,
    )
    deputy.registry.late["conf"] = deputy.mcp.late(server)  # it is here already
    deputy.mcp.known["conf"] = server
    await deputy.mcp.add(server)
    await give(deputy, server="conf")
    await deputy.mcp.pin("conf", await deputy.mcp.look("conf", "alice"), by="ops")
    for number, (name, arguments) in enumerate(wanted(deputy)):
        await called(deputy, name, arguments, str(number))
    await deputy.close()


def wanted(deputy: Deputy) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the calls: as the scenario says, or each tool once with minimal arguments.

    A null that no schema here takes stands for an omitted value.
    """
    if "toolCalls" in CONTEXT:
        calls = [(f"conf_{one['name']}", one["arguments"]) for one in CONTEXT["toolCalls"]]
        return [(name, {n: value for n, value in given.items() if value is not None}) for name, given in calls]
    return [(tool.name, least(tool.schema)) for tool in deputy.tools("conf")]


def least(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return minimal arguments that a schema accepts."""
    fields = schema.get("properties", {})
    return {name: PLAIN.get(fields.get(name, {}).get("type"), "x") for name in schema.get("required", ())}


async def called(deputy: Deputy, name: str, arguments: Mapping[str, Any], number: str) -> None:
    """Make one call, answering on the deputy's page if its server asks."""
    for _ in range(MAX_ASKED):
        try:
            print(name, await deputy.act(name, arguments, user="alice", call=Call("t", "m", number)))
            return
        except ApprovalRequired as waits:
            kept = await deputy.questions.load_kept(waits.approval.id, ALICE)
            content = {part["key"]: filled(part["fields"]) for part in kept["parts"]}
            await deputy.questions.reply(waits.approval.id, "accept", by=ALICE, content=content)
        except DeputizeError as refused:
            print(name, type(refused).__name__, refused)
            return


def filled(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a form filled in with as little as it accepts."""
    return {one["name"]: one["options"][0][0] if one["options"] else PLAIN[one["rules"]["type"]] for one in fields}


if __name__ == "__main__":
    asyncio.run(main())
