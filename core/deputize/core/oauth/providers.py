"""The table: one entry a provider. Facts are from the providers' own documentation."""

from __future__ import annotations

from deputize.core.oauth.provider import Identity, Provider
from deputize.core.oauth.rules import GOOGLE as GOOGLE_RULES

_GMAIL = "https://www.googleapis.com/auth/gmail."

GOOGLE = Provider(  # developers.google.com/identity/protocols/oauth2/native-app and .../web-server
    name="google",
    label="Google",
    authorize="https://accounts.google.com/o/oauth2/v2/auth",
    token="https://oauth2.googleapis.com/token",
    revoke="https://oauth2.googleapis.com/revoke",
    issuer="https://accounts.google.com",
    api={"gmail": "https://gmail.googleapis.com/gmail/v1", "calendar": "https://www.googleapis.com/calendar/v3"},
    hosts=frozenset({"gmail.googleapis.com", "www.googleapis.com", "openidconnect.googleapis.com"}),
    identity=Identity("https://openidconnect.googleapis.com/v1/userinfo", "{sub}", "{email}", {"hd": "{hd}"}),
    rules=GOOGLE_RULES,
    always=("openid", "email"),
    aliases={
        "https://www.googleapis.com/auth/userinfo.email": "email",
        "https://www.googleapis.com/auth/userinfo.profile": "profile",
    },
    scope_words={
        "openid": "know who you are",
        "email": "see your email address",
        f"{_GMAIL}readonly": "read your email",
        f"{_GMAIL}send": "send email as you",
        f"{_GMAIL}compose": "write drafts and send email as you",
        f"{_GMAIL}modify": "read, write, send and move your email to the bin",
        f"{_GMAIL}labels": "see and change your email labels",
        f"{_GMAIL}settings.basic": "see and change your email settings and filters",
    },
    params={"access_type": "offline", "include_granted_scopes": "true"},
    params_consent={"prompt": "consent"},
    login_hint="login_hint",
    loopback_any_port=True,
    revokes_all=True,
)

PROVIDERS = {provider.name: provider for provider in (GOOGLE,)}
