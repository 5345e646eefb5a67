"""Root keys: created, parsed, read, refused, and never shown."""

from __future__ import annotations

import base64
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import keyring
import keyring.errors
import pytest

from deputize.core.errors import SettingsError
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.key_sources.keyring import KeyringEntry
from deputize.core.vault.root_keys import new_key, parse_keys
from deputize.core.vault.seal import id_of
from deputize.core.vault.vault_keys import VaultKeys


def text_of(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "private" / "key"


def test_new_key_is_32_random_bytes_in_base64url() -> None:
    made = {new_key() for _ in range(200)}
    assert len(made) == 200
    assert all(len(parse_keys(text)[0]) == 32 and text.isascii() and "=" not in text for text in made)


def test_list_of_keys_keeps_its_order() -> None:
    one, two, three = (os.urandom(32) for _ in range(3))
    assert parse_keys(f"{text_of(one)}, {text_of(two)},\n\n  {text_of(three)}\r\n") == [one, two, three]


def test_both_base64_alphabets_are_read_with_or_without_padding() -> None:
    key = b"\xfb\xef\xff" + os.urandom(29)
    for text in (text_of(key), base64.b64encode(key).decode(), text_of(key).rstrip("=")):
        assert parse_keys(text) == [key]


@pytest.mark.parametrize("text", ["", " \n ", ",,\n"])
def test_missing_key_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="no key") as caught:
        parse_keys(text)
    assert "deputize key new" in caught.value.hint


BAD_KEYS: Final = {
    "31 bytes": text_of(os.urandom(31)),
    "33 bytes": text_of(os.urandom(33)),
    "16 bytes": text_of(os.urandom(16)),
    "a character that is not base64": new_key()[:-1] + "!",
    "a character that is not ascii": new_key() + "\u00e9",
    "words": "correct horse battery staple",
    "padding only": "=" * 44,
    "zeros": text_of(b"\0" * 32),
    "one byte again and again": text_of(b"k" * 32),
    "two bytes again and again": text_of(b"ab" * 16),
    "counting up": text_of(bytes(range(32))),
    "counting down": text_of(bytes(range(64, 0, -2))),
    "a password": text_of(b"a password of some 32 characters"),
    "hexadecimal": os.urandom(32).hex(),
}


@pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS)
def test_V4_short_malformed_and_weak_keys_are_refused_by_number_and_hidden(bad: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_keys(f"{new_key()},{bad},{new_key()}")
    assert str(caught.value).startswith("Key 2 of 3 is ")
    assert bad not in f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ == (
        caught.value.__context__ is not None
    )


def test_duplicate_key_is_refused() -> None:
    key = new_key()
    with pytest.raises(SettingsError, match="Key 2 of 2 is listed twice"):
        parse_keys(f"{key},{key}=")


def test_V4_key_file_is_private_whatever_the_umask(place: Path, umask: int) -> None:
    made = KeyFile(place).make_key()
    assert KeyFile(place).read_keys() == made
    assert len(made[0]) == 32
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in place.parent.iterdir()] == ["key"]


def test_key_file_is_never_overwritten(place: Path) -> None:
    made = KeyFile(place).make_key()
    with pytest.raises(SettingsError, match="exists already"):
        KeyFile(place).make_key()
    assert KeyFile(place).read_keys() == made
    assert len(list(place.parent.iterdir())) == 1


def test_key_file_and_its_name_are_synced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def note_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name.split(".")[-1])
        fsync(descriptor)

    def note_link(a: Path, b: Path) -> None:
        steps.append("name")
        link(a, b)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    KeyFile(place).make_key()
    assert steps == ["sync new", "name", "sync private"]


@pytest.mark.processes
def test_two_processes_creating_a_key_file_end_with_one_key(place: Path) -> None:
    script = (
        "import sys, pathlib\nfrom deputize.core.errors import SettingsError\n"
        "from deputize.core.vault.key_sources.file import KeyFile\n"
        "path = pathlib.Path(sys.argv[1])\nprint('ready', flush=True); sys.stdin.readline()\n"
        "try: KeyFile(path).make_key()\nexcept SettingsError: pass\n"
        "print(KeyFile(path).read_keys()[0].hex())\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, place], stdin=-1, stdout=-1, text=True) for _ in range(4)
    ]
    for process in started:
        assert process.stdout and process.stdout.readline() == "ready\n"
    seen = {process.communicate("go\n", timeout=30)[0] for process in started}
    assert len(seen) == 1 and len(seen.pop()) == 65


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_V4_key_file_open_to_others_is_refused_with_the_command(place: Path, mode: int) -> None:
    KeyFile(place).make_key()
    place.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        KeyFile(place).read_keys()
    assert caught.value.hint == f"Run: chmod 600 '{place}'"
    place.chmod(0o400)
    KeyFile(place).read_keys()


def test_V4_key_file_of_another_account_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyFile(place).make_key()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SettingsError, match="another account"):
        KeyFile(place).read_keys()


def test_V9_key_file_is_not_created_in_a_folder_open_to_others(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    with pytest.raises(SettingsError) as caught:
        KeyFile(shared / "key").make_key()
    assert caught.value.hint == f"Run: chmod 700 '{shared}'"
    shared.chmod(0o1777)
    with pytest.raises(SettingsError) as caught:
        KeyFile(shared / "key").make_key()
    assert "chmod" not in caught.value.hint
    assert list(shared.iterdir()) == []


def test_invalid_key_file_is_refused(tmp_path: Path) -> None:
    folder, binary, empty, pipe = (tmp_path / name for name in ("folder", "binary", "empty", "pipe"))
    folder.mkdir(0o700)
    os.mkfifo(pipe, 0o600)
    for path, content in ((binary, b"\xff\xfe\0\1"), (empty, b"")):
        path.write_bytes(content)
        path.chmod(0o600)
    for path in (tmp_path / "missing", folder, binary, empty, pipe):
        with pytest.raises(SettingsError):
            KeyFile(path).read_keys()


def test_keys_are_read_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {("deputize", "key"): f"{new_key()}\n{new_key()}", ("mine", "other"): new_key()}
    monkeypatch.setattr(keyring, "get_password", lambda service, name: entries.get((service, name)))
    assert len(KeyringEntry().read_keys()) == 2
    assert KeyringEntry("mine", "other").read_keys() == parse_keys(entries["mine", "other"])
    with pytest.raises(SettingsError) as caught:
        KeyringEntry("mine", "missing").read_keys()
    assert "keyring set mine missing" in caught.value.hint


def test_keyring_error_does_not_repeat_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(service: str, name: str) -> str:
        raise keyring.errors.KeyringLocked("prompt said: hunter2")

    monkeypatch.setattr(keyring, "get_password", locked)
    with pytest.raises(SettingsError) as caught:
        KeyringEntry().read_keys()
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "KeyringLocked" in caught.value.hint


def test_missing_keyring_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SettingsError) as caught:
        KeyringEntry().read_keys()
    assert caught.value.hint == 'pip install "deputize[keyring]"'


@pytest.mark.processes
def test_importing_keys_imports_no_keyring() -> None:
    script = "import sys, deputize.core.vault.key_sources.keyring; sys.exit('keyring' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0


def test_V8_new_vault_has_random_key_for_each_purpose() -> None:
    made = [VaultKeys.new("a"), VaultKeys.new("b")]
    keys = {key for one in made for key in (one.index, one.ticket, one.web, one.audit)}
    assert len(keys) == 8 and {len(key) for key in keys} == {32}


def test_weak_keys_are_never_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    good = os.urandom(32)
    drawn = iter([b"\0" * 32, good])
    monkeypatch.setattr(secrets, "token_bytes", lambda _: next(drawn))
    assert parse_keys(new_key()) == [good]


def test_V6_concurrent_changes_of_a_key_file_lose_no_key(tmp_path: Path) -> None:
    """Two vaults may share a file: a key of one must not vanish in the other's rotation."""
    path = tmp_path / "keys" / "key"
    [first] = KeyFile(path).make_key()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: KeyFile(path).add_key(), range(16)))
    assert {keys[0] for keys in made} | {first} == set(KeyFile(path).read_keys())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {one.name for one in path.parent.iterdir()} == {"key", ".key.lock"}


def test_V4_symlink_to_a_key_file_is_kept_and_its_target_changed(tmp_path: Path) -> None:
    path, link = tmp_path / "keys" / "key", tmp_path / "link"
    [first] = KeyFile(path).make_key()
    link.symlink_to(path)
    new, _ = KeyFile(link).add_key()
    assert link.is_symlink() and KeyFile(path).read_keys() == [new, first]
    KeyFile(link).remove_key(id_of(first))
    assert link.is_symlink() and KeyFile(path).read_keys() == [new]
