"""``deputize demo``: the chat in the terminal, and the automatic story without a user."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deputize.cli import show
from deputize.cli.demo.folder import DemoFolder
from deputize.core import SettingsError
from deputize.core.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel


def play_story(folder: Path | None, *, fresh: bool, as_json: bool) -> int:
    """Play the whole story, one line a step, and return the exit code. Without a folder it uses a temporary one."""
    _need_extras()
    from deputize.cli.demo.auto import play

    def tell(step: dict[str, Any]) -> None:
        if as_json:
            print(json.dumps(step, ensure_ascii=False), flush=True)
        else:
            show.step(step)

    with _place(folder) as path, DemoFolder(path).held(fresh=fresh):
        if (path / "vault.sqlite").exists():
            raise SettingsError(
                "The folder contains a demo that has begun.", hint="Pass --fresh, or choose another --folder."
            )
        return 0 if play(DemoFolder(path), tell) else 1


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="deputize-demo-") as made:
        yield Path(made)


def chat(folder: Path | None, *, model: str, fresh: bool, browser: bool, live: str) -> None:
    """Chat until the user leaves. ``live``: the user of the real providers; "" for the sandbox's alice."""
    place = DemoFolder(folder or Settings.load().home / "demo")
    _need_extras()
    from deputize.cli.demo.runtime import demo_stage, live_stage
    from deputize.cli.demo.terminal import Terminal

    mind = chat_model(model)
    with place.held(fresh=fresh):
        with live_stage(place, mind, live) if live else demo_stage(place, mind) as stage:
            Terminal(stage, place, model, browser).talk()


def _need_extras() -> None:
    """Raise `SettingsError` if LangGraph is not installed."""
    try:
        import langgraph.checkpoint.sqlite.aio
        import langgraph.graph  # noqa: F401
    except ImportError as missing:
        raise SettingsError(
            f"The demo needs LangGraph: {missing.name} is not installed.", hint='pip install "deputize[all]"'
        ) from None


def chat_model(name: str) -> BaseChatModel:
    """Return the model with this name, PROVIDER:NAME; the scripted one without a name. Raises `SettingsError`."""
    if not name:
        from deputize.cli.demo.model import ScriptedChatModel

        return ScriptedChatModel()
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise SettingsError("--model needs the package langchain.", hint="pip install langchain") from None
    try:
        return init_chat_model(name)
    except ImportError as missing:
        wanted = re.search(r"pip install (?:-U )?([\w-]+)", str(missing))
        package = wanted[1] if wanted else (missing.name or "another package").partition(".")[0]
        raise SettingsError(f"The model {name} needs {package}.", hint=f"pip install {package}") from None
    except Exception as e:  # its text may repeat a key
        why = type(e).__name__
    raise SettingsError(
        f"There is no chat model {name!r}: {why}.",
        hint="Write PROVIDER:NAME as LangChain knows it, such as ollama:llama3.2, and set the provider's key.",
    )
