"""The path of one call, in reading order: resolve_call, authorize, preview, execute, runner, provider_requests."""
