"""Key sources: where root keys come from. `deputize.core.settings.Settings.key_source` chooses one of them."""
