"""The pages: one module a subject, from a request to what is shown."""
