"""Tasks at Acme, for agents that act as their user: a provider and a toolkit, found by their entry points."""
