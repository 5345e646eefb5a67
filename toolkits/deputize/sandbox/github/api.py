"""api.github.com: ``/user``, installations, and the routes that `routes` declares.

A record that a token may not see is 404. Each reply names the granted scopes and the sufficient ones.
"""

from __future__ import annotations

import re

from deputize.sandbox.github import (
    api_actions,
    api_alerts,
    api_code,
    api_comments,
    api_files,
    api_gists,
    api_inbox,
    api_issues,
    api_labels,
    api_orgs,
    api_projects,
    api_pulls,
    api_reactions,
    api_releases,
    api_repos,
    api_reviews,
    api_search,
    credentials,
    graphql,
    routes,
    tokens,
)
from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.shapes import user
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.world import World

__all__ = ["HOST", "handle"]
_MODULES = (  # they declare the routes
    *(api_actions, api_alerts, api_code, api_comments, api_files, api_gists, api_inbox, api_issues, api_labels),
    *(api_orgs, api_projects, api_pulls, api_reactions, api_releases, api_repos, api_reviews, api_search),
)


def handle(ask: Ask, world: World) -> Reply:
    """Authenticate by Basic at the app's own endpoints, and by a user's token elsewhere."""
    if own := re.fullmatch(r"/applications/([^/]+)/(token|grant)", ask.path):
        return tokens.handle_app_request(ask, world, own[1], own[2])
    if ask.path == credentials.PATH and ask.method == "POST":
        return credentials.handle(ask, world)
    call = _call(ask, world)
    if ask.path == "/user" and ask.method == "GET":
        return call.reply(_me(call))
    if ask.path == "/user/installations" and ask.method == "GET":
        return _installations(call)
    if ask.path == "/graphql" and ask.method == "POST":
        return graphql.handle(call)
    return routes.handle(call)


def _call(ask: Ask, world: World) -> Call:
    if "authorization" not in ask.headers:
        raise Refused(in_json({"message": "Requires authentication", "status": "401"}, 401))
    token = world.access(ask.bearer(), "github")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise Refused(in_json({"message": "Bad credentials", "status": "401"}, 401))
    app = world.app(token.app, "github")
    return Call(ask, world, person, token, app.permissions if app else ())


def _me(call: Call) -> Json:
    mine = [row for row in call.store["repos"].values() if row["full_name"].startswith(f"{call.me}/")]
    shown = call.permissions or {"user", "user:email", "read:user"} & set(call.token.scopes)
    return user(call.person) | {
        "name": call.person.name,
        "email": call.person.email if shown else None,
        "public_repos": sum(not row["private"] for row in mine),
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": call.now,
    }


def _installations(call: Call) -> Reply:
    """Return the app's installations for this user, with its permissions."""
    if not call.permissions:
        message = "You must authenticate with an access token authorized to a GitHub App in order to list installations"
        return call.reply({"message": message, "status": "403"}, 403)
    repos = call.store["repos"]
    owners = sorted({n.partition("/")[0] for n in call.store["installed"] if call.me in repos[n]["members"]})
    rights = dict(permission.split(":") for permission in call.permissions)
    rows = [
        {"id": 7000 + number, "account": {"login": owner}, "target_type": "User", "permissions": rights}
        for number, owner in enumerate(owners)
    ]
    return call.reply({"total_count": len(rows), "installations": rows})
