"""``deputize demo``: the chat in the terminal, in plain blocking code in front of the stage."""

from __future__ import annotations

import json
import re
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deputize.cli import show
from deputize.cli.audit_table import AuditTable
from deputize.cli.demo.folder import DemoFolder
from deputize.core import DeputizeError, InvalidInput, SettingsError
from deputize.core.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

    from deputize.cli.demo.stage import Stage, Turn
    from deputize.core.act.approval import Decision

T = TypeVar("T")

HELP: Final = """\
  /who              who you are here, and who acts for you
  /grants           what is connected, and what it may be used for
  /revoke google    disconnect
  /audit            the newest rows of the audit
  /help             this
  /quit             leave; the conversation is kept"""


def auto(folder: Path | None, *, fresh: bool, as_json: bool) -> int:
    """Play the whole story, one line a step; the exit code. Without a folder: in a temporary one, gone afterwards."""
    _need_extras()
    from deputize.cli.demo.story import play

    def tell(step: dict[str, Any]) -> None:
        if as_json:
            print(json.dumps(step, ensure_ascii=False), flush=True)
        else:
            show.step(step)

    with _place(folder) as path, DemoFolder(path).held(fresh=fresh):
        if (path / "vault.sqlite").exists():
            raise SettingsError(
                "The folder holds a demo that has begun.", hint="Start over with --fresh, or elsewhere."
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
    """Talk, until the person leaves. ``live``: the user of the real providers; empty: the sandbox's alice."""
    place = DemoFolder(folder or Settings.load().home / "demo")
    _need_extras()
    from deputize.cli.demo.stage import demo_stage, live_stage

    mind = chat_model(model)
    with place.held(fresh=fresh):
        with live_stage(place, mind, live) if live else demo_stage(place, mind) as stage:
            Terminal(stage, place, model, browser).talk()


def _need_extras() -> None:
    """Raise `SettingsError` where LangGraph is not installed."""
    try:
        import langgraph.checkpoint.sqlite.aio
        import langgraph.graph  # noqa: F401
    except ImportError as missing:
        raise SettingsError(
            f"The demo needs LangGraph: {missing.name} is not installed.", hint='pip install "deputize[all]"'
        ) from None


def chat_model(name: str) -> BaseChatModel:
    """The model of this name, PROVIDER:NAME; without a name the scripted one. Raises `SettingsError`."""
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
    except Exception as e:  # what providers say here may repeat a key
        why = type(e).__name__
    raise SettingsError(
        f"There is no chat model {name!r}: {why}.",
        hint="Write PROVIDER:NAME as LangChain knows it, such as ollama:llama3.2, and set the provider's key.",
    )


def reason(e: Exception) -> str:
    """What went wrong. Of what is not ours only the kind and the place: its text may hold addresses with codes."""
    if isinstance(e, DeputizeError):
        return f"{e.message} [{e.code}] {e.hint}".strip()
    last = traceback.extract_tb(e.__traceback__)[-1]
    return f"{type(e).__name__} at {last.filename.rpartition('/')[2]}:{last.lineno}"


class Left(Exception):
    """The person left, in the middle of something or not."""


@dataclass
class Terminal:
    """The person's side of the chat."""

    stage: Stage
    place: DemoFolder
    model: str
    browser: bool
    shown: str = ""

    def talk(self) -> None:
        """Until the person leaves. Whatever is open then stays open, on disk."""
        self._welcome()
        try:
            self._pick_up()
            while True:
                self._said(self._line("you> "))
        except (Left, KeyboardInterrupt):
            show.out.print()
            show.out.print("Left. The conversation is kept: run the same command again to go on.", soft_wrap=True)
            if self.stage.sandbox:
                show.out.print(
                    show.plain(f"DEPUTIZE_HOME={self.place.path} deputize audit verify", "dim"), soft_wrap=True
                )

    def _welcome(self) -> None:
        stage, lines = self.stage, [f"An assistant acts for {self.stage.chat.user}. It never holds a token."]
        if stage.sandbox:
            lines.append("Google is played by a stand-in on this machine; nothing leaves it, no account is needed.")
        else:
            lines.append("Google is the real one: what you allow and approve happens.")
        if not self.model:
            lines.append("The model is a small script that answers from what the tools return; --model for a real one.")
        lines += [
            f"State: {self.place.path}",
            'Ask "anything from Bob this week?", then "answer him yes". /help, /quit',
        ]
        show.out.print("[bold]deputize demo[/bold]")
        for line in lines:
            show.out.print(show.plain(f"  {line}"), soft_wrap=True)
        show.out.print()

    def _pick_up(self) -> None:
        """Go on where the last run stopped, if it stopped in the middle of something."""
        chat = self.stage.chat
        if asked := self._run(chat.left_off()):
            show.out.print(show.plain(f"Picking up where we stopped: “{asked}”"), soft_wrap=True)
            self._go_on(lambda: chat.look_again())

    def _said(self, text: str) -> None:
        if not text:
            return
        if text.startswith("/"):
            try:
                self._command(*text.split())
            except DeputizeError as e:
                show.error(e)
            return
        self._go_on(lambda: self.stage.chat.ask(text))

    def _go_on(self, make: Callable[[], Coroutine[Any, Any, Turn]]) -> None:
        """One question, through all its pauses, to the model's last word. What fails is told; the chat goes on."""
        try:
            with show.thinking():
                turn = self._run(make())
            self._tell(turn)
            while turn.consents or turn.approvals:
                turn = self._consented(turn) if turn.consents else self._decided(turn)
                self._tell(turn)
        except Left:
            raise
        except DeputizeError as e:
            show.error(e)
        except Exception as e:  # a model's or a tool's own mistake; its text may hold what nobody should read
            show.note(f"That failed: {reason(e)}. Ask again, or leave and come back.", "red")

    def _tell(self, turn: Turn) -> None:
        if turn.text:
            show.out.print(show.plain(turn.text), soft_wrap=True)

    def _consented(self, turn: Turn) -> Turn:
        """Show the link, once, and wait."""
        from deputize.cli.prompts import open_browser

        deputy = self.stage.deputy
        for ask in turn.consents:
            if ask["link"] != self.shown:
                self.shown = ask["link"]
                show.consent(ask, deputy.providers[ask["provider"]].label, deputy.agent, show.out)
                if self.browser:
                    open_browser(ask["link"])
        with show.waiting("Waiting until you have been there (Ctrl-C leaves, and keeps the place) ...", show.out):
            return self._run(self.stage.chat.wait())

    def _decided(self, turn: Turn) -> Turn:
        """Show what is about to happen, and ask."""
        decisions: dict[str, Decision] = {}
        for ask in turn.approvals:
            show.approval(self._run(self.stage.chat.whole(ask)), show.out)
            decisions[ask["approval_id"]] = "approve" if self._yes("Do this? [y/n] ") else "reject"
        return self._run(self.stage.chat.decide(decisions))

    def _yes(self, question: str) -> bool:
        while True:
            answer = self._line(question).lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            show.out.print("y or n, please.")

    def _line(self, prompt: str) -> str:
        try:
            return show.out.input(show.plain(prompt, "bold")).strip()
        except EOFError:
            raise Left from None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.stage.deputy.run(work)

    # ------------------------------------------------------------- commands in the chat

    def _command(self, name: str, *words: str) -> None:
        match name, words:
            case "/who", ():
                self._who()
            case "/grants", ():
                show.connections(self._run(self.stage.deputy.connections(self.stage.chat.user)))
            case "/revoke", (provider,):
                self._revoke(provider)
            case "/audit", ():
                self._audit()
            case "/help", ():
                show.out.print(show.plain(HELP))
            case "/quit", ():
                raise Left
            case _:
                raise InvalidInput(f"There is no command {name}, or it goes otherwise.", hint="/help lists them.")

    def _who(self) -> None:
        deputy, chat = self.stage.deputy, self.stage.chat
        held = self._run(deputy.connections(chat.user))
        facts = {
            "you": chat.user,
            "acts for you": deputy.agent,
            "model": self.model or "scripted",
            "your pages": self.stage.pages,
            "providers": self.stage.provider or "the real ones",
            "accounts": ", ".join(f"{one.account} ({one.provider})" for one in held) or "none connected",
        }
        for name, value in facts.items():
            show.out.print(show.plain(f"  {name}: {value}"), soft_wrap=True)

    def _revoke(self, provider: str) -> None:
        deputy = self.stage.deputy
        ended = self._run(deputy.revoke(self.stage.chat.user, provider))
        show.revoked(ended, deputy.providers[provider].label)

    def _audit(self) -> None:
        AuditTable(show.out).print(deque(self.stage.deputy.audit.rows(), maxlen=20))
