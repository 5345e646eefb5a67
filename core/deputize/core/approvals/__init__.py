"""What a user decides: approvals of single calls, and mandates for many."""
