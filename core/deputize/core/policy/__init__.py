"""Decision whether a call is allowed, denied or needs an approval."""
