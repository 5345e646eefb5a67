"""Runs of `examples/adapters`, each in an environment that has its framework."""
