"""The list of audit events: each is typed and documented, and nothing else can be written."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

import deputize.core
from deputize.core import ApprovalRequired, Call, ConsentRequired
from deputize.core.audit import Audit
from deputize.core.audit.common_fields import Facts, OfGrant
from deputize.core.audit.events import EVENTS, Event, GrantDropped, TokenRefreshed
from deputize.core.audit.rows import _RESERVED
from deputize.core.errors import InvalidInput
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, connect

GRANT = OfGrant(user="alice", provider="google", app="google", account_hash="a1", grant_gen=3)


def audit() -> Audit:
    return Audit(None, b"k" * 32)


def test_row_has_the_fields_of_its_event_without_empty_ones() -> None:
    kept = audit()
    kept.write(TokenRefreshed(GRANT))
    [row] = kept.rows()
    chain = {"ts", "writer", "seq", "prev", "mac"}
    assert {name: value for name, value in row.items() if name not in chain} == {
        "event": "token.refreshed",
        "user": "alice",
        "provider": "google",
        "app": "google",
        "account_hash": "a1",
        "grant_gen": 3,
    }


@dataclass(frozen=True)
class Invented(Event):
    event = "token.refreshed"


@pytest.mark.parametrize("event", [Invented(), "token.refreshed", {"event": "token.refreshed"}, None])
async def test_unlisted_event_cannot_be_written(event: Any) -> None:
    kept = audit()
    with pytest.raises(InvalidInput, match="not an audit event") as caught:
        kept.write(event)
    assert caught.value.fix_by == "operator" and "deputize.core.audit.events" in caught.value.hint
    with pytest.raises(InvalidInput, match="not an audit event"):
        await kept.record(event)
    assert kept.rows() == []


def test_event_equals_one_with_explicit_defaults() -> None:
    given = OfGrant(tenant="", source="", user="alice", provider="google", app="google", account_hash="a1", grant_gen=3)
    assert (given, hash(given), repr(given)) == (GRANT, hash(GRANT), repr(GRANT)) and GRANT.tenant == ""
    facts: dict[str, Any] = {**vars(GRANT), "source": "x"}
    assert TokenRefreshed(given) == TokenRefreshed(GRANT) != TokenRefreshed(OfGrant(**facts))
    facts["of_user"] = "bob"
    with pytest.raises(TypeError, match="OfGrant takes"):
        OfGrant(**facts)


async def test_rows_of_calls_have_only_declared_fields() -> None:
    sandbox = Sandbox()
    mail, call = {"to": ["bob@example.test"], "subject": "Dinner", "body": "Friday?"}, Call("t", "m", "c")
    async with await build(sandbox) as deputy:
        with pytest.raises(ConsentRequired):
            await deputy.act("gmail_send_email", mail, user="alice", call=call)
        await connect(deputy, sandbox, "readonly", "send", user="alice")
        await deputy.act("gmail_search_emails", {"query": "from:bob"}, user="alice")
        [asked] = await deputy.check_calls([("gmail_send_email", mail, call)], user="alice")
        assert isinstance(asked, ApprovalRequired)
        await deputy.decide(asked.approval, "approve", by="alice")
        await deputy.act("gmail_send_email", mail, user="alice", call=call)
        rows = [row for row in deputy.audit.rows() if row["event"].startswith(("act.", "approval."))]
    assert Counter(row["event"] for row in rows) == {
        "act.result": 4,  # with the search for first contacts
        "approval.requested": 1,
        "approval.approved": 1,
        "approval.used": 1,
        "act.intent": 1,
    }
    for row in rows:
        kind = EVENTS[row["event"]]
        assert row.keys() - _RESERVED <= {field for group in (kind, *groups(kind)) for field in group.form}
        assert "" not in row.values()


def test_row_is_immutable_before_it_is_written() -> None:
    with pytest.raises(FrozenInstanceError):
        GrantDropped(1).records = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del GrantDropped(1).records  # pyright: ignore[reportAttributeAccessIssue]


def test_events_and_fields_have_one_documented_meaning() -> None:
    meanings = dict[str, set[str]]()
    for name, kind in EVENTS.items():
        assert kind.event == name and kind.needed <= kind.form.keys()
        assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("), name
        for group in (kind, *groups(kind)):
            for field, hint in get_type_hints(group, include_extras=True).items():
                if get_origin(hint) is Annotated:
                    assert field not in _RESERVED
                    meanings.setdefault(field, set()).update(hint.__metadata__)
                else:
                    assert field in ("event", "form", "needed") or any(map(_facts, (hint, *get_args(hint))))
    assert {field: told for field, told in meanings.items() if len(told) != 1} == {}


def groups(kind: type[Facts]) -> list[type[Facts]]:
    hints = get_type_hints(kind, include_extras=True).values()
    return [one for hint in hints for one in (hint, *get_args(hint)) if _facts(one)]


def _facts(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, Facts)


def test_every_event_is_emitted_and_the_writer_is_the_only_appender() -> None:
    """Found by name in the product: an event that nothing writes fails the test."""
    roots = [Path(path).parents[1] for path in deputize.core.__path__]
    adapters = Path(__file__).parents[3] / "adapters"
    used = set[str]()
    for path in [path for root in (*roots, adapters) for path in root.rglob("*.py") if path.name != "events.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                used.add(node.id)
            if isinstance(node, ast.Attribute) and node.attr == "_append":
                assert path.name == "writer.py", path
    tables = {"approval", "consent", "connect", "revoke"}
    lonely = {kind.__name__ for name, kind in EVENTS.items() if name.partition(".")[0] not in tables} - used
    assert lonely == set()
