"""A store of another package: it inherits the contract, is selected by its address, and a deputy runs on it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deputize.cli.doctor import examine
from deputize.cli.doctor_findings import Finding
from deputize.core import Consent, Deputy, SettingsError, VaultError
from deputize.core.audit.events import VaultCopied
from deputize.core.settings import Settings
from deputize.core.vault.backup import back_up
from deputize.core.vault.root_keys import new_key
from deputize.core.vault.stores import PLUGINS, Store, open_store, shown_url, store_type
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from deputize.sandbox.store_contract import StoreContract
from tests.support import acme_store, packages
from tests.support.acme_store import AcmeStore
from tests.support.faults import FaultyStore
from tests.support.sandbox_deputy import PAGES, build, connect


@pytest.mark.sweep
class TestAcmeStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = AcmeStore.open(f"acme://{tmp_path}/vault.json", True)
        yield store
        await store.close()


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Forget between tests which stores were found."""
    PLUGINS.forget()
    yield
    PLUGINS.forget()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Path:
    """A home whose vault is at acme://, with its package installed."""
    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    source = Path(acme_store.__file__).read_text()
    site = tmp_path / "site"
    site.mkdir()
    points = {"deputize.stores": ["acme = house_of_acme"]}
    packages.install(site, monkeypatch, "acme-store", points, house_of_acme=source)
    home = tmp_path / "home"
    monkeypatch.setenv("DEPUTIZE_HOME", str(home))
    monkeypatch.setenv("DEPUTIZE_VAULT", f"acme://{home}/vault.json")
    monkeypatch.setenv("DEPUTIZE_KEY", new_key())
    monkeypatch.setenv("DEPUTIZE_BASE_URL", PAGES)
    monkeypatch.setenv("DEPUTIZE_APPS__GOOGLE__CLIENT_ID", GOOGLE_CLIENT_ID)
    monkeypatch.setenv("DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET", GOOGLE_CLIENT_SECRET)
    monkeypatch.chdir(tmp_path)
    return home


def found() -> dict[str, Finding]:
    return {one.what: one for one in examine(reach=False)}


def test_foreign_store_runs_from_settings_and_doctor_reports_it(home: Path, tmp_path: Path) -> None:
    assert found()["vault"].found.startswith("none yet")
    sandbox = Sandbox()
    for turn in range(2):
        with Deputy.from_settings(transport=sandbox.transport()) as deputy:
            assert type(deputy.vault.store).__module__ == "house_of_acme"
            if turn == 0:
                deputy.run(connect(deputy, sandbox, "readonly"))
            assert deputy.run(deputy.act("gmail_list_labels", {}, user="alice"))
            with pytest.raises(SettingsError, match="cannot back it up"):
                deputy.run(back_up(deputy.vault, tmp_path / "copy", 1.0))
    assert {path.name for path in home.iterdir()} >= {"vault.json", "audit"}
    assert "ya29" not in (home / "vault.json").read_text() and not (home / "vault.sqlite").exists()
    told = found()
    assert told["vault"].found == f"opens; 1 grant in acme://{home}/vault.json"
    assert {told[what].state for what in ("vault", "audit", "rollback", "grants")} == {"ok"}


def test_lost_vault_in_a_foreign_store_is_not_recreated(home: Path) -> None:
    with Deputy.from_settings() as deputy:
        deputy.audit.write(VaultCopied())
    settings = Settings.load()
    with pytest.raises(SettingsError, match="acme"):
        settings.set_aside("1")
    (home / "vault.json").unlink()
    with pytest.raises(VaultError, match="gone"):
        Deputy.from_settings()
    assert found()["vault"].found.startswith("The vault is gone")
    [moved] = settings.set_aside("1")
    assert moved == home / "audit.lost-1"
    with Deputy.from_settings():
        pass


BROKEN = "import no_such_module_of_acme"


def test_broken_foreign_store_is_named_by_doctor_without_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    points = {"deputize.stores": ["broken = store_b", "sqlite = store_c"]}
    packages.install(other, monkeypatch, "broken-store", points, store_b=BROKEN, store_c="STORE = 1")
    monkeypatch.setenv("DEPUTIZE_VAULT", "broken://alice:hunter2@host/x")
    with caplog.at_level(logging.WARNING), pytest.raises(SettingsError, match="no_such_module_of_acme") as caught:
        Deputy.from_settings()
    assert "broken-store 1.2" in caught.value.hint
    told = found()
    assert told["vault"].state == "bad" and "no_such_module_of_acme" in told["vault"].found
    assert "no_such_module_of_acme" in told["store broken"].found
    assert "is built in" in told["store sqlite"].found
    assert "hunter2" not in f"{told} {Settings.load()!r} {caught.value} {caplog.text}"


async def test_foreign_store_cannot_replace_a_built_in_one_and_unknown_ones_are_named(home: Path) -> None:
    assert isinstance(open_store("memory:", create=False), MemoryStore)
    with pytest.raises(SettingsError, match="Unknown store 'acmee'") as caught:
        store_type("acmee://x")
    assert (
        "Did you mean acme?" in caught.value.hint and "memory, sqlite, postgres, postgresql, acme" in caught.value.hint
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("acme://alice:hunter2@db.test:5/x?password=hunter2", "acme://db.test:5/x"),
        ("acme://hunter2@db.test/x#hunter2", "acme://db.test/x"),
        ("/a/path with @ and ?", "/a/path with @ and ?"),
        ("memory:", "memory:"),
    ],
)
def test_store_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.processes
@pytest.mark.parametrize("local", [True, False])
async def test_remote_store_is_polled_less_often_while_waiting(local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    deputy = await build(Sandbox(), vault=await Vault.open(store := FaultyStore(MemoryStore()), [b"k" * 32]))
    store.local_reads = local
    [asked] = await deputy.connect("alice", "google", scopes=["https://www.googleapis.com/auth/gmail.readonly"])
    looks, status = 0, deputy.consents.status

    async def counted(consent: str) -> Consent | None:
        nonlocal looks
        looks += 1
        return await status(consent)

    monkeypatch.setattr(deputy.consents, "status", counted)
    await deputy.wait_for_consents([asked], timeout=0.7)
    assert looks > 2 if local else looks == 2
    await deputy.close()
