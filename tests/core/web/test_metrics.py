"""/metrics: parsed with Prometheus' own parser, and without user data."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import httpx
import pytest

from deputize.core import Call, ConsentRequired, DeputizeError, Deputy, User, allow_all
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores import Batches
from deputize.core.web.ops import metrics
from deputize.core.web.ops.metrics import Histogram, MeasuredStore, Metric, Metrics, render_metrics
from deputize.sandbox import Sandbox
from tests.support.counterparts import CHECKOUT, require_deploying
from tests.support.cut_locks import CutLocksStore
from tests.support.gmail_toolkit import MAIL, gmail
from tests.support.sandbox_deputy import build, connect

pytestmark = pytest.mark.counterpart

Read = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Read:
    """Return what Prometheus parses: numbers by name and labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(require_deploying())
        families: Any = import_module("prometheus_client.parser").text_string_to_metric_families
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value for family in families(text) for one in family.samples
    }


def found(read: Read, name: str, **labels: str) -> float:
    return read[name, tuple(sorted(labels.items()))]


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Deputy, Sandbox, httpx.AsyncClient]]:
    sandbox = Sandbox()
    async with await build(sandbox, toolkits=[gmail], policy=allow_all) as deputy:
        transport = httpx.ASGITransport(Metrics(deputy).app())
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            yield deputy, sandbox, http


async def read(http: httpx.AsyncClient) -> Read:
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.text)


async def test_each_call_is_counted_once_by_its_outcome() -> None:
    async with watched() as (deputy, sandbox, http):
        with pytest.raises(ConsentRequired):
            await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "c"))
        await connect(deputy, sandbox, "readonly", "send")
        for call in ("c1", "c2"):
            await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", call))
        sandbox.expire_access_tokens()
        await deputy.revoke("alice")
        now = await read(http)
        of = {"tool": "gmail_send", "provider": "google"}
        assert found(now, "deputize_acts_total", outcome="done", **of) == 2
        assert found(now, "deputize_acts_total", outcome="consent_required", **of) == 1
        assert found(now, "deputize_act_seconds_count", provider="google") == 3
        assert found(now, "deputize_act_seconds_bucket", provider="google", le="+Inf") == 3
        assert found(now, "deputize_consents_total", provider="google", outcome="granted") == 1
        assert found(now, "deputize_revocations_total", provider="google", outcome="done") == 1
        assert found(now, "deputize_store_seconds_count", operation="insert") > 0
        assert found(now, "deputize_waiting", kind="consent") == 0 and found(now, "deputize_audit_failing") == 0


async def test_pending_requests_are_counted_unless_the_vault_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "GAUGE_TTL", 0.0)
    async with watched() as (deputy, _, http):
        for user in ("alice", "bob"):
            with pytest.raises(ConsentRequired):
                await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", "c"))
        assert found(await read(http), "deputize_waiting", kind="consent") == 2

        async def down(*args: object, **more: object) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(deputy.vault.store, "scan", down)
        now = await read(http)
        assert not [name for name, _ in now if name in ("deputize_waiting", "deputize_revocations_due")]


async def test_freely_chosen_names_do_not_become_labels() -> None:
    async with watched() as (deputy, _, http):
        who = User("alice@example.test", tenant="acme-tenant")
        for number in range(50):
            with pytest.raises(DeputizeError):
                await deputy.act(f"gmail_made_up_{number}", {"to": "bob"}, user=who, call=Call("thread-1", "m", "id-1"))
        text = (await http.get("/metrics")).text
        assert found(parsed(text), "deputize_acts_total", tool="other", provider="", outcome="invalid_input") == 50
        assert not [word for word in ("alice", "acme", "made_up", "thread-1", "id-1") if word in text]


async def test_documentation_lists_all_metrics_with_labels() -> None:
    page = (CHECKOUT / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(deputize_\w+)` \| ([^|]*)\|", page, re.MULTILINE)
    async with await build() as deputy:
        made = [one for one in vars(Metrics(deputy)).values() if isinstance(one, Metric | Histogram)]
    listed = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert listed == {one.name: one.labels for one in made}


def test_special_characters_in_labels_are_escaped() -> None:
    strange = 'a"b\\c\nd} 1'
    counter, took = Metric("x_total", "counter", "Help.", ("label",)), Histogram("y_seconds", "Help.", ("label",))
    counter.add(strange, by=2)
    for seconds in (0.0, 0.001, 0.3, 3600.0):
        took.took(seconds, strange)
    now = parsed(render_metrics([counter, took, Metric("z", "gauge", "Help.")]))
    assert found(now, "x_total", label=strange) == 2 and found(now, "z") == 0
    below = [found(now, "y_seconds_bucket", label=strange, le=le) for le in ("0.001", "0.25", "0.5", "60", "+Inf")]
    assert below == [2, 2, 3, 3, 4]
    assert found(now, "y_seconds_count", label=strange) == 4
    assert found(now, "y_seconds_sum", label=strange) == pytest.approx(3600.301)


async def test_batches_of_a_measured_store_count_as_one_read_and_one_write() -> None:
    seen = list[str]()
    store = MeasuredStore(CutLocksStore(), lambda seconds, operation: seen.append(operation))
    assert isinstance(store, Batches)
    assert await store.write(("act", "a", None, b"1"), ("approval", "a", None, b"1")) == 2
    assert await store.read(("get", "act", "a"), ("scan", "approval", "")) == [b"1", [("a", b"1")]]
    async with store.lock_and_read("one", 1, ("get", "act", "a")) as (held, found):
        assert await held.confirm() and found == [b"1"]
    assert seen == ["swap", "get"]
