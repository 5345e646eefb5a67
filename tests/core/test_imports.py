"""What importing the core loads, and what it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

FRAMEWORKS = ("langchain", "langchain_core", "langgraph", "langsmith", "llama_index", "workflows", "mcp")
HEAVY = (
    *("pydantic", "pydantic_settings", "platformdirs", "typer", "keyring", "cedarpy"),
    *("starlette", "jinja2", "uvicorn", "multipart", "aiohttp", "yarl"),
    *("psycopg", "sqlitedict", "filelock", "sqlite3"),
)
RARE = (
    "acts.people_search",
    "acts.sse_resume",
    "audit.verification",
    "grants.sources.import_tokens",
    "tools.parser_sandbox",
)
"""Core modules that most acts never need."""


def loaded(program: str) -> set[str]:
    """Return the modules that a program has loaded at its end, in its own interpreter."""
    program += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def core() -> set[str]:
    """Return what `import deputize.core` loads."""
    return loaded("import deputize.core")


def test_core_loads_no_agent_framework(core: set[str]) -> None:
    assert core.isdisjoint(FRAMEWORKS)


@pytest.mark.parametrize("module", HEAVY)
def test_core_loads_nothing_before_it_is_used(core: set[str], module: str) -> None:
    assert module not in core


def test_core_loads_neither_toolkits_nor_sandbox_nor_adapters(core: set[str]) -> None:
    others = ("deputize.toolkits", "deputize.sandbox", "deputize.adapters", "deputize.cli", "deputize.core.web")
    assert not [name for name in core if name.startswith(others)]


@pytest.mark.parametrize("module", RARE)
def test_core_does_not_load_its_rarely_used_modules(core: set[str], module: str) -> None:
    assert find_spec(f"deputize.core.{module}") is not None
    assert f"deputize.core.{module}" not in core


def test_import_starts_no_thread_and_no_event_loop() -> None:
    program = "import threading, deputize.core\nassert threading.active_count() == 1, threading.enumerate()"
    assert "deputize.core.deputy" in loaded(program)


def test_core_loads_no_authlib_before_a_token_request(core: set[str]) -> None:
    assert "authlib" not in core
    used = loaded("from deputize.core.oauth.pkce import new_pkce\nimport deputize.core.oauth.messages\nnew_pkce()")
    assert "authlib" in used and not [name for name in used if name.startswith("authlib.integrations")]
    assert "httpx2" not in used and "requests" not in used


@pytest.mark.processes
def test_background_loop_starts_with_the_first_sync_call() -> None:
    program = """
import asyncio, threading
from tests.support.sandbox_deputy import build
deputy = asyncio.run(build())
assert not [t for t in threading.enumerate() if "portal" in t.name]
"""
    assert "deputize.core.background_loop" in loaded(program)


def toolkits_after(*steps: str) -> set[str]:
    """Return the toolkits that these steps load, with a deputy of all toolkits."""
    begin = (
        "from deputize.sandbox import Sandbox",
        "from deputize.sandbox.deputies import close, give_grant, new_deputy",
        "sandbox = Sandbox()",
        "deputy = new_deputy(sandbox)",
        "scope = 'https://www.googleapis.com/auth/gmail.modify'",
        "give_grant(sandbox, deputy, 'alice', [scope], provider='google', email='alice@example.test')",
        "act = lambda name: deputy.run(deputy.act(name, {}, user='alice'))",
    )
    home = "deputize.toolkits."
    names = {name for name in loaded("\n".join((*begin, *steps, "close(deputy)"))) if name.startswith(home)}
    return {name.split(".")[2] for name in names} - {"_shared"}


@pytest.mark.processes
def test_first_act_loads_only_its_own_toolkit() -> None:
    assert toolkits_after("act('gmail_search_emails')", "deputy.tools('gmail', 'gmail_get_thread')") == {"gmail"}


@pytest.mark.processes
def test_tool_name_of_another_form_loads_all_toolkits_when_requested() -> None:
    assert toolkits_after("act('Gmail.ListEmails')") >= {"gmail", "slack", "github"}
