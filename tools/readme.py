"""Writes the README's table of environments anew from the stored rows.

python tools/readme.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
FIRST = "<!-- written by tools/readme.py -->"
LAST = "<!-- as far as here -->"

sys.path.insert(0, str(ROOT / "docs"))

import generate  # noqa: E402 - the pages and the README tell one story

import sixgym  # noqa: E402, F401 - registers the environments


def renewed(text: str) -> str:
    """A README with its table written anew.

    Args:
        text: the README, in which the table stands between the two marks.

    Raises:
        ValueError: a mark is missing, or there twice.
    """
    for mark in (FIRST, LAST):
        if text.count(mark) != 1:
            raise ValueError(f"README: {mark!r} {text.count(mark)} times; allowed: once")
    before, _, rest = text.partition(FIRST)
    after = rest.partition(LAST)[2]
    return f"{before}{FIRST}\n{generate.standing()}\n{LAST}{after}"


def main(words: list[str]) -> int:
    """Write the README, or with ``--check`` only tell by the exit code whether it is up to date."""
    old = README.read_text(encoding="utf-8")
    new = renewed(old)
    if new == old:
        return 0
    if "--check" in words:
        print("README.md: its table is not that of leaderboard/results; python tools/readme.py")
        return 1
    README.write_text(new, encoding="utf-8")
    print("README.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
