"""The tasks, a file for each family of them."""

from __future__ import annotations

from typing import Final

from tests.tasks.families import github_reviews, mail

FAMILIES: Final = {module.__name__.rpartition(".")[2] for module in (github_reviews, mail)}
