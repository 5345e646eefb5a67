"""Random work on a vault, judged by what the providers saw: see ``python -m tests.properties``."""
