"""A terminal's output as a picture for the README: ``scripts/demo --once | python -m sandbox.picture > docs/demo.svg``.

Plain SVG: no script, no font from elsewhere, readable on a light and on a dark page. Paths below the checkout are
shown relative to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

CHARACTER_PX, LINE_PX, MARGIN_PX = 7.8, 18, 16
STYLE = (
    "text{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d8dee9;white-space:pre}"
    "rect{fill:#1d232e}.command{fill:#88c0d0}"
)


def draw(lines: Sequence[str]) -> str:
    """The SVG document; a line that begins with ``$`` is a command."""
    width = max(map(len, lines), default=0) * CHARACTER_PX + 2 * MARGIN_PX
    height = len(lines) * LINE_PX + 2 * MARGIN_PX
    texts = [_text(number, line) for number, line in enumerate(lines, start=1) if line]
    frame = f'viewBox="0 0 {width:.0f} {height}" role="img" aria-label="output of scripts/demo"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>\n<style>{STYLE}</style>'
    return "\n".join([head, '<rect width="100%" height="100%" rx="8"/>', *texts, "</svg>\n"])


def _text(number: int, line: str) -> str:
    kind = ' class="command"' if line.startswith("$") else ""
    y = MARGIN_PX + LINE_PX * number - 5
    return f'<text x="{MARGIN_PX}" y="{y}" xml:space="preserve"{kind}>{escape(line)}</text>'


if __name__ == "__main__":
    told = sys.stdin.read().replace(f"{Path.cwd()}/", "").rstrip().splitlines()
    sys.stdout.write(draw(["$ scripts/demo --once", *told]))
