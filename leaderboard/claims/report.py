"""The table of claims on a terminal, and the progress while they are measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from sixgym.leaderboard.claims.framework import ClaimRow

_STYLES = {"pass": "green", "fail": "bold red", "not measured": "yellow"}


class Reporter(AbstractContextManager["Reporter"]):
    """Progress bar on a terminal, one line at the start in a pipe, nothing when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console

        width = None if sys.stdout.isatty() else 160
        self._console = Console(file=sys.stdout, quiet=quiet, width=width, highlight=False)
        self._progress: Progress | None = None

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def plays(self, total: int) -> Callable[[], None]:
        """Start the bar of the plays; call what comes back after each."""
        if not self._console.is_terminal:
            self._console.print(f"playing {total} variants ...")
            return lambda: None
        from rich.progress import Progress

        self._progress = bar = Progress(console=self._console, transient=True)
        bar.start()
        handle = bar.add_task("playing", total=total)
        return lambda: bar.advance(handle)

    def table(self, id: str, rows: Sequence[ClaimRow], episodes: int, seconds: float) -> None:
        """Print the verdicts, then what explains them."""
        from rich import box
        from rich.table import Table

        self._stop()
        table = Table(
            title=f"Claims about {id}: {episodes} common episodes a play, {seconds:.0f} s",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_lines=True,
        )
        for name, ratio in (("claim", 2), ("expected", 2), ("measured", 3)):
            table.add_column(name, ratio=ratio)
        table.add_column("verdict", no_wrap=True)
        for row in rows:
            style = _STYLES[row.verdict]
            measured = row.measured + (f"\n{row.reason}" if row.reason else "")
            table.add_row(
                f"{row.id} \\{row.mark} {row.statement}",
                row.expected,
                measured.replace("[", "\\["),
                f"[{style}]{row.verdict}[/{style}]",
            )
        self._console.print(table)
        counts = {v: sum(row.verdict == v for row in rows) for v in _STYLES}
        self._console.print(", ".join(f"{n} {v}" for v, n in counts.items()))
        figures = [row.figure for row in rows if row.figure]
        if figures:
            self._console.print(f"figures: {figures[0].rpartition('/')[0] or '.'}")
