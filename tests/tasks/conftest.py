"""What fails in a task is shown as pytest shows it in a test."""

import pytest

pytest.register_assert_rewrite("tests.tasks.families")
