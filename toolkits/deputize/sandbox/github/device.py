"""github.com's device flow: a code for a machine without a browser, and the page that accepts it.

docs.github.com: "Authorizing OAuth apps", "Device flow". RFC 8628.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from deputize.sandbox.http_types import Ask, Reply, in_html, in_json
from deputize.sandbox.oauth import App, digest
from deputize.sandbox.pages import consent_page, error_page, framed
from deputize.sandbox.world import World

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PAGE = "https://github.com/login/device"
LIVES = 900
INTERVAL = 5
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
Row = dict[str, Any]


@dataclass(frozen=True)
class AllowedCode:
    """A code that a person has entered and allowed."""

    family: str
    sub: str
    scopes: list[str]


def codes(ask: Ask, world: World, asked: Callable[[App, str], list[str]]) -> Reply:
    """Issue codes (``/login/device/code``). ``asked``: returns the scopes that a request would be granted."""
    form = ask.single() or {name: str(value) for name, value in ask.content().items()}
    app = world.app(form.get("client_id", ""), "github")
    if app is None:
        return in_json({"error": "Not Found"}, 404)
    secret, shown = secrets.token_hex(20), _user_code()
    row: Row = {"code": digest(secret), "user_code": shown, "app": app.client_id, "polled": 0.0, "interval": INTERVAL}
    row |= {"scopes": asked(app, form.get("scope", "")), "ends": world.clock() + LIVES, "sub": "", "denied": False}
    _rows(world).append(row)
    given = {"device_code": secret, "user_code": shown, "verification_uri": PAGE}
    return in_json(given | {"expires_in": LIVES, "interval": INTERVAL})


def page(ask: Ask, world: World, words: dict[str, str]) -> Reply:
    """Serve ``/login/device``: enter the code, read the request, allow or deny it."""
    shown = ask.one("user_code").strip().upper()
    if not shown:
        return in_html(framed("GitHub", "Device activation", _FORM))
    row = next((r for r in _rows(world) if r["user_code"] == shown and _is_pending(r, world)), None)
    app = world.app(row["app"], "github") if row else None
    if row is None or app is None:
        return in_html(error_page("GitHub", 404, "not_found", "There is no such code."), 404)
    if ask.method != "POST":
        asked = {str(scope): words.get(scope, str(scope)) for scope in row["scopes"]}
        return in_html(consent_page("GitHub", app.name, world.people, "", (), asked, whole=True))
    return _decide(ask, world, row)


def _decide(ask: Ask, world: World, row: Row) -> Reply:
    form = ask.single()
    if form.get("decision") == "deny":
        row["denied"] = True
        return in_html(framed("GitHub", "Device activation", "<p>Denied.</p>"))
    person = world.person(form.get("account", ""))
    if form.get("decision") != "allow" or person is None:
        return in_html(error_page("GitHub", 400, "invalid_request", "Choose an account, then allow or deny."), 400)
    person = world.person(world.switches.swap_account) or person
    row["sub"] = person.sub
    world.authority.remember(row["app"], person.sub, row["scopes"])
    return in_html(framed("GitHub", "Congratulations, you&#39;re all set!", ""))


def redeem(world: World, app: App, form: dict[str, str]) -> AllowedCode | Row:
    """Return the result of a device code, or the error without a token."""
    row = next((r for r in _rows(world) if r["code"] == digest(form.get("device_code", ""))), None)
    if row is None or row["app"] != app.client_id:
        return _error("incorrect_device_code", "The device_code provided is not valid.")
    now, early = world.clock(), world.clock() < row["polled"] + row["interval"]
    row["polled"] = now
    if row["ends"] <= now:
        return _error("expired_token", "This 'device_code' has expired.")
    if early:
        row["interval"] += INTERVAL
        return _error("slow_down", "Too many requests have been made in the same timeframe.") | {
            "interval": row["interval"]
        }
    if row["denied"]:
        return _error("access_denied", "The authorization request was denied.")
    if not row["sub"]:
        return _error("authorization_pending", "The authorization request is still pending.")
    _rows(world).remove(row)
    return AllowedCode(row["code"], row["sub"], row["scopes"])


def _is_pending(row: Row, world: World) -> bool:
    return row["ends"] > world.clock() and not row["sub"] and not row["denied"]


def _rows(world: World) -> list[Row]:
    rows: list[Row] = world.services["github"].setdefault("device_codes", [])
    return rows


def _user_code() -> str:
    letters = "".join(secrets.choice(LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _error(code: str, description: str) -> Row:
    return {"error": code, "error_description": description}


_FORM = (
    '<form method="get"><label>Enter the code displayed on your device '
    f'<input name="user_code" required pattern="{escape("[A-Za-z]{4}-[A-Za-z]{4}")}"></label>'
    '<div class="buttons"><button class="yes">Continue</button></div></form>'
)
