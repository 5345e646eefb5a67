"""``POST /credentials/revoke``: revocation of leaked tokens, without authentication.

docs.github.com: REST "Revocation". Any ``Authorization`` header is refused; unknown tokens are ignored.
"""

from __future__ import annotations

from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.world import World

PATH = "/credentials/revoke"
MAX_TOKENS = 1000


def handle(ask: Ask, world: World) -> Reply:
    """Return 202 for a list of tokens, known or not."""
    if "authorization" in ask.headers:
        raise Refused(in_json({"message": "Forbidden", "status": "403"}, 403, changes=False))
    found = ask.content().get("credentials")
    if (
        not isinstance(found, list)
        or not 0 < len(found) <= MAX_TOKENS
        or not all(isinstance(one, str) for one in found)
    ):
        raise Refused(in_json({"message": "Validation Failed", "status": "422"}, 422, changes=False))
    for secret in found:
        token = world.authority.find(secret)
        app = world.app(token.app, "github") if token else None
        if token and app:
            world.authority.end_family(token.family)
    return in_json({}, 202)
