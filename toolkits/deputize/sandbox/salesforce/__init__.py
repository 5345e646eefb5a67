"""The sandbox's Salesforce: login host, an org at its own address, queries and records.

Access tokens live two hours, without ``expires_in``; refresh tokens rotate with the ``rotate`` switch. The ids and
secrets work nowhere else.
"""

from __future__ import annotations

from deputize.sandbox.oauth import App

SALESFORCE_CLIENT_ID = "3MVG9sandbox0000000000000001"
SALESFORCE_CLIENT_SECRET = "sandbox-salesforce-secret"  # noqa: S105  # public on purpose

APP = App(
    SALESFORCE_CLIENT_ID,
    SALESFORCE_CLIENT_SECRET,
    "deputize sandbox",
    (
        "http://localhost:8736/callback/salesforce",
        "http://localhost:8765/callback/salesforce",
        "https://deputy.example.test/callback/salesforce",
    ),
    provider="salesforce",
    any_port=False,
)
APPS = (APP,)

__all__ = ["APP", "APPS", "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"]
