"""The vault: encrypted grants and other records, bound to their owner, in a store."""
