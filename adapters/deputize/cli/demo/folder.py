"""The folder of a demo: vault, key, audit, conversation, sandbox, and two ports.

It has the layout of a deputize home, so ``DEPUTIZE_HOME={folder} deputize audit verify`` works on it.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from deputize.core.errors import SettingsError
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.private_files import private_folder

log = logging.getLogger("deputize")

PORTS: Final = {"pages": 8736, "sandbox": 8737}
_MARK = "ports.json"
_LOCK = "demo.lock"
_FILES = ("vault.sqlite*", "key", "*checkpoints.sqlite*", "sandbox.json*", _MARK)
_FOLDERS = ("audit", "locks")


@dataclass(frozen=True)
class DemoFolder:
    """One demo's folder, used by one process at a time."""

    path: Path

    @contextmanager
    def held(self, *, fresh: bool = False) -> Iterator[None]:
        """Lock the folder for this process. ``fresh``: empty it first.

        Raises `SettingsError` if another demo uses it, or if it contains anything but a demo.
        """
        self._make()
        if not self.file(_MARK).exists() and any(entry.name != _LOCK for entry in self.path.iterdir()):
            raise SettingsError(
                "The folder contains something other than a demo.", hint=f"Choose another folder than {self.path}."
            )
        lock = FileLock(self.path / _LOCK, mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            hint = "End it first, or give this one a folder of its own: --folder PATH"
            raise SettingsError("A demo is already running in this folder.", hint=hint) from None
        try:
            if fresh:
                self._empty()
            self.file(_MARK).touch(mode=0o600)
            yield
        finally:
            lock.release()

    def _make(self) -> None:
        """Create the folder and missing parents, for its owner alone, because the parent is often the home."""
        missing = [folder for folder in self.path.parents if not folder.exists()]
        for folder in (*reversed(missing), self.path):
            private_folder(folder)

    def _empty(self) -> None:
        for file in (file for pattern in _FILES for file in self.path.glob(pattern)):
            file.unlink()
        for name in _FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def file(self, name: str) -> Path:
        """Return a file in the folder."""
        return self.path / name

    def keys(self) -> list[bytes]:
        """Return the root keys. Creates and announces a key if there is no vault yet. Raises `SettingsError`."""
        source = KeyFile(self.file("key"))
        if source.exists() or self.file("vault.sqlite").exists():
            return source.read_keys()
        made = source.make_key()
        log.warning("Made a new key for the demo's vault in %s.", source.name)
        return made

    def port(self, name: str, *, chosen: int = 0, other: int = 0) -> int:
        """Return a port for ``pages`` or the ``sandbox``: the same as last time, unless another program took it.

        ``chosen``: a port that the user wants, which is never replaced. ``other``: a port that is already in use for
        the other one.
        """
        before = self._remembered()
        wanted = before.get(name, PORTS[name])
        port = chosen or (wanted if wanted != other and is_free(wanted) else _any_free())
        if port != before.get(name):
            self.file(_MARK).write_text(json.dumps(before | {name: port}), encoding="ascii")
        return port

    def _remembered(self) -> dict[str, int]:
        text = self.file(_MARK).read_text(encoding="utf-8")
        if not text:
            return {}
        try:
            content = json.loads(text)
            return {name: int(content[name]) for name in PORTS if name in content}
        except (ValueError, TypeError):
            hint = "Start over: deputize demo --fresh"
            raise SettingsError("The demo's ports.json cannot be read.", hint=hint) from None


def is_free(port: int) -> bool:
    """Return whether nothing listens on this port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
