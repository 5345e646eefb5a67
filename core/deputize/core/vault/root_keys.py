"""Where root keys come from: text, a file of one's own, or the keyring; and how other keys are derived from them."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.private_files import making, new_file, private_folder, publish, read_private, sync
from deputize.core.vault.seal import KEY_BYTES, id_of

_NEW = "Make one with: deputize key new"
_MOST_BYTES = 65536  # of a key file
_PATIENCE = 5.0  # seconds another change of it may take


def new_key() -> str:
    """A root key as text: 32 random bytes in base64url."""
    while True:
        key = secrets.token_bytes(KEY_BYTES)
        if not _weakness(key):
            return _text(key)


def parse_keys(text: str) -> list[bytes]:
    """The keys in a list parted by commas or new lines, newest first.

    Raises `SettingsError` for none, or for one that is malformed, short, weak or listed twice; it says which.
    """
    entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
    if not entries:
        raise SettingsError("There is no key.", hint=_NEW)
    keys: list[bytes] = []
    for number, entry in enumerate(entries, 1):
        key = _decoded(entry)
        fault = "listed twice" if key in keys else _weakness(key) if key else "not base64url of 32 bytes"
        if key is None or fault:
            raise SettingsError(f"Key {number} of {len(entries)} is {fault}.", hint=_NEW)
        keys.append(key)
    return keys


def _decoded(entry: str) -> bytes | None:
    """The 32 bytes behind base64, in either alphabet, with padding or without."""
    plain = entry.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _weakness(key: bytes) -> str:
    """Why these 32 bytes cannot be random; 32 random ones look so less than once in 10^13."""
    if len(set(key)) < KEY_BYTES // 2:
        return "too regular to be random"
    if len({(b - a) % 256 for a, b in pairwise(key)}) == 1:
        return "a sequence, not random"
    if all(0x20 <= byte < 0x7F for byte in key):
        return "typed text, not random"
    return ""


def read_key_file(path: Path) -> list[bytes]:
    """The keys in a file. Raises `SettingsError` unless it is this account's, with mode 0600 or less."""
    try:
        return parse_keys(read_private(path, _MOST_BYTES).decode("ascii"))
    except UnicodeDecodeError:
        raise SettingsError("The key file holds something else than keys.", hint=str(path)) from None


def make_key_file(path: Path) -> list[bytes]:
    """Make a key file with one new key, mode 0600, in a folder of mode 0700; it is durable when this returns.

    Raises `SettingsError` where the file is there already: a key is never written over.
    """
    private_folder(path.parent)
    text = new_key()
    try:
        with making(path) as made:
            with open(new_file(made), "w", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            published = publish(made, path)
    except OSError as error:
        raise SettingsError("The key file cannot be written.", hint=f"{path}: {error.strerror}") from None
    if not published:
        raise SettingsError("The key file is there already, and stays as it is.", hint=str(path))
    return parse_keys(text)


def add_key(path: Path) -> list[bytes]:
    """Put a new key in front of those in a key file; all of them, newest first. Durable when it returns.

    Raises `SettingsError` where the file cannot be read or written, and has changed nothing then.
    """
    with _held(path):
        keys = parse_keys(new_key()) + read_key_file(path)
        _rewrite(path, keys)
    return keys


def remove_key(path: Path, id: str) -> Path:
    """Take the key with this id out of a key file, into a file of its own making it, whose path is returned.

    Raises `SettingsError` where it is not there, or is the newest. Whether a vault still needs it, the caller knows.
    """
    with _held(path):
        newest, *older = read_key_file(path)
        gone = next((key for key in older if id_of(key) == id), None)
        if gone is None:
            what = "is the newest, which seals" if id == id_of(newest) else "is not in the key file"
            raise SettingsError(f"The key with the id {id} {what}.", hint=f"Look at: deputize key list ({path})")
        kept = path.with_name(f"{path.name}.{id}")
        _rewrite(kept, [gone])
        _rewrite(path, [key for key in (newest, *older) if key != gone])
    return kept


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One change of a key file at a time: several vaults may share it, and a key that gets lost shuts one for good."""
    from filelock import FileLock, Timeout

    real = path.resolve()
    lock = FileLock(real.with_name(f".{real.name}.lock"), thread_local=False, fallback_to_soft=False, mode=0o600)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise StoreUnavailable("Another command is changing the keys.", hint="Try again when it has ended.") from None
    except OSError as error:
        raise SettingsError("The key file cannot be written.", hint=f"{path}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _text(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def _rewrite(path: Path, keys: list[bytes]) -> None:
    """Replace a key file as a whole: whoever reads it meanwhile, or a power cut, finds the old or the new one.

    A link stays a link: the file that it leads to is replaced, since others may read that one by its own name.
    """
    path = path.resolve()
    try:
        with making(path) as made:
            with open(new_file(made), "w", encoding="ascii") as file:
                file.write("".join(f"{_text(key)}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            made.replace(path)
            sync(path.parent)
    except OSError as error:
        raise SettingsError("The key file cannot be written.", hint=f"{path}: {error.strerror}") from None


def keyring_keys(service: str = "deputize", name: str = "key") -> list[bytes]:
    """The keys in the desktop's keyring. Raises `SettingsError` where keyring, a backend or the entry is missing."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise SettingsError("Keys in a keyring need an extra.", hint='pip install "deputize[keyring]"') from None
    try:
        text = keyring.get_password(service, name)
    except keyring.errors.KeyringError as error:
        raise SettingsError("The keyring cannot be read.", hint=f"keyring says {type(error).__name__}") from None
    if text is None:
        raise SettingsError("The keyring has no key.", hint=f"{_NEW}; put it there: keyring set {service} {name}")
    return parse_keys(text)


def derive(root: bytes, label: str) -> bytes:
    """A key of its own for one purpose: HKDF-SHA256 (RFC 5869) of a root key. Knowing it opens nothing else."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=b"deputize " + label.encode()).derive(root)
