"""Policy: the decision whether an act is allowed, denied or needs an approval."""
