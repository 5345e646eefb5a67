"""Settings for tests: lifetimes, rotation, lost replies, failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deputize.sandbox.http_types import Ask, Reply, in_json

Fault = tuple[int, Mapping[str, str], Any]


@dataclass
class Switches:
    """Settings that can change at any time, and apply from the next request.

    A path prefix that starts with ``/`` is compared with the path at any host; otherwise with host and path
    (``gmail.googleapis.com/gmail/v1``).
    """

    access_ttl: float | None = None
    """Lifetime of an access token in seconds; None for the provider's own (Google 3599, Salesforce 7200, ...)."""
    rotate: bool = False
    """A refresh returns a new refresh token and retires the old one. Slack and GitHub tokens then also expire, as in
    apps with token rotation enabled. Linear and GitHub Apps always rotate."""
    grace: float = 0
    """Seconds a retired refresh token still works."""
    reuse_kills_family: bool = False
    """A retired refresh token, used after its grace, ends every token that came from the same code."""
    token_delay: float = 0
    """Seconds the token endpoint waits after it has committed."""
    lose_token_reply: int = 0
    """How many of the next token endpoint replies are lost after the request was committed."""
    down: bool = False
    """Every request is answered with 503."""
    iss: str = ""
    """``iss`` in callbacks (RFC 9207): empty for none, ``right`` for the correct one, otherwise this value."""
    omit_refresh_token: bool = False
    omit_scope: bool = False
    omit_expires_in: bool = False
    deny: bool = False
    """Deny every authorization request without showing a page."""
    swap_account: str = ""
    """The email address of the account that consents, instead of the one chosen on the page."""
    strict_pkce: bool = True
    """Refuse authorization requests without an S256 code challenge."""
    faults: dict[tuple[str, str], list[Fault]] = field(default_factory=dict)
    """(method, path prefix) to answers given instead of acting, one use each: (status, headers, JSON body).
    A body of type bytes is sent as it is."""
    drop_after_commit: list[str] = field(default_factory=list)
    """Path prefixes of writes whose reply is lost after the write has happened, one use each."""

    def take_fault(self, ask: Ask) -> Reply | None:
        """Return the next injected failure for this request, and remove it."""
        for (method, prefix), answers in self.faults.items():
            if answers and method == ask.method and _has_prefix(prefix, ask):
                status, headers, body = answers.pop(0)
                if isinstance(body, bytes):
                    return Reply(status, tuple(headers.items()), body)
                return in_json(body, status, headers.items())
        return None

    def take_loss(self, ask: Ask, reply: Reply) -> bool:
        """Return True if this reply gets lost, and use up that loss."""
        if reply.gives_tokens and self.lose_token_reply > 0:
            self.lose_token_reply -= 1
            return True
        for prefix in self.drop_after_commit:
            if ask.method != "GET" and reply.status < 400 and reply.changes and _has_prefix(prefix, ask):
                self.drop_after_commit.remove(prefix)
                return True
        return False


def _has_prefix(prefix: str, ask: Ask) -> bool:
    return (ask.path if prefix.startswith("/") else ask.host + ask.path).startswith(prefix)
