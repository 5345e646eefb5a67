"""Every public method of a deputy, and each that the docs name of a part of it, with hostile values for its parameters.

A new method or parameter is found here by itself: it fails until `GOOD` has a usual value for it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from deputize.core import Approval, ApprovalRequired, Audience, Call, Consent, Deputy, Mandate, ask_before_sending
from deputize.core.mcp_client.server_config import McpServer
from deputize.sandbox import Sandbox
from tests.core.web.web_application import notes
from tests.entry_points.hostile_values import TEXTS, Report, fits, is_documented, place_of, pool, some
from tests.support.canary import Wiretap, hits
from tests.support.gmail_toolkit import ALL, LABELS, gmail
from tests.support.sandbox_deputy import build, connect

ELSEWHERE: Final = {
    "from_settings": "settings.py gives it hostile settings",
    "close": "has no parameters and ends the deputy",
    "run": "runs a coroutine of the program",
    "ended_questions": "yields until the deputy is closed: tests/core/test_ended_questions.py",
    "handle_ended_questions": "the same",
}
DOCS: Final = Path(__file__).parents[2] / "docs"
SECONDS: Final = 10.0
"""A call that takes longer hangs."""
TOKEN: Final = "a-token"
NOTE: Final = {"to": "bob@example.test", "subject": "Lunch", "text": "Yes, gladly."}


@dataclass
class Trial:
    """A deputy with an account, and one of everything that a user may have."""

    deputy: Deputy
    wire: Wiretap
    consent: Consent
    approval: Approval
    mandate: Mandate
    file: str

    @classmethod
    async def begin(cls) -> Trial:
        """Return a new one."""
        sandbox = Sandbox()
        wire = Wiretap(sandbox.transport())
        deputy = await build(sandbox, toolkits=[gmail, notes], transport=wire, policy=ask_before_sending)
        await connect(deputy, sandbox, *ALL)
        [consent] = await deputy.connect("alice", "google", scopes=["gmail.metadata"], add_account=True)
        await deputy.add_mcp("acme", "https://mcp.example.test/mcp")
        with_mandate: dict[str, Any] = {"tools": ["notes_post_note"], "targets": ["bob@example.test"], "max_acts": 3}
        mandate = await deputy.create_mandate("alice", **with_mandate, expires_at=deputy.clock() + 1000)
        file = await deputy.store_file("alice", "a.txt", "text/plain", b"hello")
        try:
            await deputy.act("notes_post_note", NOTE, user="alice", call=Call("t", "m", "c"))
        except ApprovalRequired as e:
            return cls(deputy, wire, consent, e.approval, mandate, file["file"])
        raise AssertionError("nothing was asked")

    def good(self, method: str, parameter: str) -> Any:
        """Return a usual value for a parameter."""
        usual = {
            "consent": self.consent,
            "consents": [self.consent],
            "approval": self.approval,
            "approvals": [self.approval],
            "handle": self.file,
            "expires_at": self.deputy.clock() + 100,
            **GOOD,
            "revoke_mandate.mandate": self.mandate,
        }
        found = usual.get(f"{method}.{parameter}", usual.get(parameter, self))
        assert found is not self, f"give {method}({parameter}=) a usual value in {__name__}.GOOD"
        return found


GOOD: Final[Mapping[str, Any]] = {
    **{"user": "alice", "by": "alice", "agent": "agent", "tenant": "acme", "thread": "t", "purpose": "a test"},
    **{
        "tool": "gmail_search",
        "arguments": {"query": "x"},
        "call": Call("t", "m", "c2"),
        "calls": [],
        "beside": [],
        "approved": None,
    },
    **{"provider": "google", "app": "google", "account": None, "set_default_account.account": "alice@example.test"},
    **{"scopes": [LABELS], "tools": ["notes_post_note"], "add_account": False, "switch_account": False, "renew": False},
    **{"decision": "approve", "reason": "r", "mandate": None, "decide.arguments": None, "act": "0" * 64},
    **{"targets": ["bob@example.test"], "max_acts": 1, "audience": Audience.PUBLIC, "allow_destructive": False},
    **{"timeout": 0.0, "tell": print, "leaked": False, "name": "a.txt", "mime": "text/plain", "content": b"x"},
    **{"names": (), "read_only": False, "query": "mail", "limit": 3},
    **{"server": "other", "url": "https://mcp.example.test/other"},
    **{"look.name": "acme", "pin.name": "acme", "looked": [], "effects": None},
    **{"import_tokens.account": "alice@example.test", "access_token": TOKEN, "refresh_token": None},
    "job": {"version": 1, "users": ["alice"], "calls": [{"tool": "gmail_search", "args": {"query": "x"}}]},
    **{"foreign": False, "operator": "alice", "after": "", "function": print},
}


def methods() -> Iterator[tuple[str, Callable[[Deputy], Callable[..., Any]]]]:
    """Return the name of each public method, and how to reach it from a deputy."""
    for name, _ in inspect.getmembers(Deputy, callable):
        if not name.startswith("_") and name not in ELSEWHERE:
            yield name, lambda deputy, name=name: getattr(deputy, name)  # type: ignore[misc]
    pages = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for part, name in sorted(set(re.findall(r"\bdeputy\.(\w+)\.(\w+)\(", pages))):
        yield f"{part}.{name}", lambda deputy, part=part, name=name: getattr(getattr(deputy, part), name)  # type: ignore[misc]


def given(
    trial: Trial, method: str, call: Callable[..., Any], parameter: str, value: Any
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call in which one is hostile."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    for one in inspect.signature(call).parameters.values():
        this = value if one.name == parameter else trial.good(method.rpartition(".")[2], one.name)
        if one.kind is one.VAR_POSITIONAL:
            args += [this] if one.name == parameter else this
        elif one.kind is one.KEYWORD_ONLY:
            named[one.name] = this
        else:
            args.append(this)
    return args, named


def annotation(call: Callable[..., Any], parameter: str) -> Any:
    """Return the type that the signature names for a parameter."""
    function = inspect.unwrap(getattr(call, "__func__", call))
    named = function.__annotations__.get(parameter, Any)
    return eval(named, {**function.__globals__, "McpServer": McpServer}) if isinstance(named, str) else named  # noqa: S307


def may_wait(parameter: str, value: Any) -> bool:
    """Return True if the value asks for a wait of some seconds: NaN does not."""
    return parameter == "timeout" and type(value) in (int, float) and value > 0


async def outcome(
    call: Callable[..., Any], args: list[Any], named: dict[str, Any], seconds: float
) -> BaseException | None:
    """Return the error of a call, or None."""
    try:
        made = call(*args, **named)
        if inspect.isawaitable(made):
            await asyncio.wait_for(made, seconds)
    except Exception as e:
        return e
    return None


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what is logged meanwhile, tracebacks included."""
    lines: list[str] = []
    keeper = logging.Handler(logging.DEBUG)
    keeper.emit = lambda record: lines.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    log = logging.getLogger("deputize")
    log.addHandler(keeper)
    try:
        yield lines
    finally:
        log.removeHandler(keeper)


async def play(random: Random, share: float, *, only: str = "") -> Report:
    """Return what came of this share of all cases, or of those of one method ``only``."""
    report = Report()
    with logged() as lines:
        for method, reach in methods():
            if only not in ("", method):
                continue
            trial = await Trial.begin()
            call = reach(trial.deputy)
            texts = []
            for parameter in inspect.signature(call).parameters:
                trial.good(method.rpartition(".")[2], parameter)
                for value in some(random, pool(), share, always=8):
                    report.calls += 1
                    waits = may_wait(parameter, value)
                    error = await outcome(
                        call, *given(trial, method, call, parameter, value), 0.05 if waits else SECONDS
                    )
                    if error is None or (waits and isinstance(error, TimeoutError)):
                        continue
                    if isinstance(error, TypeError) and not fits(value, annotation(call, parameter)):
                        continue
                    if not is_documented(error):
                        report.fault(f"{method}({parameter}=)", place_of(error), value)
                    texts.append(f"{error} {getattr(error, 'hint', '')}")
            known = {secret: kind for secret, kind in trial.wire.secrets.items() if secret not in (*TEXTS, TOKEN)}
            for hit in hits(known, {"an error": "\n".join(texts), "the log": "\n".join(lines)}):
                report.fault(method, hit, "")
            report.faults |= {f"{method}: {line.splitlines()[0]}": "" for line in lines if "Traceback" in line}
            lines.clear()
            await trial.deputy.close()
    return report
