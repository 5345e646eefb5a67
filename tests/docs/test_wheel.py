"""The built wheel also has the files that are not Python: pages, their style, and the markers of typed packages."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.support import installed
from tests.support.lanes import sample

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("core", "toolkits", "adapters")
Place = Callable[[str], Path]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names in the wheel, built as installers build it, by hatchling."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    with zipfile.ZipFile(built) as held:
        return set(held.namelist())


def expected(pattern: str) -> set[str]:
    """Return the files of this pattern in the checkout, as a wheel should name them."""
    return {
        str(path.relative_to(ROOT / folder))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob(pattern)
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("pattern", ["*.py", "*.html", "*.css", "py.typed"])
def test_every_file_of_the_checkout_is_in_the_wheel(wheel: set[str], pattern: str) -> None:
    assert expected(pattern) and expected(pattern) <= wheel


def test_page_templates_are_beside_their_code(wheel: set[str]) -> None:
    templates = "deputize/core/web/pages/templates"
    assert {f"{templates}/{name}" for name in ("base.html", "connect.html", "approve.html", "style.css")} <= wheel


def test_every_package_is_marked_as_typed(wheel: set[str]) -> None:
    packages = {name.split("/")[1] for name in wheel if name.startswith("deputize/")}
    assert packages == {"core", "toolkits", "openapi", "sandbox", "adapters", "chat", "cli"}
    assert {f"deputize/{package}/py.typed" for package in packages} <= wheel


def test_shared_root_package_stays_open_to_other_distributions(wheel: set[str]) -> None:
    assert "deputize/__init__.py" not in wheel


def test_wheel_contains_nothing_but_the_program(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel if not name.split("/")[0].endswith(".dist-info")} == {"deputize"}
    assert not [name for name in wheel if "__pycache__" in name or "/test_" in name or "/tests/" in name]


@pytest.mark.parametrize("source", ["", "https://code.example.test/acme/deputize"])
def test_description_has_no_link_that_only_works_in_the_repository(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = WheelBuilder(str(ROOT))
    monkeypatch.setitem(builder.metadata.config["project"], "urls", {"Source": source} if source else {})
    (built,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as held:
        [name] = [name for name in held.namelist() if name.endswith(".dist-info/METADATA")]
        description = held.read(name).decode().partition("\n\n")[2]
    assert "Description-Content-Type" not in description and description.startswith("# deputize\n")
    links = re.findall(r"\]\(([^)]*)\)", description)
    if not source:
        assert links == [] and "langgraph.md" in description
    for link in links:
        kind, _, path = link.removeprefix(f"{source}/").partition(f"/v{builder.metadata.version}/")
        assert kind in ("blob", "raw") and (ROOT / path.partition("#")[0]).exists(), link
        assert (kind == "raw") == path.endswith(".svg"), link


# ----------------------------------------------------------------- one extra is enough

LINK: Final = """
[consent] = deputy.run(deputy.connect("alice", "google", scopes=["https://www.googleapis.com/auth/gmail.readonly"]))
assert browser.get(consent.link).status_code == 200, "the page is served"
deputy.run(deputy.close())
print("works")
"""
START: Final = """
import httpx
from deputize.core import Deputy
deputy = Deputy.from_settings()
browser = httpx.Client(follow_redirects=True)  # a local link opens in one browser only
"""
GRAPH: Final = """
from typing import Any
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node
assert tools(deputy, "gmail"), "what a model is told"
builder = StateGraph(MessagesState)
builder.add_node("tools", act_node(deputy, "gmail", user="alice"))
builder.add_edge(START, "tools")
call = {"name": "gmail_search_emails", "args": {}, "id": "1"}
state = builder.compile().invoke({"messages": [AIMessage("", tool_calls=[call])]})
[pause] = state["__interrupt__"]
assert browser.get(pause.value["consents"][0]["link"]).status_code == 200
"""
CHAIN: Final = """
from deputize.adapters.langchain import tools
from deputize.adapters.middleware import DeputyMiddleware
found = {tool.name: tool for tool in tools(deputy, "gmail", user="alice")}
call = {"name": "gmail_search_emails", "args": {}, "id": "1", "type": "tool_call"}
answer = found["gmail_search_emails"].invoke(call).content
assert "allow" in answer, answer
"""
INDEX: Final = """
from deputize.adapters.llamaindex import GmailToolSpec
found = {tool.metadata.name: tool for tool in GmailToolSpec(deputy, user="alice").to_tool_list()}
answer = found["gmail_search_emails"].call().content
assert "allow" in answer, answer
"""
ENOUGH: Final = {
    "langgraph": START + GRAPH + LINK,
    "langchain": START + CHAIN + LINK,
    "llamaindex": START + INDEX + LINK,
    "settings,web": START + LINK,
    "cli": START + LINK,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Install the built wheel with these extras, once: ``place("settings,web")``."""
    (made,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("built")), versions=["standard"])

    @cache
    def install(extras: str) -> Path:
        return installed.site(Path(made), filter(None, extras.split(",")), tmp_path_factory.mktemp("with") / "site")

    return install


def settings(port: int) -> dict[str, str]:
    app = "DEPUTIZE_APPS__GOOGLE__CLIENT"
    return {f"{app}_ID": "id", f"{app}_SECRET": "secret", "DEPUTIZE_PORT": str(port)}


@pytest.mark.processes
@pytest.mark.parametrize("extra", ENOUGH)
def test_one_extra_brings_all_its_adapter_and_local_pages_need(place: Place, tmp_path: Path, extra: str) -> None:
    ran = installed.run(place(extra), ENOUGH[extra], tmp_path, **settings(0))
    assert ran.stdout.strip().endswith("works"), ran.stderr


LACKING: Final = [
    ("", "from deputize.core import Deputy; Deputy.from_settings()", "settings,web"),
    ("settings", START + LINK, "web"),
    ("", "import deputize.core.web.app", "web"),
    ("", "import deputize.adapters.google_adk", "google-adk"),
    ("", "import deputize.adapters.langchain", "langchain"),
    ("", "import deputize.adapters.langgraph", "langgraph"),
    ("", "import deputize.adapters.middleware", "langchain"),
    ("", "import deputize.adapters.llamaindex", "llamaindex"),
    ("", "import deputize.adapters.openai_agents", "openai-agents"),
    ("", "import deputize.adapters.pydantic_ai", "pydantic-ai"),
    ("langgraph", "import deputize.adapters.llamaindex", "llamaindex"),
    ("langgraph", "import deputize.adapters.middleware", "langchain"),
    ("llamaindex", "import deputize.adapters.langgraph", "langgraph"),
]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("extra", "program", "named"), sample(LACKING, ids=[f"{a or 'bare'}-{c}" for a, _, c in LACKING], spread=True)
)
def test_missing_part_is_named(place: Place, tmp_path: Path, extra: str, program: str, named: str) -> None:
    ran = installed.run(place(extra), program, tmp_path, **settings(0))
    *_, error, hint = ran.stderr.strip().splitlines()
    assert ran.returncode == 1 and hint == f'pip install "deputize[{named}]"'
    assert error.startswith("deputize.core.errors.SettingsError: ") and error.endswith(" is not installed.")
    assert "During handling" not in ran.stderr and "direct cause" not in ran.stderr


@pytest.mark.processes
def test_core_and_toolkits_import_without_any_extra(place: Place, tmp_path: Path) -> None:
    program = "from deputize.core import Deputy\nfrom deputize.toolkits.gmail import TOOLKIT\nprint(len(TOOLKIT.tools))"
    ran = installed.run(place(""), program, tmp_path)
    assert ran.stdout.strip().isdecimal(), ran.stderr
