"""A sealed value opens only in its place, with its key, and unchanged."""

from __future__ import annotations

import os
import pickle

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deputize.core.errors import SettingsError, VaultError
from deputize.core.vault import seal
from deputize.core.vault.grant import SecretBytes
from deputize.core.vault.seal import Sealer

OLD, NEW = os.urandom(32), os.urandom(32)
TOKEN = b"access-token-of-alice"
PLAIN = SecretBytes(TOKEN)


def refusal(sealer: Sealer, kind: str, key: str, sealed: bytes) -> tuple[object, ...]:
    """Return all that is visible of the error."""
    with pytest.raises(VaultError) as caught:
        sealer.open(kind, key, sealed)
    error = caught.value
    return type(error), error.code, str(error), error.hint, error.args, error.__cause__, error.__suppress_context__


def test_encrypted_record_opens_with_its_generation() -> None:
    sealer = Sealer([NEW])
    for generation in (0, 1, 2**64 - 1):
        sealed = sealer.seal("grant", "a.b", generation, PLAIN)
        assert sealer.open("grant", "a.b", sealed) == (generation, PLAIN)
    assert sealer.open("grant", "e", sealer.seal("grant", "e", 1, SecretBytes(b""))) == (1, SecretBytes(b""))


def test_format_is_version_key_id_generation_nonce_and_gcm_ciphertext() -> None:
    sealed = Sealer([NEW]).seal("grant", "alice", 7, PLAIN)
    assert len(sealed) == 1 + 8 + 8 + 12 + len(TOKEN) + 16
    assert sealed[:1] == b"\x01"
    assert sealed[9:17] == (7).to_bytes(8)
    bound = sealed[:17] + b"\x00\x05\x00\x05grantalice"
    assert AESGCM(NEW).decrypt(sealed[17:29], sealed[29:], bound) == TOKEN


def test_ciphertext_shows_neither_plaintext_nor_key_and_never_repeats() -> None:
    sealer = Sealer([NEW])
    sealed = {sealer.seal("grant", "alice", 1, PLAIN) for _ in range(2000)}
    assert len({one[17:29] for one in sealed}) == 2000
    assert not any(TOKEN in one or NEW in one for one in sealed)


def test_V1_every_decryption_failure_raises_the_same_error() -> None:
    sealer, other = Sealer([NEW, OLD]), Sealer([os.urandom(32)])
    sealed = sealer.seal("grant", "alice", 3, PLAIN)
    flipped = [sealed[:i] + bytes([sealed[i] ^ 1 << i % 8]) + sealed[i + 1 :] for i in range(len(sealed))]
    truncated = [sealed[:n] for n in range(len(sealed))]
    versions = [bytes([version]) + sealed[1:] for version in (0, 2, 255)]
    foreign = [other.seal("grant", "alice", 3, PLAIN), sealed + b"\0", b"\x80\x04N.", b"\x01" * 200]
    another_kid = sealed[:1] + Sealer([OLD]).seal("grant", "alice", 3, PLAIN)[1:9] + sealed[9:]
    refusals = [
        refusal(sealer, "grant", "alice", bad) for bad in [*flipped, *truncated, *versions, *foreign, another_kid]
    ]
    refusals += [refusal(sealer, kind, key, sealed) for kind, key in (("consent", "alice"), ("grant", "bob"))]
    refusals += [refusal(other, "grant", "alice", sealed)]
    assert len(set(refusals)) == 1
    assert sealer.open("grant", "alice", sealed) == (3, PLAIN)


def test_V1_records_of_two_users_cannot_be_exchanged() -> None:
    sealer = Sealer([NEW])
    alice, bob = sealer.seal("grant", "alice", 1, SecretBytes(b"a")), sealer.seal("grant", "bob", 1, SecretBytes(b"b"))
    refusal(sealer, "grant", "alice", bob)
    refusal(sealer, "grant", "bob", alice)


@pytest.mark.parametrize("kind,key", [("gran", "talice"), ("granta", "lice"), ("", "grantalice"), ("grantalice", "")])
def test_V1_kind_and_key_are_authenticated_separately(kind: str, key: str) -> None:
    refusal(Sealer([NEW]), kind, key, Sealer([NEW]).seal("grant", "alice", 1, PLAIN))


def test_V2_generation_in_the_header_cannot_be_changed() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal("grant", "alice", 4, PLAIN)
    refusal(sealer, "grant", "alice", sealed[:9] + (5).to_bytes(8) + sealed[17:])


def test_V13_record_of_one_kind_never_opens_as_another() -> None:
    sealer = Sealer([NEW])
    for kind in ("consent", "approval", "ledger"):
        refusal(sealer, kind, "alice", sealer.seal("grant", "alice", 1, PLAIN))


def test_V6_newest_key_encrypts_and_all_keys_decrypt() -> None:
    before, ring = Sealer([OLD]), Sealer([NEW, OLD])
    old, new = before.seal("grant", "alice", 1, PLAIN), ring.seal("grant", "alice", 2, PLAIN)
    assert ring.open("grant", "alice", old) == (1, PLAIN)
    assert Sealer([NEW]).open("grant", "alice", new) == (2, PLAIN)
    assert ring.stale(old) and not ring.stale(new)
    assert ring.stale(b"") and ring.stale(b"\0" + new[1:])
    refusal(Sealer([NEW]), "grant", "alice", old)


def test_key_id_is_stable_and_one_way() -> None:
    kids = {Sealer([key]).seal("grant", "alice", 1, SecretBytes(b""))[1:9] for key in (OLD, OLD, NEW)}
    assert len(kids) == 2
    assert not any(kid in OLD or kid in NEW for kid in kids)


def test_V3_worn_out_key_refuses_to_encrypt_and_still_decrypts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seal.SEALS_PER_KEY <= 2**32 // 16
    monkeypatch.setattr(seal, "SEALS_PER_KEY", 3)
    sealer = Sealer([OLD])
    sealed = [sealer.seal("grant", "alice", n, PLAIN) for n in range(3)]
    for _ in range(2):
        with pytest.raises(SettingsError) as caught:
            sealer.seal("grant", "alice", 3, PLAIN)
        assert "new key first" in caught.value.hint
    assert sealer.open("grant", "alice", sealed[2]) == (2, PLAIN)
    Sealer([NEW, OLD]).seal("grant", "alice", 3, PLAIN)


@pytest.mark.parametrize("keys", [[], [b""], [b"k" * 31], [b"k" * 33], [NEW, b"k" * 16], [NEW, OLD, NEW]])
def test_unusable_keys_are_refused_and_not_shown(keys: list[bytes]) -> None:
    with pytest.raises(SettingsError) as caught:
        Sealer(keys)
    assert not any(key and (repr(key) in str(caught.value) or key.hex() in str(caught.value)) for key in keys)


def test_sealer_hides_its_keys_and_cannot_be_pickled() -> None:
    sealer = Sealer([NEW, OLD])
    assert not any(secret in repr(vars(sealer)) for key in (NEW, OLD) for secret in (repr(key)[2:-1], key.hex()))
    with pytest.raises(TypeError):
        pickle.dumps(sealer)
