"""Files in which other programs store a user's tokens: reading them, and recognizing their form.

    google-auth, LangChain and LlamaIndex for Google (`Credentials.to_json`)   token, refresh_token, client_id
    gcloud and Node's google-auth-library (``authorized_user``)                refresh_token, client_id
    oauth2client                                                               access_token, client_id, token_response
    a token endpoint's reply (RFC 6749 5.1), as Authlib and requests keep it   access_token, refresh_token
    Slack's ``oauth.v2.access``, and slack_sdk's installation                  authed_user, user_token
    a single token, on one line

The file names the provider, or the token's prefix identifies it. No other part of a file is ever printed.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from deputize.core import InvalidInput, Secret
from deputize.core.paths import usable_path
from deputize.core.vault.secret_values import SecretBytes

MAX_TOKEN_FILE_BYTES: Final = 64 * 1024
BEGINS: Final = {
    "google": r"ya29\.|1//",
    "github": r"gh[opusr]_|github_pat_",
    "slack": r"xox[a-z]",
    "linear": r"lin_(oauth|api)_",
}
"""Token prefixes, by provider."""
REFRESHES: Final = r"1//|ghr_|xoxe-"
"""Prefixes that only refresh tokens have."""
HINT: Final = "JSON as the program wrote it, or one token on one line: see docs/grants-without-a-screen.md."

Held: TypeAlias = Mapping[str, Any]


class Found(NamedTuple):
    """The tokens in a file. ``form``: the program's format. ``client``: id of the client to which the tokens were
    issued, or "". ``scopes``: the scopes that the file states."""

    form: str
    access: Secret | None
    refresh: Secret | None
    provider: str
    client: str = ""
    scopes: str = ""


def content_of(path: Path) -> tuple[SecretBytes, bool]:
    """Return the content of this file, or of stdin for ``-``, and whether other accounts of this machine can read it.

    Raises `InvalidInput` for a link, for anything but a regular file, and above 64 KiB.
    """
    if str(path) == "-":
        return _at_most(SecretBytes(sys.stdin.buffer.read(MAX_TOKEN_FILE_BYTES + 1)), "stdin"), False
    usable_path(path)
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if path.is_symlink():
            raise _refused(f"{path} is a link to a file.", f"Name the file itself: {path.resolve()}") from None
        raise _refused(f"{path} cannot be read: {error.strerror}.") from None
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode):
        os.close(opened)
        raise _refused(f"{path} is not a regular file.")
    with os.fdopen(opened, "rb") as file:
        content = _at_most(SecretBytes(file.read(MAX_TOKEN_FILE_BYTES + 1)), str(path))
        return content, bool(status.st_mode & (stat.S_IRGRP | stat.S_IROTH))


def parse_tokens(content: SecretBytes) -> Found:
    """Return the tokens in a file's content. Raises `InvalidInput`, without quoting it, for an unknown form."""
    found = _read(content.reveal())
    if isinstance(found, str):
        raise _refused(found)
    return found


def _refused(what: str, hint: str = HINT) -> InvalidInput:
    return InvalidInput(what, hint=hint, fix_by="operator")


def _at_most(content: SecretBytes, where: str) -> SecretBytes:
    if len(content.reveal()) > MAX_TOKEN_FILE_BYTES:
        raise _refused(f"{where} has more than {MAX_TOKEN_FILE_BYTES // 1024} KiB, which no token has.")
    return content


def _read(content: bytes) -> Found | str:
    """Return the tokens in the content, or why they were not recognized."""
    if content.startswith((b"\x80", b"(dp", b"ccopy_reg")):
        return "A pickle is not read, because that could run code: write Credentials.to_json() to a file."
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "This is not text."
    if not text.startswith(("{", "[")):
        return _alone(text) if re.fullmatch(r"[!-~]+", text) else "This is neither JSON nor one token on one line."
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return "This begins like JSON, but is not valid JSON."
    found = next((one for form in _FORMS if (one := form(held))), None) if isinstance(held, dict) else None
    if found:
        said = held.get("scopes") or held.get("scope") or ""
        return found._replace(scopes=" ".join(map(str, said)) if isinstance(said, list) else str(said))
    return "This JSON has an unknown form, or no tokens of a single user."


def _alone(token: str) -> Found:
    provider = next((name for name, begin in BEGINS.items() if re.match(begin, token)), "")
    if re.match(REFRESHES, token):
        return Found("one token", None, Secret(token), provider)
    return Found("one token", Secret(token), None, provider)


def _found(form: str, access: object, refresh: object, provider: str = "", client: object = "") -> Found | None:
    """Return the tokens that are strings, or None if none is."""
    first, second = (one.strip() if isinstance(one, str) else "" for one in (access, refresh))
    begins = (name for one in (first, second) for name, begin in BEGINS.items() if re.match(begin, one))
    if not first and not second:
        return None
    return Found(
        form,
        Secret(first) if first else None,
        Secret(second) if second else None,
        provider or next(begins, ""),
        client if isinstance(client, str) else "",
    )


def _google_auth(held: Held) -> Found | None:
    if "token_uri" not in held or "token" not in held:
        return None
    return _found("google-auth", held["token"], held.get("refresh_token"), _google(held), held.get("client_id"))


def _authorized_user(held: Held) -> Found | None:
    if held.get("type") != "authorized_user":
        return None
    return _found("authorized_user", None, held.get("refresh_token"), _google(held), held.get("client_id"))


def _oauth2client(held: Held) -> Found | None:
    if not isinstance(held.get("token_response"), Mapping):
        return None
    access, refresh = held.get("access_token"), held.get("refresh_token")
    return _found("oauth2client", access, refresh, _google(held), held.get("client_id"))


def _google(held: Held) -> str:
    """Return ``google`` if the tokens come from Google's own endpoint, else ""."""
    place = held.get("token_uri")
    at_google = place is None or re.match(r"https://(oauth2|www|accounts)\.(googleapis|google)\.com/", str(place))
    return "google" if at_google else ""


def _slack(held: Held) -> Found | None:
    person = held.get("authed_user")
    if isinstance(person, Mapping):
        return _found("Slack's oauth.v2.access", person.get("access_token"), person.get("refresh_token"), "slack")
    if "user_token" in held:
        return _found("slack_sdk", held["user_token"], held.get("user_refresh_token"), "slack", held.get("client_id"))
    return None


def _reply(held: Held) -> Found | None:
    inner = held.get("token")
    held = inner if isinstance(inner, Mapping) else held
    return _found("a token reply", held.get("access_token"), held.get("refresh_token"), "", held.get("client_id"))


_FORMS: Final[tuple[Callable[[Held], Found | None], ...]] = (
    _google_auth,
    _authorized_user,
    _oauth2client,
    _slack,
    _reply,
)
