"""Grants in the vault: their user, what the user consented to, and tokens that cannot be printed."""

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
from deputize.core.vault.secret_values import Secret as Secret
from deputize.core.vault.secret_values import SecretBytes as SecretBytes
from deputize.core.vault.user import NO_USER as NO_USER
from deputize.core.vault.user import AnyUser as AnyUser
from deputize.core.vault.user import User as User


@frozen
class Account(ValueObject):
    """The account that consented at the provider: a stable subject, and a name to display (an address, a login)."""

    subject: str
    name: str


@frozen
class Origin(ValueObject):
    """The servers of a grant, stored with it. The grant's tokens are sent to these servers and no others. Made by
    `origin_of`.

    ``client_id``: the app's client id. ``endpoints``: issuer, authorization and token endpoint. ``ends``: revocation
    endpoints. ``hosts``: the API's hosts. ``built_in``: True for the built-in provider definition, so that the origin
    stays the same if a later version changes that definition. The port of a simulated provider on loopback is left out,
    because it changes with each start.
    """

    client_id: str
    endpoints: tuple[str, ...]
    ends: tuple[str, ...]
    hosts: frozenset[str]
    built_in: bool = False

    def is_same_server(self, other: Origin) -> bool:
        """Return True if both origins are at the same server, for any app."""
        return (self.built_in and other.built_in) or (self.endpoints, self.ends) == (other.endpoints, other.ends)

    def is_same_app(self, other: Origin) -> bool:
        """Return True if both origins are of the same app at the same server."""
        return self.client_id == other.client_id and self.is_same_server(other)

    @property
    def is_simulated(self) -> bool:
        """True if this is a simulated provider on loopback."""
        return self.endpoints[-1].startswith("http:")

    def pack(self) -> str:
        """Return the origin as text."""
        return json.dumps([self.client_id, self.endpoints, self.ends, sorted(self.hosts), self.built_in])

    @classmethod
    def unpack(cls, text: str) -> Origin:
        """Return the origin in a text that `pack` returned. Results are cached, because few origins differ."""
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
    """The consent of one account of a user to one app: its scopes and tokens.

    ``expires_at`` and ``obtained_at``: Unix seconds; ``expires_at`` is 0 if the token does not expire. ``generation``
    grows with every write. ``reason``: why a grant is not active, or why it is suspect. ``origin``: None for grants of
    earlier versions that stored no origin; these grants are from the built-in provider definition. ``family``: the
    token family of the refresh token, or of the access token if there is no refresh token; empty for grants of earlier
    versions that stored no family. ``proof_key``: the private key that its tokens are bound to (RFC 9449), as a JSON
    Web Key; None for bearer tokens. ``source``: kind of the source of a grant without a consent. ``epoch``: the
    revocation epoch in which the grant was requested, see `deputize.core.vault.bulk_revocation`. ``refresh_ends_at``:
    when the refresh token ends, in Unix seconds; 0 if the provider does not say. ``end_told_at``: the end that the
    audit has announced, 0 for none. See `deputize.core.grants.grant_end`.
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
    refresh_ends_at: float = NEVER
    end_told_at: float = NEVER
    generation: int = 0

    @property
    def connection_id(self) -> str:
        """The id of this user's account at this app, the same after every reconnect: 32 hexadecimal characters.

        It reveals nothing, and knowing it allows nobody to act, so it is not a secret.
        """
        whose = [self.user.tenant, self.user.id, self.provider, self.app, self.account.subject]
        return hashlib.sha256(json.dumps(whose).encode()).hexdigest()[:32]

    @property
    def is_suspect(self) -> bool:
        """True if the API refused the grant's token, and has not accepted it since."""
        return self.status == "active" and self.reason != ""

    def tombstone(self) -> Grant:
        """Return the remains of a revoked grant: its owner, without tokens, scopes or details."""
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
            refresh_ends_at=NEVER,
            end_told_at=NEVER,
        )

    def dead(self, reason: str) -> Grant:
        """Return the grant after the provider ended it: no tokens, but account and scopes for the next consent."""
        return replace(
            self,
            status="needs_reauth",
            reason=reason,
            access_token=_EMPTY,
            refresh_token=None,
            proof_key=None,
            refresh_ends_at=NEVER,
            end_told_at=NEVER,
        )

    def pack(self) -> SecretBytes:
        """Return the plaintext to encrypt. Raises `VaultError` for a grant that cannot be encoded."""
        if (packed := _packed(self)) is None:
            raise VaultError("A field of this grant holds a character that cannot be stored: NUL or a lone surrogate.")
        return packed

    @classmethod
    def unpack(cls, plain: SecretBytes, generation: int) -> Self:
        """Return the grant in bytes that `pack` returned. Raises `VaultError` for other bytes."""
        if (grant := _unpacked(cls, plain, generation)) is None:
            raise VaultError("A grant in the vault has a form this version does not know.")
        return grant


G = TypeVar("G", bound=Grant)


def _packed(grant: Grant) -> SecretBytes | None:
    """Return the grant as bytes, or None if encoding fails. It raises nothing, because an exception's frame would keep
    the tokens."""
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
    except UnicodeEncodeError:  # a lone surrogate; the error holds the whole text
        return None


def _later(grant: Grant) -> list[str]:
    """Return the fields that later versions added to the record, without empty fields at the end."""
    ends = [repr(at) if at else "" for at in (grant.refresh_ends_at, grant.end_told_at)]
    parts = [grant.proof_key.reveal() if grant.proof_key else "", grant.source, str(grant.epoch or ""), *ends]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _unpacked(kind: type[G], opaque: SecretBytes, generation: int) -> G | None:
    """Return the grant in these bytes, or None if they contain no grant. It raises nothing, because an exception's
    frame would keep the tokens."""
    plain = opaque.reveal()
    try:
        status, expires_at, a, s = _HEAD.unpack_from(plain)
        scopes_at, rest_at = _HEAD.size + a, _HEAD.size + a + s
        user, tenant, provider, app, subject, name, refresh, obtained_at, reason, default, extra, *later = (
            plain[rest_at:].decode().split(_PART)
        )
        if len(later) > len(_EARLIER):
            return None
        # rows of earlier versions have fewer parts
        origin, family, proof_key, source, epoch, refresh_end, end_told = (*later, *_EARLIER[len(later) :])
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
            refresh_ends_at=float(refresh_end or NEVER),
            end_told_at=float(end_told or NEVER),
            generation=generation,
        )
    except (struct.error, ValueError, KeyError, IndexError, TypeError):
        return None


_EMPTY = Secret("")
_EARLIER = ("",) * 7
_seen: dict[bytes, frozenset[str]] = {}


def _scopes(raw: bytes) -> frozenset[str]:
    """Return the set of scopes in these bytes. Results are cached, because few sets differ."""
    if raw not in _seen:
        if len(_seen) > 4096:
            _seen.clear()
        _seen[raw] = frozenset(raw.decode().split())
    return _seen[raw]


def grant_fields(grant: Grant) -> OfGrant:
    """Return the audit fields of a grant."""
    return OfGrant(
        tenant=grant.user.tenant,
        user=grant.user.id,
        provider=grant.provider,
        app=grant.app,
        account_hash=Subject(grant.account.subject),
        grant_gen=grant.generation,
        source=grant.source,
    )
