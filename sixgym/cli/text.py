"""Plain tables for the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str], indent: int = 2) -> str:
    """Columns aligned to the left; the last one is wrapped to the width of the terminal."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header) - 1)]
    left = indent + sum(widths) + 2 * len(widths)
    room = max(shutil.get_terminal_size((140, 24)).columns - left, 30)
    lines = []
    for row in [header, *rows]:
        cells = " " * indent + "".join(
            f"{cell:<{width}}  " for cell, width in zip(row[:-1], widths, strict=True)
        )
        lines += textwrap.wrap(
            row[-1] or " ",
            width=left + room,
            initial_indent=cells,
            subsequent_indent=" " * left,
            break_long_words=False,
        ) or [cells]
    return "\n".join(line.rstrip() for line in lines)


def section(title: str, body: str) -> str:
    """A title over an indented body."""
    return f"\n{title}\n{body}"
