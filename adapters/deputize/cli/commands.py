"""The group of all commands, including those of other packages, and the conversion of errors into messages."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from deputize.cli import show

GROUP = "deputize.commands"


class Commands(TyperGroup):
    """Deputize's commands, and those that other packages add under the entry-point group ``deputize.commands``.

    An entry point is a function in Typer's form, or a `typer.Typer`. Of two equal names, deputize's command is used.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return deputize's commands in their order, then the others."""
        ours = super().list_commands(ctx)
        return [*ours, *sorted(name for name in _plugin_commands() if name not in ours)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command with this name. Loads another package's command."""
        ours = super().get_command(ctx, cmd_name)
        point = None if ours else _plugin_commands().get(cmd_name)
        return _unwrap_help(_loaded(point) if point else ours)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. A `DeputizeError` ends it with the message, the hint, and exit code 1."""
        from deputize.core.errors import DeputizeError

        show.quiet_logs()
        try:
            return super().invoke(ctx)
        except DeputizeError as e:
            show.error(e)
            raise typer.Exit(1) from None
        except typer.Abort:
            if not sys.stdin.isatty():
                show.note("\nThis question needs a terminal. See --help for the option that answers yes.")
            raise
        except KeyboardInterrupt:
            show.note("Stopped.")
            raise typer.Exit(130) from None


def _unwrap_help(command: Any) -> Any:
    """Return the command with each paragraph of its help on one line, because Typer keeps the source's line breaks in
    all but the first paragraph."""
    if command is not None and command.help:
        command.help = "\n\n".join(" ".join(one.split()) for one in command.help.split("\n\n"))
    for beneath in getattr(command, "commands", {}).values():
        _unwrap_help(beneath)
    return command


def _plugin_commands() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint) -> Any:
    """Return the entry point's command. A command that cannot be loaded is still listed, and reports why it fails."""
    try:
        found = point.load()
    except Exception as e:
        found = _broken(point, type(e).__name__)
    if not isinstance(found, typer.Typer):
        group = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        group.command(point.name)(found)
        found = group
    command = get_command(found)
    command.name = point.name
    return command


def _broken(point: EntryPoint, why: str) -> Any:
    def broken() -> None:
        from deputize.core.errors import SettingsError

        package = point.dist.name if point.dist else "Its package"
        raise SettingsError(f"The command {point.name!r} cannot be loaded: {why}.", hint=f"{package} provides it.")

    broken.__doc__ = f"Cannot be loaded: {why}."
    return broken
