"""Google in the sandbox: sign-in, consent, tokens, userinfo, and the APIs of Gmail, Calendar, contacts and Drive.

`GOOGLE_CLIENT_ID` and `GOOGLE_CLIENT_SECRET` belong to its one registered app. They work nowhere else, so a program
may contain them.
"""

from __future__ import annotations

from deputize.sandbox.oauth import App

GOOGLE_CLIENT_ID = "sandbox-google.apps.example.test"
GOOGLE_CLIENT_SECRET = "sandbox-google-secret"  # noqa: S105  # public on purpose

APP = App(
    GOOGLE_CLIENT_ID,
    GOOGLE_CLIENT_SECRET,
    "deputize sandbox",
    (
        "http://127.0.0.1/callback/google",
        "http://[::1]/callback/google",
        "http://127.0.0.1/callback",
        "http://[::1]/callback",
        "https://deputy.example.test/callback/google",
    ),
)

__all__ = ["APP", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"]
