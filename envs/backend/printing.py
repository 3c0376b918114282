"""Text for messages: one line that any terminal can show."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line, in which what a terminal would obey or cannot show stands as an escape."""
    line = " ".join(part.strip() for part in text.splitlines()) if "\n" in text else text
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
