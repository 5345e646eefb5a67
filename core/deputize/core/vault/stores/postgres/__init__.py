"""A vault in Postgres, shared by several machines."""
