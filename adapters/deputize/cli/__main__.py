"""``python -m deputize.cli``, the same as ``deputize``."""

from deputize.cli import main

main()
