"""Each task is solved by its script: the requested state holds at the end, and nothing else has changed."""

from __future__ import annotations

import pytest

from tests.support.lanes import sample
from tests.tasks.families import FAMILIES
from tests.tasks.play import play
from tests.tasks.task import TASKS, Task


def of(family: str) -> pytest.MarkDecorator:
    """Return the tasks of a family, of which the default run does the first."""
    assert family in FAMILIES
    found = {id.partition(".")[2]: one for id, one in TASKS.items() if one.family == family}
    return pytest.mark.parametrize("task", sample(found.values(), ids=found.keys()))


@of("across")
async def test_across(task: Task) -> None:
    await play(task)


@of("answers_of_the_user")
async def test_answers_of_the_user(task: Task) -> None:
    await play(task)


@of("calendars")
async def test_calendars(task: Task) -> None:
    await play(task)


@of("chat")
async def test_chat(task: Task) -> None:
    await play(task)


@of("documents")
async def test_documents(task: Task) -> None:
    await play(task)


@of("drive")
async def test_drive(task: Task) -> None:
    await play(task)


@pytest.mark.processes
@of("files")
async def test_files(task: Task) -> None:
    await play(task)


@of("github_issues")
async def test_github_issues(task: Task) -> None:
    await play(task)


@of("github_reviews")
async def test_github_reviews(task: Task) -> None:
    await play(task)


@of("hostile")
async def test_hostile(task: Task) -> None:
    played = await play(task)
    assert played.asked or "hidden" in task.id, "the script obeys, and the user is asked about it"


@of("linear")
async def test_linear(task: Task) -> None:
    await play(task)


@of("long_texts")
async def test_long_texts(task: Task) -> None:
    await play(task)


@of("mail_reading")
async def test_mail_reading(task: Task) -> None:
    await play(task)


@of("mail_writing")
async def test_mail_writing(task: Task) -> None:
    await play(task)


@of("many_things")
async def test_many_things(task: Task) -> None:
    await play(task)


@of("meanwhile")
async def test_meanwhile(task: Task) -> None:
    await play(task)


@of("names")
async def test_names(task: Task) -> None:
    await play(task)


@of("salesforce")
async def test_salesforce(task: Task) -> None:
    await play(task)


@of("time_zones")
async def test_time_zones(task: Task) -> None:
    await play(task)


def test_every_family_is_tested() -> None:
    assert {name.removeprefix("test_") for name in globals()} >= {*FAMILIES}
