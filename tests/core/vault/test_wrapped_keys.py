"""Root keys wrapped by a KMS: what a start does, an outage, a limit, a change of the service, and forged lists."""

from __future__ import annotations

import errno
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Deputy, SettingsError, StoreUnavailable, VaultError
from deputize.core.settings import Settings
from deputize.core.vault import key_limit
from deputize.core.vault.key_sources import wrapped
from deputize.core.vault.key_sources.wrapped import KeyListFile, WrappedKeys
from deputize.core.vault.root_keys import key_text
from deputize.core.vault.rotation import reseal
from deputize.core.vault.seal import ClosedSealer, id_of
from tests.support.kms_servers import KmsServer, kms_server


@pytest.fixture
def server() -> Iterator[KmsServer]:
    with kms_server() as made:
        yield made


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wrapped, "_PAUSES", (0.01,))
    monkeypatch.setattr(wrapped, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(wrapped, "FAILURE_TTL", 0.0)


def settings(server: KmsServer, *names: str, **more: Any) -> Settings:
    sections = {name: server.section(key={"main": "root"}.get(name, name)) for name in names or ("main",)}
    return Settings.load(port=0, kms=sections, **more)


def source(server: KmsServer, *names: str, **more: Any) -> WrappedKeys:
    found = settings(server, *names, **more).key_source
    assert isinstance(found, WrappedKeys)
    return found


def listed(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "wrapped-keys.json").read_text())
    return found


def rewrite(home: Path, content: dict[str, Any]) -> None:
    (home / "wrapped-keys.json").write_text(json.dumps(content))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


# ------------------------------------------------------------- a start


def test_first_start_makes_a_wrapped_key_and_the_next_start_unwraps_it(server: KmsServer, home: Path) -> None:
    with Deputy.from_settings(settings(server)) as deputy:
        made = deputy.vault.sealer.ids
        assert deputy.run(deputy.vault.insert("grant", "a", {"n": 1}, None))
    assert not (home / "key").exists() and (home / "wrapped-keys.json").stat().st_mode & 0o777 == 0o600
    with Deputy.from_settings(settings(server)) as deputy:
        assert deputy.vault.sealer.ids == made
        assert deputy.run(deputy.vault.get("grant", "a"))


def test_no_file_or_message_contains_the_key(server: KmsServer, home: Path) -> None:
    [key] = source(server).make_key()
    forms = [key, key.hex().encode(), key_text(key).encode(), b64encode(key)]
    for path in home.rglob("*"):
        assert path.is_dir() or not any(form in path.read_bytes() for form in forms)
    assert key_text(key) not in repr(source(server))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (503, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (403, SettingsError),
        (400, SettingsError),
    ],
)
def test_start_stops_with_key_id_and_provider_when_the_kms_fails(
    server: KmsServer, home: Path, status: int, kind: type[Exception]
) -> None:
    [key] = source(server).make_key()
    server.fail = status
    asked = len(server.seen)
    with pytest.raises(kind) as caught:
        Deputy.from_settings(settings(server))
    said = str(caught.value) + getattr(caught.value, "hint", "")
    assert id_of(key) in said and "main (vault-transit)" in said and "secret words" not in said
    assert listed(home)["keys"][0]["wraps"][0]["wrapped"][10:40] not in said
    assert (len(server.seen) - asked > 1) is (kind is StoreUnavailable), "only what may pass is repeated"
    assert not (home / "vault.sqlite").exists()


def test_start_survives_a_short_outage(server: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrapped, "RETRY_SECONDS", 5.0)
    keys = source(server).make_key()
    server.fail, answer = 503, server.answer

    def recovering(*args: Any) -> Any:
        result = answer(*args)
        server.fail = 0
        return result

    monkeypatch.setattr(server, "answer", recovering)
    assert source(server).read_keys() == keys


def test_hanging_kms_is_given_up_and_all_keys_are_unwrapped_concurrently(
    server: KmsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = source(server)
    made.make_key()
    made.add_key()
    made.add_key()
    server.hang = 0.8
    begin = time.monotonic()
    assert len(source(server).read_keys()) == 3
    assert time.monotonic() - begin < 2.0
    monkeypatch.setattr(wrapped, "UNWRAP_SECONDS", 0.3)
    with pytest.raises(StoreUnavailable, match="no answer within"):
        source(server).read_keys()


def test_older_key_that_does_not_unwrap_stops_no_start(
    server: KmsServer, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Deputy.from_settings(settings(server)) as deputy:
        deputy.run(deputy.vault.insert("grant", "old", {"n": 1}, None))
    old = deputy.vault.sealer.ids[0]
    with Deputy.from_settings(settings(server, "main", "other")) as deputy:
        source(server, "main", "other").wrap_keys("other", only=True)
        content = listed(home)
    with Deputy.from_settings(settings(server, "main", "other")) as deputy:
        content = listed(home)
        deputy.vault.rekey(source(server, "main", "other").add_key())
        deputy.run(deputy.vault.renew_keys(lambda keys: keys.sealed_by(deputy.vault.sealer.ids[0])))
        content = listed(home)
    content["keys"][0]["wraps"] = [_rewrapped(server, content, "main")]
    rewrite(home, content)
    server.fail, server.fail_key = 403, "other"
    with Deputy.from_settings(settings(server, "main", "other")) as deputy:
        assert old not in deputy.vault.sealer.ids and old in caplog.text
        with pytest.raises(VaultError) as caught:
            deputy.run(deputy.vault.get("grant", "old"))
        assert old in caught.value.hint
        server.fail = 503
        with pytest.raises(StoreUnavailable, match=old):
            deputy.run(deputy.vault.get("grant", "old"))
        with pytest.raises(StoreUnavailable):
            deputy.run(deputy.vault.delete_damaged())
        server.fail = 0
        assert deputy.run(deputy.vault.get("grant", "old")), "it opens as soon as the KMS unwraps its key"


def _rewrapped(server: KmsServer, content: dict[str, Any], name: str) -> dict[str, str]:
    """Return a copy of the newest key wrapped by another KMS of the server."""
    [wrap] = content["keys"][0]["wraps"]
    context = {"deputize:vault": content["vault"], "deputize:key": content["keys"][0]["id"]}
    bound = json.dumps(context, sort_keys=True, separators=(",", ":")).encode()
    sealed = b64decode(b64decode(wrap["wrapped"]).decode().removeprefix("vault:v1:"))
    key = server.secrets["other"].decrypt(sealed[:12], sealed[12:], bound)
    nonce = os.urandom(12)
    again = nonce + server.secrets["root"].encrypt(nonce, key, bound)
    text = b64encode(f"vault:v1:{b64encode(again).decode()}".encode()).decode()
    return {"kms": name, "provider": "vault-transit", "key": "root", "wrapped": text}


# ------------------------------------------------------------- while running


def test_outage_does_not_stop_a_running_program(server: KmsServer) -> None:
    with Deputy.from_settings(settings(server)) as deputy:
        server.fail = 503
        assert deputy.run(deputy.vault.insert("grant", "a", {"n": 1}, None)) and deputy.run(
            deputy.vault.get("grant", "a")
        )


@pytest.mark.parametrize("status", [503, 403])
def test_keys_are_closed_after_their_limit_and_open_again(
    server: KmsServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with Deputy.from_settings(settings(server)) as deputy:
        vault = deputy.vault
        assert deputy.run(vault.insert("grant", "a", {"n": 1}, None))
        deputy.run(key_limit.limit_keys(vault, 0.6))
        time.sleep(1.0)
        assert deputy.run(vault.get("grant", "a")), "the KMS answers, so the keys stay"
        server.fail = status
        until = time.monotonic() + 5
        while not isinstance(vault.sealer, ClosedSealer) and time.monotonic() < until:
            time.sleep(0.02)
        with pytest.raises((StoreUnavailable, VaultError)):
            deputy.run(vault.get("grant", "a"))
        with pytest.raises(StoreUnavailable):
            deputy.run(vault.insert("grant", "b", {"n": 2}, None))
        assert not any(key for key in vars(vault.sealer.source)["_known"].values())
        server.fail = 0
        assert deputy.run(vault.get("grant", "a")) and deputy.run(vault.insert("grant", "b", {"n": 2}, None))


def test_keys_are_closed_after_their_limit_though_their_list_cannot_be_read(
    server: KmsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(one: KeyListFile) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Deputy.from_settings(settings(server)) as deputy:
        vault = deputy.vault
        deputy.run(key_limit.limit_keys(vault, 0.6))
        with monkeypatch.context() as patched:
            patched.setattr(KeyListFile, "read", broken)
            until = time.monotonic() + 5
            while not isinstance(vault.sealer, ClosedSealer) and time.monotonic() < until:
                time.sleep(0.02)
            assert isinstance(vault.sealer, ClosedSealer)
        assert deputy.run(vault.get("meta", "vault"))


def test_limit_needs_a_kms() -> None:
    with pytest.raises(SettingsError, match="key_ttl_seconds"):
        Deputy.from_settings(Settings.load(port=0, key_ttl_seconds=60))
    with pytest.raises(SettingsError, match="at least 60"):
        Settings.load(key_ttl_seconds=59)


# ------------------------------------------------------------- rotation, and changes of the service


def test_running_program_finds_a_key_that_another_added(server: KmsServer) -> None:
    with Deputy.from_settings(settings(server)) as running, Deputy.from_settings(settings(server)) as other:
        other.vault.rekey(source(server).add_key())
        other.run(reseal(other.vault))
        assert running.run(running.vault.get("meta", "vault"))
        assert running.vault.sealer.ids == other.vault.sealer.ids


def test_change_from_file_to_kms_keeps_the_keys_and_reseals_nothing(server: KmsServer, home: Path) -> None:
    with Deputy.from_settings(Settings.load(port=0)) as before, Deputy.from_settings(settings(server)) as running:
        assert before.run(before.vault.insert("grant", "a", {"n": 1}, None))
        row = before.run(before.vault.store.get("grant", "a"))
        source(server).wrap_keys("main")
        assert running.run(running.vault.get("grant", "a")) and before.run(before.vault.get("grant", "a"))
        before.run(before.vault.insert("grant", "b", {"n": 2}, None))
    (home / "key").unlink()
    with Deputy.from_settings(settings(server)) as deputy:
        assert deputy.run(deputy.vault.store.get("grant", "a")) == row
        assert deputy.run(deputy.vault.get("grant", "b"))


def test_change_between_services_can_keep_both(server: KmsServer, home: Path) -> None:
    keys = source(server, "main", "other").make_key("main")
    keys = source(server).add_key()
    changing = source(server, "main", "other")
    assert changing.wrap_keys("other") == keys
    assert [[wrap["kms"] for wrap in entry["wraps"]] for entry in listed(home)["keys"]] == [["other", "main"]] * 2
    server.fail, server.fail_key = 503, "other"
    assert source(server, "main", "other").read_keys() == keys, "the other service still unwraps them"
    assert [bool(one.error) for one in source(server, "main", "other").check()] == [True, False] * 2
    with pytest.raises(StoreUnavailable, match="cannot be wrapped by the KMS other"):
        changing.wrap_keys("other", only=True)
    assert source(server, "main", "other").read_keys() == keys, "nothing was removed"
    server.fail = 0
    changing.wrap_keys("other", only=True)
    server.keys.discard("root")
    assert source(server, "other").read_keys() == keys
    with pytest.raises(SettingsError, match="the KMS other"):
        source(server, "main").read_keys()


def test_rotation_wraps_the_new_key_by_all_services_of_the_newest(server: KmsServer, home: Path) -> None:
    made = source(server, "main", "other")
    made.make_key("main")
    made.wrap_keys("other")
    made.add_key()
    assert {wrap["kms"] for wrap in listed(home)["keys"][0]["wraps"]} == {"main", "other"}


def test_removed_key_is_kept_wrapped(server: KmsServer, home: Path) -> None:
    made = source(server)
    [old] = made.make_key()
    new, _ = made.add_key()
    with pytest.raises(SettingsError, match="is the newest"):
        made.remove_key(id_of(new))
    with pytest.raises(SettingsError, match="is not listed"):
        made.remove_key("0" * 16)
    kept = Path(made.remove_key(id_of(old)))
    assert source(server).read_keys() == [new] and json.loads(kept.read_text())["keys"][0]["id"] == id_of(old)


def test_lost_race_of_two_commands_changes_nothing(server: KmsServer, home: Path) -> None:
    one, other = source(server), source(server)
    one.make_key()
    write = other._write

    def overtaken(*args: Any, **more: Any) -> None:
        one.add_key()
        write(*args, **more)

    other._write = overtaken  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="Another command"):
        other.add_key()
    assert len(source(server).read_keys()) == 2


def test_first_key_needs_a_choice_among_services_and_is_never_overwritten(server: KmsServer) -> None:
    with pytest.raises(SettingsError, match="Several KMS"):
        source(server, "main", "other").make_key()
    source(server, "main", "other").make_key("other")
    with pytest.raises(SettingsError, match="root keys already"):
        source(server, "main", "other").make_key("main")
    with pytest.raises(SettingsError, match="No section"):
        source(server).wrap_keys("unknown")


# ------------------------------------------------------------- attacks


def test_wrapped_key_of_another_vault_does_not_open(server: KmsServer, home: Path) -> None:
    source(server).make_key()
    content = listed(home)
    rewrite(home, {**content, "vault": "0" * 16})
    with pytest.raises(SettingsError, match="status 400"):
        source(server).read_keys()
    content["keys"][0]["id"] = "0" * 16
    rewrite(home, content)
    with pytest.raises(SettingsError, match="0000000000000000"):
        source(server).read_keys()


def _forged(server: KmsServer, home: Path, *, newest: bool) -> dict[str, Any]:
    """Return the list with a key of an attacker who may wrap, but knows no key of the vault."""
    from deputize.core.vault.key_sources.wrapped import _entry, _text

    content, key = listed(home), os.urandom(32)
    real = source(server)
    forged = _entry(key)
    (home / "wrapped-keys.json").unlink()
    real._write(None, content["vault"], [forged], [key], ["main"])
    forged = listed(home)["keys"][0]
    for entry in content["keys"]:
        entry["vouched"][forged["id"]] = "0" * 64
        forged["vouched"][entry["id"]] = "0" * 64
    keys = [forged, *content["keys"]] if newest else [*content["keys"], forged]
    forged_list: dict[str, Any] = json.loads(_text(content["vault"], keys))
    rewrite(home, forged_list)
    return forged_list


@pytest.mark.parametrize("newest", [True, False])
def test_key_that_no_key_of_the_vault_vouches_for_is_refused(server: KmsServer, home: Path, newest: bool) -> None:
    with Deputy.from_settings(settings(server)) as deputy:
        ids = deputy.vault.sealer.ids
        forged = _forged(server, home, newest=newest)
        mark = bytes.fromhex(f"01{forged['keys'][0 if newest else 1]['id']}")
        row = deputy.run(deputy.vault.store.get("meta", "vault"))
        assert row
        deputy.run(deputy.vault.store.insert("grant", "bait", mark + row[9:]))
        with pytest.raises(VaultError):
            deputy.run(deputy.vault.get("grant", "bait"))
        assert deputy.vault.sealer.ids == ids, "a running program does not take it"
    with pytest.raises(SettingsError, match="added by somebody"):
        Deputy.from_settings(settings(server))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"vault": "a", "keys": []}', '{"vault": "a", "keys": [{"id": "x", "wraps": []}]}', "\0\xff"],
)
def test_damaged_list_stops_the_start_and_stays(server: KmsServer, home: Path, text: str) -> None:
    source(server).make_key()
    (home / "wrapped-keys.json").write_text(text)
    with pytest.raises(SettingsError, match="damaged"):
        source(server).read_keys()
    assert (home / "wrapped-keys.json").read_text() == text


def test_list_that_others_may_write_is_refused(server: KmsServer, home: Path) -> None:
    source(server).make_key()
    (home / "wrapped-keys.json").chmod(0o622)
    with pytest.raises(SettingsError, match="open to other accounts"):
        source(server).read_keys()


def test_unknown_provider_and_unsafe_address_are_refused() -> None:
    with pytest.raises(SettingsError, match="Unknown KMS provider 'hsm'"):
        _made(provider="hsm")
    with pytest.raises(SettingsError, match="not an https URL"):
        _made(provider="vault-transit", address="http://vault.example.com")
    with pytest.raises(SettingsError, match=r"kms\.main"):
        _made(provider="vault-transit", adress="https://vault.example.com")


def _made(**section: str) -> None:
    found = Settings.load(kms={"main": {"key": "root", **section}}).key_source
    assert isinstance(found, WrappedKeys)
    found.make_key()
