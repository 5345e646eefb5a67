"""Meaning of an MCP server's responses: those of any OAuth server and HTTP API, and JSON-RPC errors.

MCP has no idempotency key, so a call whose response is lost may have run. Sources for the codes: JSON-RPC 2.0 section
5.1, https://modelcontextprotocol.io/specification/2026-07-28/basic (errors), and observed servers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from deputize.core.failures import SERVER_ERROR, Kind, Outcome, outcome_of
from deputize.core.failures.rules import when
from deputize.core.failures.standard import GENERIC

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
HEADER_MISMATCH, NO_CAPABILITY, NO_VERSION, ASKS_USER = -32020, -32021, -32022, -32042
"""MCP's own: a header that differs from the body, a missing capability or version; and of 2025-11-25, a link that the
user has to open first."""
NO_RESOURCE: Final = -32002


_CLEAR: Final = (402, 405, 406, 411, 413, 414, 415, 416, 417, 422, 426, 428, 431)
"""Refusals by a status unrelated to sessions and versions: a retry would be refused, too, and if the server is wrong
about the first, it would act twice."""


_SDKS_CHALLENGE: Final = (
    "www-authenticate",
    r'^(?=.*\berror="insufficient_scope")(?!.*[ ,]scope=)'
    r'.*\berror_description="Required scope: (?P<needed>[!#-\[\]-~]+)"',
)
"""How servers made with MCP's Python SDK (1.30 to 2.3) name the missing scope: in words, one at a time. The ``scope``
of RFC 6750 3 takes priority if it is present."""


def _nothing_done(reason: str) -> Outcome:
    return outcome_of(Kind.INVALID_INPUT, reason)


MCP: Final = replace(
    GENERIC,
    challenge_names_all=True,
    api=(
        when(outcome_of(Kind.MISSING_SCOPE), status=(403,), header=_SDKS_CHALLENGE),
        *GENERIC.api,
        *(when(outcome_of(Kind.INVALID_INPUT, f"http_{status}"), status=(status,)) for status in _CLEAR),
    ),
    json_rpc={
        PARSE_ERROR: _nothing_done("parse_error"),
        INVALID_REQUEST: _nothing_done("invalid_request"),
        NO_METHOD: _nothing_done("unknown_method"),
        INVALID_PARAMS: _nothing_done("invalid_params"),
        HEADER_MISMATCH: _nothing_done("header_mismatch"),
        NO_CAPABILITY: _nothing_done("missing_capability"),
        NO_VERSION: _nothing_done("unsupported_version"),
        ASKS_USER: _nothing_done("asks_user"),
        NO_RESOURCE: _nothing_done("no_resource"),
        INTERNAL_ERROR: SERVER_ERROR,
    },
)
"""Rules of a provider that speaks MCP. A code that is not listed leaves a write unknown."""

MCP_HEADERS: Final = frozenset(
    ("mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "mcp-param-*", "last-event-id")
)
"""Further headers that its tools may set: `ApiRules.request_headers` of such a provider."""
