"""Who named what: identifiers in untrusted content, and where a user met them first."""
