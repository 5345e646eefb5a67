"""Hostile values at every public entry point: the outcome is a value or a documented error."""
