"""Provenance: the identifiers in untrusted content, and where a conversation first met them."""
