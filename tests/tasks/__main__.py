"""Do the tasks and print a table: ``python -m tests.tasks [--model PROVIDER:NAME] [--show] [NAME...]``.

By their scripts, or, with ``--model``, by any chat model that LangChain's `init_chat_model` knows (its package and key
have to be there). A name is a task's id or what it begins with: ``mail``, ``github_reviews.address``. ``--show`` prints
each conversation: what the model reads. Exit code 1 where a task was not done.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from tests.tasks import families, play
from tests.tasks.task import TASKS, Task

LINE = "{:34} {:24} {:>5} {:>6} {:>5}  {:6} {}"


def chosen(names: Sequence[str]) -> list[Task]:
    """Return the tasks with these names or families; all without names."""
    known = [one for one in TASKS.values() if one.family in families.FAMILIES]
    return [one for one in known if not names or any(one.id.startswith(name) for name in names)]


async def tried(task: Task, model: Any) -> play.Played:
    """Return the result of the task, whatever went wrong."""
    try:
        return await play.play(task, model)
    except Exception as wrong:  # a model's run ends in every way
        fault = f"{type(wrong).__name__}: {wrong}".partition("\n")[0]
        return play.Played(task, fault=fault, conversation="\n".join(getattr(wrong, "__notes__", ())))


async def main(names: Sequence[str], model_name: str, show: bool) -> int:
    """Run the chosen tasks one after another; return how many failed."""
    model: Any = None
    if model_name:
        from langchain.chat_models import init_chat_model

        model = init_chat_model(model_name)
    print(LINE.format("task", "products", "calls", "tokens", "asked", "result", "what the user says"))
    done = []
    for task in chosen(names):
        one = await tried(task, model)
        done.append(one)
        row = (task.id, " ".join(task.products), len(one.calls), one.read, one.asked)
        print(LINE.format(*row, "wrong" if one.fault else "done", one.task.asked), flush=True)
        if one.fault:
            print(f"    {one.fault}")
        if show:
            print(one.conversation)
    wrong = sum(bool(one.fault) for one in done)
    read, calls = sum(one.read for one in done), sum(len(one.calls) for one in done)
    print(f"{len(done) - wrong} of {len(done)} done, {calls} calls, {read} tokens read")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--model", default="", metavar="PROVIDER:NAME")
    parser.add_argument("--show", action="store_true")
    given = parser.parse_args()
    sys.exit(min(1, asyncio.run(main(given.names, given.model, given.show))))
