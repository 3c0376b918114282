"""Runs the notebooks of the pages and keeps what they print and draw.

python tools/notebooks.py [NAME ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
TIMEOUT_S = 600
"""Of one cell."""


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of a run, without times and counters that change with each.

    Args:
        path: the notebook.
        folder: where it runs, and writes what it writes.

    Raises:
        CellExecutionError: a cell fails.
    """
    book = nbformat.read(path, as_version=4)
    NotebookClient(
        book,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    ).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            # Progress bars and notices on stderr say nothing on a page.
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return book


def main(names: list[str]) -> None:
    """Run some notebooks, or all, and write them back."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            book = run(path, Path(folder))
        nbformat.write(book, path)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
