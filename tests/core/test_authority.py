"""A grant is used, refreshed and revoked only where it came from, and no discovered file decides where that is."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from deputize.core import (
    PROVIDERS,
    App,
    Deputy,
    InvalidInput,
    ProviderUnavailable,
    ReconsentRequired,
    Secret,
    SettingsError,
    User,
)
from deputize.core.background_loop import portal
from deputize.core.from_settings import open_audit, open_vault
from deputize.core.providers.origin import origin_of
from deputize.core.settings import Settings
from deputize.core.vault.grant import Account, Grant

ACCESS, REFRESH, SECRET = "gho_the-access-token", "ghr_the-refresh-token", "the-client-secret"
GITHUB = App("github", "Iv1.abc", Secret(SECRET))
ALICE = User("alice")


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """Records everything that is sent, as text by host. Answers as GitHub would, at any address."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = (await request.aread()).decode()
        self.seen.append((request.url.netloc.decode(), f"{request.url} {request.headers.raw!r} {body}"))
        if request.url.path.endswith("/access_token"):
            return httpx.Response(200, json={"access_token": "gho_new", "token_type": "bearer", "scope": "repo"})
        return httpx.Response(200, json={"login": "alice", "id": 1, "name": "Alice"})

    def stolen(self, *homes: str) -> list[str]:
        """Return where a token or the client's secret arrived that does not belong there."""
        from tests.support.canary import hits

        secrets = {ACCESS: "access token", REFRESH: "refresh token", SECRET: "client secret"}
        return [where for where, text in self.seen if where not in homes and hits(secrets, {where: text})]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home, and a working directory beside it that others could have filled."""
    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEPUTIZE_PORT", "0")
    monkeypatch.setenv("DEPUTIZE_APPS__GITHUB__CLIENT_ID", GITHUB.client_id)
    monkeypatch.setenv("DEPUTIZE_APPS__GITHUB__CLIENT_SECRET", SECRET)
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "home"


def held(home: Path, **more: Any) -> Grant:
    """Store Alice's GitHub account in the vault of this home, as after a consent at GitHub."""
    grant = Grant(ALICE, "github", "github", Account("1", "alice"), frozenset({"repo", "user"}), Secret(ACCESS))
    grant = replace(grant, refresh_token=Secret(REFRESH), origin=origin_of(PROVIDERS["github"], GITHUB), **more)
    kept = []

    async def keep() -> None:
        vault = await open_vault(Settings.load(home=home))
        kept.append(await vault.add(grant))
        await vault.close()

    portal().run(keep())
    return kept[0]


Attack = Callable[[Deputy], Any]


def act(deputy: Deputy) -> Any:
    return deputy.run(deputy.act("github_whoami", {}, user="alice"))


def end(deputy: Deputy) -> Any:
    return deputy.run(deputy.revoke("alice", "github"))


def ask(deputy: Deputy) -> Any:
    return deputy.run(deputy.connect("alice", "github", scopes=["gist"]))


def said(attack: Attack, wire: Wire) -> Any:
    """Return the outcome of an attack: the result, or the error."""
    try:
        with Deputy.from_settings(transport=wire) as deputy:
            return attack(deputy)
    except (InvalidInput, ProviderUnavailable, ReconsentRequired, SettingsError) as refused:
        return refused


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


ELSEWHERE = '[apps.github]\nhost = "github.evil.example"\n'
SANDBOX = 'sandbox_url = "https://evil.example"\n'
LOOPBACK = 'sandbox_url = "http://127.0.0.1:9"\n'


@pytest.mark.parametrize("text", [ELSEWHERE, SANDBOX, LOOPBACK], ids=["host", "sandbox", "loopback"])
@pytest.mark.parametrize("attack", [act, end])
@pytest.mark.parametrize("expires_at", [0.0, 1.0], ids=["live", "expired"])
def test_settings_file_in_the_working_directory_receives_no_token(
    home: Path, text: str, attack: Attack, expires_at: float
) -> None:
    held(home, expires_at=expires_at)
    write(Path("deputize.toml"), text)
    said(attack, wire := Wire())
    assert wire.seen and not wire.stolen("github.com", "api.github.com")


@pytest.mark.parametrize("attack", [act, end, ask])
@pytest.mark.parametrize("expires_at", [0.0, 1.0], ids=["live", "expired"])
def test_grant_is_refused_outside_its_origin_even_with_a_named_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, attack: Attack, expires_at: float
) -> None:
    held(home, expires_at=expires_at)
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(write(Path("named.toml"), ELSEWHERE)))
    came_to = said(attack, wire := Wire())
    assert not wire.stolen()
    if attack is end:
        assert [one.upstream for one in came_to] == ["moved"]
    else:
        assert isinstance(came_to, InvalidInput) and came_to.reason == "moved" and came_to.fix_by == "operator"
        assert "github.com" in came_to.hint and "github.evil.example" in came_to.hint


def test_queued_revocations_of_a_moved_grant_are_sent_once_settings_are_right(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(home)
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(write(Path("named.toml"), ELSEWHERE)))
    said(end, Wire())
    assert said(lambda deputy: deputy.run(deputy.revoker.retry()), Wire()) == ["moved"]
    monkeypatch.delenv("DEPUTIZE_CONFIG")
    told = said(lambda deputy: deputy.run(deputy.revoker.retry()), wire := Wire())
    assert told in (["done"], []), "nothing is left where the recovery was quicker, in the background"
    assert {where for where, _ in wire.seen} == {"api.github.com"}  # more than once, where it was as quick


def test_grant_of_another_client_id_needs_new_consent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(home, expires_at=1.0)
    monkeypatch.setenv("DEPUTIZE_APPS__GITHUB__CLIENT_ID", "Iv1.another")
    came_to = said(act, wire := Wire())
    assert isinstance(came_to, ReconsentRequired) and came_to.reason == "moved"
    assert not wire.seen


def test_grant_without_an_origin_belongs_to_the_built_in_provider(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _old(home)
    said(act, wire := Wire())
    assert {where for where, _ in wire.seen} == {"api.github.com"}
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(write(Path("named.toml"), ELSEWHERE)))
    came_to = said(act, wire := Wire())
    assert isinstance(came_to, InvalidInput) and came_to.reason == "moved" and not wire.seen


def _old(home: Path) -> None:
    """Store a grant as it was before grants recorded their origin."""

    async def keep() -> None:
        vault = await open_vault(Settings.load(home=home))
        await vault.add(
            Grant(ALICE, "github", "github", Account("1", "alice"), frozenset({"repo", "user"}), Secret(ACCESS))
        )
        await vault.close()

    portal().run(keep())


def test_consent_sets_the_origin_and_drops_a_refresh_token_from_another(home: Path) -> None:
    async def moved() -> tuple[Grant, Grant]:
        vault = await open_vault(Settings.load(home=home))
        old = await vault.get_grant(vault.record_key(held_here))
        assert old is not None
        there = origin_of(PROVIDERS["github"].at_host("github.example.com"), GITHUB)
        fresh, ended = replace(old, refresh_token=None, access_token=Secret("gho_there"), origin=there), AsyncMock()
        new = await vault.add(fresh, ended)
        ended.assert_awaited_once_with(old, replace(new, generation=old.generation))
        await vault.close()
        return old, new

    held_here = held(home)
    old, new = portal().run(moved())
    assert old.refresh_token == Secret(REFRESH) and new.refresh_token is None


# ------------------------------------------------------------- the sandbox


@pytest.mark.parametrize(
    "url", ["https://evil.example", "http://10.0.0.1:80", "http://127.0.0.1.evil.example", "http://user@127.0.0.1:80"]
)
def test_sandbox_not_on_loopback_stops_the_start(home: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="sandbox"):
        Settings.load(sandbox_url=url)


def test_sandbox_is_refused_beside_grants_of_real_providers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(home)
    monkeypatch.setenv("DEPUTIZE_SANDBOX_URL", "http://127.0.0.1:9")
    came_to = said(act, wire := Wire())
    assert isinstance(came_to, SettingsError) and "real" in came_to.message and "DEPUTIZE_HOME" in came_to.hint
    assert not wire.seen


def test_sandbox_grant_is_refused_at_the_real_provider(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = PROVIDERS["github"].moved_to("http://127.0.0.1:9")
    grant = held(home)

    async def played() -> None:
        vault = await open_vault(Settings.load(home=home))
        assert await vault.replace(grant, replace(grant, origin=origin_of(stand_in, GITHUB)))
        await vault.close()

    portal().run(played())
    came_to = said(act, wire := Wire())
    assert isinstance(came_to, InvalidInput) and came_to.reason == "moved" and not wire.seen
    monkeypatch.setenv("DEPUTIZE_SANDBOX_URL", "http://127.0.0.1:10")  # the same stand-in, on another port
    said(act, wire := Wire())
    assert {where for where, _ in wire.seen} == {"127.0.0.1:10"}


# ------------------------------------------------------------- files


def test_ignored_settings_file_is_logged_once(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(Path("deputize.toml"), 'agent = "found"\n')
    with caplog.at_level(logging.WARNING, "deputize"):
        assert Settings.load().agent == Settings.load().agent == "agent"
    told = [line for line in caplog.messages if "deputize.toml" in line]
    assert len(told) == 1 and "is not read" in told[0] and "DEPUTIZE_CONFIG" in told[0]


def test_settings_file_is_read_from_the_variable_or_the_home_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "deputize.toml", 'agent = "at home"\n')
    assert Settings.load().agent == "at home"
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(write(Path("any.toml"), 'agent = "named"\n')))
    assert Settings.load().agent == "named"
    monkeypatch.setenv("DEPUTIZE_CONFIG", "nowhere.toml")
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        Settings.load()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664])
def test_settings_file_writable_by_others_is_refused_with_the_command(home: Path, mode: int) -> None:
    path = write(home / "deputize.toml", 'agent = "anybody"\n', mode)
    with pytest.raises(SettingsError, match="others may write") as refused:
        Settings.load()
    assert f"chmod go-w '{path}'" in refused.value.hint


def test_settings_file_in_a_world_writable_folder_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_folder = home.parent / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(write(open_folder / "any.toml", 'agent = "anybody"\n')))
    with pytest.raises(SettingsError, match="others may write"):
        Settings.load()


def test_settings_file_of_another_account_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "deputize.toml", 'agent = "theirs"\n')
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr("deputize.core.configfile.ROOT", -1)
    with pytest.raises(SettingsError, match="another account"):
        Settings.load()


# ------------------------------------------------------------- anchors


def anchored(path: Path) -> Any:
    settings = Settings.load(audit_anchor_file=path)

    async def run() -> None:
        vault = await open_vault(settings)
        audit = open_audit(settings, vault)
        audit._append("act.result", user="alice")
        audit.close()
        await vault.close()

    return portal().run(run())


def test_anchors_are_not_appended_to_another_kind_of_file(home: Path) -> None:
    profile = write(home.parent / ".profile", "echo hello\n")
    with pytest.raises(SettingsError, match="anchors"):
        anchored(profile)
    assert profile.read_text() == "echo hello\n"


def test_anchors_are_appended_to_their_own_file(home: Path) -> None:
    path = home.parent / "anchors"
    anchored(path)
    anchored(path)
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["chain.anchor"] * 2 and path.stat().st_mode & 0o777 == 0o600


def test_anchors_are_not_written_to_links_or_devices(home: Path) -> None:
    target = write(home.parent / "target", "")
    (home.parent / "link").symlink_to(target)
    os.mkfifo(home.parent / "pipe")
    for path in (home.parent / "link", home.parent / "pipe", home.parent):
        with pytest.raises(SettingsError, match="anchors"):
            anchored(path)
    assert target.read_text() == ""


def test_anchors_are_not_written_to_a_file_writable_by_others(home: Path) -> None:
    path = home.parent / "anchors"
    anchored(path)
    path.chmod(0o622)
    with pytest.raises(SettingsError, match="anchors"):
        anchored(path)
