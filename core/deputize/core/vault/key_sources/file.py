"""Root keys in a file, which is created, read, and replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.private_files import new_file, private_folder, publish, read_private, sync, temporary_path
from deputize.core.vault.root_keys import key_text, new_key, parse_keys
from deputize.core.vault.seal import id_of

_MAX_KEY_FILE_BYTES: Final = 65536  # of a key file
_LOCK_TIMEOUT_SECONDS: Final = 5.0  # seconds another change of it may take


@frozen
class KeyFile(Printed):
    """A file with keys as text, one a line, mode 0600 or less."""

    path: Path

    @property
    def name(self) -> str:
        """The path, for messages."""
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    def read_keys(self) -> list[bytes]:
        """Return the keys. Raises `SettingsError` unless the file is this account's, with mode 0600 or less."""
        try:
            return parse_keys(read_private(self.path, _MAX_KEY_FILE_BYTES).decode("ascii"))
        except UnicodeDecodeError:
            raise SettingsError("The key file is not a list of keys.", hint=str(self.path)) from None

    def make_key(self) -> list[bytes]:
        """Create the file with one new key, mode 0600, in a folder of mode 0700. Durable on return.

        Raises `SettingsError` if the file exists, because a key is never overwritten.
        """
        private_folder(self.path.parent)
        text = new_key()
        try:
            with temporary_path(self.path) as made:
                _write(made, text + "\n")
                published = publish(made, self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        if not published:
            raise SettingsError("The key file exists already, and stays as it is.", hint=str(self.path))
        return parse_keys(text)

    def add_key(self) -> list[bytes]:
        """Add a new key before those in the file, and return all, newest first. Durable on return.

        Raises `SettingsError` if the file cannot be read or written; nothing has changed then.
        """
        with hold_file(self.path):
            keys = parse_keys(new_key()) + self.read_keys()
            self._rewrite(keys)
        return keys

    def remove_key(self, id: str) -> str:
        """Move the key with this id into a file of its own, and return that file's path.

        The caller has checked that no vault needs the key. Raises `SettingsError` if there is no such key, or if it is
        the newest.
        """
        with hold_file(self.path):
            newest, *older = self.read_keys()
            gone = next((key for key in older if id_of(key) == id), None)
            if gone is None:
                what = "is the newest, which encrypts" if id == id_of(newest) else "is not in the key file"
                hint = f"Look at: deputize key list ({self.path})"
                raise SettingsError(f"The key with the id {id} {what}.", hint=hint)
            kept = self.path.with_name(f"{self.path.name}.{id}")
            KeyFile(kept)._rewrite([gone])
            self._rewrite([key for key in (newest, *older) if key != gone])
        return str(kept)

    def _rewrite(self, keys: list[bytes]) -> None:
        replace_file(self.path, "".join(f"{key_text(key)}\n" for key in keys))


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Hold the lock for changes of a file with keys. Several vaults may share it, and a vault without its key is lost.

    Raises `StoreUnavailable` during another change.
    """
    from filelock import FileLock, Timeout

    real = path.resolve()
    lock = FileLock(real.with_name(f".{real.name}.lock"), thread_local=False, fallback_to_soft=False, mode=0o600)
    try:
        lock.acquire(timeout=_LOCK_TIMEOUT_SECONDS)
    except Timeout:
        message = "Another command is changing the keys."
        raise StoreUnavailable(message, hint="Try again when it has ended.") from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield
    finally:
        lock.release()


def replace_file(path: Path, text: str) -> None:
    """Replace the file as a whole, so that a concurrent reader, or a power cut, finds the old or the new one.

    A link stays a link and its target is replaced, because others may read the target by its own name. Raises
    `SettingsError` if it cannot be written.
    """
    path = path.resolve()
    try:
        with temporary_path(path) as made:
            _write(made, text)
            made.replace(path)
            sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> SettingsError:
    return SettingsError("The key file cannot be written.", hint=f"{path}: {error.strerror}")


def _write(path: Path, text: str) -> None:
    """Create a file with this text, mode 0600, that survives a power cut."""
    with open(new_file(path), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
