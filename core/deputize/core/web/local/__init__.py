"""The pages on the user's own machine: a local server, and who may reach it."""
