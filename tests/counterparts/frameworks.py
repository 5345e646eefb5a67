"""The frameworks' own tests with deputize in place: python -m tests.counterparts.frameworks

The sdists of langgraph-prebuilt, langchain and openai-agents contain their tests. They run twice: as they are, and with
deputize's act node in place of each ``ToolNode``, or with deputize's middleware or tools in each agent. The command
runs all of it for the releases in the current environment, and ends with 1 if a test fails with deputize only and is
not in `DIFFERENCES`. To test the lowest releases, run it in an environment with these.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.counterparts.install import install_suites
from tests.support.counterparts import CHECKOUT, SUITE_PACKAGES_HOME, suite_home

SECONDS: Final = 900
IN_PLACE: Final = CHECKOUT / "tests" / "counterparts" / "in_place"


@dataclass(frozen=True)
class Suite:
    """The tests of a framework, the plugin that puts deputize in place, and its modes."""

    package: str
    paths: tuple[str, ...]
    plugin: str
    modes: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """The number of tests that were collected, and those that failed: ``module::test``."""

    collected: int
    failed: frozenset[str]


SUITES: Final = (
    Suite("langgraph-prebuilt", ("tests",), "act_node_in_place", ("plain", "gate")),
    Suite("langchain", ("tests/unit_tests/agents",), "middleware_in_place", ("first",)),
    Suite(
        "openai-agents",  # of 430 files those about runs that wait, are stored, nested or copied
        (
            "tests/test_agent_as_tool.py",
            "tests/test_agent_runner_streamed.py",
            "tests/test_agent_scoped_approvals.py",
            "tests/test_handoff_history_duplication.py",
            "tests/test_hitl_error_scenarios.py",
            "tests/test_hitl_session_scenario.py",
            "tests/test_resume_tool_use_behavior.py",
            "tests/test_run_impl_resume_paths.py",
            "tests/test_run_state.py",
        ),
        "tools_in_place",
        ("tools",),
    ),
)
AGENTS: Final = "tests.unit_tests.agents."
STALE_DIAGRAMS: Final = (
    f"{AGENTS}middleware.core.test_framework::test_create_agent_jump[memory]",
    f"{AGENTS}middleware.core.test_framework::test_simple_agent_graph",
    f"{AGENTS}middleware.core.test_framework::test_agent_graph_with_jump_to_end_as_after_agent",
    f"{AGENTS}test_return_direct_graph::test_agent_graph_without_return_direct_tools",
    f"{AGENTS}test_return_direct_graph::test_agent_graph_with_return_direct_tool",
    f"{AGENTS}test_return_direct_graph::test_agent_graph_with_mixed_tools",
)
"""Newer releases of LangGraph draw the names of tools, which the stored diagrams lack: these tests then fail without
deputize, too."""
RECORDED: Final[Mapping[tuple[str, str], Outcome]] = {
    ("langgraph-prebuilt", "1.1.3"): Outcome(267, frozenset()),
    ("langchain", "1.5.2"): Outcome(
        1205,
        frozenset(
            {
                *STALE_DIAGRAMS,
                # a warning of Python's typing, which this test reads as an error
                f"{AGENTS}middleware.core.test_overrides::test_model_request_initialization_preserves_concurrent_warnings",
            }
        ),
    ),
    # the openai package names more details of a usage than this test expects
    ("openai-agents", "0.24.0"): Outcome(
        1297, frozenset({"tests.test_run_state.TestSerializationRoundTrip::test_preserves_usage_data"})
    ),
}
"""The outcome without deputize, for each release that was tested. Of another release the stock tests run as well."""

DIFFERENCES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "plain": {},
    "gate": {
        "a resume does not run a call again that has finished before the pause": (
            "tests.test_react_agent::test_react_agent_parallel_tool_calls[memory-v1]",
        ),
        "a tool behind the gate reads the execution info of its own task": (
            "tests.test_tool_node::test_tool_runtime_forwards_execution_info_server_info_and_tools",
            "tests.test_tool_node::test_tool_runtime_forwards_execution_info_server_info_and_tools_async",
        ),
    },
    "first": {
        "the agent's diagram contains the nodes of the middleware": (
            f"{AGENTS}middleware.core.test_decorators::test_async_middleware_with_can_jump_to_graph_snapshot",
            f"{AGENTS}middleware.core.test_diagram::test_create_agent_diagram",
            *STALE_DIAGRAMS,
        ),
        "create_agent refuses unknown tools only if no middleware wraps tool calls": (
            *(
                f"{AGENTS}middleware.core.test_dynamic_tools::test_dynamic_tool_without_handler_raises_error[{one}]"
                for one in (
                    "with_static_tools-False",
                    "with_static_tools-True",
                    "without_static_tools-False",
                    "without_static_tools-True",
                )
            ),
            f"{AGENTS}middleware.core.test_tools::test_unknown_tool_raises_error",
        ),
        "the system prompt contains the explanation of untrusted content, which the test's model repeats or counts": (
            f"{AGENTS}middleware.core.test_framework::test_create_agent_invoke[memory]",
            f"{AGENTS}middleware.core.test_framework::test_on_model_call",
            *(
                f"{AGENTS}middleware.core.test_internal_call_transformer::test_internal_whole_message_excluded_from_{one}"
                for one in ("messages_projection", "raw_event_log")
            ),
            f"{AGENTS}test_invalid_tool_calls::test_create_agent_answers_invalid_tool_calls_on_next_turn",
            f"{AGENTS}test_invalid_tool_calls::test_create_agent_answers_invalid_tool_calls_async",
        ),
        "the recorded HTTP request has no system prompt": tuple(
            f"{AGENTS}test_response_format_integration::{name}[{flag}]"
            for name in ("test_inference_to_tool_output", "test_inference_to_native_output", "test_strict_mode")
            for flag in (True, False)
        ),
    },
    "tools": {
        "the agent has deputize's tools beside those of the test, which lists or counts all": tuple(
            f"tests.test_agent_as_tool::test_agent_as_tool_{name}"
            for name in (
                "default_identity_tracks_the_current_tool_name",
                "derived_name_collision_allows_explicit_override",
                "derived_names_are_disambiguated_by_namespace",
                "ignores_disabled_derived_name_collision",
                "is_enabled_callable",
                "is_enabled_mixed",
                "is_enabled_preserves_other_params",
                "warns_and_keeps_last_distinct_agent_with_the_same_name",
            )
        ),
    },
}
"""By mode and reason: the tests that pass without deputize and fail with it."""


def differences(mode: str) -> frozenset[str]:
    """Return the tests that may fail with deputize only."""
    return frozenset(test for tests in DIFFERENCES[mode].values() for test in tests)


def run(suite: Suite, mode: str = "", processes: int = 0) -> Outcome:
    """Run the tests of a suite with deputize in place; without a mode, as they are."""
    home = suite_home(suite.package)
    folders = [str(SUITE_PACKAGES_HOME), *([str(IN_PLACE)] if mode else [])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DEPUTIZE_IN_PLACE": mode,
        "LANGSMITH_TRACING": "false",
    }
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        command = [sys.executable, "-m", "pytest", *suite.paths, "-q", "-n", str(processes), "-p", "no:cacheprovider"]
        command += ["-W", "ignore", "-o", "addopts=", "-o", "asyncio_mode=auto", "--tb=short", f"--junitxml={report}"]
        command += ["-p", suite.plugin] if mode else []
        done = subprocess.run(
            command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS
        )
        if done.returncode not in (0, 1):  # anything but tests that pass or fail
            raise RuntimeError(done.stdout.decode()[-3000:])
        cases = ElementTree.parse(report).getroot().findall(".//testcase")  # noqa: S314 - written by this program
    failed = [one for one in cases if one.find("failure") is not None or one.find("error") is not None]
    return Outcome(len(cases), frozenset(f"{one.get('classname')}::{one.get('name')}" for one in failed))


def main() -> None:
    """Run each suite as it is and in each mode, and print the counts."""
    install_suites()
    wrong = False
    for suite in SUITES:
        stock = run(suite, processes=2)
        release = version(suite.package)
        print(f"{suite.package} {release}, as it is: {stock.collected} tests, {len(stock.failed)} fail")
        for mode in suite.modes:
            ours = run(suite, mode, processes=2)
            found, expected = ours.failed - stock.failed, differences(mode)
            wrong |= ours.collected != stock.collected or not found <= expected
            print(f"  {mode}: {ours.collected} tests, {len(found)} fail with deputize only")
            print(*(f"    not in the list: {one}\n" for one in sorted(found - expected)), sep="", end="")
            print(*(f"    passes: {one}\n" for one in sorted(expected - ours.failed)), sep="", end="")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
