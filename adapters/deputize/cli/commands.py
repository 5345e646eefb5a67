"""The group of all commands: ours, those of other packages, and the one place where errors become words."""

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
    """Our commands, and what other packages add under the entry-point group ``deputize.commands``.

    An entry point is a function as Typer wants it, or a `typer.Typer`. Ours win where names are the same.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Ours in their order, then the others'."""
        ours = super().list_commands(ctx)
        return [*ours, *sorted(name for name in _others() if name not in ours)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; another package's is loaded here."""
        ours = super().get_command(ctx, cmd_name)
        point = None if ours else _others().get(cmd_name)
        return _flowing(_loaded(point) if point else ours)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. A `DeputizeError` ends it with a message, what to do, and exit code 1."""
        from deputize.core.errors import DeputizeError

        show.quiet_logs()
        try:
            return super().invoke(ctx)
        except DeputizeError as e:
            show.error(e)
            raise typer.Exit(1) from None
        except typer.Abort:
            if not sys.stdin.isatty():
                show.note("\nNobody is there to answer. The option that says yes is in --help.")
            raise
        except KeyboardInterrupt:
            show.note("Stopped.")
            raise typer.Exit(130) from None


def _flowing(command: Any) -> Any:
    """The command, each paragraph of its help one line: Typer breaks all but the first where the source does, too."""
    if command is not None and command.help:
        command.help = "\n\n".join(" ".join(one.split()) for one in command.help.split("\n\n"))
    for beneath in getattr(command, "commands", {}).values():
        _flowing(beneath)
    return command


def _others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint) -> Any:
    """The entry point's command; one that cannot be loaded still has its place, and says why it does not work."""
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
