"""MCP over HTTP as a client, in both protocol eras, without I/O: steps that yield `Request`s and receive `Answer`s.

    2026-07-28             one POST per request, no session: server/discover, tools/list with pages, tools/call
    2025-11-25 and older   initialize creates a session, which each later request names

Only the parts that acts need are here. A server is never offered sampling or roots, and its requests on a stream are
ignored. Sources: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports, and the same page of
2025-11-25.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NamedTuple

from deputize.core.errors import InvalidInput, NotFound, OutcomeUnknown
from deputize.core.failures.json_rpc import code_of
from deputize.core.mcp_client.definitions import clean_text, header_paths
from deputize.core.mcp_client.rules import ASKS_USER, HEADER_MISMATCH, INVALID_REQUEST, NO_CAPABILITY, NO_VERSION
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.tools.steps import Answer, Repeat, Request

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
KNOWN_LEGACY: Final = frozenset((LEGACY, "2025-06-18", "2025-03-26"))
META: Final = "io.modelcontextprotocol/"
MAX_TOOLS: Final = 1000
MAX_PAGES: Final = 100
MAX_LIST_CHARACTERS: Final = 10 * 2**20
"""Characters of all pages of a list; the ninety tools of GitHub's server have a fiftieth of that."""
MAX_TOOL_LIST_TTL: Final = 3600.0
"""Maximum seconds for which a list of tools is cached, whatever its server says."""
CAPABILITIES: Final[Mapping[str, Any]] = {}
"""Our capabilities for a server: none, so it may not request sampling or roots."""
ASKING: Final[Mapping[str, Any]] = {"elicitation": {"form": {}, "url": {}}}
"""Our capabilities if a user can be asked, in a version that asks in its answer to a call. Older versions get none:
they ask on a stream that stays open, and a person takes longer than any request."""
CLIENT: Final = {"name": "deputize", "version": "1"}
_HOST: Final = re.compile(r"(?:https?:)?//(?:[^/?#]*@)?([A-Za-z0-9.:-]+)")
_PLAIN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

McpSteps = Generator[Request, Any, Any]


class Refused(Exception):
    """A JSON-RPC error that proves that nothing was done. ``message`` is the server's own text."""

    def __init__(self, code: int, message: str, data: Any, status: int) -> None:
        super().__init__(f"refused ({code})")
        self.code, self.message, self.data, self.status = code, message, data, status


class Asked(NamedTuple):
    """The server's questions to the user before it continues: ``requests`` by its own keys, and its ``state``.

    ``nothing_done``: True if the server says so; otherwise it may have started. ``again``: True if it takes no answer
    (-32042): the same call is repeated after the user has opened the link.
    """

    requests: Mapping[str, Any]
    state: str | None
    nothing_done: bool
    again: bool = False


class ToolList(NamedTuple):
    """The definitions as received, and the seconds for which they may be cached for this grant."""

    tools: list[dict[str, Any]]
    fresh: float


def first_id() -> int:
    """Return the id of a link's first request."""
    return 1 + secrets.randbits(40)


def header_value(value: str | int | float | bool) -> str:
    """Return a value for a header: visible ASCII unchanged, any other value in base64 between MCP's marks."""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(text) and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode(errors='replace')).decode()}?="


def mirrored_headers(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that repeat arguments, as ``x-mcp-header`` requires."""
    found: dict[str, str] = {}
    for name, path in header_paths(schema).items():
        value: Any = arguments
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str | int | float | bool):
            found[f"mcp-param-{name.lower()}"] = header_value(value)
    return found


@dataclass(eq=False, repr=False)
class Link:
    """The connection of one grant to one server. ``version``: "" while the era is unknown.

    ``ids``: the request ids. They are unique across connections, so that a response from another connection's stream is
    never mistaken for this one's.
    """

    server: McpServer
    version: str = ""
    session: str = ""
    ids: count[int] = field(default_factory=lambda: count(first_id()))

    @property
    def modern(self) -> bool:
        """True if the server speaks 2026-07-28, which has no sessions."""
        return self.version not in KNOWN_LEGACY

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        repeat: Repeat = "read",
        extra: Mapping[str, str] | None = None,
        answered: bool = True,
        can_ask: bool = False,
    ) -> Request:
        """Return one message. ``repeat``: effect of a repeated request. ``answered``: False for a notification.
        ``can_ask``: True if the server may ask the user something first."""
        fields, headers = dict(params or {}), {"accept": "application/json, text/event-stream"}
        if method == "initialize":
            fields = {"protocolVersion": LEGACY, "capabilities": CAPABILITIES, "clientInfo": CLIENT}
        elif self.modern:
            fields["_meta"] = {
                META + "protocolVersion": self.version or MODERN,
                META + "clientInfo": CLIENT,
                META + "clientCapabilities": ASKING if can_ask else CAPABILITIES,
            }
            headers |= {"mcp-protocol-version": self.version or MODERN, "mcp-method": method}
            headers |= {"mcp-name": header_value(fields["name"])} if "name" in fields else {}
            headers |= extra or {}
        else:
            headers |= {"mcp-protocol-version": self.version}
            headers |= {"mcp-session-id": self.session} if self.session else {}
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        message |= {"id": next(self.ids)} if answered else {}
        again, called = not self.modern and answered, method == "tools/call"
        if called:
            fields["_meta"] = {**fields.get("_meta", {}), "progressToken": message["id"]}
        message |= {"params": fields} if fields else {}
        where = self.server.query or None
        return Request(
            *("POST", ""),
            params=where,
            json=message,
            headers=headers,
            repeat=repeat,
            whole=True,
            idle_timeout=self.server.idle_timeout_seconds if called else 0.0,
            resumes=again,
        )

    def ask(self, method: str, params: Mapping[str, Any] | None = None, **how: Any) -> McpSteps:
        """Return the result of one request. Raises `Refused`, and errors for responses that are not results."""
        answer: Answer = yield self.request(method, params, **how)
        if 300 <= answer.status < 400:
            raise self._leads_elsewhere(answer, how.get("repeat", "read"))
        message = answer.data if isinstance(answer.data, dict) else {}
        if method == "initialize":
            self.session = answer.headers.get("mcp-session-id", "")
        if (code := code_of(message)) is not None:
            refusal = message["error"]
            raise Refused(code, str(refusal.get("message", "")), refusal.get("data"), answer.status)
        return message.get("result", {})

    def _leads_elsewhere(self, answer: Answer, repeat: Repeat) -> InvalidInput | OutcomeUnknown:
        """Return the error for a redirect (a new URL, or a sign-in page in between), which is not followed."""
        to = _HOST.match(answer.headers.get("location", ""))
        there = clean_text(to[1], 200) if to else self.server.host
        message = f"{self.server.host} sends elsewhere instead of answering ({answer.status}, to {there})."
        if repeat != "read" and answer.status not in (307, 308):
            return OutcomeUnknown(f"{message} It may have been done.")
        hint = "The operator has to set its new address: url in the settings."
        return InvalidInput(f"{message} Nothing was done.", hint=hint, fix_by="operator")

    # ----------------------------------------------------------------- protocol era

    def open(self) -> McpSteps:
        """Determine the server's era, and start a session if the era has sessions. Changes nothing at the server.

        Raises `ProviderUnavailable`, `RateLimited` or `NotFound` (no right) if the response does not reveal the era.
        """
        self.version = self.session = ""
        try:
            said = yield from self.ask("server/discover")
            supported = said.get("supportedVersions")  # some older servers answer any request with {}
            if isinstance(supported, list) and MODERN in supported:
                self.version = MODERN
                return
        except Refused as refused:
            if refused.code in (HEADER_MISMATCH, NO_CAPABILITY) or self._is_modern(refused):
                self.version = MODERN
                return
        except (InvalidInput, NotFound) as refused:
            if refused.reason == "user_lacks_rights" or (isinstance(refused, InvalidInput) and not refused.reason):
                raise
        yield from self._initialize()

    def _is_modern(self, refused: Refused) -> bool:
        """Return True if the server rejects the version but lists one that deputize speaks (perhaps of drafts)."""
        supported = refused.data.get("supported") if isinstance(refused.data, dict) else None
        return refused.code == NO_VERSION and isinstance(supported, list) and MODERN in supported

    def _initialize(self) -> McpSteps:
        said = yield from self.ask("initialize")
        version = str(said.get("protocolVersion"))
        if version not in KNOWN_LEGACY:
            raise InvalidInput(
                f"{self.server.host} speaks no version of MCP that is known here.",
                hint=f"Known are {', '.join(sorted((MODERN, *KNOWN_LEGACY)))}.",
                fix_by="operator",
            )
        self.version = version
        yield self.request("notifications/initialized", answered=False)

    def is_stale(self, failure: Refused | InvalidInput | NotFound) -> bool:
        """Return True if the failure may mean an ended session or an unsupported version, so that nothing was done."""
        if isinstance(failure, InvalidInput):
            return failure.reason == "unclassified"  # a 400: servers word a missing session in any way
        if isinstance(failure, NotFound):
            return not failure.reason  # a 404
        if self.session and failure.status in (400, 404):
            return True
        return failure.code == NO_VERSION or (failure.code == INVALID_REQUEST and failure.status == 400)

    # ----------------------------------------------------------------- tools

    def tools(self) -> McpSteps:
        """Return all tools that the server lists for this grant, as a `ToolList`."""
        found: list[dict[str, Any]] = []
        cursor, seen, fresh, size = None, set[str](), MAX_TOOL_LIST_TTL, 0
        for _ in range(MAX_PAGES):
            page = yield from self.ask("tools/list", {"cursor": cursor} if cursor else None)
            listed = page.get("tools")
            found += [tool for tool in listed if isinstance(tool, dict)] if isinstance(listed, list) else []
            fresh = min(fresh, _seconds(page.get("ttlMs")))
            size += len(json.dumps(page))
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or cursor in seen or len(found) >= MAX_TOOLS or size >= MAX_LIST_CHARACTERS:
                break
            seen.add(cursor)
        return ToolList(found[:MAX_TOOLS], fresh)

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        repeat: Repeat,
        extra: Mapping[str, str],
        answers: Mapping[str, Any] | None = None,
        state: str | None = None,
        can_ask: bool = False,
    ) -> McpSteps:
        """Send ``tools/call`` and return its result, or `Asked`. ``answers``, ``state``: values of an earlier round."""
        params: dict[str, Any] = {"name": name, "arguments": dict(arguments)}
        params |= {"inputResponses": dict(answers)} if answers is not None else {}
        params |= {"requestState": state} if state is not None else {}
        try:
            result = yield from self.ask("tools/call", params, repeat=repeat, extra=extra, can_ask=can_ask)
        except Refused as refused:
            wanted = refused.data.get("elicitations") if isinstance(refused.data, dict) else None
            if refused.code != ASKS_USER or not isinstance(wanted, list):
                raise
            asked = {str(n): {"method": "elicitation/create", "params": one} for n, one in enumerate(wanted)}
            return Asked(asked, None, nothing_done=True, again=True)
        match result.get("resultType", "complete"):
            case "complete":
                return result
            case "input_required":
                requests, state = result.get("inputRequests"), result.get("requestState")
                asked, kept = requests if isinstance(requests, dict) else {}, state if isinstance(state, str) else None
                return Asked(asked, kept, nothing_done=repeat == "read")
        if repeat == "read":
            raise InvalidInput(f"{self.server.host} answers {name} in a form that was not offered.", fix_by="operator")
        raise OutcomeUnknown(f"{self.server.host} has taken {name} on, and does not say whether it is done.")


def _seconds(ttl: Any) -> float:
    """Return ``ttlMs`` in seconds, or 0 if it is invalid."""
    good = isinstance(ttl, int | float) and not isinstance(ttl, bool) and ttl > 0
    return min(ttl, 1000 * MAX_TOOL_LIST_TTL) / 1000 if good else 0.0
