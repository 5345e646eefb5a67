"""A foreign server's tool as a deputize tool: its schema checks the arguments, its call is an act like any other.

    definition in the user's own list, compared with the pin   a different one -> PolicyDenied, none -> NotFound
    preview                                                    server, tool, every argument, header arguments
    tools/call                                                 once; a lost response is unknown, never sent again
    a question of the server to its user                       asked on deputize's page, then the call continues

The state between two acts (the era, a session of the older one, when the list was last compared) is cached for each
grant in this process, and is lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deputize.core.acts.build_request import visible
from deputize.core.errors import InvalidInput, NotFound, PolicyDenied
from deputize.core.mcp_client.authorization import API
from deputize.core.mcp_client.definitions import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    LeftOut,
    check_schema_shape,
    clean_text,
    header_paths,
    is_task_only,
    moved_schema,
    own_name,
    shown_arguments,
    shown_schema,
)
from deputize.core.mcp_client.elicitation import Sent, rounds
from deputize.core.mcp_client.pins import EFFECTS, Pin, effect_of, hints_of, repeat_of
from deputize.core.mcp_client.protocol import Refused, mirrored_headers
from deputize.core.mcp_client.results import outcome_of_call
from deputize.core.mcp_client.rules import HEADER_MISMATCH
from deputize.core.mcp_client.schemas import check_schema, faults_of
from deputize.core.mcp_client.server_config import ForeignRepeat, McpServer, ToolOverride
from deputize.core.mcp_client.session_cache import Known, Links
from deputize.core.tools.preview import Audience, Instant, Preview
from deputize.core.tools.required_scopes import any_of
from deputize.core.tools.steps import Steps
from deputize.core.tools.strict_schema import as_meant
from deputize.core.tools.tool import Arguments, Effect, Run, Tool
from deputize.core.tools.toolkit import Toolkit


@dataclass(frozen=True, eq=False, kw_only=True)
class ForeignTool(Tool):
    """A foreign tool. ``pin``: its definition. ``repeat``: effect of a repeated request. ``links``: its server."""

    pin: Pin
    repeat: ForeignRepeat
    links: Links

    @property
    def server(self) -> McpServer:
        """The server of this tool."""
        return self.links.server

    def validate(self, arguments: Arguments) -> dict[str, Any]:
        """Return the arguments if they match the schema. Raises `InvalidInput`, without values."""
        if not isinstance(arguments, Mapping):
            raise InvalidInput(f"{self.name}: the arguments must be an object, not {type(arguments).__name__}.")
        valid = dict(as_meant(arguments, self.pin.definition["inputSchema"]))
        if faults := faults_of(self.pin.definition["inputSchema"], valid):
            hint = "Correct the named arguments and call again."
            raise InvalidInput(f"{self.name}: {'; '.join(faults)}", hint=hint)
        self.headers(valid)
        return valid

    def named(self, valid: Arguments) -> dict[str, Any]:
        """Return the arguments unchanged."""
        return dict(valid)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The server's schema, with its texts cleaned."""
        return {"type": "object", **shown_schema(self.pin.definition["inputSchema"])}

    @cached_property
    def output_schema(self) -> Mapping[str, Any] | None:
        """The server's schema of its results, or None if it cannot be checked."""
        try:
            schema = check_schema_shape(self.pin.definition.get("outputSchema"))
            check_schema(schema)
        except LeftOut:
            return None
        return schema

    @property
    def title(self) -> str:
        """The title in the pinned definition: of the tool, or of its hints as older servers give it."""
        definition = self.pin.definition
        return clean_text(definition.get("title") or hints_of(definition).get("title"), MAX_TITLE_CHARACTERS)

    @cached_property
    def result_schema(self) -> Mapping[str, Any] | None:
        """The schema of results: the server's own is that of ``data``. It does not bind a result with a ``remark``, so
        that no client rejects the result of an act that has happened."""
        if self.output_schema is None:
            return None
        place = "#/$defs/data"
        return {
            "type": "object",
            "properties": {"untrusted": {"const": True}, "failed": {"type": "boolean"}},
            "required": ["untrusted"],
            "anyOf": [{"properties": {"data": {"$ref": place}}}, {"required": ["remark"]}],
            "$defs": {"data": moved_schema(shown_schema(self.output_schema), place)},
        }

    def headers(self, arguments: Arguments) -> dict[str, str]:
        """Return the headers that repeat arguments. Raises `InvalidInput` for a value that is too long for a header."""
        found = mirrored_headers(self.pin.definition["inputSchema"], arguments)
        return {name: visible(name, value) for name, value in found.items()}

    def begin(self, arguments: Arguments, run: Callable[[], Run]) -> Steps:
        """Start a call: see `Tool.begin`."""
        now = run()
        return self.steps(self, arguments, self.links.of(now.grant), can_ask=now.can_ask)

    @property
    def reads_notes(self) -> bool:
        """True, because an act that has asked its user continues where it stopped. See `rounds`."""
        return True

    @property
    def returns_files(self) -> bool:
        """True; see `deputize.core.mcp_client.results`."""
        return True

    def act(self, arguments: Arguments, known: Known, *, can_ask: bool) -> Steps:
        """Run the tool's steps: compare, preview, and call, repeated after each question to the user."""
        yield from self._compare(known)
        if self.gravest is not Effect.READS:
            yield self._show(arguments)
        try:
            result = yield from rounds(
                lambda sent: self._called(arguments, known, sent, can_ask=can_ask),
                self.pin.name,
                self.server,
                can_ask=can_ask,
            )
        except Refused as refused:
            raise self._refusal(refused) from None
        how: dict[str, Any] = {"schema": self.output_schema, "inline": self.server.inline}
        return (yield from outcome_of_call(result, self.name, **how))

    def _compare(self, known: Known) -> Steps:
        """Check that the user's own list has exactly this definition. Raises `NotFound` or `PolicyDenied`."""
        try:
            yield from self.links.current(known, self.pin)
        except (Refused, InvalidInput, NotFound) as failure:
            if not known.link.version or not known.link.is_stale(failure):
                raise self._refusal(failure) if isinstance(failure, Refused) else failure from None
            known.link.version = ""
            try:
                yield from self.links.current(known, self.pin)
            except Refused as again:
                raise self._refusal(again) from None
        listed = known.digests.get(self.pin.name)
        if listed is None:
            raise NotFound(
                f"{self.server.host} does not offer {self.pin.name} to this user.",
                hint="It may need another account or a right there, or more scopes: the operator names them, needs in "
                f"[mcp.{self.server.name}.tools.{self.pin.name}].",
            )
        if listed != self.pin.digest:
            raise PolicyDenied(
                f"{self.name}: its definition at {self.server.host} is not the one that was looked at.",
                hint=f"The operator sees what has changed, and allows it: deputize mcp pin {self.server.name} "
                f"{self.pin.name}",
            )

    def _called(self, arguments: Arguments, known: Known, sent: Sent, *, can_ask: bool) -> Steps:
        """Return the result of a round, or `Asked`. If a refusal proves that nothing was done, and deputize caused it
        (an ended session, a version, a changed list), the call is sent once more."""
        for again in (False, True):
            how: dict[str, Any] = {"repeat": self.repeat, "extra": self.headers(arguments), "can_ask": can_ask}
            how |= {"answers": sent.answers, "state": sent.state}
            try:
                return (yield from known.link.call(self.pin.name, arguments, **how))
            except Refused as refused:
                if again or not (known.link.is_stale(refused) or refused.code == HEADER_MISMATCH):
                    raise
                known.until = 0.0
                if refused.code != HEADER_MISMATCH:
                    known.link.version = ""
            except (InvalidInput, NotFound) as gone:
                if again or not known.link.is_stale(gone):
                    raise
                known.link.version = ""
            yield from self._compare(known)
        return None

    def _refusal(self, refused: Refused) -> InvalidInput:
        said = clean_text(refused.message, 200)
        words = f': it says "{said}"' if said else ""
        return InvalidInput(f"{self.server.host} refused {self.pin.name} ({refused.code}){words}. Nothing was done.")

    def _show(self, arguments: Arguments) -> Preview:
        """Return the preview of all values that are sent, and of the pin, to which the approval is bound too."""
        mirrors = header_paths(self.pin.definition["inputSchema"])
        headers = sorted(".".join(path) for path in mirrors.values() if path[0] in arguments)
        fields = shown_arguments(arguments)
        fields |= {"also in headers, where proxies see it": headers} if headers else {}
        fields |= {"definition looked at": Instant(self.pin.at)}
        return Preview(
            "Call a tool of another server",
            audience=self._audience,
            where=f"{self.pin.name} at {self.server.host}",
            destroys=Effect.DESTRUCTIVE in self.gravest,
            pins={"definition": self.pin.digest, "address": self.server.url},
            **fields,
        )

    @property
    def _audience(self) -> Audience:
        """The audience of the act, unknown unless the operator has set the effect."""
        if self.gravest is Effect.WRITES:
            return Audience.SELF
        said = self.pin.effect or self.server.tools.get(self.pin.name, ToolOverride()).effect
        return Audience.PUBLIC if said else Audience.UNKNOWN


def foreign_toolkit(server: McpServer, pins: Mapping[str, Pin], links: Links | None = None) -> Toolkit:
    """Return the toolkit of a server's pinned tools, without those that cannot be offered: see `reason_left_out`.

    Raises `SettingsError` if the operator's settings of a tool contradict each other.
    """
    kit, links = Toolkit(server.name, provider=server.name), links or Links(server)
    links.pinned = {pin.name: pin.digest for pin in pins.values()}
    for pin in pins.values():
        if server.only and pin.name not in server.only:
            continue
        try:
            tool = _tool(server, pin, links, kit.tools)
        except LeftOut:
            continue
        kit.tools[tool.name] = tool
    return kit


def reason_left_out(server: McpServer, definition: Mapping[str, Any]) -> str:
    """Return the reason why a definition cannot be offered, or ""."""
    try:
        tool = _tool(server, Pin(definition), Links(server), {})
        check_schema(tool.pin.definition["inputSchema"])
    except LeftOut as reason:
        return str(reason)
    return ""


def _tool(server: McpServer, pin: Pin, links: Links, taken: Mapping[str, Tool]) -> ForeignTool:
    check_schema_shape(pin.definition.get("inputSchema"))
    if is_task_only(pin.definition):
        raise LeftOut("it runs as a task only (taskSupport: required), which is not supported")
    word = effect_of(server, pin)
    effect, override = EFFECTS[word], server.tools.get(pin.name, ToolOverride())
    words = clean_text(pin.definition.get("description"), MAX_DESCRIPTION_CHARACTERS)
    return ForeignTool(
        name=own_name(server.name, pin.definition["name"], taken),
        toolkit=server.name,
        provider=server.name,
        api=API,
        description=f"{words} (from {server.host})".strip(),
        model=None,
        parameters={},
        steps=ForeignTool.act,
        needs=[any_of(scope) for scope in override.needs],
        effects=effect,
        gravest=effect,
        takes_run=False,
        shows=effect is not Effect.READS,
        may_ask=True,
        pin=pin,
        repeat=repeat_of(server, pin, word),
        links=links,
    )
