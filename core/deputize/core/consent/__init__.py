"""Consents: from a missing scope to a grant, through the user's browser or a device code."""
