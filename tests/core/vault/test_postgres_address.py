"""Which Postgres addresses are accepted, and that they use TLS with hostname verification unless they say otherwise."""

from __future__ import annotations

import psycopg
import pytest

from deputize.core.errors import SettingsError
from deputize.core.vault.stores import shown_url
from deputize.core.vault.stores.postgres.address import Address, explain

VERIFIED = {"sslmode": "verify-full", "sslrootcert": "system"}


@pytest.fixture(autouse=True)
def no_root_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)


def tls_of(url: str) -> dict[str, str]:
    return {name: value for name, value in Address.of(url).parameters.items() if name.startswith("ssl")}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_remote_server_must_prove_its_name(scheme: str) -> None:
    url = f"{scheme}://app:hunter2@db.example.test:6432/vault"
    assert tls_of(url) == VERIFIED and not Address.of(url).unverified
    parameters = Address.of(url).parameters
    assert (parameters["host"], parameters["port"], parameters["dbname"]) == ("db.example.test", "6432", "vault")
    assert parameters["target_session_attrs"] == "read-write"
    assert shown_url(url) == f"{scheme}://db.example.test:6432/vault"


def test_one_remote_server_in_a_list_requires_verification() -> None:
    assert tls_of("postgresql://app@localhost,db.example.test/vault") == VERIFIED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "/?host=/run/postgresql", "localhost,127.0.0.1"])
def test_local_server_needs_no_verification(host: str) -> None:
    url = f"postgresql://app@{host}"
    assert tls_of(url) == {} and not Address.of(url).unverified


def test_own_certificates_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls_of("postgresql://db.example.test/vault?sslrootcert=/etc/ca.pem") == {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
    }
    monkeypatch.setenv("PGSSLROOTCERT", "/etc/ca.pem")
    assert tls_of("postgresql://db.example.test/vault") == {"sslmode": "verify-full"}


@pytest.mark.parametrize("mode", ["disable", "require", "verify-ca"])
def test_weaker_tls_is_accepted_if_the_url_says_so_and_reported(mode: str) -> None:
    url = f"postgresql://db.example.test/vault?sslmode={mode}"
    assert tls_of(url) == {"sslmode": mode} and Address.of(url).unverified


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_downgradable_tls_mode_is_refused(mode: str) -> None:
    with pytest.raises(SettingsError, match=f"sslmode={mode} continues without"):
        Address.of(f"postgresql://app:hunter2@db.example.test/vault?sslmode={mode}")


@pytest.mark.parametrize(
    "url", ["postgresql://app:hunter2@[db/vault", "postgresql://h/vault?hunter2=1", "postgresql:///vault"]
)
def test_unusable_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Address.of(url)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}" and "PGPASSFILE" in caught.value.hint
    assert caught.value.__cause__ is None and "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            'connection to server at "db", port 5432 failed: FATAL:  database "hunter2" does not exist',
            "no such database",
        ),
        ('connection failed: FATAL:  password authentication failed for user "hunter2"', "this password"),
        ("connection failed: fe_sendauth: no password supplied", "PGPASSFILE"),
        (
            'connection to server on socket "/hunter2/.s.PGSQL.5432" failed: No such file or directory',
            "has a socket there",
        ),
        ("connection failed: FATAL:  sorry, too many clients already", "max_connections"),
        ('connection failed: FATAL:  too many connections for role "hunter2"', "limit of the role"),
        ('connection to server at "hunter2" failed: session is read-only', "Name all servers"),
        ("something about hunter2", "Check that the server runs"),
        ("something about hunter2", "DEPUTIZE_VAULT is its address. Postgres said: OperationalError."),
    ],
)
def test_refused_connection_is_explained_without_the_servers_text(said: str, told: str) -> None:
    shown = explain(psycopg.OperationalError(said))
    assert told in shown and "hunter2" not in shown


def test_closed_port_error_hints_at_the_port() -> None:
    with pytest.raises(SettingsError) as caught:
        Address.of("postgresql://app@127.0.0.1:1/vault").connect_waiting()
    assert "Nothing listens there" in caught.value.hint
