"""Entra's on-behalf-of refusals, and what they mean to the user and to the operator.

Bodies as in learn.microsoft.com/entra/identity-platform: v2-oauth2-on-behalf-of-flow, reference-error-codes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from deputize.core import (
    ConsentRequired,
    DeputizeError,
    Deputy,
    InvalidInput,
    OrgBlocked,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
    User,
)
from deputize.core.audit import Audit
from deputize.core.failures.parse import MAX_CLAIMS
from deputize.core.providers.entra import ENTRA_RULES, is_entra
from deputize.core.vault.vault import Vault
from tests.support.sandbox_deputy import Clock, new_vault
from tests.support.token_sources import ON_BEHALF_OF, World, app, deputy_with, provider

PLACE: Final = "auth.api.test/token"
CLAIMS: Final = '{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}'


def refusal(error: str, number: int, text: str, **more: Any) -> tuple[int, dict[str, Any]]:
    body = {
        "error": error,
        "error_description": f"AADSTS{number}: {text} Trace ID: b72a68c3-0926-4b8e-bc35-3150069c2800",
    }
    return 400, {**body, "error_codes": [number], "timestamp": "2026-11-24 10:00:00Z", "trace_id": "b72a68c3", **more}


CHALLENGE: Final = refusal(
    "interaction_required", 50079, "Due to a configuration change you must enroll in multi-factor authentication.",
    suberror="basic_action", claims=CLAIMS,
)  # fmt: skip


@pytest.fixture
def world() -> World:
    return World(Clock(1_800_000_000.0))


@pytest.fixture
async def vault() -> Vault:
    return await new_vault()


@pytest.fixture
async def deputy(world: World, vault: Vault, tmp_path: Path) -> AsyncIterator[Deputy]:
    row, audit = provider(rules=ENTRA_RULES), Audit(tmp_path, vault.keys.audit)
    async with await deputy_with(world, app(ON_BEHALF_OF), row=row, vault=vault, audit=audit) as deputy:
        world.session("alice")
        yield deputy


async def refused(deputy: Deputy) -> DeputizeError:
    with pytest.raises(DeputizeError) as error:
        await deputy.act("notes_count_notes", {}, user="alice")
    return error.value


async def sent_to(deputy: Deputy, link: str) -> dict[str, list[str]]:
    """Return the parameters with which the browser goes to the provider."""
    started = await deputy.consents.start(link.rpartition("/")[2], User("alice"))
    return parse_qs(urlsplit(started.url).query)


@pytest.mark.parametrize(
    ("said", "means", "words"),
    [
        (CHALLENGE, ReconsentRequired, "interaction_required"),
        (refusal("invalid_grant", 50076, "You must use multi-factor authentication."),
         ReconsentRequired, "interaction"),
        (refusal("invalid_grant", 65001, "The user or administrator has not consented.", suberror="consent_required"),
         ReconsentRequired, "consent_required"),
        (refusal("invalid_grant", 500133, "Assertion is not within its valid time range."),
         ReconsentRequired, "session has ended"),
        (refusal("invalid_grant", 50013, "Assertion failed signature validation."),
         InvalidInput, "session of another app"),
        (refusal("invalid_grant", 500131, "Assertion audience does not match the Client app presenting the assertion."),
         InvalidInput, "session of another app"),
        (refusal("invalid_request", 50027, "JWT token is invalid or malformed."), InvalidInput, "session of an app"),
        (refusal("access_denied", 53003, "Access has been blocked by Conditional Access policies.", claims=CLAIMS),
         OrgBlocked, "blocked by policy"),
        (refusal("invalid_grant", 50105, "The signed in user is not assigned to a role."), OrgBlocked, "not assigned"),
        (refusal("invalid_client", 7000215, "Invalid client secret provided."), InvalidInput, "invalid client"),
        (refusal("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."),
         InvalidInput, "invalid scope"),
        (refusal("unauthorized_client", 700016, "Application with identifier was not found in the directory."),
         InvalidInput, "unauthorized client"),
        (refusal("invalid_grant", 50173, "The provided grant has expired due to it being revoked."),
         ReconsentRequired, "dead"),
        (refusal("temporarily_unavailable", 90033, "A transient error has occurred."),
         ProviderUnavailable, "could not give"),
        ((429, {"error": "temporarily_unavailable"}), RateLimited, "limits"),
    ],
)  # fmt: skip
async def test_entra_refusal_names_who_can_fix_it(
    world: World, deputy: Deputy, said: tuple[int, Any], means: type[DeputizeError], words: str
) -> None:
    world.answers[PLACE] = said
    error = await refused(deputy)
    assert isinstance(error, means), repr(error)
    told = f"{error} {getattr(error, 'reason', '')}"
    assert words in told or words in told.replace("_", " ")
    assert "Trace" not in told and "9ab03e19" not in told


async def test_claims_challenge_is_repeated_verbatim(world: World, deputy: Deputy, tmp_path: Path) -> None:
    world.answers[PLACE] = CHALLENGE
    error = await refused(deputy)
    assert isinstance(error, ConsentRequired) and "9ab03e19" not in json.dumps(error.consent.payload())
    sent = await sent_to(deputy, error.consent.link)
    assert sent["claims"] == [CLAIMS] and "code_challenge" in sent
    again = await refused(deputy)  # from what was refused a moment ago, and no request
    assert isinstance(again, ConsentRequired) and again.consent.id == error.consent.id
    await deputy.audit.settle()
    assert "9ab03e19" not in "".join(path.read_text() for path in tmp_path.glob("*.jsonl"))


async def test_pending_consent_uses_the_newest_claims_challenge(world: World, deputy: Deputy) -> None:
    world.answers[PLACE] = refusal("invalid_grant", 65001, "Not consented.")
    first = await refused(deputy)
    assert isinstance(first, ConsentRequired) and "claims" not in await sent_to(deputy, first.consent.link)
    clock = world.clock
    assert isinstance(clock, Clock)
    clock.now += 120
    world.answers[PLACE] = CHALLENGE
    second = await refused(deputy)
    assert isinstance(second, ConsentRequired) and second.consent.id == first.consent.id
    assert (await sent_to(deputy, second.consent.link))["claims"] == [CLAIMS]


@pytest.mark.parametrize(
    "claims",
    [
        "no json",
        "[1]",
        '"text"',
        '{"a": "\x07"}',
        '{"a": "' + "x" * MAX_CLAIMS + '"}',
        7,
        {"access_token": {}},
        "{" * 2000,
    ],
)
async def test_invalid_claims_challenge_is_not_repeated(world: World, deputy: Deputy, claims: Any) -> None:
    status, body = CHALLENGE
    world.answers[PLACE] = status, body | {"claims": claims}
    error = await refused(deputy)
    assert isinstance(error, ConsentRequired) and "claims" not in await sent_to(deputy, error.consent.link)


@pytest.mark.parametrize(
    ("token", "ours"),
    [
        ("https://login.microsoftonline.com/t/oauth2/v2.0/token", True),
        ("https://login.microsoftonline.us/t/oauth2/v2.0/token", True),
        ("https://acme.ciamlogin.com/t/oauth2/v2.0/token", True),
        ("https://login.microsoftonline.com.evil.test/token", False),
        ("https://evil.test/login.microsoftonline.com", False),
        ("https://login.microsoftonline.com:444/token", False),
    ],
)
def test_claims_challenge_is_accepted_from_entra_servers_only(token: str, ours: bool) -> None:
    assert is_entra(token) is ours
