"""Import of existing tokens: checked before anything is changed, then stored as a grant.

    their account? -> refreshed by the app, so that old copies end -> same account? scopes? -> vault
                      without a refresh token: do they belong to the app?

Trusted: the operator, that the user wants the import; the provider, for the tokens' account, scopes and app. The
provider accepts the refresh token from the app, or names the client of an access token. If a provider rotates refresh
tokens, a copy that another program continues to use ends the whole family (RFC 9700 4.14): stop that program first.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from deputize.core.errors import AccountMismatch, DeputizeError, InvalidInput, ProviderUnavailable, RateLimited
from deputize.core.failures import Kind, Outcome
from deputize.core.grants.refresh_request import OTHER_ACCOUNT
from deputize.core.grants.sources.store_tokens import ImportedTokens, TokenImporter, is_called
from deputize.core.oauth.app import FOREIGN_IMPORT, IMPORT
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.token_reply import Tokens, usable
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Account, Grant, Secret, User
from deputize.core.vault.record import Record


class Imported(NamedTuple):
    """The result of an import. ``scopes``: the scopes that the provider reports. If it reports none, this is empty, and
    the user is asked when an act needs some. ``rotated``: True if the imported tokens no longer work. ``advice``: what
    to do about copies."""

    account: str
    scopes: tuple[str, ...]
    rotated: bool
    advice: str


@frozen(kw_only=True)
class Given(Frozen):
    """The tokens to import. ``account``: the expected account, by name or subject. ``held``: the grant of the connected
    account, if only this account may be imported. ``by``: who imports the tokens. ``foreign``: the access token may
    belong to another client than the app."""

    user: User
    access: Secret | None
    refresh: Secret | None
    account: str
    by: str
    held: Grant | None = None
    foreign: bool = False

    @property
    def subject(self) -> str:
        """The subject of the expected account, "" for any."""
        return self.held.account.subject if self.held else ""


def check_tokens(provider: Provider, access: Secret | None, refresh: Secret | None, *, foreign: bool = False) -> str:
    """Return a sentence about faulty tokens to import, or "". An exception would keep the tokens in its frame."""
    plain = [one.reveal() for one in (access, refresh) if one]
    if not plain:
        return "There is no token to import."
    if foreign and refresh:
        return "A refresh token is good for the app that it was given to, and for no other."
    if not all(map(usable, plain)):
        return "What is to be imported is no token."
    if provider.apis.imports.personal and any(re.match(provider.apis.imports.personal, one) for one in plain):
        return f"This is a token of {provider.label} that no user has given an app."
    return ""


def to_secret(token: str | Secret | None) -> Secret | None:
    """Return the token as a `Secret`, or None if there is none."""
    return token if isinstance(token, Secret) else Secret(token) if token else None


async def import_tokens(entrance: TokenImporter, endpoint: Endpoint, given: Given, mark: Record) -> Imported:
    """Import these tokens. The caller holds the lock of user and app, and has marked the request (`inflight_requests`).

    Raises `AccountMismatch` for tokens of another account. Raises `InvalidInput` for tokens that are dead, of another
    app, or whose scopes the provider does not report. The tokens then stay valid, except a refresh token without a live
    access token: its account is only known after its use, which ends it.
    """
    provider, asked_at = endpoint.provider, entrance.services.clock()
    tokens, scopes = Tokens(given.access or Secret(""), None, None, 0.0), frozenset[str]()
    try:
        account = await _account(endpoint, tokens, asked_at, given) if given.access else None
        _check_name(given, account, provider)
        if account:
            _check_account(given, account, provider)
            scopes = await _scopes(endpoint, tokens)
            _check_gain(given, scopes, provider)
        if given.access and not given.refresh and not given.foreign:
            await _check_client(endpoint, given.access)
        if given.refresh:
            tokens = await endpoint.refresh(given.refresh)
            scopes = tokens.scopes if tokens.scopes is not None else scopes or await _scopes(endpoint, tokens)
        elif not scopes:
            raise InvalidInput(
                f"{provider.label} does not say what this token may do, so it is not imported.",
                hint="Import it with its refresh token, or let the user connect.",
                fix_by="operator",
            )
        grant = await entrance.enter(
            endpoint,
            ImportedTokens(
                user=given.user,
                tokens=_with_known_values(tokens, given.refresh, scopes),
                asked_at=asked_at,
                source=FOREIGN_IMPORT if given.foreign else IMPORT,
                mark=mark,
                asked=scopes,
                subject=given.subject,
                named=given.account,
                by=given.by,
                again=True,
            ),
        )
    except Refusal as refusal:
        raise _refusal_error(provider, given, refusal.outcome) from None
    rotated = tokens.refresh is not None and tokens.refresh != given.refresh
    return Imported(grant.account.name, tuple(sorted(grant.scopes)), rotated, advice(provider, given, rotated))


def advice(provider: Provider, given: Given, rotated: bool) -> str:
    """Return what to do about copies of these tokens."""
    if rotated:
        return (
            "The refresh token was exchanged, and its old copy is dead: stop the program that has it, since one more "
            f"use may end the connection at {provider.label}. Delete the copy."
        )
    if given.foreign:
        return (
            "This token may be another application's: nobody here can refresh it, and a disconnect ends it at "
            f"{provider.label} only where that needs no app. Let the user connect soon, and delete every copy."
        )
    held = "refresh token" if given.refresh else "access token"
    return (
        f"Whoever has a copy of this {held} can go on using it as {given.account}: delete every copy. To be sure, let "
        f"the user disconnect the program that had it, at {provider.label}, and connect anew here."
    )


def _check_gain(given: Given, scopes: frozenset[str], provider: Provider) -> None:
    """Raise `InvalidInput` for tokens that would replace a better connection.

    Tokens of another client cannot be refreshed, and the grant's refresh token of the app would have to be revoked in
    another way. With fewer scopes, the user would lose access that the user consented to.
    """
    held = given.held
    if held is None or held.status != "active":
        return
    lost = provider.implied_scopes(held.scopes) - provider.implied_scopes(scopes) if scopes else frozenset[str]()
    if not given.foreign and not lost:
        return
    may = f"may do less than the connection: they lack {', '.join(sorted(lost))}"
    raise InvalidInput(
        f"{given.user.id} is connected to {provider.label} already, and these tokens "
        f"{'are for another client than its app' if given.foreign else may}.",
        hint="Nothing was changed. To replace the connection, disconnect that account first.",
        fix_by="operator",
        reason="connected",
    )


async def _account(endpoint: Endpoint, tokens: Tokens, at: float, given: Given) -> Account | None:
    """Return the account of the access token, or None if the token has expired and can be refreshed."""
    try:
        return (await endpoint.whoami(tokens, at))[0]
    except Refusal as refusal:
        if given.refresh and refusal.outcome.kind is Kind.REFRESH_ONCE:
            return None
        raise


async def _check_client(endpoint: Endpoint, access: Secret) -> None:
    """Raise `InvalidInput` unless the access token is known to belong to this app."""
    ours, label = await endpoint.is_of_app(access), endpoint.provider.label
    if ours:
        return
    raise InvalidInput(
        f"This token is of another client of {label} than the app {endpoint.app.name!r}."
        if ours is False
        else f"{label} does not say whether an access token is of the app {endpoint.app.name!r}.",
        hint="Import it with its refresh token, by the app that both were given to; or let the user connect. "
        "Where another client's is meant: foreign (deputize import --foreign).",
        fix_by="operator",
        reason="foreign_client",
    )


async def _scopes(endpoint: Endpoint, tokens: Tokens) -> frozenset[str]:
    """Return the scopes that the provider reports for the tokens outside the reply, or none if it reports none."""
    if endpoint.provider.apis.permissions:
        return await endpoint.granted(tokens, frozenset())
    return await endpoint.shown_scopes(tokens) or frozenset()


def _with_known_values(tokens: Tokens, refresh: Secret | None, scopes: frozenset[str]) -> Tokens:
    """Return the tokens with what the reply omits: the old refresh token, if still valid, and known scopes."""
    return replace(tokens, refresh=tokens.refresh or refresh, scopes=scopes if tokens.scopes is None else tokens.scopes)


def _check_account(given: Given, account: Account, provider: Provider) -> None:
    if not is_called(account, given.account) or given.subject not in ("", account.subject):
        raise _mismatch(provider, given, "Nothing was changed.")


def _check_name(given: Given, account: Account | None, provider: Provider) -> None:
    """Raise `InvalidInput` if a name does not identify an account at this provider. ``account``: the tokens' account,
    if known. If it is unknown, this check runs before the refresh token is used up."""
    if provider.apis.imports.unique_names or provider.apis.identity.may_be_subject(given.account):
        return
    theirs = f" These are of {account.name}, {account.subject}: is that what the user sees there?" if account else ""
    raise InvalidInput(
        f"Several accounts at {provider.label} may be called {given.account!r}: the name is ambiguous.",
        hint=f"Name the account by its id, {provider.apis.identity.subject}.{theirs} Nothing was changed.",
        fix_by="operator",
        reason="name_of_many",
    )


def _mismatch(provider: Provider, given: Given, came_of_it: str) -> AccountMismatch:
    return AccountMismatch(
        f"These tokens are not of the {provider.label} account {given.account}, or the user has another one connected.",
        hint=f"{came_of_it} Check their account, or disconnect the connected account first.",
    )


def _refusal_error(provider: Provider, given: Given, outcome: Outcome) -> DeputizeError:
    """Return the error for a refused import."""
    if outcome.kind is Kind.RATE_LIMITED:
        return RateLimited(f"{provider.label} limits requests.", retry_after=outcome.wait)
    if outcome.kind is Kind.TRANSIENT:
        return ProviderUnavailable(f"{provider.label} could not be asked about these tokens now.")
    if outcome.detail == OTHER_ACCOUNT:
        return _mismatch(provider, given, "This was known only after they were exchanged, so they no longer work.")
    return InvalidInput(
        f"{provider.label} does not accept these tokens from this app: they are dead, or another app's.",
        hint="Import tokens with the app that they were issued to: same client id, same secret.",
        fix_by="operator",
        reason=outcome.detail or str(outcome.kind),
    )
