"""From settings to a running deputy, and what a program can add to the settings."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from deputize.core import (
    PROVIDERS,
    ApiRules,
    ApprovalRequired,
    Audience,
    Call,
    Deputy,
    Effect,
    Identity,
    Instant,
    OAuthEndpoints,
    PolicyDenied,
    Preview,
    Provider,
    Request,
    SettingsError,
    Steps,
    Toolkit,
    allow_all,
    any_of,
    ask_before_sending,
    read_only,
)
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.settings import AppSettings, Settings

ACME = Provider(
    name="acme",
    label="Acme",
    oauth=OAuthEndpoints(
        authorize_url="https://acme.example.test/oauth/authorize",
        token_url="https://acme.example.test/oauth/token",
        revoke_url="https://acme.example.test/oauth/revoke",
    ),
    apis=ApiRules(
        roots={"tasks": "https://api.acme.example.test/v1"},
        hosts=frozenset({"api.acme.example.test"}),
        identity=Identity("https://api.acme.example.test/v1/me", subject="{id}", name="{email}"),
    ),
    scope_descriptions={"tasks:read": "read your tasks"},
)

tasks = Toolkit("tasks", provider="acme")


@tasks.tool(needs=[any_of("tasks:read")])
def list_all() -> Steps:
    """List the user's tasks."""
    found = yield Request("GET", "/tasks")
    return found["items"]


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as Acme, at its own address or where it is simulated."""
    path = request.url.path
    if path.endswith("/oauth/token"):
        return httpx.Response(200, json={"access_token": "a" * 20, "token_type": "Bearer", "scope": "tasks:read"})
    if path.endswith("/v1/me"):
        return httpx.Response(200, json={"id": "1", "email": "alice@example.test"})
    if path.endswith("/v1/tasks"):
        return httpx.Response(200, json={"items": ["milk"]})
    return httpx.Response(404)


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings.load(home=tmp_path / "home", port=0, apps={"acme": AppSettings(client_id="a-client")}, **more)


def connect(deputy: Deputy, tool: str) -> None:
    """Consent as Alice to what this tool needs."""
    (consent,) = deputy.run(deputy.connect("alice", tools=[tool]))
    assert consent.scope_descriptions == ("read your tasks",)
    started = deputy.run(deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser()))
    back = {"code": "a-code", "state": parse_qs(urlsplit(started.url).query)["state"][0]}
    deputy.run(deputy.consents.finish("acme", back, AnyLocalUser(), started.nonce.reveal()))


@pytest.mark.parametrize(
    "given", [[ACME], (row for row in [ACME]), {"acme": ACME}], ids=["list", "iterator", "mapping"]
)
def test_program_adds_provider_and_toolkit(tmp_path: Path, given: Mapping[str, Provider] | Iterable[Provider]) -> None:
    wire = httpx.MockTransport(answer)
    with Deputy.from_settings(
        settings(tmp_path), providers=given, toolkits=[tasks], policy=allow_all, transport=wire
    ) as deputy:
        assert [tool.name for tool in deputy.tools()] == ["tasks_list_all"]
        assert deputy.providers.keys() == PROVIDERS.keys() | {"acme"}
        connect(deputy, "tasks_list_all")
        assert deputy.run(deputy.act("tasks_list_all", {}, user="alice", call=Call(id="1"))) == ["milk"]


def test_added_provider_is_simulated_by_the_sandbox(tmp_path: Path) -> None:
    base = "http://127.0.0.1:9"
    with Deputy.from_settings(settings(tmp_path, sandbox_url=base), providers=[ACME], toolkits=[tasks]) as deputy:
        assert deputy.providers["acme"].oauth.token_url == f"{base}/acme.example.test/oauth/token"
        assert deputy.providers["acme"].apis.hosts == {"127.0.0.1:9"}


@pytest.mark.parametrize("name", ["google", "other"])
def test_added_provider_with_a_taken_name_is_refused_and_the_next_start_works(tmp_path: Path, name: str) -> None:
    other = AppSettings(client_id="b-client", issuer="https://other.example.test")
    said = settings(tmp_path)
    clash = said if name == "google" else said.model_copy(update={"apps": said.apps | {"other": other}})
    with pytest.raises(SettingsError, match=f"Two providers are called '{name}'"):
        Deputy.from_settings(clash, providers=[ACME, replace(ACME, name=name)])
    with Deputy.from_settings(said, providers=[ACME]) as deputy:
        assert deputy.apps["acme"].client_id == "a-client"


def test_late_start_failure_releases_all_resources(tmp_path: Path) -> None:
    """An app of an unknown provider is noticed after everything else was opened."""
    before = threads()
    with Deputy.from_settings(settings(tmp_path), providers=[ACME]):
        eventually(lambda: bool(threads() - before))
    eventually(lambda: not threads() - before)
    with pytest.raises(SettingsError, match="acme"):
        Deputy.from_settings(settings(tmp_path))
    eventually(lambda: not threads() - before)


def eventually(holds: Callable[[], bool]) -> None:
    """A thread may still be ending when the code that ended it continues."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, threads()
        time.sleep(0.01)


def threads() -> set[threading.Thread]:
    """Return the threads of vaults: each has a writer and a reader. Those of an earlier test may still be ending."""
    return {thread for thread in threading.enumerate() if thread.name in ("deputize vault", "deputize reader")}


# ------------------------------------------------------------- the policy that settings name

RULES = """
from deputize.core import Verdict

def nothing(act):
    return Verdict.DENY

def two(act, other):
    return Verdict.DENY

class Rules:
    def __init__(self, act):
        pass

WORD = "nothing"
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that is installed."""
    (tmp_path / "acme_rules.py").write_text(RULES)
    (tmp_path / "acme_broken.py").write_text("raise RuntimeError('at work')")
    (tmp_path / "acme_ends.py").write_text("raise SystemExit('at work')")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("acme_rules", None)


def test_settings_can_name_a_policy_from_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: None
) -> None:
    monkeypatch.setenv("DEPUTIZE_POLICY", "acme_rules:nothing")
    with Deputy.from_settings(settings(tmp_path), providers=[ACME], toolkits=[tasks]) as deputy:
        with pytest.raises(PolicyDenied):
            deputy.run(deputy.act("tasks_list_all", {}, user="alice"))
    for name, policy in (("read_only", read_only), ("ask_before_sending", ask_before_sending)):
        with Deputy.from_settings(settings(tmp_path, policy=name), providers=[ACME]) as deputy:
            assert deputy.policy is policy
    with Deputy.from_settings(settings(tmp_path), providers=[ACME], policy=allow_all) as deputy:
        assert deputy.policy is allow_all


def test_default_policy_is_used_without_a_setting(tmp_path: Path) -> None:
    with Deputy.from_settings(settings(tmp_path), providers=[ACME]) as deputy:
        assert deputy.policy is ask_before_sending


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("ask_before_send", "Did you mean ask_before_sending"), ("", "There are: ask_before_sending")),
        *(("acme_rules:no", "AttributeError"), ("no_such_package:policy", "ModuleNotFoundError")),
        *(
            ("acme_broken:policy", "RuntimeError"),
            ("acme_ends:policy", "SystemExit"),
            ("acme_rules:", "not a function of one act"),
            (":nothing", "ValueError"),
        ),
        *((f"acme_rules:{one}", "not a function of one act") for one in ("two", "Rules", "WORD")),
    ],
)
def test_invalid_policy_setting_is_named_and_stops_the_start(tmp_path: Path, rules: None, name: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Deputy.from_settings(settings(tmp_path, policy=name), providers=[ACME])
    assert repr(name) in caught.value.message and told in f"{caught.value.message} {caught.value.hint}"
    assert "at work" not in str(caught.value) and not (tmp_path / "home").exists()


# ----------------------------------------------------------------- the zone in which times are read


reminders = Toolkit("reminders", provider="acme", shows=True)


@reminders.tool(needs=[any_of("tasks:read")], effect=Effect.SENDS)
def tell(at: str) -> Steps:
    """Tell a colleague at a time."""
    yield Preview("Tell a colleague", audience=Audience.PEOPLE, at=Instant.of(at))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"time_zone": "Asia/Kathmandu"}, "Wed 2 Dec 2026, 14:45 (Asia/Kathmandu)"),
        (
            {"base_url": "https://app.example.test", "key": SecretStr(secrets.token_urlsafe(32))},
            "Wed 2 Dec 2026, 09:00 (UTC)",
        ),
        ({}, None),
    ],
    ids=["settings", "a web application", "the machine"],
)
def test_times_are_in_the_configured_or_local_zone(tmp_path: Path, said: dict[str, Any], shown: str | None) -> None:
    at = "2026-12-02T10:00:00+01:00"
    here = datetime.fromisoformat(at).astimezone()
    wire, load = httpx.MockTransport(answer), settings(tmp_path, **said)
    with Deputy.from_settings(load, providers=[ACME], toolkits=[reminders], transport=wire) as deputy:
        connect(deputy, "reminders_tell")
        with pytest.raises(ApprovalRequired) as caught:
            deputy.run(deputy.act("reminders_tell", {"at": at}, user="alice"))
    assert caught.value.approval.preview["at"] == (shown or f"Wed 2 Dec 2026, {here:%H:%M} ({here.tzname()})")


def test_unknown_time_zone_stops_the_start_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"time_zone: .*no zone of this name"):
        settings(tmp_path, time_zone="Mars/Olympus")
