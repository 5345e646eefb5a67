"""At most one effect per act: the ledger of outcomes, and undo."""
