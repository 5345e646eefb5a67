"""The tasks, a file for each family of them."""

from __future__ import annotations

from typing import Final

from tests.tasks.families import (
    across,
    answers_of_the_user,
    calendars,
    chat,
    github_issues,
    github_reviews,
    hostile,
    linear,
    mail_reading,
    mail_writing,
    salesforce,
)

MODULES: Final = (
    across,
    answers_of_the_user,
    calendars,
    chat,
    github_issues,
    github_reviews,
    hostile,
    linear,
    mail_reading,
    mail_writing,
    salesforce,
)
FAMILIES: Final = [module.__name__.rpartition(".")[2] for module in MODULES]
