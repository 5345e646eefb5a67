"""One closed tree of errors, each for programs, models and people; and a Secret that never shows its value."""

from __future__ import annotations

import copy
import dataclasses
import json
import marshal
import pickle
import re
import traceback
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

import deputize.core
from deputize.core import Account, Approval, Consent, DeputizeError, Secret, User, errors
from deputize.core.vault.grant import Grant

CORE: Final = Path(deputize.core.__file__ or "").parent
CANARY: Final = "canary-3f9a7c"

CONSENT = Consent("id", "google", "google", ("s",), ("words",), "http://127.0.0.1/connect/t", 1.0)
MORE: dict[str, dict[str, Any]] = {
    "ConsentRequired": {"consent": CONSENT},
    "ReconsentRequired": {"consent": CONSENT, "reason": "invalid_grant"},
    "ApprovalRequired": {"approval": Approval("id", "tool", "sends", {"to": "x"})},
    "RateLimited": {"retry_after": 7.5},
    "ScopeNotGranted": {"scopes": ("a", "b")},
    "InvalidInput": {"fix_by": "user", "reason": "r"},
    "Conflict": {"reason": "stale"},
    "OrgBlocked": {"url": "https://sso.example.test"},
    "ProviderUnavailable": {"sent": True},
}


def every() -> list[type[DeputizeError]]:
    """Return all classes of the tree below its root."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DeputizeError)]
    return [kind for kind in found if kind is not DeputizeError]


every_error = pytest.mark.parametrize("kind", every(), ids=lambda kind: kind.__name__)


def made(kind: type[DeputizeError]) -> DeputizeError:
    """Return an error of this class, with every possible field."""
    return kind("A short sentence.", hint="Do this.", **MORE.get(kind.__name__, {}))


@every_error
def test_traceback_shows_the_hint_and_the_models_text_does_not(kind: type[DeputizeError]) -> None:
    error = made(kind)
    assert str(error) == "A short sentence." and "".join(traceback.format_exception(error)).count("Do this.") == 1
    back = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert "".join(traceback.format_exception(back)).count("Do this.") == 1


def test_error_without_a_hint_has_no_note() -> None:
    assert getattr(errors.Conflict("Stale."), "__notes__", []) == []


# ------------------------------------------------------------- the tree


def test_error_docstring_draws_exactly_the_existing_classes() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(kind.__name__ for kind in every())


def test_every_error_class_has_its_own_code() -> None:
    codes = [kind.code for kind in every()]
    assert len(set(codes)) == len(codes) and "error" not in codes
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@every_error
def test_every_error_is_exported_and_documented(kind: type[DeputizeError]) -> None:
    assert getattr(deputize.core, kind.__name__) is kind and kind.__name__ in deputize.core.__all__
    assert kind.__doc__ and not issubclass(kind, OSError | ValueError | KeyError)


@every_error
def test_every_error_can_be_pickled(kind: type[DeputizeError]) -> None:
    error = made(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        assert type(back) is kind and str(back) == "A short sentence." and back.args == error.args
        assert vars(back) == vars(error) and back.hint == "Do this."


@every_error
def test_every_error_can_be_copied(kind: type[DeputizeError]) -> None:
    error = made(kind)
    for back in (copy.copy(error), copy.deepcopy(error)):
        assert vars(back) == vars(error) and str(back) == str(error)


@every_error
def test_error_text_is_its_message_only(kind: type[DeputizeError]) -> None:
    error = made(kind)
    assert str(error) == error.message == "A short sentence."
    assert "connect/t" not in repr(error) and "connect/t" not in "".join(traceback.format_exception(error))
    assert made(kind).hint == "Do this." and isinstance(kind("x", **MORE.get(kind.__name__, {})).hint, str)


def test_core_exports_every_public_name_once() -> None:
    names = deputize.core.__all__
    assert len(set(names)) == len(names) and all(hasattr(deputize.core, name) for name in names)
    public = {
        name
        for name, value in vars(deputize.core).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("deputize.core")
    } | {"AnyUser", "Decisions", "PROVIDERS", "Policy", "RequestPayload", "Steps"}
    assert public == set(names)


# ------------------------------------------------------------- secrets


def test_L2_secret_is_masked_in_every_representation() -> None:
    secret = Secret(CANARY)
    printed = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret:>40}",
        f"{secret!s:^9}",
        "%s %r" % (secret, secret),  # noqa: UP031
    ]
    printed += ["{}".format(secret), ascii(secret), str([secret]), str({"a": secret}), repr((secret,))]  # noqa: UP032
    assert not any(CANARY in text for text in printed)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_L2_secret_cannot_be_pickled_even_nested(protocol: int) -> None:
    for thing in (Secret(CANARY), [Secret(CANARY)], {"a": Secret(CANARY)}):
        with pytest.raises(TypeError):
            pickle.dumps(thing, protocol)


@pytest.mark.parametrize(
    "showing",
    [
        copy.copy,
        copy.deepcopy,
        lambda s: copy.deepcopy({"a": [s]}),
        json.dumps,
        lambda s: json.dumps({"a": s}),
        marshal.dumps,
        vars,
        bytes,
        list,
        len,
        lambda s: "".join([s]),
        lambda s: s + "",
        lambda s: s.encode(),
        lambda s: s.__getstate__(),
        lambda s: dataclasses.asdict(_grant(s)),
    ],
)
def test_L2_secret_cannot_be_copied_or_serialized(showing: Any) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        showing(Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_L2_json_encoder_with_a_default_shows_no_secret() -> None:
    assert CANARY not in json.dumps({"a": Secret(CANARY)}, default=str)
    assert CANARY not in json.dumps({"a": Secret(CANARY)}, default=repr)


def test_L2_pydantic_model_does_not_accept_a_secret_as_string() -> None:
    class Model(BaseModel):
        text: str

    with pytest.raises(ValueError) as caught:
        Model.model_validate({"text": Secret(CANARY)})
    assert CANARY not in str(caught.value)


def test_L2_secrets_are_compared_by_value_only_with_each_other() -> None:
    assert Secret(CANARY) == Secret(CANARY) and Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY and Secret("é") == Secret("é") and Secret("") != Secret("x")
    assert len({Secret(CANARY), Secret(CANARY)}) == 1 and not Secret("") and Secret("x")
    assert Secret(CANARY).reveal() == CANARY


def test_L2_secret_comparison_takes_constant_time() -> None:
    import inspect

    assert "compare_digest" in inspect.getsource(Secret.__eq__)


def _grant(secret: Secret) -> Grant:
    return Grant(
        User("alice"), "google", "google", Account("1", "alice@example.test"), frozenset({"s"}), secret, secret
    )


def test_L2_grant_shows_no_token_and_cannot_be_pickled() -> None:
    grant = _grant(Secret(CANARY))
    assert CANARY not in repr(grant) and CANARY not in str(vars(Grant)) and CANARY not in f"{grant}"
    with pytest.raises(TypeError):
        pickle.dumps(grant)
    with pytest.raises(TypeError):
        copy.deepcopy(grant)


def test_L2_tombstone_and_dead_grant_contain_no_token() -> None:
    grant = _grant(Secret(CANARY))
    assert CANARY.encode() in grant.pack().reveal()
    for ended in (grant.tombstone(), grant.dead("invalid_grant")):
        assert CANARY.encode() not in ended.pack().reveal() and not ended.access_token and ended.refresh_token is None


REVEALING: Final = {
    "acts/provider_requests.py": 1,  # where a token meets a request
    "acts/scrub_response.py": 1,  # to take it out of an answer that repeats it
    "tools/stored_files.py": 1,  # the user's own file, out of its records
    "oauth/messages.py": 9,  # where a form goes to a token endpoint, and the state to the authorization endpoint
    "oauth/endpoint.py": 1,  # the address of an authorization request, for the browser
    "oauth/client_auth.py": 3,  # the client's own secret or assertion, a bearer token for the server that gave it
    "oauth/credential.py": 4,  # a key that the user enters, and where a request carries it
    "oauth/client_key.py": 4,  # a client's private key, out of its file and to sign with
    "oauth/dpop.py": 3,  # the key that a grant is bound to, and what a proof is about
    "oauth/id_token.py": 2,  # to verify it, and to compare whose the one of a refresh is
    "oauth/pkce.py": 1,  # a fingerprint
    "grants/sources/token_exchange.py": 2,  # a session's token, into the form that exchanges it
    "grants/sources/assertion.py": 2,  # an ID-JAG, into the form that it is for, and who is named in it
    "grants/sources/service_account.py": 1,  # what the account's key has signed, into its form
    "grants/sources/session.py": 1,  # whose session the application has given
    "grants/sources/import_tokens.py": 1,  # whether what is to be imported is a token at all
    "providers/app_settings.py": 1,  # a service account's private key, out of its file
    "vault/data_key.py": 3,  # a tenant's key, for its id and to derive the key of a record; and to seal
    "vault/encoding.py": 2,  # into a sealed record, and out of it
    "vault/grant.py": 4,  # the same for a grant
    "vault/key_sources/given.py": 1,  # root keys that settings hold, to seal with
    "vault/vault_keys.py": 1,  # the same for the vault's own keys
    "vault/pseudonyms.py": 2,  # the key of a user's pseudonyms, to sign with, and to derive the key of summaries
    "vault/seal.py": 1,  # to seal
    "web/pages/consent.py": 4,  # the nonce, into its own cookie, named after the state; both, to finish with a key
    "web/signin/access_tokens.py": 5,  # how long and of which kind a caller's token is, a digest of it, and to ask
    "web/signin/issuer.py": 1,  # a digest of a signed token that was checked
    "web/signin/back_channel_logout.py": 1,  # of which kind the issuer's token is
    "web/signals/from_settings.py": 2,  # whether two senders share a secret
    "web/signals/scim.py": 1,  # the digest of the client's token
    "web/signals/shared_signals.py": 1,  # of which kind the transmitter's token is
    "web/signals/webhook.py": 1,  # the secret of the webhook, to verify signatures
    "web/signin/base_sign_in.py": 3,  # the state to put and to compare
    "web/signin/sign_in.py": 3,  # PKCE's challenge, the state to drop, the id_token that hints a sign-out
    "web/signin/saml/saml_sign_in.py": 1,  # the state, as the RelayState of a request
    "web/signin/sign_in_sessions.py": 2,  # the issuer's names for a session and its person
    "web/pages/local_links.py": 1,  # what a local link stands for
}


def test_L2_secrets_are_revealed_only_in_the_listed_places() -> None:
    found = {
        str(path.relative_to(CORE)): count
        for path in sorted(CORE.rglob("*.py"))
        if (count := path.read_text().count(".reveal("))
    }
    assert {name: count for name, count in found.items() if count > REVEALING.get(name, 0)} == {}


def test_L2_toolkits_and_adapters_reveal_no_secret() -> None:
    import deputize.toolkits

    root = Path(deputize.toolkits.__file__ or "").parents[2].parent
    places = [*root.glob("toolkits/deputize/toolkits/**/*.py"), *root.glob("adapters/deputize/adapters/**/*.py")]
    assert places
    found = {
        str(path.relative_to(root)) for path in places if re.search(r"\.reveal\(|\._value\b(?!\()", path.read_text())
    }
    own_keys = {  # to seal, or to sign, what comes back
        "kit.py", "langgraph/single_write.py", "mcp/older_protocol_forms.py",
        "mcp/results.py", "mcp/server.py", "mcp/sessions.py",
    }  # fmt: skip
    assert found == {f"adapters/deputize/adapters/{name}" for name in own_keys}
