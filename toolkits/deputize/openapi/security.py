"""Needs of a call, from OpenAPI's security requirements: a list of alternatives, each with scopes that are all needed.

deputize's needs are the reverse: all must be met, each by any one of its scopes. So "(a and b) or c" becomes "(a or c)
and (b or c)", and the alternative with the fewest scopes is requested.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, Final

from deputize.core.errors import SettingsError
from deputize.core.oauth.credential import Credential
from deputize.openapi.description import CannotTranslate, Description, Json

MAX_NEEDS: Final = 24
"""Needs of one call."""
LONGEST_SCOPE: Final = 90
TOKENS: Final = frozenset("access_token oauth_token bearer_token auth_token private_token api_key apikey".split())
"""Names of credentials in a query."""
Needs = tuple[tuple[str, ...], ...]
"""Each is a need: the scope to request, then others that suffice."""


def needs_of(description: Description, operation: Json, keys: Container[str] | None = None) -> Needs:
    """Return the needs of an operation. ``keys``: the schemes that a user's key satisfies, None for a user's token.

    Raises `CannotTranslate` if no user's grant suffices.
    """
    told = operation.get("security", description.root.get("security"))
    if not isinstance(told, list) or not told:
        return ()
    if keys is not None:
        if any(isinstance(one, dict) and all(name in keys for name in one) for one in told[:MAX_NEEDS]):
            return ()
        raise CannotTranslate("it requires another way to sign in than the user's key")
    oauth, bearer, reasons = list[tuple[str, ...]](), 0, list[str]()
    for requirement in told[:MAX_NEEDS]:
        try:
            schemes = _schemes(description, requirement)
            scopes = _scopes([one for one in schemes if one[0].get("type") != "http"])
            if not scopes and any(scheme.get("type") == "http" for scheme, _ in schemes):
                bearer += 1
            else:
                oauth.append(scopes)
        except CannotTranslate as e:
            reasons.append(str(e))
    if not oauth and not bearer:
        raise CannotTranslate(reasons[0])
    return combine(sorted(oauth, key=len))  # another kind of token does not replace these scopes


def has_oauth(description: Description) -> bool:
    """Return True if the description has a way to sign in with OAuth."""
    for one in description.objects("securitySchemes", description.objects("components")).values():
        with suppress(CannotTranslate):
            if description.resolve(one).get("type") in ("oauth2", "openIdConnect"):
                return True
    return False


def key_schemes(description: Description) -> dict[str, str]:
    """Return the security schemes that take a user's key, by name, as `Credential.of` reads them.

    A key in the header ``Authorization`` is a bearer token, as nearly all APIs that describe it so mean it.
    """
    found = dict[str, str]()
    for name, one in description.objects("securitySchemes", description.objects("components")).items():
        with suppress(CannotTranslate, SettingsError):
            scheme = description.resolve(one)
            way = str(scheme.get("scheme") or "").lower()
            if scheme.get("type") == "apiKey":
                way = f"{scheme.get('in')}:{scheme.get('name')}"
                way = "bearer" if way.lower() == "header:authorization" else way
            if way in ("basic", "bearer") or scheme.get("type") == "apiKey":
                Credential.of(way)
                found[name] = way
    return found


def sign_in_of(description: Description, operations: Iterable[Json]) -> str:
    """Return the key that suffices for most of these operations, or "" if none does. A header is preferred."""
    schemes = key_schemes(description)
    counts = dict.fromkeys(schemes.values(), 0)
    for operation in operations:
        for way in counts:
            with suppress(CannotTranslate):
                needs_of(description, operation, {name for name, one in schemes.items() if one == way})
                counts[way] += 1
    return max(counts, key=lambda way: (counts[way], not way.startswith("query")), default="")


def _schemes(description: Description, requirement: Any) -> list[tuple[Json, Any]]:
    """Return the schemes of one alternative, each with its scopes."""
    known = description.objects("securitySchemes", description.objects("components"))
    found = []
    for name, scopes in (requirement if isinstance(requirement, dict) else {}).items():
        if name not in known:
            raise CannotTranslate(f"its security scheme {name[:60]!r} is not described")
        found.append((scheme := description.resolve(known[name]), scopes))
        _check(scheme)
    return found


def _scopes(schemes: Sequence[tuple[Json, Any]]) -> tuple[str, ...]:
    """Return all scopes of one alternative."""
    listed = [named for _, named in schemes if isinstance(named, list)]
    scopes = [one for named in listed for one in named if isinstance(one, str)]
    if any(len(one) > LONGEST_SCOPE or not one.isascii() or not one.isprintable() or " " in one for one in scopes):
        raise CannotTranslate("one of its scopes is invalid (RFC 6749 3.3), or too long")
    unique = tuple(dict.fromkeys(scopes))
    if len(unique) > MAX_NEEDS:
        raise CannotTranslate(f"it needs more than {MAX_NEEDS} scopes")
    return unique


def keys_of(description: Description) -> frozenset[str]:
    """Return query parameters that are credentials, in lower case: tokens (RFC 6750 2.3), and described API keys."""
    named: set[str] = set(TOKENS)
    for scheme in description.objects("securitySchemes", description.objects("components")).values():
        with suppress(CannotTranslate):
            found = description.resolve(scheme)
            if found.get("type") == "apiKey" and found.get("in") == "query":
                named.add(str(found.get("name")).lower())
    return frozenset(named)


def _check(scheme: Json) -> None:
    """Raise `CannotTranslate` for a scheme that a user's OAuth token cannot satisfy."""
    type = scheme.get("type")
    if type == "oauth2":
        flows = scheme.get("flows")
        if isinstance(flows, dict) and flows and flows.keys() <= {"clientCredentials"}:
            raise CannotTranslate("it acts as the app (client credentials), not as a user")
    elif type == "http" and str(scheme.get("scheme")).lower() != "bearer":
        raise CannotTranslate("it requires a name and password (http authentication), not a token")
    elif type not in ("openIdConnect", "http"):
        what = {"apiKey": "an API key", "mutualTLS": "a client certificate"}.get(
            str(type), "a scheme that is not known"
        )
        raise CannotTranslate(f"it requires {what}, not a user's OAuth token")


def combine(alternatives: Sequence[tuple[str, ...]]) -> Needs:
    """Return needs that are met exactly if one alternative is granted whole. The scope to request is first.

    If there would be too many, only the first alternative counts, which requests more than necessary, never less.
    """
    if not alternatives or not all(alternatives):
        return ()
    count = 1
    for one in alternatives:
        count *= len(one)
    if count > MAX_NEEDS:
        return tuple((scope,) for scope in alternatives[0])
    return tuple(_smallest(tuple(dict.fromkeys(chosen)) for chosen in product(*alternatives)))


def _smallest(needs: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the needs without those that any other need includes."""
    unique = list({frozenset(need): need for need in needs}.values())
    return [one for one in unique if not any(frozenset(other) < frozenset(one) for other in unique)]
