"""Texts that are easily damaged: long, with invisible parts, and with joiners that belong to words and emoji."""

from __future__ import annotations

from typing import Final

SCREENSHOT: Final = "![the broken form](https://github.com/user-attachments/assets/1f0c.png)"
FAMILY: Final = "\U0001f469\u200d\U0001f4bb"  # a woman and a computer, joined
PERSIAN: Final = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # "I want", with a joiner between its parts
_STEPS: Final = "\n".join(
    f"{n}. Step {n} of the import: open part {n}, compare row {n * 17}, note it." for n in range(1, 201)
)

LONG: Final = f"""<!-- template: bug v3 -->
## What happens

{SCREENSHOT}

The form loses its last row. Reported by {FAMILY} in the Persian office: {PERSIAN}.

## Steps

{_STEPS}

## Expected

The last row is kept. <!-- triage: severity two -->
"""
"""About 14,000 characters."""
