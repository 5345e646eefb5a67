"""Closed audit files as gzip: ``{writer}.{n}.jsonl`` becomes ``{writer}.{n}.jsonl.gz``, with the same bytes inside.

Any gzip program can read them. The header has an extra field (RFC 1952) for a checkpoint, which covers all later bytes
of the file: see `deputize.core.audit.checkpoint`. Callers name a file by its path without ``.gz``, compressed or not.
While the original exists, readers use it, so that a crash during compression changes nothing.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Final

from deputize.core.errors import StoreUnavailable, VaultError

BLOCK: Final = 1 << 16
MAX_FILE_BYTES: Final = 128 << 20
"""Bytes of a file before compression. Larger files stay as they are, and a ``.gz`` that expands to more is refused."""

_FIELD: Final = b"dp"
_MAX_CHECKPOINT_BYTES: Final = 0xFFFF - 4  # bytes of the extra field's content


class DamagedFile(VaultError):
    """A compressed audit file that cannot be read to its end. ``reason``: the kind of damage."""

    def __init__(self, path: Path, reason: str) -> None:
        hint = "deputize audit verify names every damaged file. Restore it from a copy of the audit folder."
        super().__init__(f"The audit file {path.name} is damaged: {reason}.", hint=f"{hint} It is {path}.")
        self.reason = reason


def compressed_path(path: Path) -> Path:
    """Return the path of a file after compression."""
    return path.with_name(f"{path.name}.gz")


def stored_status(path: Path) -> os.stat_result | None:
    """Return size and times of a file, compressed or not, or None if it was removed. Compression keeps the times."""
    for stored in (path, compressed_path(path)):
        with suppress(FileNotFoundError):
            return stored.stat()
    return None


def pack(data: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the data as a gzip file. ``sign``: returns the header's checkpoint for the digest of all later bytes."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    body += zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    note = sign(blake2b(body).digest())
    if len(note) > _MAX_CHECKPOINT_BYTES:
        return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body
    extra = _FIELD + len(note).to_bytes(2, "little") + note
    return b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + len(extra).to_bytes(2, "little") + extra + body


def read_header(path: Path) -> tuple[bytes, bytes] | None:
    """Return the header's checkpoint and the digest of all later bytes. None if file or checkpoint is missing."""
    try:
        with compressed_path(path).open("rb") as file:
            head = file.read(16)
            length = int.from_bytes(head[14:], "little")
            if (
                head[:4] != b"\x1f\x8b\x08\x04"
                or head[12:14] != _FIELD
                or head[10:12] != (length + 4).to_bytes(2, "little")
            ):
                return None
            return file.read(length), file_digest(file, blake2b).digest()
    except (OSError, OverflowError):
        return None


def unpack(path: Path, at: int) -> Iterator[bytes]:
    """Yield the content of a compressed file from byte ``at``, in blocks; nothing if the file is missing.

    Raises `DamagedFile`. No file is open between blocks.
    """
    packed, position, size = compressed_path(path), 0, 0
    if at and _size(packed) == at:  # read to the end before
        return
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    while not inflate.eof:
        data = inflate.unconsumed_tail
        if not data:
            data = block(packed, position)
            position += len(data)
            if not data:
                if packed.exists():
                    raise DamagedFile(packed, "it ends too early")
                return  # removed meanwhile
        try:
            more = inflate.decompress(data, BLOCK)
        except zlib.error as error:
            raise DamagedFile(packed, str(error).partition(": ")[2] or "it is not gzip") from None
        size += len(more)
        if size > MAX_FILE_BYTES:
            raise DamagedFile(packed, f"it expands to more than {MAX_FILE_BYTES >> 20} MiB")
        if size > at:
            yield more[max(0, at - size + len(more)) :]
    if inflate.unused_data or block(packed, position, 1):
        raise DamagedFile(packed, "it goes on after its end")


def _size(packed: Path) -> int:
    """Return the uncompressed size that the file's last bytes state."""
    try:
        return int.from_bytes(block(packed, packed.stat().st_size - 4), "little")
    except (OSError, ValueError):
        return -1


def block(path: Path, at: int, size: int = BLOCK) -> bytes:
    """Return bytes of a file, or b"" if the file is missing."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(size)
    except FileNotFoundError:  # removed meanwhile
        return b""
    except OSError as error:
        raise StoreUnavailable(f"The audit cannot be read: {error.strerror}.", hint=f"Check {path}.") from None
