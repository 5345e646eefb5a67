"""Organizations in GraphQL: their members, with the addresses of the domains that an organization has verified."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.graphql_nodes import Failed


def organization(call: Call, login: str) -> Json:
    """An organization, to whom may read organizations."""
    if not call.permissions and "read:org" not in call.closed:
        raise Failed("INSUFFICIENT_SCOPES", "Your token has not been granted the required scopes: read:org.")
    org: Json | None = call.store["orgs"].get(login)
    if org is None:
        raise Failed("NOT_FOUND", f"Could not resolve to an Organization with the login of '{login}'.")
    verified = set(org.get("verified_domains", ()))

    def page(first: int, after: str | None = None) -> Json:
        start = int(after or 0)
        names = list(org["members"])[start : start + first]
        more = start + first < len(org["members"])
        return {
            "pageInfo": {"hasNextPage": more, "endCursor": str(start + first) if more else None},
            "nodes": [_member(call, name, verified) for name in names],
        }

    return {"membersWithRole": page}


def _member(call: Call, name: str, verified: set[str]) -> Json:
    who = call.who(name)
    address = who.email if who else ""

    def checked(login: str) -> list[str]:
        return [address] if address.partition("@")[2] in verified else []

    return {"login": name, "name": who.name if who else None, "organizationVerifiedDomainEmails": checked}
