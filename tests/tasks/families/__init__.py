"""The tasks, a file for each family of them."""

from __future__ import annotations

from typing import Final

from tests.tasks.families import github_issues, github_reviews, mail_reading, mail_writing

MODULES: Final = (github_issues, github_reviews, mail_reading, mail_writing)
FAMILIES: Final = [module.__name__.rpartition(".")[2] for module in MODULES]
