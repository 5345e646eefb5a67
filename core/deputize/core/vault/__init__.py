"""Grants in, grants out: sealed, bound to their owner, kept in a store."""
