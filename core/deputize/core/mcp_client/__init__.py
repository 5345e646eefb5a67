"""Any MCP server as a toolkit: its tools act as the user, with the same consent, approval, idempotency and audit."""
