"""``deputize import``: files of other programs are recognised, their tokens verified, and no token is printed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.cli.import_tokens import import_tokens
from deputize.cli.token_files import MAX_TOKEN_FILE_BYTES, parse_tokens
from deputize.core import Deputy, InvalidInput
from deputize.core.settings import Settings
from deputize.core.vault.secret_values import SecretBytes
from deputize.sandbox import github
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.cli.conftest import Command, Provider
from tests.cli.terminal import environment, talk
from tests.support.canary import frame_hits

GMAIL: Final = "https://www.googleapis.com/auth/gmail.readonly"
SCOPES: Final = ["openid", "https://www.googleapis.com/auth/userinfo.email", GMAIL]
ALICE: Final = ("--account", "alice@example.test", "--stopped")


@pytest.fixture
def given(provider: Provider) -> dict[str, Any]:
    """Return the tokens that another program of the same Google client received from Alice."""
    reply: dict[str, Any] = provider.sandbox.give("google", "alice@example.test", SCOPES)
    return reply


@pytest.fixture
def settings(provider: Provider) -> dict[str, str]:
    more = {"CLIENT_ID": github.GITHUB_CLIENT_ID, "CLIENT_SECRET": github.GITHUB_CLIENT_SECRET}
    return provider.settings() | {f"DEPUTIZE_APPS__GITHUB__{name}": value for name, value in more.items()}


def google_auth(given: dict[str, Any], **more: Any) -> str:
    """Return the file as `google.oauth2.credentials.Credentials.to_json` of google-auth 2.63 writes it."""
    return json.dumps(
        {
            "token": given["access_token"],
            "refresh_token": given["refresh_token"],
            "token_uri": "https://oauth2.googleapis.com/token",
            "client_id": GOOGLE_CLIENT_ID,
            "client_secret": GOOGLE_CLIENT_SECRET,
            "scopes": SCOPES,
            "universe_domain": "googleapis.com",
            "account": "",
            "expiry": "2026-01-01T00:00:00Z",
            **more,
        }
    )


def private(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def nameless(uid: int) -> Any:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def connections(home: Path, provider: Provider) -> list[Any]:
    settings = Settings.load(home=home / "deputize", sandbox_url=provider.url, port=0)
    with Deputy.from_settings(settings) as deputy:
        return list(deputy.run(deputy.connections("alice")))


def no_secret(said: Any, *secrets: str | None) -> Iterator[str]:
    yield from (one for one in secrets if one and one in said.stdout + said.stderr)


def test_token_json_becomes_a_connection_and_shows_no_token(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str], given: dict[str, Any]
) -> None:
    file = private(home / "token.json", google_auth(given))
    said = cli("import", file, *ALICE, **settings)
    assert said.exit_code == 0, said.stderr
    assert "alice acts as alice@example.test at Google now, by what google-auth held." in said.stdout
    assert "gmail.readonly" in said.stdout and f"rm {file}\n" in said.stderr
    assert "Whoever has a copy of this refresh token can go on using it" in said.stderr
    assert not [*no_secret(said, given["access_token"], given["refresh_token"], GOOGLE_CLIENT_SECRET)]
    [one] = connections(home, provider)
    assert (one.account, one.provider) == ("alice@example.test", "google")
    audit = "".join(path.read_text() for path in (home / "deputize").rglob("*.jsonl"))
    assert "deputize import" in audit and given["refresh_token"] not in audit


def test_tokens_are_read_from_stdin_with_json_output(
    cli: Command, home: Path, settings: dict[str, str], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a container, where the account that runs it has no name."""
    monkeypatch.setattr("pwd.getpwuid", nameless)
    said = cli("import", "-", *ALICE, "--json", stdin=google_auth(given), **settings)
    assert said.exit_code == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["account"], found["rotated"]) == ("alice@example.test", False) and GMAIL in found["scopes"]
    audit = "".join(path.read_text() for path in (home / "deputize").rglob("*.jsonl"))
    assert f"account {os.getuid()}, deputize import" in audit


def test_audit_does_not_trust_the_claimed_importer_name(
    cli: Command, home: Path, settings: dict[str, str], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    said = cli("import", "-", *ALICE, "--user", "alice", stdin=google_auth(given), **settings)
    assert said.exit_code == 0, said.stderr
    audit = "".join(path.read_text() for path in (home / "deputize").rglob("*.jsonl"))
    assert "deputize import" in audit and "somebody-else" not in audit


def test_file_with_a_hostile_name_is_quoted_for_the_shell(
    cli: Command, home: Path, settings: dict[str, str], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    file = "token'; touch owned; '.json"
    private(home / file, google_auth(given))
    said = cli("import", file, *ALICE, **settings)
    [line] = [line for line in said.stderr.splitlines() if line.startswith("The copy here: ")]
    shown = f'rm() {{ printf %s "$1"; }}\n{line.removeprefix("The copy here: ")}'  # there may be no rm
    ran = subprocess.run(["sh", "-c", shown], cwd=home, check=True, capture_output=True, text=True)
    assert Path(ran.stdout).name == file and not (home / "owned").exists()


def test_github_token_of_another_client_is_refused(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    ours = provider.sandbox.give("github", "alice@example.test", ["repo"])["access_token"]
    theirs = provider.sandbox.give("github_app", "alice@example.test", [])["access_token"]
    words = ("--account", "alice")
    said = cli("import", private(home / "gh", f"{ours}\n"), *words, **settings)
    assert said.exit_code == 0 and "May: repo" in said.stdout, said.stderr
    refused = cli("import", private(home / "gh", theirs), *words, **settings)
    assert refused.exit_code == 1 and "is of another client of GitHub than the app 'github'" in refused.stderr
    assert not [*no_secret(said, ours), *no_secret(refused, theirs)]


def test_file_of_another_account_changes_nothing(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    bobs = provider.sandbox.give("google", "bob@example.test", SCOPES)
    file = private(home / "token.json", google_auth(bobs))
    said = cli("import", file, *ALICE, **settings)
    assert said.exit_code == 1 and "not of the Google account alice@example.test" in said.stderr
    assert connections(home, provider) == [] and "rm '" not in said.stderr
    again = cli("import", file, "--account", "bob@example.test", "--stopped", **settings)
    assert again.exit_code == 0, "Bob's tokens are as they were"


def test_file_of_another_client_is_refused_before_any_request(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str], given: dict[str, Any]
) -> None:
    file = private(home / "token.json", google_auth(given, client_id="other.apps.googleusercontent.com"))
    before = len(provider.sandbox.requests)
    said = cli("import", file, *ALICE, **settings)
    assert said.exit_code == 1 and len(provider.sandbox.requests) == before
    assert "issued to another client than the app 'google': other.apps.googleusercontent.com" in said.stderr


def test_tokens_without_identity_scopes_are_left_unchanged(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str], given: dict[str, Any]
) -> None:
    """After a refresh they would have to be revoked: nobody could tell whose grant it is."""
    before = len(provider.sandbox.requests)
    said = cli("import", private(home / "token.json", google_auth(given, scopes=[GMAIL])), *ALICE, **settings)
    assert said.exit_code == 1 and "cannot identify their user: they lack email, openid" in said.stderr.replace(
        "\n", " "
    )
    assert len(provider.sandbox.requests) == before


@pytest.mark.parametrize("change", [{"token": "ya29.dead", "refresh_token": "1//dead"}, {"refresh_token": "1//dead"}])
def test_dead_tokens_are_refused_with_a_message(
    cli: Command,
    home: Path,
    provider: Provider,
    settings: dict[str, str],
    given: dict[str, Any],
    change: dict[str, str],
) -> None:
    said = cli("import", private(home / "token.json", google_auth(given, **change)), *ALICE, **settings)
    assert said.exit_code == 1 and "they are dead, or another app's" in said.stderr
    assert not [*no_secret(said, *change.values())] and connections(home, provider) == []


def test_world_readable_token_file_is_warned_about(
    cli: Command, home: Path, settings: dict[str, str], given: dict[str, Any]
) -> None:
    file = home / "token.json"
    private(file, google_auth(given))
    link, pipe, huge = home / "link.json", home / "pipe", home / "huge"
    link.symlink_to(file)
    os.mkfifo(pipe)
    huge.write_bytes(b"{" + b" " * MAX_TOKEN_FILE_BYTES)
    for path, says in (
        (link, f"is a link to a file.\nName the file itself: {file}"),
        (pipe, "is not a regular file"),
        (home, "is not a regular file"),
        (huge, "more than 64 KiB"),
        (home / "none", "cannot be read: No such file"),
    ):
        said = cli("import", str(path), *ALICE, **settings)
        assert said.exit_code == 1 and says.split("\n")[0] in said.stderr, said.stderr
        assert all(one in said.stderr.replace("\n", " ") for one in says.split("\n"))
    file.chmod(0o644)
    said = cli("import", str(file), *ALICE, **settings)
    assert said.exit_code == 0 and "Other accounts of this machine could read" in said.stderr


def test_import_without_a_terminal_needs_complete_arguments(
    cli: Command, home: Path, settings: dict[str, str], given: dict[str, Any]
) -> None:
    file = private(home / "token.json", google_auth(given))
    for words, says in (
        ([], "The token cannot be asked for without a terminal."),
        ([file], "Pass --account."),
        ([file, "--account", "alice@example.test"], "pass --stopped"),
        ([private(home / "odd", "opaque"), "--account", "alice"], "Pass --provider."),
    ):
        said = cli("import", *words, **settings)
        assert said.exit_code == 1 and says in said.stderr, said.stderr


@pytest.mark.processes
def test_terminal_asks_for_the_token_without_echo(home: Path, settings: dict[str, str], given: dict[str, Any]) -> None:
    with talk("import", home=home, env=environment(home, **settings)) as person:
        person.hear("not shown")
        person.say(given["refresh_token"])
        person.hear("Whose account is it at Google")
        person.say("alice@example.test")
        person.hear("stopped for good")
        person.say("y")
        person.hear("alice acts as alice@example.test at Google now")
        assert person.ends() == 0
        assert given["refresh_token"] not in person.heard


def forms() -> dict[str, tuple[Any, Any]]:
    def held(form: str, access: str, refresh: str, provider: str, client: str = "") -> Any:
        return form, access, refresh, provider, client

    at_google = {"token_uri": "https://oauth2.googleapis.com/token", "client_id": "c", "client_secret": "s"}
    return {
        "gcloud": (
            {"type": "authorized_user", "refresh_token": "1//r", "client_id": "c", "client_secret": "s"},
            held("authorized_user", "", "1//r", "google", "c"),
        ),
        "oauth2client": (
            {**at_google, "access_token": "ya29.a", "refresh_token": "1//r", "token_response": {"scope": "x"}},
            held("oauth2client", "ya29.a", "1//r", "google", "c"),
        ),
        "google-auth at another server": (
            {"token": "a", "refresh_token": "r", "token_uri": "https://evil.test/token", "client_id": "c"},
            held("google-auth", "a", "r", "", "c"),
        ),
        "node": (
            {"access_token": "ya29.a", "refresh_token": "1//r", "scope": "x", "expiry_date": 1},
            held("a token reply", "ya29.a", "1//r", "google"),
        ),
        "authlib": ({"token": {"access_token": "lin_oauth_a"}}, held("a token reply", "lin_oauth_a", "", "linear")),
        "slack": (
            {"ok": True, "access_token": "xoxb-bot", "authed_user": {"id": "U1", "access_token": "xoxp-a"}},
            held("Slack's oauth.v2.access", "xoxp-a", "", "slack"),
        ),
        "slack_sdk": (
            {"bot_token": "xoxb-bot", "user_token": "xoxe.xoxp-a", "user_refresh_token": "xoxe-r"},
            held("slack_sdk", "xoxe.xoxp-a", "xoxe-r", "slack"),
        ),
        "one refresh token": ("1//r\n", held("one token", "", "1//r", "google")),
        "one access token": ("gho_a", held("one token", "gho_a", "", "github")),
    }


@pytest.mark.parametrize("name", forms())
def test_token_formats_of_other_programs_are_recognized(name: str) -> None:
    held, expected = forms()[name]
    found = parse_tokens(SecretBytes((held if isinstance(held, str) else json.dumps(held)).encode()))
    plain = [one.reveal() if one else "" for one in (found.access, found.refresh)]
    assert (found.form, *plain, found.provider, found.client) == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"token": "SECRET"}), "A pickle is not read"),
        (b"\xff\xfe SECRET", "not text"),
        (b"", "neither JSON nor one token"),
        (b"one SECRET", "neither JSON nor one token"),
        (b'{"token": "SECRET"', "begins like JSON"),
        (b"[" * 60_000, "begins like JSON"),
        (b'["SECRET"]', "an unknown form"),
        (b'{"access_token": ["SECRET"]}', "an unknown form"),
        (b'{"bot_token": "xoxb-SECRET", "user_token": null}', "an unknown form"),
        (b'{"type": "service_account", "private_key": "SECRET"}', "an unknown form"),
        (b"SECRET" * MAX_TOKEN_FILE_BYTES, "more than 64 KiB"),
    ],
)
def test_unrecognized_token_format_is_refused_without_its_content(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "token.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=says) as refused:
        import_tokens(file)
    assert "SECRET" not in f"{refused.value} {refused.value.hint}"
    assert frame_hits(refused.value, {"SECRET": "token"}) == []
