"""Servers with optional requirements: pushed requests, signed assertions. From the settings file to an act."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from deputize.core import (
    Call,
    Consent,
    Deputy,
    ProviderUnavailable,
    Request,
    SettingsError,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.consent.consents import AnyLocalUser, Started
from deputize.core.oauth.messages import MAX_URI
from deputize.core.tools.catalog import Catalog
from deputize.core.vault.root_keys import new_key
from deputize.core.web.pages import texts
from tests.support.canary import frame_hits
from tests.support.oidc_server import API, CLIENT, ISSUER, SECRET, OidcServer

acme = Toolkit("acme", provider="acme")


@acme.tool(needs=[any_of("email")])
def me() -> Steps:
    """Who am I at Acme?"""
    found = yield Request("GET", "/me")
    return found["name"]


Open = Callable[..., AbstractContextManager[Deputy]]
"""A deputy whose only app is at this server. ``lines``: further lines of its table in the settings file."""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("DEPUTIZE_CONFIG", str(tmp_path / "deputize.toml"))
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEPUTIZE_KEY", new_key())
    monkeypatch.setenv("DEPUTIZE_VAULT", "memory:")
    monkeypatch.setenv("DEPUTIZE_BASE_URL", "https://agents.example.test")

    @contextmanager
    def open_at(server: OidcServer, *lines: str, secret: str = f'client_secret = "{SECRET}"') -> Iterator[Deputy]:
        table = [
            "[apps.acme]",
            f'client_id = "{CLIENT}"',
            secret,
            f'issuer = "{ISSUER}"',
            "allow_private_network = true",
        ]
        (tmp_path / "deputize.toml").write_text("\n".join([*table, 'label = "Acme"', f'api.acme = "{API}"', *lines]))
        with Deputy.from_settings(transport=server, policy=allow_all) as deputy:
            deputy.resolver.catalog = Catalog([acme])
            yield deputy

    return open_at


def start(deputy: Deputy) -> tuple[Consent, Started]:
    """Press Connect."""
    (consent,) = deputy.run(deputy.connect("alice", tools=["acme_me"]))
    return consent, deputy.run(deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser()))


def connect(deputy: Deputy, server: OidcServer) -> Consent:
    """Complete a consent from its link; return how it ended."""
    consent, started = start(deputy)
    back = server.authorize(started.url)
    deputy.run(deputy.consents.finish("acme", back, AnyLocalUser(), started.nonce.reveal()))
    ended = deputy.run(deputy.consents.status(consent.id))
    assert ended is not None
    return ended


def act(deputy: Deputy) -> object:
    return deputy.run(deputy.act("acme_me", {}, user="alice", call=Call(id="1")))


# ------------------------------------------------------------- PAR


def test_pushed_request_is_used_when_required(opened: Open) -> None:
    server = OidcServer(par=True)
    with opened(server) as deputy:
        assert connect(deputy, server).status == "granted"
        assert act(deputy) == "Alice"


def test_pushed_request_leaves_nothing_else_in_the_browser(opened: Open) -> None:
    server = OidcServer(par=True)
    with opened(server) as deputy:
        _, started = start(deputy)
    place, form = server.forms[0]
    assert set(parse_qs(urlsplit(started.url).query)) == {"client_id", "request_uri"}
    assert place == "/par" and form["client_secret"] == SECRET
    assert form["code_challenge_method"] == "S256" and form["state"] == started.state.reveal()
    assert form["redirect_uri"].endswith("/callback/acme") and form["response_type"] == "code"


@pytest.mark.parametrize(("said", "places"), [(["par = true"], ["/par", "/token"]), ([], ["/token"])])
def test_authorization_request_is_pushed_only_if_configured(opened: Open, said: list[str], places: list[str]) -> None:
    server = OidcServer()
    with opened(server, *said) as deputy:
        assert connect(deputy, server).status == "granted"
    assert [place for place, _ in server.forms] == places


@pytest.mark.parametrize("said", [{"require_pushed_authorization_requests": True}, {}])
def test_server_without_a_par_endpoint_is_refused_at_start(opened: Open, said: dict[str, bool]) -> None:
    server = OidcServer(said={"pushed_authorization_request_endpoint": None, **said})
    with pytest.raises(SettingsError, match="pushed_authorization_request_endpoint"), opened(server, "par = true"):
        pass


def test_par_endpoint_at_a_foreign_host_is_refused(opened: Open) -> None:
    server = OidcServer(par=True, said={"pushed_authorization_request_endpoint": "https://evil.example.test/par"})
    with pytest.raises(SettingsError, match="elsewhere"), opened(server):
        pass
    with (
        pytest.raises(SettingsError, match="another host"),
        opened(server, 'trusted_origins = ["https://evil.example.test"]'),
    ):
        pass


def test_longest_request_uri_is_used(opened: Open) -> None:
    uri = "x" * MAX_URI
    server = OidcServer(par=True, answers={"/par": (201, {"request_uri": uri, "expires_in": 60})})
    with opened(server) as deputy:
        _, started = start(deputy)
    assert parse_qs(urlsplit(started.url).query)["request_uri"] == [uri]


@pytest.mark.parametrize("uri", ["x" * (MAX_URI + 1), None, "", 7, "a b", "\u00e4"])
def test_par_answer_without_request_uri_is_provider_unavailable(opened: Open, uri: object) -> None:
    server = OidcServer(par=True, answers={"/par": (201, {"request_uri": uri, "expires_in": 60})})
    with opened(server) as deputy, pytest.raises(ProviderUnavailable, match="Acme"):
        start(deputy)


def test_refused_pushed_request_fails_the_consent_with_an_operator_message(opened: Open) -> None:
    server = OidcServer(par=True, answers={"/par": (400, {"error": "invalid_scope"})})
    with opened(server) as deputy:
        consent, started = start(deputy)
        ended = deputy.run(deputy.consents.status(consent.id))
        assert started.url == consent.link  # our own page, which says how it went
    assert ended and ended.status == "failed" and not server.codes


def test_failed_pushed_request_can_be_retried_with_the_same_link(opened: Open) -> None:
    server = OidcServer(par=True, answers={"/par": (503, {})})
    with opened(server) as deputy:
        with pytest.raises(ProviderUnavailable):
            start(deputy)
        del server.answers["/par"]
        assert connect(deputy, server).status == "granted"
        assert deputy.run(deputy.vault.list_grants(User("alice")))


@pytest.mark.parametrize("answer", [(503, {}), (201, {"request_uri": ""}), (200, b"<html>")])
def test_failed_pushed_request_has_no_secret_in_its_frames(opened: Open, answer: tuple[int, Any]) -> None:
    server = OidcServer(par=True, answers={"/par": answer})
    with opened(server) as deputy, pytest.raises(ProviderUnavailable) as e:
        start(deputy)
    pushed = dict(parse_qsl(server.bodies[-1].decode()))
    assert frame_hits(e.value, {pushed["state"]: "state", SECRET: "secret"}) == []


# ------------------------------------------------------------- what only the operator can mend


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("invalid_dpop_proof", "dpop = true"),
        ("invalid_request", "dpop = true"),
        ("invalid_client", "client id and the secret"),
        ("invalid_target", "audience or the resource"),
        ("made_up", "an error of its own"),
    ],
)
def test_refused_code_names_the_setting_to_fix(
    opened: Open, caplog: pytest.LogCaptureFixture, error: str, words: str
) -> None:
    server = OidcServer(answers={"/token": (400, {"error": error, "error_description": "hush"})})
    with opened(server) as deputy:
        ended = connect(deputy, server)
    assert ended.status == "failed" and words in texts.NEXT[ended.reason_code] and ended.reason_code in texts.ENDED
    assert words in caplog.text and "hush" not in caplog.text and "made_up" not in caplog.text
