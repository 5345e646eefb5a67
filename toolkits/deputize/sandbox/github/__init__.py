"""The sandbox's GitHub: an OAuth App and a GitHub App, tokens, ``/user``, installations and issues.

An OAuth App's tokens (``gho_``) do not expire, except with the ``rotate`` switch or the scope ``offline_access``. A
GitHub App's (``ghu_``) live 8 hours and rotate. The ids and secrets work nowhere else.
"""

from __future__ import annotations

from deputize.sandbox.oauth import App

GITHUB_CLIENT_ID = "Ov23sandbox000000001"
GITHUB_CLIENT_SECRET = "sandbox-github-secret"  # noqa: S105  # public on purpose
GITHUB_APP_CLIENT_ID = "Iv23sandbox000000001"
GITHUB_APP_CLIENT_SECRET = "sandbox-github-app-secret"  # noqa: S105  # public on purpose

_REDIRECTS = ("http://127.0.0.1/callback", "http://[::1]/callback", "https://deputy.example.test/callback")

APP = App(
    GITHUB_CLIENT_ID,
    GITHUB_CLIENT_SECRET,
    "deputize sandbox",
    tuple(f"{uri}/github" for uri in _REDIRECTS),
    provider="github",
)
GITHUB_APP = App(
    GITHUB_APP_CLIENT_ID,
    GITHUB_APP_CLIENT_SECRET,
    "deputize sandbox app",
    tuple(f"{uri}/github_app" for uri in _REDIRECTS),
    provider="github",
    permissions=("issues:write", "metadata:read"),
)
APPS = (APP, GITHUB_APP)

__all__ = [
    "APP",
    "APPS",
    "GITHUB_APP",
    "GITHUB_APP_CLIENT_ID",
    "GITHUB_APP_CLIENT_SECRET",
    "GITHUB_CLIENT_ID",
    "GITHUB_CLIENT_SECRET",
]
