"""What examples and tests use of Agno, which is installed in an environment of its own."""
