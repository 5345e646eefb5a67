"""Files that tools receive and send, stored encrypted for a day. A model sees only a handle.

A handle works only for its own user, because it is looked up among that user's records. The content is stored in
pieces, because a store may limit the size of a record. A file's record is written before its pieces and deleted after
them. So every piece belongs to a record, and a file counts against the quota while it is being written.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from deputize.core.errors import InvalidInput, NotFound, StoreUnavailable
from deputize.core.tools.steps import MIB, File
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Record, Vault
from deputize.core.visible_text import CONTROLS, UNSEEN

FILE_TTL: Final = 86400
MAX_FILE_BYTES: Final = 25 * MIB
MAX_USER_BYTES: Final = 100 * MIB
MAX_FILES: Final = 1000
PIECE: Final = MIB
STRIPES: Final = 64
LOCK_TIMEOUT_SECONDS: Final = 30.0
MAX_FILE_NAME_CHARACTERS: Final = 120
_HANDLE: Final = r"file_([a-z2-7]{10})"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_MIME: Final = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}"
_UNSEEN: Final = rf"[\t\n{CONTROLS}{UNSEEN}\ufffc-\uffff]"


class Files:
    """The files of all users in one vault. ``quota``: bytes per user. ``largest``: bytes per file.

    ``most``: maximum number of files per user, because even an empty file needs a record. ``life``: lifetime of a file
    in seconds. ``clock``: returns Unix seconds.
    """

    def __init__(
        self,
        vault: Vault,
        clock: Callable[[], float] = time.time,
        largest: int = MAX_FILE_BYTES,
        quota: int = MAX_USER_BYTES,
        most: int = MAX_FILES,
        life: float = FILE_TTL,
    ) -> None:
        self.vault, self.clock = vault, clock
        self.largest, self.quota, self.most, self.life = largest, quota, most, life

    async def keep(self, user: User, file: File) -> dict[str, Any]:
        """Store a file and return its handle and metadata: ``{file, name, mime, size, expires}``.

        Raises `InvalidInput` if the file is too large or exceeds the user's quota, and `NotFound` if the user was
        erased in between.
        """
        if not isinstance(file.content, bytes):
            raise InvalidInput("A file's content must be bytes.", fix_by="operator")
        if len(file.content) > self.largest:
            raise InvalidInput(f"The file is larger than {_size(self.largest)}.", hint="Use a smaller one.")
        row = await self._create_record(user, file)
        try:
            for n, begin in enumerate(range(0, len(file.content), PIECE)):
                piece = file.content[begin : begin + PIECE]
                await self.vault.insert("filepart", f"{row.key}.{n:03d}", piece, row.data_key)
            if await self.vault.get("file", row.key) is None:
                raise _unknown_handle()
        except BaseException:
            with suppress(StoreUnavailable):  # then it counts against the quota for a day
                await self.remove(row)
            raise
        return _metadata(row)

    async def _create_record(self, user: User, file: File) -> Record:
        """Create the file's record within the user's quota, under a lock, so that two processes cannot exceed it."""
        key = self.vault.key_prefix(user)
        mime = str.lower(file.mime)
        content = {
            "name": one_segment(file.name),
            "mime": mime if re.fullmatch(_MIME, mime) else "application/octet-stream",
            "size": len(file.content),
            "expires": self.clock() + self.life,
        }
        try:
            async with self.vault.store.lock(f"files-{int(key[:8], 16) % STRIPES:02d}", LOCK_TIMEOUT_SECONDS):
                sizes = await self._sizes(user)
                hint = "A file is removed a day after it was stored."
                if sum(sizes) + len(file.content) > self.quota:
                    raise InvalidInput(f"The files of one user may have {_size(self.quota)} in total.", hint=hint)
                if len(sizes) >= self.most:
                    raise InvalidInput(f"A user may have at most {self.most} files.", hint=hint)
                while True:
                    handle = "".join(secrets.choice(_LETTERS) for _ in range(10))
                    data_key = await self.vault.data_keys.get(user.tenant)
                    if row := await self.vault.insert("file", key + handle, content, data_key):
                        return row
        except TimeoutError:
            raise StoreUnavailable("Too many files are being stored. Nothing was stored.", hint="Try again.") from None

    async def _sizes(self, user: User) -> list[int]:
        """Return the sizes of the user's files in bytes. Deletes expired files."""
        sizes = []
        for row in await self.vault.scan("file", self.vault.key_prefix(user)):
            if row.json["expires"] > self.clock():
                sizes.append(row.json["size"])
            else:
                await self.remove(row)
        return sizes

    async def take(self, user: User, handle: str) -> File:
        """Return the user's file with this handle. Raises `NotFound` if it has expired or is another user's."""
        found = re.fullmatch(_HANDLE, handle) if isinstance(handle, str) else None
        row = await self.vault.get("file", self.vault.key_prefix(user) + found[1]) if found else None
        if row is None or row.json["expires"] <= self.clock():
            raise _unknown_handle()
        content = row.json
        pieces = []
        for n in range(_pieces(content["size"])):
            piece = await self.vault.get("filepart", f"{row.key}.{n:03d}")
            if piece is None:  # the writer died, or the file has just been removed
                raise _unknown_handle()
            pieces.append(piece.plain.reveal())
        return File(content["name"], content["mime"], b"".join(pieces))

    async def erase(self, user: User) -> int:
        """Delete all files of a user that can be decrypted, and return their number."""
        rows, _ = await self.vault.scan_openable("file", self.vault.key_prefix(user))
        for row in rows:
            await self.remove(row)
        return len(rows)

    async def remove(self, row: Record) -> None:
        """Delete a file: its pieces, its record, then pieces that were written in between.

        A writer that still stores pieces notices at its end that the record is gone.
        """
        await self._empty(row)
        await self.vault.delete(row)
        await self._empty(row)

    async def _empty(self, row: Record) -> None:
        for n in range(_pieces(row.json["size"])):
            key = f"{row.key}.{n:03d}"
            while piece := await self.vault.store.get("filepart", key):  # a damaged one, too
                await self.vault.store.delete("filepart", key, piece)


def one_segment(name: str) -> str:
    """Return a file's base name without invisible characters, cut to 120 characters but with its extension."""
    last = re.split(r"[/\\]", re.sub(_UNSEEN, "", str(name)))[-1].strip().lstrip(".") or "file"
    if len(last) <= MAX_FILE_NAME_CHARACTERS:
        return last
    stem, dot, ending = last.rpartition(".")
    ending = dot + ending if stem and len(ending) <= 16 else ""
    return last[: MAX_FILE_NAME_CHARACTERS - len(ending)] + ending


def _metadata(row: Record) -> dict[str, Any]:
    content: Mapping[str, Any] = row.json
    return {
        "file": f"file_{row.key.rpartition('.')[2]}",
        "name": content["name"],
        "mime": content["mime"],
        "size": content["size"],
        "expires": datetime.fromtimestamp(content["expires"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _pieces(size: int) -> int:
    return -(-size // PIECE)


def _size(limit: int) -> str:
    return f"at most {limit // MIB} MiB" if limit >= MIB else f"at most {limit} bytes"


def _unknown_handle() -> NotFound:
    return NotFound("Unknown file handle.", hint="A handle is valid for a day, and only for its own user.")
