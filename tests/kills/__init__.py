"""Processes that are killed at every step, and what is left of it: see ``python -m tests.kills``."""
