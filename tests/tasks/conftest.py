"""Shows failures in a task as pytest shows them in a test."""

import pytest

pytest.register_assert_rewrite("tests.tasks.families")
