"""Key sources, which provide the root keys. `deputize.core.settings.Settings.key_source` chooses one of them."""
