"""The tools that a server lists for one user now: read as that user, audited as any act, pinned or not.

For the operator, who checks definitions before anybody may call them. No list of tools contains this tool. It needs the
scopes that the settings name for tools: servers made with FastMCP hide tools from users who lack a scope.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deputize.core.acts.audit_record import AuditedCall, CallRow
from deputize.core.acts.authorize import Authorizer
from deputize.core.acts.execute import Executor
from deputize.core.acts.missing_scopes import Asking, report_missing_scopes
from deputize.core.engine import Engine
from deputize.core.errors import InvalidInput
from deputize.core.mcp.authorization import API
from deputize.core.mcp.definitions import clean_text
from deputize.core.mcp.protocol import Link, Refused
from deputize.core.mcp.server import McpServer
from deputize.core.tools.act import Act, Call
from deputize.core.tools.needs import any_of
from deputize.core.tools.steps import Steps
from deputize.core.tools.tool import Arguments, Effect, Run, Tool
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import User


@dataclass(frozen=True, eq=False, kw_only=True)
class _Lister(Tool):
    """The reading of a server's list as a tool."""

    server: McpServer

    def begin(self, arguments: Arguments, run: Callable[[], Run]) -> Steps:
        return self.steps(self.server)


def _list_tools(server: McpServer) -> Steps:
    link = Link(server)
    try:
        yield from link.open()
        found = yield from link.tools()
    except Refused as refused:
        raise InvalidInput(
            f"{server.host} does not list its tools ({refused.code}): {clean_text(refused.message, 200)}"
        ) from None
    return {"era": link.version, "tools": found.tools}


@frozen
class Listing(Frozen):
    """Reads lists as users."""

    engine: Engine
    authorizer: Authorizer
    executor: Executor
    asking: Asking

    async def of(self, server: McpServer, user: User, call: Call | None = None) -> dict[str, Any]:
        """Return ``{era, tools}``. Raises `ConsentRequired` if the user has not signed in there yet, or `Declined` if
        they declined: in this ``call``, or without one, recently."""
        await self.engine.registry.arrive(server.name)
        act = Act(
            user=user,
            tool=_lister(server),
            arguments={},
            effect=Effect.READS,
            call=call or Call(),
            agent=self.engine.agent,
            app=server.name,
            provider=server.name,
            nonce=secrets.token_hex(16),
            provider_base=server.name,
        )
        row = CallRow.start(act.tool.name, user, act.call, act.agent)
        async with AuditedCall(self.engine.audit, self.asking, row):
            row.record_act(act, act.tool.name, "")
            grant = await self.authorizer.authorize_without_asking(act, row)
            with report_missing_scopes(self.engine.providers, act, grant):
                found: dict[str, Any] = await self.executor.execute(act, grant, row)
                return found


def _lister(server: McpServer) -> Tool:
    needs = dict.fromkeys(scope for one in server.tools.values() for scope in one.needs)
    return _Lister(
        name=f"{server.name}_list_definitions",
        toolkit=server.name,
        provider=server.name,
        api=API,
        description="The tools that the server lists for this user.",
        model=None,
        parameters={},
        steps=_list_tools,
        needs=[any_of(scope) for scope in needs],
        effects=Effect.READS,
        gravest=Effect.READS,
        takes_run=False,
        server=server,
    )
