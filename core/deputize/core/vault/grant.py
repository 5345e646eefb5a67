"""What the vault keeps: whose it is, what was consented to, and the tokens, which nothing can print."""

from __future__ import annotations

import hmac
import json
import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NoReturn, Self

from deputize.core.errors import UserRequired, VaultError


class Secret:
    """A string that shows itself only where it is asked to by name.

    repr, str and format are masked; pickle, copy, deepcopy and JSON are refused; equality takes constant time.
    Python cannot wipe a string: plaintext lives as long as the act that uses it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The plaintext. Called where a token meets a request, where a form goes to a token endpoint, and to seal."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a Secret cannot be copied, pickled or serialised")

    __reduce__ = __reduce_ex__ = __getstate__ = __copy__ = __deepcopy__ = _refuse


@dataclass(frozen=True, slots=True)
class User:
    """The human the agent acts for: an opaque id the host vouches for, inside a tenant where there is one."""

    id: str
    tenant: str = ""

    @classmethod
    def of(cls, user: User | str | None) -> User:
        """The user meant by an id. Raises `UserRequired` for none or an empty one."""
        who = cls(user) if isinstance(user, str) else user
        if isinstance(who, User) and isinstance(who.id, str) and who.id.strip() and _sayable(who.id + who.tenant):
            return who
        raise UserRequired("No user: nothing is done without one.")


def _sayable(text: str) -> bool:
    """Whether this can be written down at all: no half of a character, nothing that parts fields."""
    try:
        return "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, slots=True)
class Account:
    """Who consented, at the provider: a stable subject, and a name to show (an address, a login)."""

    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a grant came from, sealed with it: where its tokens may go, and nowhere else. Made by `origin_of`.

    ``client_id``: of the app. ``endpoints``: issuer, authorization and token endpoint. ``ends``: where tokens end.
    ``hosts``: of the API. ``built_in``: the provider's row was the table's, so that it still is when a later version
    of that row says something else. A port of a stand-in on loopback is left out: it changes with each start.
    """

    client_id: str
    endpoints: tuple[str, ...]
    ends: tuple[str, ...]
    hosts: frozenset[str]
    built_in: bool = False

    def same_place(self, other: Origin) -> bool:
        """Whether both are of one server, whatever the app."""
        return (self.built_in and other.built_in) or (self.endpoints, self.ends) == (other.endpoints, other.ends)

    def same(self, other: Origin) -> bool:
        """Whether both are of one server and one app there."""
        return self.client_id == other.client_id and self.same_place(other)

    @property
    def stand_in(self) -> bool:
        """Whether this is no real provider, but one that is played on loopback."""
        return self.endpoints[-1].startswith("http:")

    def pack(self) -> str:
        """As text."""
        return json.dumps([self.client_id, self.endpoints, self.ends, sorted(self.hosts), self.built_in])

    @classmethod
    def unpack(cls, text: str) -> Origin:
        """What `pack` made; few differ, so they are kept."""
        return _origin(text)


@lru_cache(maxsize=1024)
def _origin(text: str) -> Origin:
    client_id, endpoints, ends, hosts, built_in = json.loads(text)
    return Origin(client_id, tuple(endpoints), tuple(ends), frozenset(hosts), built_in)


GrantStatus = Literal["active", "needs_reauth", "revoked"]
_STATUS: tuple[GrantStatus, ...] = ("active", "needs_reauth", "revoked")
_HEAD = struct.Struct(">BdII")  # status, expires_at, lengths of access token and scopes
_PART = "\0"
NEVER = 0.0


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Grant:
    """One user's account consented, for one app: these scopes, these tokens.

    ``expires_at`` and ``obtained_at`` are Unix seconds; ``expires_at`` 0 means that the token does not expire.
    ``generation`` grows with every write; ``reason`` says why a grant is not active. ``origin`` None: from before
    origins were kept, and of the table's row.
    """

    user: User
    provider: str
    app: str
    account: Account
    scopes: frozenset[str]
    access_token: Secret
    refresh_token: Secret | None = None
    expires_at: float = NEVER
    obtained_at: float = 0.0
    status: GrantStatus = "active"
    reason: str = ""
    default: bool = True
    extra: dict[str, str] = field(default_factory=dict)  # what the provider adds: instance_url, team, hd
    origin: Origin | None = None
    generation: int = 0

    def tombstone(self) -> Grant:
        """What stays of a revoked grant: whose it was, and nothing that could be used or that is said of them."""
        return replace(
            self,
            status="revoked",
            reason="disconnected",
            scopes=frozenset(),
            access_token=_EMPTY,
            refresh_token=None,
            extra={},
            origin=None,
        )

    def dead(self, reason: str) -> Grant:
        """The grant after the provider has ended it: the account and scopes to ask for again, without tokens."""
        return replace(self, status="needs_reauth", reason=reason, access_token=_EMPTY, refresh_token=None)

    def pack(self) -> bytes:
        """The grant as plaintext bytes, to be sealed."""
        access, scopes = self.access_token.reveal().encode(), " ".join(sorted(self.scopes)).encode()
        rest = (
            self.user.id,
            self.user.tenant,
            self.provider,
            self.app,
            self.account.subject,
            self.account.name,
            self.refresh_token.reveal() if self.refresh_token else "",
            repr(self.obtained_at),
            self.reason,
            "default" if self.default else "",
            json.dumps(self.extra) if self.extra else "",
            self.origin.pack() if self.origin else "",
        )
        if any(_PART in part for part in rest):
            raise VaultError("A part of this grant holds a character that no vault keeps.")
        head = _HEAD.pack(_STATUS.index(self.status), self.expires_at, len(access), len(scopes))
        return head + access + scopes + _PART.join(rest).encode()

    @classmethod
    def unpack(cls, plain: bytes, generation: int) -> Self:
        """The grant that `pack` made. Raises `VaultError` for anything else."""
        try:
            status, expires_at, a, s = _HEAD.unpack_from(plain)
            scopes_at, rest_at = _HEAD.size + a, _HEAD.size + a + s
            user, tenant, provider, app, subject, name, refresh, obtained_at, reason, default, extra, *more = (
                plain[rest_at:].decode().split(_PART)
            )
            origin = more.pop() if more else ""
            if more:
                raise ValueError("more than this version knows")
            return cls(
                user=User(user, tenant),
                provider=provider,
                app=app,
                account=Account(subject, name),
                scopes=_scopes(plain[scopes_at:rest_at]),
                access_token=Secret(plain[_HEAD.size : scopes_at].decode()),
                refresh_token=Secret(refresh) if refresh else None,
                expires_at=expires_at,
                obtained_at=float(obtained_at),
                status=_STATUS[status],
                reason=reason,
                default=bool(default),
                extra=json.loads(extra) if extra else {},
                origin=Origin.unpack(origin) if origin else None,
                generation=generation,
            )
        except (struct.error, ValueError, KeyError, IndexError, TypeError):
            raise VaultError("A grant in the vault has a form this version does not know.") from None


_EMPTY = Secret("")
_seen: dict[bytes, frozenset[str]] = {}


def _scopes(raw: bytes) -> frozenset[str]:
    """The set behind its bytes; few differ, so they are kept."""
    if raw not in _seen:
        if len(_seen) > 4096:
            _seen.clear()
        _seen[raw] = frozenset(raw.decode().split())
    return _seen[raw]
