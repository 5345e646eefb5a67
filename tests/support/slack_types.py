"""Slack's own description of its Web API: the argument and answer types of npm @slack/web-api, checked by tsc.

The package describes every method but ``assistant.search.context``, whose interface stands here as the reference of
the next version has it: docs.slack.dev/tools/node-slack-sdk/reference/web-api, AssistantSearchContextArguments.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.counterparts import DESCRIPTIONS_HOME, node, require_description

NUMBERS: Final = frozenset({"limit", "count", "page", "length", "num_minutes", "post_at", "after", "before"})
FLAGS: Final = frozenset(
    {
        *("exclude_archived", "include_num_members", "include_all_metadata", "inclusive", "is_private", "force"),
        *("include_count", "unfurl_links", "unfurl_media", "reply_broadcast", "link_names"),
    }
)
STRUCTURED: Final = frozenset({"blocks", "metadata", "files", "profile", "changes", "document_content", "channel_ids"})
LISTS: Final = frozenset({"content_types", "channel_types"})
_SEARCH: Final = """
interface AssistantSearchContextArguments extends S.AuthTestArgumentsLike {
  query: string; action_token?: string; after?: number; before?: number; context_channel_id?: string; cursor?: string;
  channel_types?: ('im' | 'mpim' | 'public_channel' | 'private_channel')[];
  content_types?: ('channels' | 'users' | 'messages' | 'files' | 'enterprise')[];
  include_bots?: boolean; include_context_messages?: boolean; include_deleted_users?: boolean; limit?: number;
  modifiers?: string; sort?: 'score' | 'timestamp'; sort_dir?: 'asc' | 'desc'; term_clauses?: string[];
}
""".replace(" extends S.AuthTestArgumentsLike", "")


def typed(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return a form's strings as typed values."""
    return {name: _typed(name, value) for name, value in arguments.items()}


def _typed(name: str, value: str) -> Any:
    if name in NUMBERS:
        return int(value)
    if name in FLAGS:
        return {"true": True, "false": False}[value]
    if name in LISTS:
        return value.split(",")
    return json.loads(value) if name in STRUCTURED else value


def complaints(calls: Sequence[tuple[str, Mapping[str, Any]]], suffix: str = "Arguments") -> list[str]:
    """Return tsc's complaints about each call, "" if it fits; one run for all.

    ``suffix``: Arguments, or Response for answers.
    """
    package, binary = require_description("@slack/web-api"), node()
    assert package.is_dir() and binary is not None
    lines = ["import type * as S from '@slack/web-api';", _SEARCH.replace("\n", " ")]
    for n, (method, said) in enumerate(calls):
        own = method == "assistant.search.context"
        name = "".join(part[:1].upper() + part[1:] for part in method.split(".")) + suffix
        lines.append(f"export const r{n}: {'' if own else 'S.'}{name} = {json.dumps(said)};")
    options = {"strict": True, "module": "node16", "target": "es2022", "skipLibCheck": True, "noEmit": True}
    with tempfile.TemporaryDirectory(dir=DESCRIPTIONS_HOME) as folder:  # below, so that tsc finds node_modules
        Path(folder, "calls.ts").write_text("\n".join(lines) + "\n")
        Path(folder, "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["calls.ts"]}))
        tsc = DESCRIPTIONS_HOME / "node_modules" / "typescript" / "bin" / "tsc"
        run = subprocess.run(
            [binary, str(tsc), "-p", folder, "--pretty", "false"], capture_output=True, text=True, timeout=240
        )
    found = [""] * len(calls)
    for line in run.stdout.splitlines():
        if hit := re.search(r"calls\.ts\((\d+),\d+\): (error .*)", line):
            assert int(hit[1]) > 2, line
            found[int(hit[1]) - 3] = hit[2]
        else:
            assert not line.startswith("error"), line
    assert run.returncode == 0 or any(found), run.stdout + run.stderr
    return found
