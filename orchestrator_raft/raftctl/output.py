"""Shows views: drawn tables on a terminal, plain columns elsewhere, so that what is piped is never folded or coloured.

What servers call themselves is data: signs that could steer a terminal are replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from orchestrator_raft.raftctl.views import Lines, Table, View

GAP = "  "
HEAD_MIN = 8
"""A heading is folded only beyond this, however narrow the terminal is."""


def show(view: View, stream: TextIO | None = None) -> None:
    """Write a view to ``stream`` (standard output)."""
    target = sys.stdout if stream is None else stream
    for block in view:
        if isinstance(block, Lines):
            text = "\n".join(printable(line) for line in block.lines)
            print(text, file=target)
        elif not block.rows:
            print(block.empty, file=target)
        elif target.isatty():
            _draw(block, target)
        else:
            print("\n".join(columns(block)), file=target)


def columns(table: Table) -> Iterator[str]:
    """The table in plain columns; the last one is not padded."""
    rows = [table.columns, *(tuple(printable(cell) for cell in row) for row in table.rows)]
    widths = [max(len(row[position]) for row in rows) for position in range(len(table.columns))]
    for row in rows:
        yield _padded(row, widths).rstrip()


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(f"{cell or '-':{width}}" for cell, width in zip(row, widths, strict=True))


def _draw(table: Table, target: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(box=SIMPLE_HEAD, pad_edge=False)
    for name in table.columns:
        drawn.add_column(name, overflow="fold", min_width=min(len(name), HEAD_MIN))
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=target, highlight=False).print(drawn)


def printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)
