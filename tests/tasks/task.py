"""A task: what is asked for, where it begins, what has to hold at its end, and a script that does it.

    @task("Tell Bob that I am in for dinner.", "gmail")
    def dinner() -> Script:
        found = yield use("gmail_search_emails", query="from:bob dinner")
        yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="I am in.")

    @dinner.ends
    def _(end: End) -> None:
        [mail] = end.sent()
        assert mail.to == "Bob Brown <bob@example.test>" and "I am in" in mail.text

``@dinner.starts`` arranges what is not in the sandbox on its first day.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.tasks.person import SAYS_YES, Person

if TYPE_CHECKING:
    from tests.tasks.end import End
    from tests.tasks.world import World


@dataclass(frozen=True)
class Use:
    """A tool call that a script makes."""

    tool: str
    arguments: Mapping[str, Any]


class Refused(Exception):
    """A tool's failure as a script sees it: the sentence that a model reads."""


Script: TypeAlias = Generator[Use | list[Use], Any, Any]
"""Yields a call, or several at once, and is sent the result or results; returns the answer to the user.

An empty list waits for the user's next message.
"""


def use(tool: str, /, **arguments: Any) -> Use:
    """Return a call; an underscore after a Python keyword is removed (``from_``)."""
    return Use(tool, {name.rstrip("_"): value for name, value in arguments.items()})


@dataclass
class Task:
    """See above.

    ``products``: the available toolkits; ``person``: the user's decisions; ``connected``: whether the user has
    consented to everything before.
    """

    asked: str
    products: tuple[str, ...]
    script: Callable[[], Script]
    person: Person = SAYS_YES
    connected: bool = True
    start: Callable[[World], None] = field(default=lambda world: None)
    meanwhile: Callable[[World], None] = field(default=lambda world: None)
    end: Callable[[End], None] | None = None

    @property
    def id(self) -> str:
        """The family and the name of its script: ``mail.dinner``."""
        return f"{self.family}.{self.script.__name__}"

    @property
    def family(self) -> str:
        """Return the task's module."""
        return self.script.__module__.rpartition(".")[2]

    def starts(self, start: Callable[[World], None]) -> Callable[[World], None]:
        """Register the function that arranges the start."""
        self.start = start
        return start

    def is_changed_by_others(self, meanwhile: Callable[[World], None]) -> Callable[[World], None]:
        """Register what others do while the user looks at the first request."""
        self.meanwhile = meanwhile
        return meanwhile

    def ends(self, end: Callable[[End], None]) -> Callable[[End], None]:
        """Register the function that checks the end."""
        self.end = end
        return end


TASKS: Final = dict[str, Task]()
"""All tasks by their ids, in the order of their families' files."""


def task(
    asked: str, *products: str, person: Person = SAYS_YES, connected: bool = True
) -> Callable[[Callable[[], Script]], Task]:
    """Create a task from its script."""

    def made(script: Callable[[], Script]) -> Task:
        one = Task(asked, products, script, person, connected)
        assert one.id not in TASKS, f"two tasks are called {one.id}"
        TASKS[one.id] = one
        return one

    return made
