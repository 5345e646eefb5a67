"""The part of sqlitedict 2.1.0 that the sqlite store uses, which has no types of its own."""

from collections.abc import Callable, Iterable, Sequence
from queue import Queue
from threading import Thread
from typing import Any

__version__: str

class SqliteMultithread(Thread):
    autocommit: bool
    def execute(self, req: str, arg: Sequence[Any] | None = None, res: Queue[Any] | None = None) -> None: ...
    def check_raise_error(self) -> None: ...
    def close(self, force: bool = False) -> None: ...

class SqliteDict:
    autocommit: bool
    conn: SqliteMultithread
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    def __init__(
        self,
        filename: str | None = None,
        tablename: str = "unnamed",
        flag: str = "c",
        autocommit: bool = False,
        journal_mode: str = "DELETE",
        encode: Callable[[Any], Any] = ...,
        decode: Callable[[Any], Any] = ...,
        encode_key: Callable[[Any], Any] = ...,
        decode_key: Callable[[Any], Any] = ...,
        timeout: float = 5,
        outer_stack: bool = True,
    ) -> None: ...
    def __getitem__(self, key: str) -> Any: ...
    def keys(self) -> Iterable[str]: ...
    def close(self, do_log: bool = True, force: bool = False) -> None: ...
