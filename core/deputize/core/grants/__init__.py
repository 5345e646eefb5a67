"""Grants: refresh, revocation, and the choice among a user's accounts."""
