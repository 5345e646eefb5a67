"""Organizations in GraphQL: members, and their addresses in domains that the organization has verified."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.graphql_nodes import Failed


def organization(call: Call, login: str) -> Json:
    """Return an organization, if the token may read organizations."""
    if not call.permissions and "read:org" not in call.covered_scopes:
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
    find_person = call.find_person(name)
    address = find_person.email if find_person else ""

    def verified_emails(login: str) -> list[str]:
        return [address] if address.partition("@")[2] in verified else []

    return {
        "login": name,
        "name": find_person.name if find_person else None,
        "organizationVerifiedDomainEmails": verified_emails,
    }
