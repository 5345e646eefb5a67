"""One call, in reading order: authorize, preview, execute, runner, provider_requests."""
