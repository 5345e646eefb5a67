"""Deterministic simulation of programs that share one vault: see ``python -m tests.simulation``."""
