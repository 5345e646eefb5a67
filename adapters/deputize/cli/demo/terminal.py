"""The user's side of ``deputize demo``: plain blocking code in front of the stage."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deputize.cli import show
from deputize.cli.audit_table import AuditTable
from deputize.cli.demo.folder import DemoFolder
from deputize.cli.prompt_input import AnsweredElsewhere, line_editing, typed_line
from deputize.core import DeputizeError, InvalidInput, User
from deputize.core.vault.pseudonyms import People

if TYPE_CHECKING:
    from deputize.cli.demo.conversation import Turn
    from deputize.cli.demo.runtime import Stage
    from deputize.core import Consent, RequestPayload
    from deputize.core.approvals.service import Decision

T = TypeVar("T")

WORK: Final = (
    "Turn Bob's mail into a Linear issue in ENG, open a GitHub issue in acme/website that links to it, "
    "tell the design channel"
)
HELP: Final = """\
  /who              who you are here, and who acts for you
  /pages            the link to your own pages: accounts, open questions, approvals
  /grants           what is connected, and what it may be used for
  /revoke google    disconnect
  /audit            the newest rows of the audit
  /help             this
  /quit             leave; the conversation is kept"""


def _listed(names: Iterable[str]) -> str:
    """Return the names as ``Google, Slack and Linear``, each once."""
    *more, last = dict.fromkeys(names)
    return f"{', '.join(more)} and {last}" if more else last


class Left(Exception):
    """Raised when the user leaves."""


@dataclass
class Terminal:
    """The user's side of the chat."""

    stage: Stage
    place: DemoFolder
    model: str
    browser: bool
    linked: set[str] = field(default_factory=set)
    editing: ModuleType | None = field(default_factory=lambda: line_editing())

    def talk(self) -> None:
        """Chat until the user leaves. Pending requests stay on disk."""
        self._welcome()
        try:
            self._pick_up()
            while True:
                self._handle(self._line("you> ", remember=True))
        except (Left, KeyboardInterrupt):
            show.out.print()
            show.out.print("Left. The conversation is kept: run the same command again to go on.", soft_wrap=True)
            if self.stage.sandbox:
                show.out.print("To prove that nobody has changed the record of what was done, run:")
                show.out.print(
                    show.plain(f"  DEPUTIZE_HOME={self.place.path} deputize audit verify", "dim"), soft_wrap=True
                )

    def _welcome(self) -> None:
        stage, lines = self.stage, [f"An assistant acts for {self.stage.chat.user}. It never holds a token."]
        products = _listed([stage.deputy.providers[app.provider].label for app in stage.deputy.apps.values()])
        if stage.sandbox:
            lines.append(f"{products}: played on this machine by a sandbox. Nothing leaves it, no account is needed.")
        else:
            lines.append(f"{products}: the real ones. What you allow and approve happens.")
        if not self.model:
            lines.append("The model is a small script that answers from what the tools return; --model for a real one.")
        lines += [
            f"State: {self.place.path}",
            'Ask "anything from Bob this week?", then "answer him yes". /help, /quit',
        ]
        if stage.sandbox:
            lines.append(f'Or, with all of them: "{WORK}".')
        show.out.print("[bold]deputize demo[/bold]")
        for line in lines:
            show.out.print(show.plain(f"  {line}"), soft_wrap=True)
        show.out.print()

    def _pick_up(self) -> None:
        """Continue the last run if it was interrupted."""
        chat = self.stage.chat
        if asked := self._run(chat.unfinished_message()):
            show.out.print(show.plain(f"Picking up where we stopped: “{asked}”"), soft_wrap=True)
            self._go_on(lambda: chat.look_again())

    def _handle(self, text: str) -> None:
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
        """Run one question through all its pauses to the model's answer. Errors are printed; the chat continues."""
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
        except Exception as e:  # an error of a model or a tool; its text may hold secrets
            show.note(f"That failed: {show.reason(e)}. Ask again, or leave and come back.", "red")

    def _tell(self, turn: Turn) -> None:
        if turn.text:
            show.out.print(show.plain(turn.text), soft_wrap=True)

    def _consented(self, turn: Turn) -> Turn:
        """Show the links, once, and the link of their common page. Wait, with a tick for each consent that ends."""
        from deputize.cli.browser import open_browser
        from deputize.core.web.pages.local_links import show_anew

        deputy = self.stage.deputy
        new = [ask for ask in turn.consents if ask["link"] not in self.linked]
        for ask in new:
            self.linked.add(ask["link"])
            self._run(show_anew(deputy, ask["link"]))
            show.consent(ask, deputy.providers[ask["provider"]].label, deputy.agent, show.out)
        together = self._on_one_page(new)
        for link in [together] if together else [ask["link"] for ask in new]:
            if self.browser:
                open_browser(link)
        with show.waiting("Waiting until you have been there (Ctrl-C leaves, and keeps the place) ...", show.out):
            return self._run(self.stage.chat.wait(tell=self._tick))

    def _on_one_page(self, asks: Sequence[RequestPayload]) -> str:
        """Show the common link of several requests and return it, or "" for one request or if no page can be served."""
        from deputize.core.web.pages.local_links import step_link

        steps = {ask["request_id"] for ask in asks}
        if len(asks) < 2 or len(steps) != 1 or "" in steps:
            return ""
        try:
            link = self._run(step_link(self.stage.deputy, self.stage.chat.user, *steps))
        except DeputizeError:  # the port is taken: each link has been shown
            return ""
        show.out.print(f"Or all {len(asks)} on one page, for you alone:")
        show.link(link, show.out)
        return link

    def _tick(self, consent: Consent) -> None:
        show.ended(consent, self.stage.deputy.providers[consent.provider].label, show.out)

    def _decided(self, turn: Turn) -> Turn:
        """Show the pending acts, and ask for a decision."""
        from deputize.cli.prompts import approval_page, describe_decision

        stage = self.stage
        decisions: dict[str, Decision] = {}
        self._on_one_page(turn.approvals)
        for ask in turn.approvals:
            whole = self._run(stage.chat.whole(ask))
            show.approval(whole, show.out, approval_page(stage.deputy, User.of(stage.chat.user), whole))
            if decision := self._decision(ask):
                decisions[ask["approval_id"]] = decision
        turn = self._run(stage.chat.decide(decisions))
        for late in turn.late:
            show.out.print(show.plain(describe_decision(late)), soft_wrap=True)
        return turn

    def _decision(self, ask: Mapping[str, Any]) -> Decision | None:
        """Return the user's answer, or None if it was decided elsewhere, which is printed."""
        from deputize.cli.prompts import describe_decision

        chat = self.stage.chat
        try:
            good = self._yes("Do this? [y/n] ", lambda: self._run(chat.is_decided(ask)))
        except AnsweredElsewhere:
            show.out.print()
            show.out.print(show.plain(describe_decision(self._run(chat.found(ask)))), soft_wrap=True)
            return None
        return "approve" if good else "reject"

    def _yes(self, question: str, elsewhere: Callable[[], bool]) -> bool:
        while True:
            answer = self._line(question, elsewhere=elsewhere).lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            show.out.print("y or n, please.")

    def _line(self, prompt: str, *, remember: bool = False, elsewhere: Callable[[], bool] | None = None) -> str:
        """Return the user's input.

        The prompt goes through `input`, which reports its width to readline. A prompt that may be answered
        ``elsewhere`` does not, because `input` would not notice that.
        """
        if elsewhere and sys.stdin.isatty():
            show.out.print(show.plain(prompt), end="")
            if (line := typed_line(elsewhere)) is None:
                raise Left
            return line
        try:
            said = input(prompt).strip()
        except EOFError:
            raise Left from None
        if remember and said and self.editing:
            self.editing.add_history(said)
        return said

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.stage.deputy.run(work)

    # ------------------------------------------------------------- commands in the chat

    def _command(self, name: str, *words: str) -> None:
        match name, words:
            case "/who", ():
                self._who()
            case "/pages", ():
                self._pages()
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
                raise InvalidInput(
                    f"The command {name} does not exist, or takes other arguments.", hint="/help lists the commands."
                )

    def _who(self) -> None:
        deputy, chat = self.stage.deputy, self.stage.chat
        held = self._run(deputy.connections(chat.user))
        facts = {
            "you": chat.user,
            "acts for you": deputy.agent,
            "model": self.model or "scripted",
            "your pages": self._own_pages(),
            "providers": self.stage.provider or "the real ones",
            "accounts": ", ".join(f"{one.account} ({one.provider})" for one in held) or "none connected",
        }
        for name, value in facts.items():
            show.out.print(show.plain(f"  {name}: {value}"), soft_wrap=True)

    def _pages(self) -> None:
        from deputize.cli.browser import open_browser

        link = self._own_pages()
        show.out.print("Your accounts, open questions and approvals. The link is for you alone, and good for a day:")
        show.link(link, show.out)
        if self.browser:
            open_browser(link)

    def _own_pages(self) -> str:
        from deputize.core.web.pages.local_links import connections_link

        return self._run(connections_link(self.stage.deputy, self.stage.chat.user))

    def _revoke(self, provider: str) -> None:
        deputy = self.stage.deputy
        ended = self._run(deputy.revoke(self.stage.chat.user, provider))
        show.revoked(ended, deputy.providers[provider].label)

    def _audit(self) -> None:
        deputy = self.stage.deputy
        people = deputy.run(People.of(deputy.vault))
        AuditTable(show.out).print(map(people.resolve_row, deque(deputy.audit.rows(), maxlen=20)))
