"""What the vault keeps: whose it is, what was consented to, and the tokens, which nothing can print."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import field, replace
from functools import lru_cache
from typing import Literal, Self, TypeVar

from deputize.core.audit.common_fields import OfGrant
from deputize.core.audit.pseudonyms import Subject
from deputize.core.errors import VaultError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.opaque import Secret as Secret
from deputize.core.vault.opaque import SecretBytes as SecretBytes
from deputize.core.vault.user import NO_USER as NO_USER
from deputize.core.vault.user import AnyUser as AnyUser
from deputize.core.vault.user import User as User


@frozen
class Account(ValueObject):
    """Who consented, at the provider: a stable subject, and a name to show (an address, a login)."""

    subject: str
    name: str


@frozen
class Origin(ValueObject):
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


@frozen(weakref_slot=True)
class Grant(ValueObject):
    """One user's account consented, for one app: these scopes, these tokens.

    ``expires_at`` and ``obtained_at`` are Unix seconds; ``expires_at`` 0 means that the token does not expire.
    ``generation`` grows with every write; ``reason`` says why a grant is not active. ``origin`` None: from before
    origins were kept, and of the table's row. ``family``: the token family that its refresh token is of, or its access
    token where there is none; empty: from before families were kept. ``proof_key``: the private key that its tokens
    are bound to (RFC 9449), as a JSON Web Key; None: they are bearer tokens. ``source``: what it came from, where that
    was no consent. ``epoch``: the revocation epoch in which it was asked for, see
    `deputize.core.vault.bulk_revocation`.
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
    family: str = ""
    proof_key: Secret | None = None
    source: str = ""
    epoch: int = 0
    generation: int = 0

    @property
    def connection_id(self) -> str:
        """Of this user's account at this app, the same as long as it can be connected: 32 hexadecimal characters.

        It tells nothing about them, and is no secret: whoever knows whose it is may not act for them.
        """
        whose = [self.user.tenant, self.user.id, self.provider, self.app, self.account.subject]
        return hashlib.sha256(json.dumps(whose).encode()).hexdigest()[:32]

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
            family="",
            proof_key=None,
        )

    def dead(self, reason: str) -> Grant:
        """The grant after the provider has ended it: the account and scopes to ask for again, without tokens."""
        return replace(
            self, status="needs_reauth", reason=reason, access_token=_EMPTY, refresh_token=None, proof_key=None
        )

    def pack(self) -> SecretBytes:
        """The grant as plaintext, to be sealed. Raises `VaultError` for one that cannot be written down."""
        if (packed := _packed(self)) is None:
            raise VaultError("A part of this grant holds a character that no vault keeps.")
        return packed

    @classmethod
    def unpack(cls, plain: SecretBytes, generation: int) -> Self:
        """The grant that `pack` made. Raises `VaultError` for anything else."""
        if (grant := _unpacked(cls, plain, generation)) is None:
            raise VaultError("A grant in the vault has a form this version does not know.")
        return grant


G = TypeVar("G", bound=Grant)


def _packed(grant: Grant) -> SecretBytes | None:
    """The grant's bytes; None for what no bytes can say. Raises nothing: its frame has the tokens."""
    rest = (
        grant.user.id,
        grant.user.tenant,
        grant.provider,
        grant.app,
        grant.account.subject,
        grant.account.name,
        grant.refresh_token.reveal() if grant.refresh_token else "",
        repr(grant.obtained_at),
        grant.reason,
        "default" if grant.default else "",
        json.dumps(grant.extra) if grant.extra else "",
        grant.origin.pack() if grant.origin else "",
        grant.family,
        *_later(grant),
    )
    if any(_PART in part for part in rest):
        return None
    try:
        access, scopes = grant.access_token.reveal().encode(), " ".join(sorted(grant.scopes)).encode()
        head = _HEAD.pack(_STATUS.index(grant.status), grant.expires_at, len(access), len(scopes))
        return SecretBytes(head + access + scopes + _PART.join(rest).encode())
    except UnicodeEncodeError:  # half a character; the error holds all of it
        return None


def _later(grant: Grant) -> list[str]:
    """Parts that rows of earlier versions do not have, as far as there is something to say."""
    parts = [grant.proof_key.reveal() if grant.proof_key else "", grant.source, str(grant.epoch or "")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _unpacked(kind: type[G], opaque: SecretBytes, generation: int) -> G | None:
    """The grant behind its bytes; None for others. Raises nothing: its frame has the tokens."""
    plain = opaque.reveal()
    try:
        status, expires_at, a, s = _HEAD.unpack_from(plain)
        scopes_at, rest_at = _HEAD.size + a, _HEAD.size + a + s
        user, tenant, provider, app, subject, name, refresh, obtained_at, reason, default, extra, *later = (
            plain[rest_at:].decode().split(_PART)
        )
        if len(later) > 5:
            return None
        # rows of earlier versions have fewer parts
        origin, family, proof_key, source, epoch = (*later, "", "", "", "", "")[:5]
        return kind(
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
            family=family,
            proof_key=Secret(proof_key) if proof_key else None,
            source=source,
            epoch=int(epoch or 0),
            generation=generation,
        )
    except (struct.error, ValueError, KeyError, IndexError, TypeError):
        return None


_EMPTY = Secret("")
_seen: dict[bytes, frozenset[str]] = {}


def _scopes(raw: bytes) -> frozenset[str]:
    """The set behind its bytes; few differ, so they are kept."""
    if raw not in _seen:
        if len(_seen) > 4096:
            _seen.clear()
        _seen[raw] = frozenset(raw.decode().split())
    return _seen[raw]


def facts_of(grant: Grant) -> OfGrant:
    """What an audit row says of a grant."""
    return OfGrant(
        tenant=grant.user.tenant,
        user=grant.user.id,
        provider=grant.provider,
        app=grant.app,
        account_hash=Subject(grant.account.subject),
        grant_gen=grant.generation,
        source=grant.source,
    )
