"""A client that signs instead of using a secret: ``private_key_jwt``, from the settings file to every endpoint."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from deputize.core import App, Provider, SettingsError
from deputize.core.oauth.client_auth import form_request
from deputize.core.oauth.client_key import ClientKey
from deputize.core.oauth.jose import key_of, kind_of, verify
from deputize.core.oauth.registry import Registry
from deputize.core.vault.grant import Secret, User
from tests.core.oauth.test_any_server import Open, act, connect
from tests.core.oauth.test_any_server import opened as opened  # a fixture
from tests.core.oauth.test_messages import made
from tests.support.canary import frame_hits
from tests.support.oidc_server import ISSUER, OidcServer, ec_key, rsa_key

PLAIN = NoEncryption()


def write(path: Path, text: bytes | str, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def read(path: Path, text: bytes | str, **more: str) -> ClientKey:
    return ClientKey.read(write(path / "key.pem", text), app="acme", **more)


@pytest.mark.parametrize("form", ["pem", "jwk"])
@pytest.mark.parametrize("make", [ec_key, rsa_key], ids=["ES256", "RS256"])
def test_app_with_a_key_signs_assertions_instead_of_sending_a_secret(
    opened: Open, tmp_path: Path, make: Any, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    key: ECKey | RSAKey = make()
    text = key.as_pem(private=True) if form == "pem" else json.dumps(key.as_dict(private=True))
    server = OidcServer(client_key=make(), par=True)
    line = f'private_key_file = "{write(tmp_path / "client.key", text)}"'
    with caplog.at_level(logging.DEBUG), opened(server, line, secret="") as deputy:
        assert connect(deputy, server).status == "granted"
        assert act(deputy) == "Alice"
        (grant,) = deputy.run(deputy.vault.list_grants(User("alice")))
        deputy.run(deputy.refresher.get_live(grant, grant.access_token))
        assert [one.upstream for one in deputy.run(deputy.revoke("alice", "acme"))] == ["done"]
        assert "BEGIN" not in repr(deputy.apps["acme"]) and '"d"' not in repr(deputy.apps["acme"])
    assert {place for place, _ in server.forms} == {"/par", "/token", "/revoke"}
    assert all("client_secret" not in form for _, form in server.forms)
    assert len({one["jti"] for one in server.assertions}) == len(server.forms)
    assert {one["aud"] for one in server.assertions} == {ISSUER}
    assert all(one["exp"] - one["iat"] == 60 for one in server.assertions)
    assert {one["header"].get("kid") for one in server.assertions} == {key.kid if form == "jwk" else None}
    private = key.as_dict(private=True)["d"]
    assert isinstance(private, str) and private not in caplog.text


def test_assertion_key_id_and_audience_can_be_set(opened: Open, tmp_path: Path) -> None:
    server = OidcServer(client_key=rsa_key())
    path = write(tmp_path / "client.key", rsa_key().as_pem(private=True))
    said = [f'private_key_file = "{path}"', 'private_key_id = "theirs"', 'assertion_audience = "token"']
    with opened(server, *said, secret="") as deputy:
        assert connect(deputy, server).status == "granted"
    (one,) = server.assertions
    assert one["aud"] == f"{ISSUER}/token" and one["header"] == {"alg": "RS256", "typ": "JWT", "kid": "theirs"}


# ------------------------------------------------------------- what stops a start


def test_app_without_a_key_is_refused_by_a_server_that_needs_one(opened: Open) -> None:
    with pytest.raises(SettingsError, match="no key") as e, opened(OidcServer(client_key=ec_key())):
        pass
    assert "private_key_file" in e.value.hint


def test_app_with_a_key_is_refused_by_a_server_without_assertions(opened: Open, tmp_path: Path) -> None:
    path = write(tmp_path / "client.key", ec_key().as_pem(private=True))
    with pytest.raises(SettingsError, match="no signed assertions") as e:
        with opened(OidcServer(), f'private_key_file = "{path}"', secret=""):
            pass
    assert "client_secret_post" in e.value.hint


def test_unsupported_assertion_algorithm_is_refused(opened: Open, tmp_path: Path) -> None:
    path = write(tmp_path / "client.key", rsa_key().as_pem(private=True))
    lines = f'private_key_file = "{path}"', 'private_key_alg = "PS256"'
    with pytest.raises(SettingsError, match="PS256") as e, opened(OidcServer(client_key=rsa_key()), *lines, secret=""):
        pass
    assert "ES256, RS256" in e.value.hint


def test_key_beside_a_secret_is_refused(opened: Open, tmp_path: Path) -> None:
    path = write(tmp_path / "client.key", ec_key().as_pem(private=True))
    with pytest.raises(SettingsError, match="secret and a private key"):
        with opened(OidcServer(client_key=ec_key()), f'private_key_file = "{path}"'):
            pass


def test_provider_definition_that_requires_a_key_is_refused_without_one(tmp_path: Path) -> None:
    row: Provider = made(client_auth="private_key_jwt")
    with pytest.raises(SettingsError, match="private_key_jwt"):
        Registry([App("made", "client")], {"made": row})
    key = read(tmp_path, ec_key().as_pem(private=True))
    assert Registry([App("made", "client", key=key)], {"made": row}).app("made").key == key


# ------------------------------------------------------------- the file


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, lock: Any = PLAIN) -> bytes:
    text: bytes = key.private_bytes(Encoding.PEM, form, lock)
    return text


def test_common_key_types_and_files_are_read_and_sign(tmp_path: Path) -> None:
    kinds: list[tuple[bytes | str, str]] = [
        (rsa_key().as_pem(private=True), "RS256"),
        (pem(rsa_key().private_key, PrivateFormat.TraditionalOpenSSL), "RS256"),
        (pem(ec_key().private_key, PrivateFormat.TraditionalOpenSSL), "ES256"),
        (ECKey.generate_key("P-384").as_pem(private=True), "ES384"),
        (ECKey.generate_key("P-521").as_pem(private=True), "ES512"),
        (OKPKey.generate_key("Ed25519").as_pem(private=True), "EdDSA"),
        (json.dumps({**rsa_key().as_dict(private=True), "alg": "PS512"}), "PS512"),
    ]
    for text, alg in kinds:
        key = read(tmp_path, text)
        assertion = key.assertion("client", "server").reveal()
        content = verify(assertion, key_of(json.loads(key.jwk.reveal())), alg)
        assert key.alg == alg and content and json.loads(content)["aud"] == "server"


def damaged() -> str:
    return json.dumps({**rsa_key().as_dict(private=True), "p": "AQAB"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "neither PEM nor"),
        (b"\xff\xfe", "neither PEM nor"),
        (b"[" * 50_000, "neither PEM nor"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither PEM nor"),
        (json.dumps({"kty": "oct", "k": "c2VjcmV0"}), "none of RSA"),
        (json.dumps(["kty"]), "none of RSA"),
        (lambda: pem(ed25519.Ed25519PrivateKey.generate(), lock=BestAvailableEncryption(b"x")), "passphrase"),
        (lambda: pem(rsa.generate_private_key(65537, 1024)), "none of RSA"),  # noqa: S505
        (lambda: pem(x25519.X25519PrivateKey.generate()), "none of RSA"),
        (lambda: rsa_key().as_pem(private=False), "neither PEM nor"),
        (lambda: json.dumps(ec_key().as_dict(private=False)), "public key"),
        (damaged, "damaged"),
    ],
    ids=range(12),
)
def test_unusable_key_is_refused_with_a_message_and_never_shown(tmp_path: Path, text: Any, why: str) -> None:
    written: Any = text() if callable(text) else text
    with pytest.raises(SettingsError, match=why) as e:
        read(tmp_path, written)
    private = rsa_key().as_dict(private=True)["d"]
    assert "acme" in e.value.message and isinstance(private, str)
    assert frame_hits(e.value, {private: "key"}) == []


def test_algorithm_not_matching_the_key_is_refused_with_the_valid_ones(tmp_path: Path) -> None:
    for alg in ("RS256", "HS256", "none", "ES384"):
        with pytest.raises(SettingsError, match="by ES256"):
            read(tmp_path, ec_key().as_pem(private=True), alg=alg)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_key_file_readable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "key.pem", ec_key().as_pem(private=True), mode)
    with pytest.raises(SettingsError, match="open to other accounts"):
        ClientKey.read(path, app="acme")
    with pytest.raises(SettingsError, match="cannot be read"):
        ClientKey.read(tmp_path / "missing", app="acme")


def test_assertion_request_has_no_secret_and_one_client_id(tmp_path: Path) -> None:
    app = App("made", "client", key=read(tmp_path, ec_key().as_pem(private=True)))
    row = made(client_auth="basic", issuer="https://login.example.test")
    for names_client in (True, False):
        request = form_request(row.oauth.token_url, row, app, "a=b", names_client=names_client)
        assert "authorization" not in request.headers
        assert request.content.count(b"client_id=") == request.content.count(b"client_assertion=") == 1


def test_public_or_weak_key_is_refused() -> None:
    weak: list[dict[str, Any]] = [{"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC"}]
    weak += [{"kty": ["RSA"]}, {"kty": "EC", "crv": "secp256k1", "x": "A", "y": "A"}, {"kty": "RSA", "n": "A" * 5000}]
    for one in weak:
        assert not kind_of(one)
        with pytest.raises(ValueError, match="not such a key"):
            key_of(one)


def test_key_is_in_no_repr(tmp_path: Path) -> None:
    key = ec_key()
    found = read(tmp_path, key.as_pem(private=True))
    shown = repr((found, App("made", "client", key=found), found.assertion("client", "server")))
    private = key.as_dict(private=True)["d"]
    assert isinstance(private, str) and private not in shown and "eyJ" not in shown and Secret("x") not in (found,)
