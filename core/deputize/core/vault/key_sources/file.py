"""Root keys in a file of one's own: made, read, and changed as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.private_files import making, new_file, private_folder, publish, read_private, sync
from deputize.core.vault.root_keys import key_text, new_key, parse_keys
from deputize.core.vault.seal import id_of

_MAX_BYTES: Final = 65536  # of a key file
_PATIENCE: Final = 5.0  # seconds another change of it may take


@frozen
class KeyFile(Printed):
    """A file with keys as text, one a line, mode 0600 or less."""

    path: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    def read_keys(self) -> list[bytes]:
        """The keys. Raises `SettingsError` unless the file is this account's, with mode 0600 or less."""
        try:
            return parse_keys(read_private(self.path, _MAX_BYTES).decode("ascii"))
        except UnicodeDecodeError:
            raise SettingsError("The key file holds something else than keys.", hint=str(self.path)) from None

    def make_key(self) -> list[bytes]:
        """Make the file with one new key, mode 0600, in a folder of mode 0700; it is durable when this returns.

        Raises `SettingsError` where the file is there already: a key is never written over.
        """
        private_folder(self.path.parent)
        text = new_key()
        try:
            with making(self.path) as made:
                _write(made, text + "\n")
                published = publish(made, self.path)
        except OSError as error:
            raise self._unwritable(error) from None
        if not published:
            raise SettingsError("The key file is there already, and stays as it is.", hint=str(self.path))
        return parse_keys(text)

    def add_key(self) -> list[bytes]:
        """Put a new key in front of those in the file; all of them, newest first. Durable when it returns.

        Raises `SettingsError` where the file cannot be read or written, and has changed nothing then.
        """
        with self._held():
            keys = parse_keys(new_key()) + self.read_keys()
            self._rewrite(keys)
        return keys

    def remove_key(self, id: str) -> str:
        """Take the key with this id out of the file, into a file of its own, whose path is returned.

        Raises `SettingsError` where it is not there, or is the newest. Whether a vault still needs it, the caller
        knows.
        """
        with self._held():
            newest, *older = self.read_keys()
            gone = next((key for key in older if id_of(key) == id), None)
            if gone is None:
                what = "is the newest, which seals" if id == id_of(newest) else "is not in the key file"
                hint = f"Look at: deputize key list ({self.path})"
                raise SettingsError(f"The key with the id {id} {what}.", hint=hint)
            kept = self.path.with_name(f"{self.path.name}.{id}")
            KeyFile(kept)._rewrite([gone])
            self._rewrite([key for key in (newest, *older) if key != gone])
        return str(kept)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One change of the file at a time: several vaults may share it, and a key that gets lost shuts one for
        good."""
        from filelock import FileLock, Timeout

        real = self.path.resolve()
        lock = FileLock(real.with_name(f".{real.name}.lock"), thread_local=False, fallback_to_soft=False, mode=0o600)
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            message = "Another command is changing the keys."
            raise StoreUnavailable(message, hint="Try again when it has ended.") from None
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield
        finally:
            lock.release()

    def _rewrite(self, keys: list[bytes]) -> None:
        """Replace the file as a whole: whoever reads it meanwhile, or a power cut, finds the old or the new one.

        A link stays a link: the file that it leads to is replaced, since others may read that one by its own name.
        """
        path = self.path.resolve()
        try:
            with making(path) as made:
                _write(made, "".join(f"{key_text(key)}\n" for key in keys))
                made.replace(path)
                sync(path.parent)
        except OSError as error:
            raise KeyFile(path)._unwritable(error) from None

    def _unwritable(self, error: OSError) -> SettingsError:
        return SettingsError("The key file cannot be written.", hint=f"{self.path}: {error.strerror}")


def _write(path: Path, text: str) -> None:
    """Make a file with this text, mode 0600, that survives a power cut."""
    with open(new_file(path), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
