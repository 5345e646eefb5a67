"""One tool call as a user, from arguments to audited outcome."""
