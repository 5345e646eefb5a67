"""The receivers of signals that settings describe, each for the users of one issuer: webhook, SCIM, Shared Signals."""

from __future__ import annotations

from functools import partial
from typing import Final

from deputize.core.errors import SettingsError
from deputize.core.settings import IssuerSettings, Settings
from deputize.core.vault.grant import Secret
from deputize.core.web.pages.site import Page
from deputize.core.web.signals.scim import Scim
from deputize.core.web.signals.shared_signals import SharedSignals, Transmitter
from deputize.core.web.signals.webhook import Webhook
from deputize.core.web.signin.base_sign_in import BaseSignIn
from deputize.core.web.signin.issuer import user_at
from deputize.core.web.signin.tenants import SignIns

MIN_TOKEN_CHARACTERS: Final = 32


def signals_from(settings: Settings, sign_in: BaseSignIn | SignIns) -> list[Page]:
    """Return the pages of all receivers. Raises `SettingsError` for a secret or a token that cannot be used."""
    found, tokens, serve = list[Page](), dict[str, str](), settings.serve
    if settings.signin and (serve.offboarding_secret or serve.scim_token or serve.ssf_issuer):
        raise SettingsError(
            "offboarding_secret, scim_token and ssf_issuer of [serve] need serve.issuer, whose users they name.",
            hint="Move them to a table [signin.NAME].",
        )
    for one in sign_in.sign_ins if isinstance(sign_in, SignIns) else [sign_in]:
        given, table = settings.sign_ins()[one.name], f"signin.{one.name}" if one.name else "serve"
        user_of = partial(user_at, one.sessions.issuer, tenant=one.tenant)
        if given.offboarding_secret:
            secret = Secret(given.offboarding_secret.get_secret_value())
            webhook = Webhook(one.deputy, secret, user_of, one.name)
            _refuse_shared(secret, table, "offboarding_secret", tokens)
            found.append(webhook.page)
        if given.scim_token:
            token = _checked(given.scim_token.get_secret_value(), table)
            _refuse_shared(token, table, "scim_token", tokens)
            found += Scim(one.deputy, token, user_of, one, given.scim_subject).pages
        if given.ssf_issuer or given.ssf_audience:
            found.append(_shared_signals(one, given, table).page)
    return found


def _shared_signals(one: BaseSignIn, given: IssuerSettings, table: str) -> SharedSignals:
    if not (given.ssf_issuer and given.ssf_audience):
        raise SettingsError(
            f"{table}.ssf_issuer and {table}.ssf_audience belong together.",
            hint="Set both, as the transmitter's metadata and its stream configuration spell them.",
        )
    transmitter = Transmitter(given.ssf_issuer, one.deputy.http, one.deputy.clock)
    return SharedSignals(one, transmitter, given.ssf_audience, given.sign_in_subject)


def _checked(token: str, table: str) -> Secret:
    """Return the token. Raises `SettingsError` if it can be guessed."""
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(
            f"{table}.scim_token is too short, or has a character that no header can carry.",
            hint="Use the output of: openssl rand -hex 32",
        )
    return Secret(token)


def _refuse_shared(secret: Secret, table: str, setting: str, others: dict[str, str]) -> None:
    """Raise `SettingsError` if a token or a secret is another sender's too."""
    if known := others.get(secret.reveal()):
        raise SettingsError(
            f"{table}.{setting} is also {known}: each sender could end the access of the other's users.",
            hint="Make one for each.",
        )
    others[secret.reveal()] = f"{table}.{setting}"
