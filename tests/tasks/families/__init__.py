"""The tasks, a file for each family of them."""

from __future__ import annotations

from typing import Final

from tests.tasks.families import (
    across,
    answers_of_the_user,
    calendars,
    chat,
    documents,
    drive,
    files,
    github_issues,
    github_reviews,
    hostile,
    linear,
    long_texts,
    mail_reading,
    mail_writing,
    many_things,
    meanwhile,
    names,
    salesforce,
    time_zones,
)

MODULES: Final = (
    across,
    answers_of_the_user,
    calendars,
    chat,
    documents,
    drive,
    files,
    github_issues,
    github_reviews,
    hostile,
    linear,
    long_texts,
    mail_reading,
    mail_writing,
    many_things,
    meanwhile,
    names,
    salesforce,
    time_zones,
)
FAMILIES: Final = [module.__name__.rpartition(".")[2] for module in MODULES]
