"""The picture of README.md: who calls whom, and where the token stays. Drawn by python -m tests.docs.generated."""

from __future__ import annotations

from html import escape
from typing import Final

WIDTH, HEIGHT = 880, 300
INK, LINE, PAPER, ACCENT, SOFT = "#1f2933", "#7b8794", "#ffffff", "#3f51b5", "#eef0fb"
FONT: Final = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
TITLE: Final = "The agent calls a tool. deputize checks the call, asks the user, and calls the provider with the token."


def picture() -> str:
    """Return the picture as SVG: readable on light and dark pages, without a font or file from elsewhere."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="{FONT}">',
        f"<title>{escape(TITLE)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="{PAPER}"/>',
        *_box(24, 92, 200, 96, "Your agent", "model, graph, state, logs:", "no token"),
        *_box(314, 40, 252, 200, "deputize, in your process", fill=SOFT, line=ACCENT),
        *_box(656, 92, 200, 96, "Provider", "Google, Slack, GitHub,", "any OAuth API or MCP server"),
        *_arrow(224, 128, 314, 128, "tool call"),
        *_arrow(314, 160, 224, 160, "result", below=True),
        *_arrow(566, 128, 656, 128, "as Alice"),
        *_arrow(656, 160, 566, 160, "answer", below=True),
    ]
    steps = (
        "1. who is the user?",
        "2. scopes: consent if missing",
        "3. policy: approval if asked",
        "4. once, and audited",
    )
    parts += [_text(338, 96 + 26 * row, step) for row, step in enumerate(steps)]
    parts += [
        f'<rect x="334" y="194" width="212" height="30" rx="6" fill="{ACCENT}"/>',
        _text(440, 214, "vault: tokens, encrypted", fill=PAPER, anchor="middle", weight=600),
        *_box(340, 262, 200, 30, "", fill=PAPER),
        _text(440, 282, "Alice: allows, approves", anchor="middle", weight=600),
        *_arrow(440, 262, 440, 240, ""),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(
    x: int, y: int, width: int, height: int, title: str, *lines: str, fill: str = PAPER, line: str = LINE
) -> list[str]:
    """Return a box with a title and lines of text."""
    style = f'rx="8" fill="{fill}" stroke="{line}" stroke-width="1.5"'
    parts = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {style}/>']
    if title:
        parts.append(_text(x + width // 2, y + 28, title, size=15, anchor="middle", weight=700))
    parts += [_text(x + width // 2, y + 54 + 20 * row, one, anchor="middle") for row, one in enumerate(lines)]
    return parts


def _arrow(x1: int, y1: int, x2: int, y2: int, label: str, *, below: bool = False) -> list[str]:
    """Return an arrow with a label at its middle, above or below it."""
    dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
    base_x, base_y = x2 - 9 * dx, y2 - 9 * dy
    head = f"{x2},{y2} {base_x + 5 * dy},{base_y + 5 * dx} {base_x - 5 * dy},{base_y - 5 * dx}"
    parts = [
        f'<line x1="{x1}" y1="{y1}" x2="{base_x}" y2="{base_y}" stroke="{INK}" stroke-width="1.5"/>',
        f'<polygon points="{head}" fill="{INK}"/>',
    ]
    if label:
        parts.append(_text((x1 + x2) // 2, y1 + (18 if below else -8), label, size=13, anchor="middle"))
    return parts


def _text(
    x: int, y: int, words: str, *, size: int = 13, fill: str = INK, anchor: str = "start", weight: int = 400
) -> str:
    """Return a line of text."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
