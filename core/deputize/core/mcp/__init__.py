"""Any MCP server as a toolkit: its tools act as the user, under the same consent, approval, ledger and audit."""
