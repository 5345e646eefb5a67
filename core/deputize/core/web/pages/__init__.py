"""The pages: one module per subject, each with a table of `Page`s, their handlers and template values."""
