"""Secrets given as files: read whole, and refused if another account may have written them."""

from __future__ import annotations

import base64
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from deputize.core import secret_files
from deputize.core.errors import SettingsError
from deputize.core.settings import Settings
from deputize.core.vault.key_sources.file import KeyFile

SECRET = "kept-between-us"

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Write a file, and set the variable that names it."""
    tmp_path.chmod(0o700)
    for name in [name for name in os.environ if name.startswith("DEPUTIZE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(secret_files, "_reported", set())

    def made(content: bytes, variable: str, mode: int = 0o400) -> Path:
        path = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content)
        path.chmod(mode)
        monkeypatch.setenv(variable, str(path))
        return path

    return made


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_secret_from_a_file_loses_its_line_end(put: Put, end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_APPS__GOOGLE__CLIENT_ID", "id")
    monkeypatch.setenv("DEPUTIZE_MCP__TRACKER__URL", "https://mcp.example.test")
    put(b"postgresql://app:" + SECRET.encode() + b"@db/deputize" + end, "DEPUTIZE_VAULT_FILE")
    for table in ("APPS__GOOGLE", "MCP__TRACKER", "SERVE"):
        put(f"{SECRET}-{table}".encode() + end, f"DEPUTIZE_{table}__CLIENT_SECRET_FILE")
    found = Settings.load()
    assert found.vault == f"postgresql://app:{SECRET}@db/deputize"
    kept = (found.apps["google"].client_secret, found.mcp["tracker"].client_secret, found.serve.client_secret)
    said = [one.get_secret_value() for one in kept if one]
    assert said == [f"{SECRET}-{table}" for table in ("APPS__GOOGLE", "MCP__TRACKER", "SERVE")]
    assert SECRET not in repr(found)


def test_settings_file_can_name_a_secret_file(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(SECRET.encode(), "UNUSED")
    config = tmp_path / "deputize.toml"
    config.write_text(f'[serve]\nclient_secret_file = "{path}"\n')
    config.chmod(0o600)
    secret = Settings.load().serve.client_secret
    assert secret and secret.get_secret_value() == SECRET
    monkeypatch.setenv("DEPUTIZE_SERVE__CLIENT_SECRET", "another")
    with pytest.raises(SettingsError, match="client_secret and client_secret_file are both set"):
        Settings.load()


def test_relative_path_in_the_settings_file_begins_at_its_folder(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(SECRET.encode(), "UNUSED")
    config = tmp_path / "deputize.toml"
    config.write_text(
        f'key_file = "keys/key"\nbrand_logo = "../logo.png"\n[serve]\nclient_secret_file = "{path.name}"\n'
        '[signin.beta]\nsaml_metadata_file = "beta.xml"\nsaml_key_file = "~/beta.pem"\n'
    )
    config.chmod(0o600)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = Settings.load()
    secret, beta = found.serve.client_secret, found.signin["beta"]
    assert secret and secret.get_secret_value() == SECRET
    assert (found.key_file, found.brand_logo) == (tmp_path / "keys/key", tmp_path / "../logo.png")
    assert (beta.saml_metadata_file, beta.saml_key_file) == (tmp_path / "beta.xml", Path.home() / "beta.pem")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / path.name).write_text("of the unit")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    secret = Settings.load().serve.client_secret
    assert secret and secret.get_secret_value() == "of the unit"


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        (b"", 0o400, "is empty"),
        (b" \n", 0o400, "is empty"),
        (f"{SECRET}\n{SECRET}\n".encode(), 0o400, "holds more than one line"),
        (SECRET.encode() * 10_000, 0o400, "holds more than one line"),
        (SECRET.encode() + b"\xff", 0o400, "holds something else than text"),
        (SECRET.encode() + b"\rmore", 0o400, "holds more than one line"),
        (SECRET.encode() + b"\xe2\x80\xa8more", 0o400, "holds more than one line"),
        (SECRET.encode() + b"\0", 0o400, "holds control characters"),
        (SECRET.encode() + b"\x1b[2J", 0o400, "holds control characters"),
        (SECRET.encode("utf-16"), 0o400, "holds something else than text"),
        (b"\xef\xbb\xbf\n", 0o400, "is empty"),
        (SECRET.encode(), 0o620, "may be written by others"),
        (SECRET.encode(), 0o602, "may be written by others"),
    ],
)
def test_invalid_secret_file_is_refused_and_not_shown(put: Put, content: bytes, mode: int, what: str) -> None:
    put(content, "DEPUTIZE_SERVE__CLIENT_SECRET_FILE", mode)
    with pytest.raises(SettingsError, match=f"client_secret_file names {what}") as caught:
        Settings.load()
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value!r}"


def read(path: Path) -> str:
    return secret_files.read_secret(path, "client_secret_file")


def test_byte_order_mark_is_not_part_of_a_secret(put: Put) -> None:
    assert read(put(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n", "UNUSED")) == SECRET


def test_kubernetes_symlinks_to_a_secret_are_followed(put: Put, tmp_path: Path) -> None:
    """``secret -> ..data/secret``, ``..data -> ..2026_11_28``, in a world-writable sticky folder."""
    at = tmp_path / "mounted"
    (at / "..2026_11_28").mkdir(parents=True)
    put(SECRET.encode(), "UNUSED").rename(at / "..2026_11_28" / "secret")
    (at / "..data").symlink_to("..2026_11_28")
    (at / "secret").symlink_to("..data/secret")
    (at / "whole").symlink_to(at / "secret")
    (at / "..2026_11_28").chmod(0o1777)
    at.chmod(0o1777)
    assert [read(at / name) for name in ("secret", "whole", "../mounted/secret")] == [SECRET] * 3
    (at / "round").symlink_to("round")
    with pytest.raises(SettingsError, match="cannot be read: Too many levels"):
        read(at / "round")


@pytest.mark.parametrize("which", ["file", "folder"])
def test_symlink_of_another_account_to_a_secret_is_refused(
    which: str, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as /etc/hostname, which belongs to root and is no secret."""
    known = put(b"known-to-all", "UNUSED")
    link = tmp_path / "link"
    link.symlink_to(known if which == "file" else tmp_path)
    assert read(link if which == "file" else link / known.name) == "known-to-all"
    told = os.lstat

    def of_another(path: os.PathLike[str]) -> os.stat_result:
        status = told(path)
        return os.stat_result((*status[:4], 12345, *status[5:10])) if Path(path) == link else status

    monkeypatch.setattr(os, "lstat", of_another)
    with pytest.raises(SettingsError, match="is reached by a link of another account") as refused:
        read(link if which == "file" else link / known.name)
    assert "known" not in str(refused.value)


def test_symlink_placed_after_the_check_is_not_followed(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path, known, opened = put(SECRET.encode(), "UNUSED"), put(b"known-to-all", "UNUSED"), os.open

    def swapped(place: Path, flags: int) -> int:
        place.unlink()
        place.symlink_to(known)
        return opened(place, flags)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(SettingsError, match="cannot be read"):
        read(path)


def test_secret_in_a_folder_writable_by_others_is_refused(put: Put, tmp_path: Path) -> None:
    path = put(SECRET.encode(), "UNUSED")
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match="lies in a folder that others may write") as refused:
        read(path)
    assert refused.value.hint == f"Run: chmod o-w '{tmp_path}'"
    tmp_path.chmod(0o1777)
    assert read(path) == SECRET


def test_missing_secret_file_is_named(put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path, what in ((tmp_path / "gone", "cannot be read: No such file"), (tmp_path, "is not a file")):
        monkeypatch.setenv("DEPUTIZE_VAULT_FILE", str(path))
        with pytest.raises(SettingsError, match=f"vault_file names {what}") as caught:
            Settings.load()
        assert str(path) in caught.value.hint


def test_secret_file_of_another_account_is_refused(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(SECRET.encode(), "DEPUTIZE_VAULT_FILE")
    os.chown(path, 12345, -1) if os.geteuid() == 0 else monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SettingsError, match="belongs to another account"):
        Settings.load()


def test_world_readable_secret_file_is_warned_about_once(put: Put, caplog: pytest.LogCaptureFixture) -> None:
    path = put(SECRET.encode(), "DEPUTIZE_SERVE__CLIENT_SECRET_FILE", 0o644)
    Settings.load()
    Settings.load()
    [said] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(path) in said.getMessage() and "chmod o-r" in said.getMessage() and SECRET not in said.getMessage()


def test_bare_name_is_a_systemd_credential(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(SECRET.encode(), "UNUSED")
    monkeypatch.setenv("DEPUTIZE_SERVE__CLIENT_SECRET_FILE", path.name)
    with pytest.raises(SettingsError, match="not the whole path"):
        Settings.load()
    monkeypatch.chdir(path.parent.parent)
    for folder in (str(path.parent), path.parent.name):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
        secret = Settings.load().serve.client_secret
        assert secret and secret.get_secret_value() == SECRET
    monkeypatch.setenv("DEPUTIZE_SERVE__CLIENT_SECRET_FILE", f"../{path.parent.name}/{path.name}")
    with pytest.raises(SettingsError, match="not the whole path"):
        Settings.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of root, and another account than root")
@pytest.mark.parametrize(
    ("mode", "good"), [(0o440, True), (0o400, True), (0o640, False), (0o444, False), (0o460, False)]
)
def test_V4_root_owned_key_file_may_be_group_readable(
    put: Put, mode: int, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = secrets.token_bytes(32)
    path = put(base64.urlsafe_b64encode(key), "UNUSED", mode)
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    if good:
        assert KeyFile(path).read_keys() == [key]
        return
    with pytest.raises(SettingsError, match="another account"):
        KeyFile(path).read_keys()
