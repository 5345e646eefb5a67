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
    """Seconds an access token lives; None for what the provider gives (Google 3599, Salesforce 7200, ...)."""
    rotate: bool = False
    """A refresh gives a new refresh token and retires the old one. At Slack and GitHub tokens expire then, as in apps
    that have that turned on. Linear and GitHub Apps rotate whatever this says."""
    grace: float = 0
    """Seconds a retired refresh token still works."""
    reuse_kills_family: bool = False
    """A retired refresh token, used after its grace, ends every token that came from the same code."""
    token_delay: float = 0
    """Seconds the token endpoint waits after it has committed."""
    lose_token_reply: int = 0
    """The next so many replies of the token endpoint are committed and then lost."""
    down: bool = False
    """503 everywhere."""
    iss: str = ""
    """``iss`` in callbacks (RFC 9207): none, ``right``, or this very value."""
    omit_refresh_token: bool = False
    omit_scope: bool = False
    omit_expires_in: bool = False
    deny: bool = False
    """Every authorization request is denied without a page."""
    swap_account: str = ""
    """The address of the person who consents, whoever was chosen on the page."""
    strict_pkce: bool = True
    """No code without an S256 challenge."""
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
