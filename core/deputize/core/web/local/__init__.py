"""The pages on the user's own machine: a local server, and the check who may reach it."""
