"""Vaults in Postgres, shared by several machines."""
