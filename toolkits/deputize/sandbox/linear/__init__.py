"""The sandbox's Linear: 24-hour tokens that rotate, and the issue part of the GraphQL API.

The ids and secrets work nowhere else.
"""

from __future__ import annotations

from deputize.sandbox.oauth import App

LINEAR_CLIENT_ID = "sandbox0linear0client0000000001"
LINEAR_CLIENT_SECRET = "sandbox-linear-secret"  # noqa: S105  # public on purpose

APP = App(
    LINEAR_CLIENT_ID,
    LINEAR_CLIENT_SECRET,
    "deputize sandbox",
    (
        "http://127.0.0.1:8736/callback/linear",
        "http://127.0.0.1:8765/callback/linear",
        "http://localhost:8736/callback/linear",
        "https://deputy.example.test/callback/linear",
    ),
    provider="linear",
    any_port=False,
)
APPS = (APP,)

__all__ = ["APP", "APPS", "LINEAR_CLIENT_ID", "LINEAR_CLIENT_SECRET"]
