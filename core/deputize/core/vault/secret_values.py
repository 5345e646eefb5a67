"""Plaintext that no traceback, log or error report shows: tokens, keys, and the content of records."""

from __future__ import annotations

import hmac
from typing import AnyStr, Generic, NoReturn


class _Opaque(Generic[AnyStr]):
    """Plaintext that only `reveal` returns.

    repr, str and format are masked. pickle, copy, deepcopy and JSON are refused. Equality takes constant time. Python
    cannot wipe a string, so plaintext lives as long as the act that uses it.
    """

    __slots__ = ("_value",)
    _value: AnyStr

    def __init__(self, value: AnyStr) -> None:
        self._value = value

    def reveal(self) -> AnyStr:
        """Return the plaintext, to add a token to a request, to fill a form for a token endpoint, or to encrypt."""
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self._bytes(), other._bytes())

    def _bytes(self) -> bytes:
        return self._value.encode() if isinstance(self._value, str) else self._value

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a Secret cannot be copied, pickled or serialised")

    __reduce__ = __reduce_ex__ = __getstate__ = __copy__ = __deepcopy__ = _refuse


class Secret(_Opaque[str]):
    """A token, code, verifier or client secret."""

    __slots__ = ()


class SecretBytes(_Opaque[bytes]):
    """The content of a record before encryption."""

    __slots__ = ()
