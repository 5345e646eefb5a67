"""Whether a call is allowed, denied or asked about."""
