"""The sandbox's Slack: user tokens over ``oauth.v2``, ``auth.test`` and ``auth.revoke``, channels and messages.

Two apps: `SLACK_CLIENT_ID` uses PKCE (Slack cannot turn it off again), so it may redirect to ``localhost`` and needs no
secret. `SLACK_PLAIN_CLIENT_ID` does not, so it redirects to https and needs its secret. The ids and secrets work
nowhere else.
"""

from __future__ import annotations

from deputize.sandbox.oauth import App

SLACK_CLIENT_ID = "1000000000001.1000000000001"
SLACK_CLIENT_SECRET = "sandbox-slack-secret"  # noqa: S105  # public on purpose
SLACK_PLAIN_CLIENT_ID = "1000000000001.1000000000002"
SLACK_PLAIN_CLIENT_SECRET = "sandbox-slack-plain-secret"  # noqa: S105  # public on purpose

_HTTPS = "https://deputy.example.test/callback/slack"

APP = App(
    SLACK_CLIENT_ID,
    SLACK_CLIENT_SECRET,
    "deputize sandbox",
    ("http://localhost:8736/callback/slack", "http://localhost:8765/callback/slack", _HTTPS),
    provider="slack",
    any_port=False,
)
PLAIN_APP = App(
    SLACK_PLAIN_CLIENT_ID,
    SLACK_PLAIN_CLIENT_SECRET,
    "deputize sandbox without PKCE",
    (_HTTPS,),
    provider="slack",
    any_port=False,
    pkce=False,
)
APPS = (APP, PLAIN_APP)

__all__ = [
    "APP",
    "APPS",
    "PLAIN_APP",
    "SLACK_CLIENT_ID",
    "SLACK_CLIENT_SECRET",
    "SLACK_PLAIN_CLIENT_ID",
    "SLACK_PLAIN_CLIENT_SECRET",
]
