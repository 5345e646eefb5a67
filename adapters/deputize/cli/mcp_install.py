"""``deputize mcp install``: writes the server into a client's settings file, after showing the change, and removes it.

Only the entry ``deputize`` is changed. The rest of the file is kept, and read again just before it is replaced, because
clients write their files, too. A file that cannot be read without loss, such as JSON with comments, is left alone.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deputize.cli import show
from deputize.cli.mcp_config import NAME, Client, as_toml, check_options, entry_for, user_file, warn
from deputize.core.errors import InvalidInput

MAX_SETTINGS_BYTES: Final = 32 * 2**20


def install(
    client: Annotated[Client, typer.Argument(help="The client whose settings are changed.")],
    tools: Annotated[list[str] | None, typer.Argument(help="Toolkits, toolsets and tools. Default: all.")] = None,
    url: Annotated[str, typer.Option(help="The endpoint of a server over HTTP. Default: this machine, by stdio.")] = "",
    client_id: Annotated[str, typer.Option(help="The client id that is registered for it at the issuer.")] = "",
    file: Annotated[Path | None, typer.Option(help="Another settings file, such as a project's.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Remove the server from the client's settings.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """Write these tools into CLIENT's settings. Examples: deputize mcp install claude-desktop gmail calendar

    deputize mcp install claude-desktop --undo
    """
    if undo and (tools or url or client_id):
        raise typer.BadParameter("--undo takes no tools, --url or --client-id.")
    fault = None if undo else check_options(client, tools or [], url, client_id)
    path = (file or user_file(client)).resolve()  # a link to a file elsewhere stays a link
    table, entry = entry_for(client, url=url, client_id=client_id, tools=tools or [])
    before = _read(path)
    after = changed_text(before, table, None if undo else entry, toml=path.suffix == ".toml")
    if after == before:
        show.out.print("There is nothing to change.")
        return
    names = (str(path), str(path)) if before else ("nothing", str(path))
    for line in unified_diff(before.splitlines(), after.splitlines(), *names, n=2, lineterm=""):
        show.out.print(show.plain(line), soft_wrap=True)
    if not yes:
        typer.confirm("Write this?", abort=True, err=True)
    _replace(path, before, after)
    show.note(f"Restart {client.value}: it reads its settings at the start.")
    if not undo:
        show.note(f"deputize mcp install {client.value} --undo takes it out again.")
        warn(fault, url)


def changed_text(before: str, table: str, entry: Mapping[str, Any] | None, *, toml: bool) -> str:
    """Return the settings with this entry of ours, or without one for None. Raises `InvalidInput` for a file that
    cannot be changed without loss."""
    settings = _parsed(before, toml=toml)
    servers = settings.get(table, {})
    if not isinstance(servers, dict):
        raise _unusable(f"its {table} is not a table")
    if entry is None and NAME not in servers:
        return before
    wanted = {name: one for name, one in servers.items() if name != NAME} | ({NAME: dict(entry)} if entry else {})
    if toml:
        text = _without_toml_entry(before, table)
        if entry:
            gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
            text += gap + as_toml(f"{table}.{NAME}", entry)
        if _parsed(text, toml=True).get(table, {}) != wanted:
            raise _unusable("its entry for deputize has another form than this command writes")
        return text
    return json.dumps({**settings, table: wanted}, indent=2, ensure_ascii=False) + "\n"


def _parsed(text: str, *, toml: bool) -> dict[str, Any]:
    try:
        found = tomllib.loads(text) if toml else json.loads(text or "{}", object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise _unusable("it is not plain " + ("TOML" if toml else "JSON; perhaps it has comments")) from None
    if not isinstance(found, dict):
        raise _unusable("it is not an object")
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _without_toml_entry(text: str, table: str) -> str:
    """Return the text without our tables: from their headers to the next header of another table."""
    kept, ours = list[str](), False
    for line in text.splitlines(keepends=True):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            ours = re.fullmatch(rf"{table}\.{NAME}(?:\..*)?", header[1]) is not None
        if not ours:
            kept.append(line)
    return "".join(kept)


def _unusable(why: str) -> InvalidInput:
    return InvalidInput(
        f"The settings file was left alone: {why}.",
        hint="Put the output of deputize mcp config into it by hand.",
        fix_by="user",
    )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_SETTINGS_BYTES:
            raise _unusable("it is too large")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(f"it cannot be read ({type(error).__name__})") from None


def _replace(path: Path, before: str, after: str) -> None:
    """Replace the file at once, with its mode, unless it has changed since it was shown."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        made.chmod(mode)
        if _read(path) != before:
            raise _unusable("another program has changed it meanwhile")
        made.replace(path)
    except OSError as error:
        raise _unusable(f"it cannot be written ({error.strerror})") from None
    finally:
        made.unlink(missing_ok=True)
