"""The pages: one module per subject, each a table of `Page`s with their handlers and template values."""
